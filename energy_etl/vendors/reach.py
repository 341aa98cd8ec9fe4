"""How a vendor is reached: what `energy-etl doctor` and `energy-etl vendors` ask of its folder.

Each vendor's `reach.py` fills in one `Reach`: the settings that a login needs, the budgets that its
calls count against, and one cheap documented call that shows whether the login works. Nothing is
called before `Trial.ask` is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, SecretStr

from energy_etl.rest import Answer
from energy_etl.rest.dates import parse_http_date
from energy_etl.settings import Settings

# Somebody waits for the answer in front of a screen ...
TRIAL_S: Final = 4.0
# ... so what fails at once is asked once more and not four times.
QUICKLY: Final[Mapping[str, float]] = {"answer_s": TRIAL_S, "total_s": 1.0}


@dataclass(frozen=True)
class Login:
    """One login of a vendor.

    Attributes:
        needs: the settings that it cannot do without, such as `digiwatt.client_id`.
        missing: those of them that are empty.
        name: which of several logins it is; empty: the only one.
        is_needed: False: the vendor is of use without it.
        account: who logs in, for people; never a secret.
        addresses: the addresses that it is used at; empty: all of the vendor's.
    """

    needs: tuple[str, ...]
    missing: tuple[str, ...]
    name: str = ""
    is_needed: bool = True
    account: str = ""
    addresses: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        section: BaseModel,
        vendor: str,
        *fields: str,
        name: str = "",
        is_needed: bool = True,
        account: str = "",
        addresses: tuple[str, ...] = (),
    ) -> "Login":
        """Look which of the fields of a section are empty.

        Args:
            section: the vendor's settings.
            vendor: their section's name.
            fields: what is needed.
            name: see `Login.name`.
            is_needed: see `Login.is_needed`.
            account: see `Login.account`.
            addresses: see `Login.addresses`.
        """
        missing = tuple(f"{vendor}.{each}" for each in fields if not _text(section, each))
        needs = tuple(f"{vendor}.{each}" for each in fields)
        return cls(needs, missing, name, is_needed, account, addresses)

    @property
    def is_complete(self) -> bool:
        """True when nothing is missing."""
        return not self.missing

    @property
    def is_begun(self) -> bool:
        """True when anything of it was set."""
        return len(self.missing) < len(self.needs)


@dataclass(frozen=True)
class Budget:
    """A stored budget of calls, under the name by which the client counts.

    Attributes:
        name: in `state.sqlite`.
        what: which calls, for people.
        limit: calls in any `window_s` seconds.
        window_s: see limit.
    """

    name: str
    what: str
    limit: int
    window_s: float

    @property
    def a_day(self) -> int:
        """Calls that it gives in a day."""
        return int(self.limit * 86_400 / self.window_s)


@dataclass(frozen=True)
class Scheduled:
    """A run that a schedule asks for: what its calls are counted by before any was made.

    Attributes:
        is_hourly: the hourly run; False: the daily one.
        n_days: days that it asks readings of.
        register_ids: the vendor's ids of the mapped registers.
        meter_ids: the vendor's ids of the mapped meters.
        site_ids: the vendor's ids of the mapped sites.
        n_streams: streams that are pushed, and how many of them are electrical.
    """

    is_hourly: bool
    n_days: int
    register_ids: tuple[str, ...] = ()
    meter_ids: tuple[str, ...] = ()
    site_ids: tuple[str, ...] = ()
    n_streams: int = 0
    n_electrical: int = 0


@dataclass(frozen=True)
class Known:
    """What of a vendor the portfolio names: a trial may need an id.

    Attributes:
        meter_ids: the vendor's ids of mapped meters.
        streams: one stream for each name of a login that pushes.
    """

    meter_ids: tuple[str, ...] = ()
    streams: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One cheap call.

    Attributes:
        what: method and path, or what else people call it.
        ask: makes it, within `TRIAL_S` or little more, and returns the vendor's time by the answer;
            None: it did not tell. Raises what the vendor's client raises.
        login: `Login.name` that it is made with.
    """

    what: str
    ask: Callable[[], datetime | None]
    login: str = ""


@dataclass(frozen=True)
class Reach:
    """How one vendor is reached; the functions that take `Any` take its section of the settings.

    Attributes:
        addresses: the addresses that are called.
        logins: its logins, at least one.
        budgets: the budgets that its calls count against.
        trials: one cheap call for each complete login; none where there is nothing to ask for.
        check_stored: raises what can be told of a login without calling anybody: a consent that
            nobody gave.
        reads: what its scheduled runs read, for people.
        count_calls: about how many calls a scheduled run makes; pages and what is not mapped yet
            make it more.
    """

    addresses: Callable[[Any], tuple[str, ...]]
    logins: Callable[[Any], list[Login]]
    budgets: Callable[[Any], list[Budget]]
    trials: Callable[[Settings, Known], list[Trial]]
    check_stored: Callable[[Settings], None] | None = None
    reads: str = ""
    count_calls: Callable[[Any, Scheduled], int] | None = None


def date_of(answer: Answer) -> datetime | None:
    """Return the vendor's time by an answer's `Date`, None when it has none."""
    return parse_http_date(answer.headers.get("date"))


def _text(section: BaseModel, field_name: str) -> str:
    value = getattr(section, field_name)
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value or "")
