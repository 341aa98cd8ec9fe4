"""`energy-etl device`: SmartgridOne's devices: update."""

import json
from typing import Annotated, Any, Literal

import typer

from energy_etl.errors import UsageError

app = typer.Typer(no_args_is_help=True, help="SmartgridOne's devices.")


@app.callback()
def device() -> None:
    """SmartgridOne's devices."""


@app.command()
def update(
    node_id: Annotated[str, typer.Argument(help="The device's node id.")],
    given: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A property; JSON or text; dots go into objects; may be repeated.",
        ),
    ],
    mode: Annotated[
        Literal["strict", "legacy", "merge"],
        typer.Option(help="strict replaces all, legacy top-level keys, merge goes into objects."),
    ] = "merge",
    validate: Annotated[
        bool | None,
        typer.Option(help="Let SmartgridOne validate them, or not; default: as it does itself."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without a question.")] = False,
) -> None:
    """Change a device: shows before and after, asks, does it."""
    from energy_etl.cli.changing import show_ask_do
    from energy_etl.vendors.smartgridone.changes import UpdateDevice

    show_ask_do(UpdateDevice(node_id, parse_properties(given), mode, validate), is_agreed=yes)


def parse_properties(given: list[str]) -> dict[str, Any]:
    """Return `--set` texts as properties: `info.model=X` is {"info": {"model": "X"}}.

    Raises:
        UsageError: one has no name or no `=`, or two contradict each other.
    """
    properties: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        path = name.split(".")
        if not equals or not all(path):
            raise UsageError(
                f"--set {text} is not NAME=VALUE: write it as in `--set info.model=X`."
            )
        inner = properties
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise UsageError(
                    f"--set {text} goes into a value that another --set gives whole: leave one of "
                    "the two out."
                )
        if path[-1] in inner:
            raise UsageError(f"--set gives {name} twice: leave one out.")
        inner[path[-1]] = _value_of(value)
    return properties


def _value_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
    except RecursionError:
        raise UsageError("--set holds lists nested too deeply: write fewer brackets.") from None
