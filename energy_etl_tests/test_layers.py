"""The walls of the house: who may import whom, how long a module may be, which names are taken.

Read from the source's syntax tree, so that it takes a fraction of a second and nothing is imported.
"""

import ast
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "energy_etl"
MODULES = sorted(PACKAGE.rglob("*.py"))

# From the ground up: a module imports from its own floor or a lower one.
FLOORS = (
    {"errors", "units", "periods"},
    {"settings", "portfolio", "tables", "tokens", "state"},
    {"rest", "auth", "quota", "warehouse"},
    {"vendors", "transform", "delivery", "report"},
    {"defs"},
    {"definitions", "cli", "__main__"},
)
# Library -> modules that may import it (prefixes of the dotted name below energy_etl).
WALLS = {
    "dagster": ("defs", "definitions", "cli"),
    "duckdb": ("warehouse",),
    "httpx": ("rest", "auth"),
    "aiohttp": (),
    "httptools": ("vendors.wattics.connection",),
    "starlette": ("sandbox",),
    "uvicorn": ("sandbox",),
    "typer": ("cli",),
    "altair": ("report.charts",),
    "vl_convert": ("report.charts",),
    "sqlite3": ("state", "delivery", "quota"),
}
LONGEST_MODULE = 500
# What a statement can stand in.
HOLDERS = (ast.stmt, ast.ExceptHandler, ast.match_case)
DRAWERS = {"utils.py", "helpers.py", "common.py", "misc.py", "http.py"}


def dotted(path: Path) -> str:
    """Return a module's name below energy_etl, `tables.core`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    """Return the full name of every module that a file imports, also inside functions."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    # Imports are statements: to walk the expressions too takes half as long again.
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    for node in waiting:
        waiting.extend(each for each in ast.iter_child_nodes(node) if isinstance(each, HOLDERS))
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def each_module(rule: Callable[[Path], None]) -> Callable[[], None]:
    """Return one test of a rule over all modules: a test for each takes longer than its rule."""

    @functools.wraps(rule)
    def test() -> None:
        faults = []
        for path in MODULES:
            try:
                rule(path)
            except AssertionError as fault:
                faults.append(f"{dotted(path)}: {fault}")
        assert not faults, "\n".join(faults)

    # pytest would take the path for a fixture.
    del test.__wrapped__
    return test


def floor_of(module: str) -> int | None:
    """Return the floor of a module, None for the sandbox and the package itself."""
    top = module.split(".")[0]
    return next((n for n, names in enumerate(FLOORS) if top in names), None)


def our_imports(path: Path) -> set[str]:
    """Return what a file imports of energy_etl, as names below it."""
    return {
        name.removeprefix("energy_etl.") for name in imports(path) if name.startswith("energy_etl.")
    }


@each_module
def test_module_imports_only_from_its_floor_or_below(path: Path) -> None:
    module = dotted(path)
    own = floor_of(module)
    if own is None:
        assert module == "" or module.startswith("sandbox"), f"{module} has no floor: give it one"
        return
    for name in our_imports(path):
        other = floor_of(name)
        is_sandbox_door = name.startswith("sandbox") and module.startswith("cli")
        assert is_sandbox_door or (other is not None and other <= own), f"{module} imports {name}"


@each_module
def test_vendors_and_transform_do_not_see_each_other(path: Path) -> None:
    top = dotted(path).split(".")[0]
    forbidden = {"vendors": ("transform", "delivery"), "transform": ("vendors", "delivery")}
    names = our_imports(path)
    if dotted(path).startswith("vendors."):
        # A vendor knows itself and what all vendors share, never another vendor.
        own = ".".join(dotted(path).split(".")[:2])
        shared = {f"vendors.{module.stem}" for module in (PACKAGE / "vendors").glob("*.py")}
        others = {n for n in names if n.startswith("vendors.") and n.count(".") > 1}
        assert {".".join(n.split(".")[:2]) for n in others} <= {own, *shared}
    if top == "delivery":
        assert not any(n.startswith(("vendors", "transform")) for n in names)
    if top == "report":
        # Frames in, HTML out: it reads nothing itself.
        below = {"tables", "periods", "units", "errors"}
        assert {n.split(".")[0] for n in names} <= {"report", *below}
    for floor in forbidden.get(top, ()):
        assert not any(n == floor or n.startswith(f"{floor}.") for n in names), names


@each_module
def test_sandbox_sees_only_units_of_the_package(path: Path) -> None:
    if not dotted(path).startswith("sandbox"):
        return
    assert all(n.startswith(("sandbox", "units")) for n in our_imports(path))


@each_module
def test_library_is_imported_only_behind_its_wall(path: Path) -> None:
    module = dotted(path)
    for name in imports(path):
        allowed = WALLS.get(name.split(".")[0])
        assert allowed is None or module.startswith(allowed), f"{module} imports {name}"


@each_module
def test_module_has_a_docstring_and_fits_on_a_few_screens(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), f"{path} says nothing about itself"
    assert text.count("\n") <= LONGEST_MODULE, f"{path} is longer than {LONGEST_MODULE} lines"
    assert path.name not in DRAWERS


@each_module
def test_defs_keep_their_annotations(path: Path) -> None:
    # Dagster reads the annotation of `context`; postponed ones are text to it.
    is_postponed = dotted(path).startswith(
        "defs"
    ) and "from __future__ import annotations" in path.read_text(encoding="utf-8")
    assert not is_postponed


def test_no_module_in_the_root_shadows_a_package() -> None:
    assert not list(ROOT.glob("*.py"))


def test_no_package_is_called_dagster() -> None:
    assert not [path for path in PACKAGE.rglob("dagster") if path.is_dir()]
