"""`energy-etl report`: what is published as one HTML file; also while a run writes."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer


def report(
    out: Annotated[
        Path | None,
        typer.Option(help="The file to write; by default data/reports/energy.html."),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(help="Only this site; by default to data/reports/energy.SITE.html."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the report: one HTML file that needs no network.

    Prints its path. It can be written while a run writes; the schedule daily_report makes it each
    morning.
    """
    # Imported here: `energy-etl --help` must not wait for a chart library.
    from energy_etl.defs.reporting import write_report
    from energy_etl.vendors import project_settings

    settings = project_settings()
    written = write_report(settings, datetime.now(UTC), out=out, site_id=site)
    if not settings.published_path.exists():
        print(
            f"energy-etl: There is no {settings.published_path} yet, so the report is empty: run "
            "`energy-etl demo` or `energy-etl up` first.",
            file=sys.stderr,
        )
    elif written.not_read:
        print(
            f"energy-etl: The published file is of an earlier version and lacks "
            f"{', '.join(written.not_read)}: run compute_figures once (`energy-etl up`).",
            file=sys.stderr,
        )
    path = str(written.path.resolve())
    if as_json:
        told = {"path": path, **written.numbers, "not_read": list(written.not_read)}
        print(json.dumps(told, indent=2))
        return
    print(path)
