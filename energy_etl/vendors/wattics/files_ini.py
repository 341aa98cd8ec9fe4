"""Swarm's ini: which CSV feeds which stream, and how. Swarm is the vendor's own Python app.

Modelled on Swarm 1.1.0 and its example, verified with no running one:

| setting | meaning |
|---|---|
| `[General] Filename` | the CSV, looked for beside the ini (by Swarm: where it runs) |
| `ChannelReference` | the stream's id |
| `ChannelType` real_electricity | columns in the order of the vendor's page |
| `other` | one column, sent as `value` |
| `fake_electricity` | one column, Wh of a slot: sent as it is in `pC_1`, and as mean W in `aP_1` |
| `MinutesInSlot` | length of that slot; needed for fake_electricity, unused otherwise |
| `MinutesShift` | added to each stamp, as elapsed minutes; empty or missing: none |
| `[Web DC]`, `[Logs]` | not used: URL, user and password come from the settings |

Where we differ: with MinutesShift, Swarm means to send one more packet at the first stamp before
the shift, but builds it of the wrong parts and ends with an error; that packet is not sent. Swarm
counts an hour of summer time as `+00:00`; we stamp with the true offset of the stream's zone. In
`fake_electricity` the energy of a slot stands in `pC_1`, where the page wants a counter: the vendor
has to have set such a stream up for it, so it is sent as Swarm sends it.
"""

import configparser
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

from energy_etl.errors import DeliveryError, UsageError

ChannelType = Literal["real_electricity", "fake_electricity", "other"]
_CHANNEL_TYPES: Final[dict[str, ChannelType]] = {
    "real_electricity": "real_electricity",
    "fake_electricity": "fake_electricity",
    "other": "other",
}
_GENERAL: Final = "General"
_LONGEST_SHIFT_MINUTES: Final = 7 * 24 * 60
_LONGEST_SLOT_MINUTES: Final = 24 * 60
_LARGEST_INI_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class SwarmIni:
    """What an ini says about its CSV."""

    csv_path: Path
    stream_id: str
    channel_type: ChannelType
    shift: timedelta
    slot_minutes: int | None
    has_own_login: bool


def read_ini(path: Path) -> SwarmIni:
    """Read Swarm's configuration.

    Raises:
        UsageError: it is missing, or a folder.
        DeliveryError: it cannot be read, or a setting is missing or none; nothing of [Web DC] is
            ever shown.
    """
    parser = configparser.RawConfigParser(allow_no_value=True)
    try:
        parser.read_string(_text(path))
    except configparser.MissingSectionHeaderError as error:
        raise _refusal(path, f"line {error.lineno} stands before any [section]") from None
    except configparser.ParsingError as error:
        # Without the line itself: it may be the password.
        raise _refusal(path, f"line {error.errors[0][0]} is no setting") from None
    except AttributeError:
        # Of Python before 3.13: an indented line goes on with a value, and there is none.
        raise _refusal(path, "an indented line follows a name without a value") from None
    except (configparser.DuplicateOptionError, configparser.DuplicateSectionError) as error:
        raise _refusal(path, f"line {error.lineno} gives something twice") from None
    if not parser.has_section(_GENERAL):
        raise _refusal(path, "the section [General] is missing")
    general: dict[str, str | None] = dict(parser.items(_GENERAL))
    channel_type = _CHANNEL_TYPES.get(general.get("channeltype") or "")
    if channel_type is None:
        raise _refusal(path, f"ChannelType must be one of {', '.join(_CHANNEL_TYPES)}")
    shift_minutes = _whole_number(path, general, "MinutesShift", _LONGEST_SHIFT_MINUTES) or 0
    slot_minutes = _whole_number(path, general, "MinutesInSlot", _LONGEST_SLOT_MINUTES)
    if channel_type == "fake_electricity" and (slot_minutes is None or slot_minutes < 1):
        raise _refusal(path, "fake_electricity needs MinutesInSlot of at least 1")
    csv_path = path.parent / Path(_needed(path, general, "Filename")).expanduser()
    if not csv_path.is_file():
        raise _refusal(path, f"Filename names {csv_path}, and there is no such file")
    return SwarmIni(
        csv_path=csv_path,
        stream_id=_needed(path, general, "ChannelReference"),
        channel_type=channel_type,
        shift=timedelta(minutes=shift_minutes),
        slot_minutes=slot_minutes,
        has_own_login=parser.has_section("Web DC"),
    )


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST_INI_BYTES:
            raise _refusal(path, "it is too large for one")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise _refusal(path, "it is not UTF-8") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder: name one file in it.") from None
    except FileNotFoundError:
        raise UsageError(f"There is no file {path}: correct its name.") from None


def _needed(path: Path, general: Mapping[str, str | None], name: str) -> str:
    text = general.get(name.lower())
    if not text:
        raise _refusal(path, f"{name} is missing in [General]")
    return text


def _whole_number(
    path: Path, general: Mapping[str, str | None], name: str, largest: int
) -> int | None:
    text = general.get(name.lower())
    if not text:
        return None
    try:
        number = int(text)
    except ValueError:
        raise _refusal(path, f"{name} must be a whole number of minutes") from None
    if abs(number) > largest:
        raise _refusal(path, f"{name} must be at most {largest} minutes")
    return number


def _refusal(path: Path, what: str) -> DeliveryError:
    return DeliveryError(
        f"{path} is no Swarm configuration that can be used: {what}; mend that line or "
        "setting, nothing was sent."
    )
