"""The page `docs/commands.md`, from the commands' own help. Nothing is read or written here."""

import inspect
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import typer

_HEAD: Final = """\
# Every command

Generated from the commands' own help by `energy-etl dictionary commands`; do not edit. What you
see here is what `energy-etl COMMAND --help` says.

Data goes to stdout, progress and errors to stderr. Exit codes: 0 ok, 1 failed, 2 usage (an option,
argument or name that was typed is wrong), 3 configuration (what stands in settings or files is),
4 authentication, 5 network.
"""


@dataclass(frozen=True)
class DocumentedOption:
    """One argument or option; `written` is how it is typed."""

    written: str
    meaning: str


@dataclass(frozen=True)
class DocumentedCommand:
    """One command as people read it.

    Attributes:
        name: as it is typed, `energy-etl outbox status`.
        usage: its arguments behind its name.
        text: its help, paragraphs apart by empty lines.
        options: arguments before options, each without `--help`.
    """

    name: str
    usage: str
    text: str
    options: tuple[DocumentedOption, ...]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return asdict(self)


def documented_commands(
    command: Any, name: str = "energy-etl", parent: typer.Context | None = None
) -> Iterator[DocumentedCommand]:
    """Yield every command below one that runs something, in the order of the help."""
    context = command.context_class(command, info_name=name.split()[-1], parent=parent)
    inner: dict[str, Any] = getattr(command, "commands", {})
    for key in command.list_commands(context) if inner else ():
        yield from documented_commands(inner[key], f"{name} {key}", context)
    if not inner:
        yield DocumentedCommand(
            name=name,
            usage=" ".join(command.collect_usage_pieces(context)),
            text=inspect.cleandoc(command.help or ""),
            options=tuple(_options(command, context)),
        )


def commands_page(program: Any) -> str:
    """Return the Markdown page of all commands, ending in a newline."""
    parts = [_HEAD]
    for command in documented_commands(program):
        parts += [f"## {command.name}", "", command.text, ""]
        parts += [f"    {command.name} {command.usage}".rstrip(), ""]
        if command.options:
            rows = [f"| `{_cell(o.written)}` | {_cell(o.meaning)} |" for o in command.options]
            parts += ["| option | meaning |", "|---|---|", *rows, ""]
    return "\n".join(parts)


def _options(command: Any, context: typer.Context) -> Iterator[DocumentedOption]:
    for parameter in command.params:
        help_record = parameter.get_help_record(context)
        if help_record is not None and "--help" not in parameter.opts:
            written, meaning = help_record
            yield DocumentedOption(" ".join(written.split()), " ".join(meaning.split()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
