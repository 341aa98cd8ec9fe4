"""`energy-etl prune` and `forget`: what goes is told, asked about, and deleted."""

import json
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from energy_etl.errors import UsageError


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell it, delete nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without a question.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; with --dry-run or --yes.")
    ] = False,
) -> None:
    """Delete what is older than it is to be kept.

    The settings ENERGY_ETL_KEEP__* say how long that is; the job prune_history does it weekly.
    Figures, core and the portfolio stay whole. Rebuild reaches no further back than raw does.
    """
    from energy_etl.cli.standing import refuse_no_project
    from energy_etl.defs.instance import create_instance, open_instance
    from energy_etl.defs.keeping import old_sentence
    from energy_etl.defs.retention import finish_pruning, plan_pruning
    from energy_etl.defs.retention import prune as prune_old
    from energy_etl.vendors import project_settings

    if as_json and not (dry_run or yes):
        raise UsageError("--json asks no question: give --dry-run or --yes with it.")
    settings, now = project_settings(), datetime.now(UTC)
    refuse_no_project(settings)
    create_instance(settings.dagster_home)
    with open_instance(settings.dagster_home) as instance:
        found = [old for old in plan_pruning(settings, instance, now) if old.n_rows]
        if as_json and dry_run:
            print(json.dumps([old.plain() for old in found], indent=2))
            return
        if not as_json:
            for old in found:
                print(old_sentence(old))
            if not found:
                print("Nothing is older than it is to be kept.")
                if not dry_run:
                    # An earlier one may have been stopped by a full disk, or killed.
                    finish_pruning(settings, lambda note: print(note, file=sys.stderr))
                return
            if dry_run:
                print("Nothing was deleted: it is a dry run.")
                return
            if not yes:
                typer.confirm("Delete it?", abort=True)
        done = prune_old(settings, instance, now, lambda note: print(note, file=sys.stderr))
    if as_json:
        deleted = [old.plain() for old in done.deleted]
        print(json.dumps({"deleted": deleted, "n_bytes_back": done.n_bytes_back}, indent=2))
        return
    print(f"Deleted; the disk got back {max(done.n_bytes_back, 0) / 1e6:.1f} MB.")


def forget(
    meter: Annotated[str | None, typer.Argument(help="The meter's id in meters.csv.")] = None,
    user: Annotated[
        str | None, typer.Option(help="A person instead, by the id that a vendor gave.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without a question.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell it, delete nothing.")] = False,
) -> None:
    """Take one meter or one person out of everything here.

    Out of raw, figures, outbox, history and files, which are searched for it afterwards. Its
    rows of the portfolio go too. What a vendor still lists comes back with the next run: have
    it removed there, or the right to see it. Packets that Wattics has stay at Wattics.
    """
    from energy_etl.cli.standing import refuse_no_project
    from energy_etl.cli.up import locked_home
    from energy_etl.defs.forgetting import find, forget_subject, meter_subject, user_subject
    from energy_etl.defs.instance import create_instance, open_instance
    from energy_etl.vendors import project_settings

    if (meter is None) == (user is None):
        raise UsageError("Give a meter, or --user.")
    settings = project_settings()
    refuse_no_project(settings)
    create_instance(settings.dagster_home)
    with locked_home(settings.dagster_home), open_instance(settings.dagster_home) as instance:
        if user is not None:
            subject = user_subject(settings, user)
        else:
            subject = meter_subject(settings, meter or "")
        found = find(settings, instance, subject)
        if found.is_empty:
            print(f"Nothing here names {subject.told}.")
            return
        print(f"Of {subject.told} there is:")
        for line in found.lines():
            print(f"  {line}")
        if dry_run:
            print("Nothing was deleted: it is a dry run.")
            return
        if not yes:
            typer.confirm("Delete all of it? It cannot be undone.", abort=True)
        left = forget_subject(settings, instance, subject)
    if left:
        print(
            f"energy-etl: It is deleted, but these files still name it: {', '.join(left)}: "
            "look at them, and delete them.",
            file=sys.stderr,
        )
        raise typer.Exit(1)
    print(f"Deleted {subject.told}; no file below {settings.data_dir} names it any more.")
