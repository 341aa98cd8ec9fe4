"""The package's syntax trees: its modules, and what the names in them stand for.

What a text says is read in `sites.py`.
"""

import ast
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "energy_etl"

Scope = dict[str, list[ast.expr]]
_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module:
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
        rows = rows_of(loop.iter, self.constants)
        if isinstance(loop.target, ast.Tuple) and isinstance(loop.target.elts[-1], ast.Tuple):
            for position, name in enumerate(loop.target.elts[-1].elts):
                if isinstance(name, ast.Name) and rows:
                    self.looped.setdefault(name.id, []).extend(r.elts[position] for r in rows)


@functools.cache
def scope_of(function: _Function) -> Scope:
    """Return what the names of a function stand for; nothing for its arguments."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    # An argument that is assigned anew is no longer one.
    return {each.arg: [] for each in arguments} | _assigned(function.body)


def rows_of(node: ast.expr, constants: Scope) -> list[ast.Tuple]:
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


def is_none(node: ast.expr) -> bool:
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
def modules() -> dict[str, Module]:
    paths = (path for path in sorted(PACKAGE.rglob("*.py")) if "sandbox" not in path.parts)
    return {module.name: module for module in map(Module, paths)}


def _defined(module: Module, name: str) -> tuple[str, str]:
    """Return the module of a class that a name stands for, as far as its import tells it."""
    dotted, original = module.imports.get(name, ("", ""))
    return ("/".join(dotted.split(".")[1:]) + ".py", original) if dotted else (module.name, name)


@functools.cache
def given_for(name: str) -> tuple[tuple[Module, ast.expr, Scope], ...]:
    """Return what an attribute of that name may be: a property, or what is given for a field."""
    found: list[tuple[Module, ast.expr, Scope]] = []
    # Of the classes that have such a field: their modules, and its place among the fields.
    places: dict[tuple[str, str], int] = {}
    for module in modules().values():
        for function in module.functions.get(name, []):
            if any("property" in ast.unparse(each) for each in function.decorator_list):
                returned = [n.value for n in ast.walk(function) if isinstance(n, ast.Return)]
                found += [(module, value, scope_of(function)) for value in returned if value]
        for each in module.classes:
            fields = [n for n in each.body if isinstance(n, ast.AnnAssign)]
            for place, field in enumerate(fields):
                if isinstance(field.target, ast.Name) and field.target.id == name:
                    places[module.name, each.name] = place
                    found += [(module, field.value, {})] if field.value else []
    for module in modules().values() if places else ():
        for call, around in module.calls:
            values = [each.value for each in call.keywords if each.arg == name]
            place = places.get(_defined(module, called_name(call)))
            values += [] if place is None else call.args[place : place + 1]
            scope = {key: value for each in around for key, value in scope_of(each).items()}
            found += [(module, value, scope) for value in values]
    return tuple(found)


def imported(module: Module, name: str) -> tuple[Module, str] | None:
    """Return the module of the package that a name was imported from."""
    dotted, original = module.imports.get(name, ("", ""))
    stem = "/".join(dotted.split(".")[1:])
    for candidate in (f"{stem}.py", f"{stem}/__init__.py"):
        found = modules().get(candidate)
        if found is None:
            continue
        if original in found.functions or original in found.constants:
            return found, original
        return imported(found, original)
    return None


def called_name(node: ast.Call) -> str:
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


@functools.cache
def error_names() -> frozenset[str]:
    """Return the names of the tree of errors, with those that modules add to it."""
    names = {"EnergyEtlError"}
    classes = [each for module in modules().values() for each in module.classes]
    n_before = 0
    while n_before != len(names):
        n_before = len(names)
        names |= {c.name for c in classes for b in c.bases if _name_of_class(b) in names}
    return frozenset(names)


def _name_of_class(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
