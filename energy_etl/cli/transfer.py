"""`energy-etl export` and `import`: everything as Parquet, for a backup or another machine."""

from pathlib import Path
from typing import Annotated

import typer

from energy_etl.cli.values import existing_path


def export(
    out: Annotated[Path, typer.Option(help="The folder to write; it must be new or empty.")],
    schema: Annotated[
        list[str] | None,
        typer.Option(help="Only this schema's tables, without outbox; may be repeated."),
    ] = None,
) -> None:
    """Write everything to a folder, as Parquet: a backup.

    Every table, the outbox and the portfolio, with a manifest of checksums. Runs may go on:
    they wait for as long as the tables are read. No secret and no token is in it.
    """
    from energy_etl.cli.transfer_files import export_project
    from energy_etl.vendors import project_settings

    for line in export_project(project_settings(), out, schema or ()):
        print(line)


def import_(
    folder: Annotated[Path, typer.Argument(help="What export wrote.", callback=existing_path)],
    replace: Annotated[bool, typer.Option(help="Replace what is there.")] = False,
    keep_outbox: Annotated[
        bool, typer.Option(help="Leave the outbox that is there as it is.")
    ] = False,
) -> None:
    """Bring an export into this project: a restore.

    While nothing runs on it; that the export is whole is seen first.

    Refused when the outbox here has sent more than the export knows of: it would be sent twice.
    """
    from energy_etl.cli.transfer_files import import_project
    from energy_etl.vendors import project_settings

    settings = project_settings()
    for line in import_project(settings, folder, is_replacing=replace, keeps_outbox=keep_outbox):
        print(line)
