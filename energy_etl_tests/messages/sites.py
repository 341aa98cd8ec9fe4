"""`find_sites`: every message of the package, read from its syntax trees.

A text is told as a template: what is filled in stands as `{name}`. Texts that are put together
(by a local name, a constant, a function of the same module that returns one text) are put together
here as well, as far as that can be read; the rest is a `{name}`.
"""

import ast
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "energy_etl"
# Sentences that end a stream are met like errors of ours.
_BESIDE = ("StreamEndError",)
# Functions that take a text (position) and are no errors: faults of the portfolio's files.
_FAULTS = {"refuse": 2, "_refuse": 1, "_refuse_second": 4, "Problem": 3}
_FAULT_MODULES = ("portfolio/",)
# What a validator says is a part of a sentence about the cell or the setting.
_REASON_MODULES = ("portfolio/layout.py", "settings.py")
_DOCTOR = ("fail", "warn")
_DEPTH = 6
# Attributes that hold a piece of advice, wherever it was given.
_ADVICE = ("credential_hint", "hint", "start_hint", "when_broken")
# Between next steps of which one is told.
OR = " Or: "

# Functions and methods that change how something is written, not what it is.
_OF_ITS_ARGUMENT = (
    "join",
    "len",
    "sorted",
    "str",
    "text",
    "shown",
    "map",
    "clean",
    "max",
    "abs",
    "get_args",
    "S_IMODE",
    "datetime",
    "dict",
    "set",
    "told_plainly",
    "us_to_instant",
)
_OF_ITSELF = (
    "isoformat",
    "partition",
    "rpartition",
    "strip",
    "rstrip",
    "upper",
    "lower",
    "join",
    "split",
    "removesuffix",
    "get",
    "date",
    "astimezone",
    "title",
    "bare",
    "items",
    "keys",
)

Scope = dict[str, list[ast.expr]]
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Site:
    """One place that makes a message.

    Attributes:
        module: below `energy_etl/`.
        line: for people; not a part of what a site is.
        kind: error, note (the command goes on), fault (of a cell or a setting), doctor, finding.
        error: the class that is raised, empty where none is.
        text: what it says.
        next_step: what to do, where that stands apart from the text.
        choices: what a `{name}` of the text or of the next step may say, where that is a phrase and
            stands in the package.
    """

    module: str
    line: int
    kind: str
    error: str
    text: str
    next_step: str = ""
    choices: tuple[tuple[str, tuple[str, ...]], ...] = ()


class _Module:
    """One module's tree, with what its names stand for."""

    def __init__(self, path: Path) -> None:
        self.name = path.relative_to(PACKAGE).as_posix()
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        # Of the module itself, not of what its functions call so.
        tops = [n for n in self.tree.body if isinstance(n, ast.Assign | ast.AnnAssign)]
        self.constants = _assigned(tops)
        self.functions: dict[str, list[_Function]] = {}
        self.imports: dict[str, tuple[str, str]] = {}
        self.classes: list[ast.ClassDef] = []
        # With the functions around it, the outermost first.
        self.calls: list[tuple[ast.Call, tuple[_Function, ...]]] = []
        # What `for key, (name, other) in CONSTANT.items()` gives to its names.
        self.looped: Scope = {}
        self._look_at(self.tree, ())

    def _look_at(self, node: ast.AST, around: tuple[_Function, ...]) -> None:
        """Note what stands below a node, in the order of the source."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr_context):
                continue
            inside = around
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                self.functions.setdefault(child.name, []).append(child)
                inside = (*around, child)
            elif isinstance(child, ast.Call):
                self.calls.append((child, around))
            elif isinstance(child, ast.comprehension):
                self._note_loop(child)
            elif isinstance(child, ast.ClassDef):
                self.classes.append(child)
            elif isinstance(child, ast.ImportFrom) and (child.module or "").startswith(
                "energy_etl"
            ):
                for alias in child.names:
                    self.imports[alias.asname or alias.name] = (child.module or "", alias.name)
            self._look_at(child, inside)

    def _note_loop(self, loop: ast.comprehension) -> None:
        rows = _rows_of(loop.iter, self.constants)
        if isinstance(loop.target, ast.Tuple) and isinstance(loop.target.elts[-1], ast.Tuple):
            for position, name in enumerate(loop.target.elts[-1].elts):
                if isinstance(name, ast.Name) and rows:
                    self.looped.setdefault(name.id, []).extend(r.elts[position] for r in rows)


@functools.cache
def _scope(function: _Function) -> Scope:
    """Return what the names of a function stand for; nothing for its arguments."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    # An argument that is assigned anew is no longer one.
    return {each.arg: [] for each in arguments} | _assigned(function.body)


def _rows_of(node: ast.expr, constants: Scope) -> list[ast.Tuple]:
    """Return the tuples that `CONSTANT.get(...)` or `CONSTANT.items()` takes from a mapping."""
    if (
        not isinstance(node, ast.Call)
        or not isinstance(node.func, ast.Attribute)
        or node.func.attr not in ("get", "items")
        or not isinstance(node.func.value, ast.Name)
    ):
        return []
    mappings = [v for v in constants.get(node.func.value.id, []) if isinstance(v, ast.Dict)]
    return [row for each in mappings for row in each.values if isinstance(row, ast.Tuple)]


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _assigned(body: Sequence[ast.stmt]) -> Scope:
    found: Scope = {}
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        found.setdefault(target.id, []).append(node.value)
                    elif isinstance(target, ast.Tuple):
                        for name, value in _unpacked(target, node.value):
                            found.setdefault(name, []).append(value)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                if node.value is not None:
                    found.setdefault(node.target.id, []).append(node.value)
            elif isinstance(node, ast.AugAssign | ast.For) and isinstance(node.target, ast.Name):
                # More than a text that stands somewhere.
                found.setdefault(node.target.id, []).append(node.target)
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "append"
                and isinstance(node.func.value, ast.Name)
            ):
                found.setdefault(f"{node.func.value.id}[]", []).append(node.args[0])
    return found


def _unpacked(target: ast.Tuple, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    for position, name in enumerate(target.elts):
        if not isinstance(name, ast.Name):
            continue
        if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts):
            yield name.id, value.elts[position]
        elif isinstance(value, ast.Call):
            index = ast.Constant(position)
            yield name.id, ast.copy_location(ast.Subscript(value, index), value)


@functools.cache
def _modules() -> dict[str, _Module]:
    paths = (path for path in sorted(PACKAGE.rglob("*.py")) if "sandbox" not in path.parts)
    return {module.name: module for module in map(_Module, paths)}


def _defined(module: _Module, name: str) -> tuple[str, str]:
    """Return the module of a class that a name stands for, as far as its import tells it."""
    dotted, original = module.imports.get(name, ("", ""))
    return ("/".join(dotted.split(".")[1:]) + ".py", original) if dotted else (module.name, name)


@functools.cache
def _given(name: str) -> tuple[tuple[_Module, ast.expr, Scope], ...]:
    """Return what an attribute of that name may be: a property, or what is given for a field."""
    found: list[tuple[_Module, ast.expr, Scope]] = []
    # Of the classes that have such a field: their modules, and its place among the fields.
    places: dict[tuple[str, str], int] = {}
    for module in _modules().values():
        for function in module.functions.get(name, []):
            if any("property" in ast.unparse(each) for each in function.decorator_list):
                returned = [n.value for n in ast.walk(function) if isinstance(n, ast.Return)]
                found += [(module, value, _scope(function)) for value in returned if value]
        for each in module.classes:
            fields = [n for n in each.body if isinstance(n, ast.AnnAssign)]
            for place, field in enumerate(fields):
                if isinstance(field.target, ast.Name) and field.target.id == name:
                    places[module.name, each.name] = place
                    found += [(module, field.value, {})] if field.value else []
    for module in _modules().values() if places else ():
        for call, around in module.calls:
            values = [each.value for each in call.keywords if each.arg == name]
            place = places.get(_defined(module, _called(call)))
            values += [] if place is None else call.args[place : place + 1]
            scope = {key: value for each in around for key, value in _scope(each).items()}
            found += [(module, value, scope) for value in values]
    return tuple(found)


def _imported(module: _Module, name: str) -> tuple[_Module, str] | None:
    """Return the module of the package that a name was imported from."""
    dotted, original = module.imports.get(name, ("", ""))
    stem = "/".join(dotted.split(".")[1:])
    for candidate in (f"{stem}.py", f"{stem}/__init__.py"):
        found = _modules().get(candidate)
        if found is None:
            continue
        if original in found.functions or original in found.constants:
            return found, original
        return _imported(found, original)
    return None


class _Texts:
    """What an expression of one function can say."""

    def __init__(
        self,
        module: _Module,
        scope: Scope,
        depth: int = 0,
        choices: dict[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.module, self.scope, self.depth = module, scope, depth
        self.choices: dict[str, tuple[str, ...]] = {} if choices is None else choices

    def of(self, node: ast.expr) -> list[str]:
        """Return the templates that an expression of a text can be."""
        if isinstance(node, ast.Constant):
            return [str(node.value)]
        if isinstance(node, ast.JoinedStr):
            whole = _capitalised(node)
            if whole is not None:
                texts = self._looked_up(whole) or [self._open(whole)]
                end = "".join(self._part(value) for value in node.values[2:])
                return [f"{text[:1].upper()}{text[1:]}{end}" for text in texts]
            return ["".join(self._part(value) for value in node.values)]
        if isinstance(node, ast.IfExp):
            return [*self.of(node.body), *self.of(node.orelse)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return [left + right for left in self.of(node.left) for right in self.of(node.right)]
        found = self._looked_up(node)
        return found or [self._open(node)]

    def _given(self, node: ast.Attribute) -> list[str]:
        """Return what is given for an attribute anywhere."""
        texts: list[str] = []
        for module, value, scope in _given(node.attr) if self.depth < _DEPTH else ():
            there = _Texts(module, scope, self.depth + 1, self.choices)
            is_passed = isinstance(value, ast.Attribute) and value.attr in _ADVICE
            texts += there._given(value) if is_passed else there.texts_only(value)  # pyright: ignore
        return texts

    def told(self, text: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return what the places of a text may say, and the places of that."""
        found: dict[str, tuple[str, ...]] = {}
        texts = [text]
        while texts:
            for name in re.findall(r"\{([^{}]*)\}", texts.pop()):
                if name in self.choices and name not in found:
                    found[name] = self.choices[name]
                    texts += found[name]
        return tuple(found.items())

    def one(self, node: ast.expr) -> str | None:
        """Return the text that an expression always is, None when it is not one."""
        if isinstance(node, ast.Constant):
            return None if isinstance(node.value, bool | None) else str(node.value)
        if isinstance(node, ast.JoinedStr | ast.BinOp) or self._looked_up(node):
            texts = self.of(node)
            is_text = not isinstance(node, ast.BinOp) or not texts[0].startswith("{")
            return texts[0] if len(texts) == 1 and is_text else None
        return None

    def _part(self, value: ast.expr) -> str:
        if isinstance(value, ast.Constant):
            return str(value.value)
        assert isinstance(value, ast.FormattedValue)
        inner = value.value
        found = self.one(inner) if isinstance(inner, ast.Name | ast.Call) else None
        return found if found is not None else self._open(inner)

    def _open(self, node: ast.expr) -> str:
        """Return the place of what is filled in; remember the phrases that may stand there."""
        name = _name(node)
        texts = self._looked_up(node)
        if isinstance(node, ast.Attribute) and node.attr in _ADVICE:
            texts += self._given(node)
        if isinstance(node, ast.Name):
            texts = texts or self.all_of(self.module.looped.get(node.id, []))
        # A word is a value; what is only another `{name}` tells nothing.
        phrases = [t for t in texts if len(re.sub(r"\{[^{}]*\}", "", t).split()) > 2]
        if phrases:
            self.choices[name] = tuple(dict.fromkeys([*self.choices.get(name, ()), *phrases]))
        return f"{{{name}}}"

    def _looked_up(self, node: ast.expr) -> list[str]:
        if self.depth >= _DEPTH:
            return []
        deeper = _Texts(self.module, self.scope, self.depth + 1, self.choices)
        if isinstance(node, ast.Name):
            if node.id in self.scope:
                before = [v for v in self.scope[node.id] if v.lineno <= node.lineno]
                return deeper.all_of(before)
            other, name = self.module, node.id
            if name not in other.constants:
                other, name = _imported(other, name) or (other, name)
            outside = _Texts(other, {}, self.depth + 1, self.choices)
            return outside.all_of(other.constants.get(name, []))
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            rows = _rows_of(node.value, self.module.constants)
            position = node.slice.value
            return deeper.all_of([row.elts[position] for row in rows]) if rows else []  # pyright: ignore
        if not isinstance(node, ast.Call):
            return []
        if isinstance(node.func, ast.Attribute) and node.func.attr == "rstrip":
            return deeper.texts_only(node.func.value)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "join" and node.args:
            return deeper.joined(node)
        name = _called(node)
        other = self.module
        if name not in other.functions and isinstance(node.func, ast.Name):
            other, name = _imported(self.module, name) or (other, name)
        texts: list[str] = []
        for function in other.functions.get(name, []):
            inside = _Texts(other, _scope(function), self.depth + 1, self.choices)
            returned = [each.value for each in ast.walk(function) if isinstance(each, ast.Return)]
            texts += inside.all_of([each for each in returned if each is not None])
        return texts

    def all_of(self, nodes: list[ast.expr]) -> list[str]:
        """Return what several expressions say; nothing when one of them is no text."""
        there = [node for node in nodes if not _is_none(node)]
        found = [self.texts_only(node) for node in there]
        return [text for texts in found for text in texts] if all(found) else []

    def texts_only(self, node: ast.expr) -> list[str]:
        """Return the templates of what is certainly text; nothing for other expressions."""
        if isinstance(node, ast.Constant):
            return [str(node.value)] if isinstance(node.value, str | int | float) else []
        if isinstance(node, ast.JoinedStr | ast.IfExp):
            return [text for text in self.of(node) if text != "None"]
        if isinstance(node, ast.BinOp):
            return [text for text in self.of(node) if not text.startswith("{")]
        return self._looked_up(node)

    def joined(self, node: ast.Call) -> list[str]:
        """Return the texts that a `join` puts together."""
        argument = node.args[0]
        if isinstance(argument, ast.GeneratorExp | ast.ListComp):
            return self.texts_only(argument.elt)
        if isinstance(argument, ast.Name):
            return [t for v in self.scope.get(f"{argument.id}[]", []) for t in self.texts_only(v)]
        if isinstance(argument, ast.List):
            parts = [
                each.value if isinstance(each, ast.Starred) else each for each in argument.elts
            ]
            elements = [p.elt if isinstance(p, ast.GeneratorExp) else p for p in parts]
            # A heading and what stands below it.
            texts = [text for node in elements[:2] for text in self.texts_only(node)]
            return ["\n".join(texts)] if texts else []
        return []


def _capitalised(node: ast.JoinedStr) -> ast.Name | ast.Attribute | None:
    """Return what is told in `f"{name[0].upper()}{name[1:]} ..."`, None for other texts."""
    parts = [part.value for part in node.values[:2] if isinstance(part, ast.FormattedValue)]
    if (
        len(parts) < 2
        or not isinstance(parts[0], ast.Call)
        or not isinstance(parts[1], ast.Subscript)
    ):
        return None
    whole, is_upper = parts[1].value, _called(parts[0]) == "upper"
    return whole if is_upper and isinstance(whole, ast.Name | ast.Attribute) else None


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def _name(node: ast.AST) -> str:
    """Return one word for what is filled in."""
    if isinstance(node, ast.Name):
        return node.id.strip("_").lower()
    if isinstance(node, ast.Attribute):
        return node.attr.strip("_").lower()
    if isinstance(node, ast.Subscript):
        key = node.slice
        is_named = isinstance(key, ast.Constant) and isinstance(key.value, str)
        return str(key.value) if is_named else _name(node.value)  # pyright: ignore
    if isinstance(node, ast.Call):
        called = _called(node)
        if called in _OF_ITS_ARGUMENT and node.args:
            return ("n_" if called == "len" else "") + _name(node.args[-1])
        if isinstance(node.func, ast.Attribute) and called in _OF_ITSELF:
            return _name(node.func.value)
        return called.strip("_").lower()
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _name(node.right)
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.BinOp):
        return _name(node.left)
    if isinstance(node, ast.IfExp):
        return _name(node.body if not isinstance(node.body, ast.Constant) else node.test)
    if isinstance(node, ast.BoolOp):
        return _name(node.values[0])
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        return _name(node.elt)
    if isinstance(node, ast.UnaryOp):
        return _name(node.operand)
    if isinstance(node, ast.Compare):
        return _name(node.left)
    if isinstance(node, ast.JoinedStr):
        return next((_name(v.value) for v in node.values if isinstance(v, ast.FormattedValue)), "x")
    return "text"


@functools.cache
def error_names() -> frozenset[str]:
    """Return the names of the tree of errors, with those that modules add to it."""
    names = {"EnergyEtlError"}
    classes = [each for module in _modules().values() for each in module.classes]
    n_before = 0
    while n_before != len(names):
        n_before = len(names)
        names |= {c.name for c in classes for b in c.bases if _name_of_class(b) in names}
    return frozenset(names)


def _name_of_class(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def _kind_of(module: _Module, call: ast.Call) -> str:
    """Return which kind of message a call makes, empty when none."""
    name = _called(call)
    if name in error_names() or name in _BESIDE:
        return "error"
    is_drawn = name == "kind" or (isinstance(call.func, ast.Call) and _called(call.func) == "type")
    if is_drawn and call.args and isinstance(call.args[0], ast.JoinedStr):
        return "error"
    if name == "_end" and module.name.startswith("delivery/"):
        return "error"
    if name in _FAULTS and module.name.startswith(_FAULT_MODULES):
        return "fault"
    if name == "ValueError" and module.name.endswith(_REASON_MODULES):
        return "fault"
    if name in _DOCTOR and module.name.startswith("cli/doctor/"):
        return "doctor"
    if name == "_as_findings":
        return "finding"
    is_note = name == "print" and module.name.startswith("cli/")
    return "note" if is_note and any(each.arg == "file" for each in call.keywords) else ""


def _sites_of(module: _Module) -> Iterator[Site]:
    for call, around in module.calls:
        kind = _kind_of(module, call)
        if not kind:
            continue
        scope: Scope = {}
        for each in around:
            scope |= _scope(each)
        function = around[-1].name if around else ""
        texts, error = _Texts(module, scope), _called(call)
        if kind == "error":
            if not call.args or isinstance(call.args[0], ast.Starred):
                continue
            error = error if error in error_names() or error in _BESIDE else "VendorError"
            error = "StreamEndError" if _called(call) == "_end" else error
            for text in texts.of(call.args[0]):
                yield Site(module.name, call.lineno, kind, error, text, choices=texts.told(text))
        elif kind == "note":
            for text in texts.of(call.args[0]) if call.args else []:
                said = text.removeprefix("energy-etl: ")
                # What only passes on is found where it is made.
                if said != text and not re.fullmatch(r"\{\w+\}", said):
                    yield Site(module.name, call.lineno, kind, "", said, "", texts.told(said))
        elif kind == "fault":
            position = 0 if error == "ValueError" else _FAULTS[error]
            for argument in call.args[position : position + 1]:
                for text in texts.of(argument):
                    yield Site(module.name, call.lineno, kind, "", text, "", texts.told(text))
        elif kind == "doctor" and function not in _DOCTOR and len(call.args) > 2:
            for text in texts.of(call.args[1]):
                advice = OR.join(dict.fromkeys(texts.of(call.args[2])))
                told = texts.told(advice)
                yield Site(module.name, call.lineno, kind, "", text, advice, told)
        elif kind == "finding":
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            message = given["message"]
            assert isinstance(message, ast.Call)
            text = texts.of(message.args[0])[0]
            for value in message.args[1:]:
                text = text.replace("{}", f"{{{_column(value)}}}", 1)
            advice = texts.of(given["next_step"])[0]
            yield Site(module.name, call.lineno, kind, "", text, advice, texts.told(advice))


def _column(node: ast.AST) -> str:
    """Return the column that a Polars expression is made of."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    constants = (each for each in ast.walk(node) if isinstance(each, ast.Constant))
    return next((each.value for each in constants if isinstance(each.value, str)), "text")


@functools.cache
def find_sites() -> tuple[Site, ...]:
    """Return every message that the package can make, by module and line; the same text once."""
    found: dict[tuple[str, str, str], Site] = {}
    for module in _modules().values():
        for site in _sites_of(module):
            found.setdefault((site.module, site.error, site.text), site)
    return tuple(sorted(found.values(), key=lambda site: (site.module, site.line)))
