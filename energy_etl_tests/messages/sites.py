"""`find_sites`: every message of the package, read from its syntax trees.

A text is told as a template: what is filled in stands as `{name}`. Texts that are put together
(by a local name, a constant, a function of the same module that returns one text) are put together
here as well, as far as that can be read; the rest is a `{name}`.
"""

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from energy_etl_tests.messages.source import (
    Module,
    Scope,
    called_name,
    error_names,
    given_for,
    imported,
    is_none,
    modules,
    rows_of,
    scope_of,
)

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


class _Texts:
    """What an expression of one function can say."""

    def __init__(
        self,
        module: Module,
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
        for module, value, scope in given_for(node.attr) if self.depth < _DEPTH else ():
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
                other, name = imported(other, name) or (other, name)
            outside = _Texts(other, {}, self.depth + 1, self.choices)
            return outside.all_of(other.constants.get(name, []))
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            rows = rows_of(node.value, self.module.constants)
            position = node.slice.value
            return deeper.all_of([row.elts[position] for row in rows]) if rows else []  # pyright: ignore
        if not isinstance(node, ast.Call):
            return []
        if isinstance(node.func, ast.Attribute) and node.func.attr == "rstrip":
            return deeper.texts_only(node.func.value)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "join" and node.args:
            return deeper.joined(node)
        name = called_name(node)
        other = self.module
        if name not in other.functions and isinstance(node.func, ast.Name):
            other, name = imported(self.module, name) or (other, name)
        texts: list[str] = []
        for function in other.functions.get(name, []):
            inside = _Texts(other, scope_of(function), self.depth + 1, self.choices)
            returned = [each.value for each in ast.walk(function) if isinstance(each, ast.Return)]
            texts += inside.all_of([each for each in returned if each is not None])
        return texts

    def all_of(self, nodes: list[ast.expr]) -> list[str]:
        """Return what several expressions say; nothing when one of them is no text."""
        there = [node for node in nodes if not is_none(node)]
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
    whole, is_upper = parts[1].value, called_name(parts[0]) == "upper"
    return whole if is_upper and isinstance(whole, ast.Name | ast.Attribute) else None


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
        called = called_name(node)
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


def _kind_of(module: Module, call: ast.Call) -> str:
    """Return which kind of message a call makes, empty when none."""
    name = called_name(call)
    if name in error_names() or name in _BESIDE:
        return "error"
    is_drawn = name == "kind" or (
        isinstance(call.func, ast.Call) and called_name(call.func) == "type"
    )
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


def _sites_of(module: Module) -> Iterator[Site]:
    for call, around in module.calls:
        kind = _kind_of(module, call)
        if not kind:
            continue
        scope: Scope = {}
        for each in around:
            scope |= scope_of(each)
        function = around[-1].name if around else ""
        texts, error = _Texts(module, scope), called_name(call)
        if kind == "error":
            if not call.args or isinstance(call.args[0], ast.Starred):
                continue
            error = error if error in error_names() or error in _BESIDE else "VendorError"
            error = "StreamEndError" if called_name(call) == "_end" else error
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
    for module in modules().values():
        for site in _sites_of(module):
            found.setdefault((site.module, site.error, site.text), site)
    return tuple(sorted(found.values(), key=lambda site: (site.module, site.line)))
