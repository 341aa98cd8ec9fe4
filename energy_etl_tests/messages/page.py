"""`page`: docs/messages.md, from the messages in the package and the table of their next steps."""

import functools
import re
from pathlib import Path
from typing import Final

from energy_etl import cli, errors
from energy_etl.delivery import account, filling
from energy_etl.rest import transport
from energy_etl_tests.messages import Row, read_rows
from energy_etl_tests.messages.sites import OR, Site, find_sites

PAGE: Final = Path(__file__).parents[2] / "docs" / "messages.md"
_HEAD: Final = """\
# Every message, and what to do next
Written by `python -m energy_etl_tests.messages` from the messages in the package; a test fails when
it is stale, when a message has no next step, and when nothing provokes it. `{name}` stands for what
is filled in. The exit code is that of the command that ends with the message (0 ok, 1 failed,
2 usage, 3 configuration, 4 authentication, 5 network); where none is given the command goes on, or
the message stands in a list: the outbox, `energy-etl doctor`, mart.finding, core.portfolio_problem.
Where a message ends in one of several steps, each is told, with `Or:` between them.
"""
# Title and the beginnings of the modules whose messages stand there; the first that fits.
_GROUPS: Final = (
    ("`energy-etl doctor`", ("cli/doctor/",)),
    ("Findings (mart.finding)", ("transform/findings",)),
    ("Settings", ("settings.py", "vendors/wattics/settings.py", "rest/urls.py", "tokens.py")),
    ("Portfolio", ("portfolio/", "periods.py", "defs/resources.py")),
    ("Files to push", ("vendors/wattics/files", "cli/push")),
    ("Streams and the outbox", ("delivery/", "cli/outbox", "cli/streams", "defs/assets/push.py")),
    ("The collector of Wattics", ("vendors/wattics/collector", "vendors/wattics/wire")),
    ("Vendors: login and consent", ("auth/", "cli/wiser", "cli/sandbox_consent", "vendors/wiser/")),
    ("Vendors: calls and answers", ("rest/", "vendors/", "quota.py", "cli/device", "defs/changes")),
    ("Queries, reports and the warehouse", ("cli/sql", "report/", "warehouse/", "state/")),
    ("Keeping: prune, forget, export, import", ("cli/keeping", "defs/forgetting", "cli/transfer")),
    ("Everything else", ("",)),
)


def page() -> str:
    """Return the text of docs/messages.md."""
    rows = rows_by_site()
    lines = [_HEAD]
    for number, (title, _) in enumerate(_GROUPS):
        chosen = [
            (site, row) for site, row in rows.items() if _group_of(site) == number and not row.apart
        ]
        if not chosen:
            continue
        lines.append(f"## {title}\n| message | next step | exit |\n|---|---|---|")
        lines += sorted(dict.fromkeys(_line(site, row) for site, row in chosen))
        lines.append("")
    return "\n".join(lines)


@functools.cache
def rows_by_site() -> dict[Site, Row]:
    """Return each message with its row; those without one are left out."""
    by_module: dict[str, list[Row]] = {}
    for row in read_rows():
        by_module.setdefault(row.module, []).append(row)
    found: dict[Site, Row] = {}
    for site in find_sites():
        fitting = [r for r in by_module.get(site.module, ()) if site.text.startswith(r.starts)]
        if fitting:
            found[site] = max(fitting, key=lambda row: len(row.starts))
    return found


def next_step_of(site: Site, row: Row) -> str:
    """Return what a message tells to do, empty when it tells nothing."""
    if row.next_step.startswith("="):
        return row.next_step[1:]
    if site.next_step:
        return site.next_step
    _, begins, rest = site.text.rpartition(row.next_step) if row.next_step else ("", "", "")
    return begins + rest


def steps_of(site: Site, row: Row) -> list[str]:
    """Return the next steps of a message: one for each phrase that its text may hold there."""
    found = _filled_in(next_step_of(site, row), dict(site.choices))
    return list(dict.fromkeys(step[:1].upper() + step[1:] for step in found))


def _filled_in(text: str, choices: dict[str, tuple[str, ...]]) -> list[str]:
    module = re.search(r"\{@([^{}]*)\}", text)
    if module:
        rows = rows_by_site().items()
        steps = [s for site, row in rows if site.module == module[1] for s in steps_of(site, row)]
        return [text.replace(module[0], OR.join(dict.fromkeys(steps)))]
    for name in re.findall(r"\{([^{}]*)\}", text):
        if name in choices:
            others = {key: phrases for key, phrases in choices.items() if key != name}
            filled = [text.replace(f"{{{name}}}", phrase) for phrase in choices[name]]
            return [step.replace("?.", "?") for each in filled for step in _filled_in(each, others)]
    return [text]


def exit_code_of(site: Site) -> int | None:
    """Return the exit code of a command that ends with a message, None when none does."""
    kinds = vars(errors) | vars(account) | vars(filling) | vars(transport)
    kind = kinds.get(site.error, Exception)
    return cli.exit_code(kind("x")) if issubclass(kind, errors.EnergyEtlError) else None


def _group_of(site: Site) -> int:
    return next(n for n, (_, begins) in enumerate(_GROUPS) if site.module.startswith(begins))


def _line(site: Site, row: Row) -> str:
    advice = next_step_of(site, row)
    what = site.text if site.next_step else site.text.removesuffix(advice).rstrip(" :;,.(")
    if re.fullmatch(r"\{[^{}]*\}", what):
        # All of it is filled in: what that can be.
        what = OR.join(_filled_in(what, dict(site.choices)))
    steps = OR.join(steps_of(site, row))
    code = exit_code_of(site)
    # A status decides about the class: 401 and 403 end with 4, 5xx with 5.
    told = "1, 4 or 5" if site.error == "VendorError" else "" if code is None else str(code)
    return f"| {_cell(what)} | {_cell(steps)} | {told} |"


def _cell(text: str) -> str:
    plain = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    # In code a name is read as it is; outside, an underscore begins italics.
    parts = re.split(r"(`[^`]*`)", plain)
    return "".join(each if each.startswith("`") else each.replace("_", "\\_") for each in parts)
