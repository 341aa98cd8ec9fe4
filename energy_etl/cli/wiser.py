"""`energy-etl wiser ...`: the consent of a Wiser customer, asked for and looked at."""

import json
import os
import queue
import sys
import threading
import webbrowser
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from energy_etl.cli.values import iso_text
from energy_etl.errors import AuthenticationError

if TYPE_CHECKING:
    from energy_etl.vendors.wiser.consent import Consent

app = typer.Typer(no_args_is_help=True, help="The consent of a Wiser customer.")


@app.command()
def authorize(
    browser: Annotated[
        bool, typer.Option(help="Open the address in this machine's browser, where there is one.")
    ] = True,
    paste: Annotated[
        bool,
        typer.Option(help="The browser is on another machine: paste the address it ends at."),
    ] = False,
) -> None:
    """Ask the customer for access in a browser, once.

    Prints the address to open and keeps the token, which runs renew by themselves.

    Exit codes: 3 settings, 4 denied or no answer, 5 network.
    """
    from energy_etl.cli.project import command_settings
    from energy_etl.vendors.wiser import consent as flow
    from energy_etl.vendors.wiser.settings import WiserSettings

    settings = command_settings()
    section = settings.section(WiserSettings)
    if paste:
        ask = _asker(section.authorize_deadline_s)
        consent = flow.authorize_by_paste(section, settings.token_dir, ask=ask)
    else:

        def open_url(url: str) -> None:
            _say("Open this address in a browser and allow the access:")
            print(url, flush=True)
            if browser and _has_browser():
                # Some browsers come back only when they are closed, and the answer comes before.
                threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
            _say(f"Waiting for the answer, {section.authorize_deadline_s:.0f} s at most ...")

        consent = flow.authorize(section, settings.token_dir, open_url=open_url)
    _say(_sentence(consent))


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
) -> None:
    """Say whether the account is authorised, and since when.

    Also until when its token lasts; never the token.

    Nobody is asked. Exit code 4: it is not authorised.
    """
    from energy_etl.cli.project import command_settings
    from energy_etl.vendors.wiser.consent import read_consent
    from energy_etl.vendors.wiser.settings import WiserSettings

    settings = command_settings()
    consent = read_consent(settings.section(WiserSettings), settings.token_dir)
    if as_json:
        facts = {
            "account": consent.account,
            "state": consent.state,
            "is_renewable": consent.is_renewable,
            "authorised_at": iso_text(consent.authorised_at),
            "access_until_at": iso_text(consent.access_until_at),
            "ended_at": iso_text(consent.ended_at),
        }
        print(json.dumps(facts))
    else:
        print(_sentence(consent))
    if consent.state != "authorised":
        raise typer.Exit(4)


def _sentence(consent: "Consent") -> str:
    who = f"The Wiser account {consent.account}"
    again = "run `energy-etl wiser authorize`"
    if consent.state == "none":
        return f"{who} is not authorised yet: {again}."
    if consent.state == "ended":
        since = f" on {_shown(consent.ended_at)}" if consent.ended_at else ""
        return f"The consent of the Wiser account {consent.account} has ended{since}: {again}."
    since = f" since {_shown(consent.authorised_at)}" if consent.authorised_at else ""
    until = _shown(consent.access_until_at)
    if consent.is_renewable:
        return f"{who} is authorised{since}; its token lasts until {until} and is renewed by runs."
    return (
        f"{who} is authorised{since}, but only until {until}: no refresh token was given. "
        "Add offline_access to wiser.scope and authorise again."
    )


def _shown(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC") if at else "an unknown time"


def _has_browser() -> bool:
    # Without a display Python would start a text browser in this very terminal.
    return sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )


def _asker(deadline_s: float) -> Callable[[str], str]:
    """Return what shows the address and reads a pasted one from stdin."""
    shown: set[str] = set()

    def ask(url: str) -> str:
        if url in shown:
            _say("That is no answer to this attempt. Paste the whole address once more:")
        else:
            shown.add(url)
            _say("Open this address in any browser and allow the access:")
            print(url, flush=True)
            _say(
                "The browser is then sent to an address that it may not be able to show. "
                "Copy it from the address bar, whole, and paste it here:"
            )
        line = _read_line(deadline_s)
        if not line:
            raise AuthenticationError(
                "No address was pasted: run `energy-etl wiser authorize --paste` again."
            )
        return line

    return ask


def _read_line(deadline_s: float) -> str:
    """Return a line of stdin; empty at its end, or when none came in time."""
    lines: queue.Queue[str] = queue.Queue(1)

    def read() -> None:
        try:
            lines.put(sys.stdin.readline())
        except UnicodeDecodeError:
            # No address; asked for once more.
            lines.put("?")

    # A thread, since stdin has no time-out; it ends with the process.
    threading.Thread(target=read, daemon=True).start()
    try:
        return lines.get(timeout=deadline_s)
    except queue.Empty:
        return ""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
