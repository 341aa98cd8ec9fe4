"""`energy-etl backfill`: what loading past days would cost, and asking Dagster to load them."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from energy_etl.defs.faults import counted
from energy_etl.errors import ConfigurationError

if TYPE_CHECKING:
    from energy_etl.defs.backfill import Days, VendorPast

_DAY_FORMATS = ["%Y-%m-%d"]


def backfill(
    from_day: Annotated[
        datetime, typer.Option("--from", formats=_DAY_FORMATS, help="First UTC day.")
    ],
    to_day: Annotated[
        datetime, typer.Option("--to", formats=_DAY_FORMATS, help="Last UTC day, included.")
    ],
    vendor: Annotated[
        list[str] | None, typer.Option(help="Only this vendor; may be repeated.")
    ] = None,
    only_meter: Annotated[
        list[str] | None, typer.Option(help="Only this meter of ours; may be repeated.")
    ] = None,
    only_site: Annotated[
        list[str] | None, typer.Option(help="Only this site of ours; may be repeated.")
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show what it would cost and ask for nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Load past days again; --preview shows what it would cost.

    The preview tells per vendor the calls against the quota, the time, and what the vendor no
    longer gives. Without it the backfill is asked for, and `energy-etl up` runs it.
    """
    from energy_etl.cli.project import command_etl
    from energy_etl.definitions import build_defs
    from energy_etl.defs.backfill import Days, chosen_vendors, preview_past, request_backfill
    from energy_etl.defs.extraction import OnlyConfig
    from energy_etl.defs.instance import open_instance
    from energy_etl.vendors.golive import require_consent

    etl = command_etl()
    days = Days(from_day.date(), to_day.date())
    days.check(etl.now().date())
    only = OnlyConfig(only_meters=only_meter or [], only_sites=only_site or [])
    pasts = preview_past(etl, days, chosen_vendors(vendor or []), only)
    asked: dict[str, str] = {}
    if not preview:
        loadable = [past.preview.asset for past in pasts if past.is_loadable and past.preview]
        if not loadable:
            raise ConfigurationError(
                "Nothing of these days can be loaded: run the same with --preview to see why."
            )
        settings = etl.settings()
        for past in pasts:
            if past.is_loadable:
                # Here, before anything is queued: each of its runs would fail on the same.
                require_consent(settings, past.vendor.name)
        home = settings.dagster_home
        if not (home / "dagster.yaml").exists():
            raise ConfigurationError(
                f"There is no Dagster instance in {home}: run `energy-etl init` first."
            )
        definitions = build_defs({"etl": etl})
        with open_instance(home) as instance:
            for asset in filter(None, loadable):
                asked[asset] = request_backfill(instance, definitions, asset, days, only)
    if as_json:
        json.dump(
            [_as_json(past, days, asked) for past in pasts], sys.stdout, indent=2, default=str
        )
        print()
        return
    for line in _sentences(pasts, days, asked):
        print(line)


def _as_json(past: "VendorPast", days: "Days", asked: dict[str, str]) -> dict[str, Any]:
    preview = past.preview
    asset = preview.asset if preview else None
    return {
        "vendor": past.vendor.name,
        "from_on": days.from_on,
        "to_on": days.to_on,
        "n_days": len(days.keys()),
        "asset": asset,
        "n_registers": preview.n_registers if preview else 0,
        "calls": [
            {
                "what": call.what,
                "n_calls": call.n_calls,
                "quota": call.quota,
                "limit": call.limit,
                "window_s": call.window_s,
                "n_used": use.n_used,
                "n_left": max(call.limit - use.n_used, 0),
                "pause_s": use.pause_s,
                "call_s": call.call_s,
                "is_call_s_measured": call.is_measured,
            }
            for call, use in zip(preview.calls if preview else (), past.uses, strict=True)
        ],
        "expected_s": round(past.expected_s, 1),
        "not_given": list(preview.not_given) if preview else [_nothing(past)],
        "backfill_id": asked.get(asset or ""),
    }


def _sentences(pasts: "Sequence[VendorPast]", days: "Days", asked: dict[str, str]) -> list[str]:
    n_days, n_runs = len(days.keys()), len(days.batches())
    told = f"{counted(n_days, 'UTC day')}, {counted(n_runs, 'run')} for each vendor"
    lines = [f"{days.from_on} to {days.to_on}: {told}."]
    for past in pasts:
        lines.append("")
        if past.preview is None:
            lines.append(f"{past.vendor.title}: {_nothing(past)}")
            continue
        lines.append(f"{past.vendor.title}: {_headline(past)}")
        for call, use in zip(past.preview.calls, past.uses, strict=True):
            per_call = "measured" if call.is_measured else "a guess, none was made yet"
            lines.append(
                f"  {call.n_calls} {call.what} at {call.call_s:.2g} s each ({per_call}); "
                f"the quota gives {call.limit} in {call.window_s:g} s, "
                f"{use.n_used} are used, {max(call.limit - use.n_used, 0)} are left."
            )
            if use.pause_s:
                lines.append(f"  The vendor asked for a pause of another {use.pause_s:.0f} s.")
        lines += [f"  {sentence}" for sentence in past.preview.not_given]
    if asked:
        lines.append("")
        lines += [f"Asked for {asset}: backfill {name}." for asset, name in asked.items()]
        lines.append(
            "It begins within 30 s while `energy-etl up` runs (else when it runs next); follow it "
            "in the UI under Runs."
        )
    return lines


def _headline(past: "VendorPast") -> str:
    preview = past.preview
    if preview is None or preview.asset is None:
        return "nothing of these days can be loaded."
    if not preview.n_registers:
        return "no register that was asked for is mapped to it, so there is nothing to load."
    # At least a second: "about 0:00:00" reads as if there were nothing to load.
    about = timedelta(seconds=max(1, round(past.expected_s)))
    registers = counted(preview.n_registers, "register")
    return f"{registers} into {preview.asset}, about {about} (h:mm:ss)."


def _nothing(past: "VendorPast") -> str:
    return f"{past.vendor.title} keeps no past that could be loaded by days."
