"""What the pages for people say: their command lines, settings, links; and the program itself."""

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from typer.main import get_command

REPOSITORY = Path(__file__).parents[1]
README = REPOSITORY / "README.md"
# Written by hand; the others are generated.
GENERATED = {"settings.md", "commands.md", "messages.md"}
PAGES = (
    README,
    REPOSITORY / "CONTRIBUTING.md",
    *sorted(p for p in (REPOSITORY / "docs").glob("*.md") if p.name not in GENERATED),
)


@cache
def program() -> Any:
    """Return what `energy-etl` runs."""
    from energy_etl.cli.app import app

    return get_command(app)


def text_of(page: Path) -> str:
    """Return a page's text."""
    return page.read_text(encoding="utf-8")


def queries_of(page: Path) -> list[str]:
    """Return the statements of a page's SQL blocks, each with the comment that heads it."""
    blocks = re.findall(r"```sql\n(.*?)```", text_of(page), re.DOTALL)
    return [query.strip() for block in blocks for query in block.split(";") if query.strip()]


def shell_lines(page: Path) -> list[str]:
    """Return the lines of a page's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", text_of(page), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def typed_commands(page: Path) -> list[list[str]]:
    """Return the arguments of each `energy-etl` of a page's shell blocks, as bash expands them."""
    lines = [line for line in shell_lines(page) if "energy-etl " in line]
    script = "energy-etl() { printf '%s\\0' \"$@\"; printf '\\n'; }\n" + "\n".join(lines)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [line.split("\0")[:-1] for line in done.stdout.splitlines()]


def parse(arguments: list[str]) -> None:
    """Parse a command line as `energy-etl` does, and run nothing.

    Raises:
        typer.BadParameter: or another usage error.
    """
    command, parent, rest = program(), None, list(arguments)
    name = "energy-etl"
    while True:
        context = command.make_context(name, rest, parent=parent)
        if not getattr(command, "commands", None):
            return
        parent = context
        name, command, rest = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
