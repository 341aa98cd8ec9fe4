"""Filling and draining an outbox in one line each, as the tests of the sender need it."""

from collections.abc import Callable, Mapping
from datetime import datetime

from energy_etl.delivery import Collector, DrainLimits, DrainReport, Outbox, drain, release
from energy_etl.delivery.loop import run_fast
from energy_etl.vendors.wattics.collector import PostAnswer, WatticsCollector, open_collectors
from energy_etl.vendors.wattics.settings import WatticsSettings, sandbox_section
from energy_etl_tests.delivery.conftest import (
    NOW,
    CollectorServer,
    body,
    packets,
    plan,
    stamp_ms,
    states,
)

TIMEOUT_S = 0.25
LIMITS = DrainLimits(request_timeout_s=TIMEOUT_S, backoff_base_s=0.01, max_attempts=4)


class Wrapped:
    """A real collector that a test may disturb."""

    def __init__(self, collector: WatticsCollector) -> None:
        self._collector = collector

    @property
    def fingerprint(self) -> str:
        return self._collector.fingerprint

    async def post(self, body: bytes) -> PostAnswer:
        return await self._collector.post(body)

    async def last(self, stream_id: str) -> datetime | None:
        return await self._collector.last(stream_id)


def wattics_settings(
    server: CollectorServer,
    timeout_s: float = TIMEOUT_S,
    passwords: Mapping[str, str] | None = None,
) -> WatticsSettings:
    section = sandbox_section(server.url)
    for name, password in (passwords or {}).items():
        section["credentials"][name]["password"] = password
    return WatticsSettings.model_validate({**section, "request_timeout_s": timeout_s})


def fill(
    outbox: Outbox, stream_id: str, n: int, *, value: float | None = None, **plan_fields: object
) -> None:
    agreed = plan(stream_id, **plan_fields)
    outbox.fill(packets(stream_id, range(1, n + 1), value), [agreed], now=NOW)
    release(outbox, [agreed], [], NOW)


def send(
    outbox: Outbox,
    server: CollectorServer,
    *,
    limits: DrainLimits = LIMITS,
    wrap: Callable[[str, WatticsCollector], Collector] = lambda _, collector: collector,
    passwords: Mapping[str, str] | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> DrainReport:
    async def run() -> DrainReport:
        async with open_collectors(wattics_settings(server, passwords=passwords)) as opened:
            collectors: Mapping[str, Collector] = {
                name: wrap(name, collector) for name, collector in opened.items()
            }
            return await drain(outbox, collectors, limits=limits, on_wait=on_wait)

    return run_fast(run())


def assert_delivered(
    outbox: Outbox, server: CollectorServer, stream_id: str, n: int, account: str = "main"
) -> None:
    """Everything arrived once, in order, as the outbox says, and was confirmed."""
    collected = server.collected(stream_id, account)
    assert collected.stamps_ms == [stamp_ms(number) for number in range(1, n + 1)]
    assert collected.bodies == [body(stream_id, number) for number in range(1, n + 1)]
    assert set(states(outbox, stream_id).values()) == {"confirmed"}
