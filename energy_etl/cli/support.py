"""`energy-etl support-bundle`: what a vendor's support asks for, in one file without secrets."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from energy_etl.errors import UsageError


def support_bundle(
    vendor: Annotated[
        str | None, typer.Option(help="Only what concerns this vendor, such as wattsense.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The file to write; default: one in data/support.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no vendor.")] = False,
) -> None:
    """Write failing calls into a zip for a vendor's support.

    With URL, request and answer, beside versions, settings and doctor's rows, all without secrets.

    Prints the file's path. A run that holds the warehouse is waited for.
    """
    from energy_etl.cli.doctor.examination import examine
    from energy_etl.cli.project import command_settings
    from energy_etl.cli.standing import now, refuse_no_project
    from energy_etl.cli.support_content import Bundle, write_bundle
    from energy_etl.vendors import discover_vendors

    settings = command_settings()
    refuse_no_project(settings)
    if vendor is not None and vendor not in discover_vendors():
        raise UsageError(
            f"--vendor {vendor} is not known: take one of {', '.join(discover_vendors())}."
        )
    at = now()
    if out is None:
        folder = settings.data_dir / "support"
        folder.mkdir(exist_ok=True)
        out = folder / f"energy-etl-support-{at:%Y%m%d-%H%M%S}.zip"
    rows, is_complete = examine(is_offline=offline)
    write_bundle(out, Bundle(settings, vendor, at, rows))
    print(out, flush=True)
    print("Look into it before you send it.", file=sys.stderr, flush=True)
    if not is_complete:
        # A check that hangs keeps a thread, and Python would wait for it.
        os._exit(0)
