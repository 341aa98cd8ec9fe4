"""Windows of registers, a day each."""

from datetime import UTC, datetime, timedelta

from energy_etl.state import Window

T0 = datetime(2024, 3, 31, tzinfo=UTC)
DAY = timedelta(days=1)


def window(register_id: str, day: int = 0) -> Window:
    return Window(register_id, T0 + day * DAY, T0 + (day + 1) * DAY, "wattsense")
