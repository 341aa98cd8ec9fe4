"""Handlers of one's own: told of everything, in order, and no danger to the sending."""

import logging
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from energy_etl.delivery import Outbox
from energy_etl.delivery.acks import AckWriter
from energy_etl.delivery.handlers import (
    Handlers,
    PacketResponse,
    Response,
    discover_handlers,
)
from energy_etl.delivery.mirror import response_frame
from energy_etl.state import instant_to_us, open_state
from energy_etl_tests.delivery.conftest import NOW, stamp, stamp_ms


def _response(number: int, status: int | None = 200) -> Response:
    return Response("s", stamp_ms(number), instant_to_us(NOW), 0.25, status, None)


def test_handlers_are_told_what_is_durable_in_order_and_once(outbox: Outbox) -> None:
    told: list[PacketResponse] = []
    n_durable: list[int] = []
    path = outbox.path

    def note(responses: Sequence[PacketResponse]) -> None:
        told.extend(responses)
        with open_state(path) as connection:
            n_durable.append(response_frame(Outbox(connection)).height - len(told))

    acks = AckWriter(outbox.path, lambda: NOW, group=100, handlers=Handlers({"note": note}))
    for number in range(250):
        acks.put(_response(number, None if number == 7 else 200))
    acks.close()

    assert [response.stamped_at for response in told] == [stamp(n) for n in range(250)]
    assert min(n_durable) >= 0
    assert told[0] == PacketResponse("s", stamp(0), NOW, 0.25, 200, None, is_accepted=True)
    assert [r.stamped_at for r in told if not r.is_accepted] == [stamp(7)]


def test_a_handler_that_raises_is_named_once_and_told_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[int] = []

    def fail(responses: Sequence[PacketResponse]) -> None:
        told.append(len(responses))
        raise ValueError("the dashboard is down")

    handlers = Handlers({"dashboard": fail})
    for number in range(3):
        handlers.tell([_response(number)])
        deadline = time.monotonic() + 5
        while sum(told) <= number and time.monotonic() < deadline:
            time.sleep(0.001)
    handlers.close()

    assert sum(told) == 3
    (record,) = caplog.records
    assert "'dashboard'" in record.message
    assert "push.response" in record.message
    assert record.exc_info
    assert "the dashboard is down" in str(record.exc_info[1])


def test_a_handler_that_hangs_delays_nothing_and_misses_what_does_not_fit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    go_on = threading.Event()
    handlers = Handlers({"slow": lambda _: go_on.wait(20)}, queue_size=10, close_s=0.1)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        for number in range(100):
            handlers.tell([_response(number)])
        handlers.close()
    assert time.monotonic() - began < 5
    go_on.set()
    assert "is too slow" in caplog.messages[0]
    assert "missed" in caplog.messages[-1]


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package of somebody's, installed: a module and what declares its entry points."""
    (tmp_path / "somebodys_delivery.py").write_text(
        "told = []\ndef note(responses):\n    told.extend(responses)\n", encoding="utf-8"
    )
    info = tmp_path / "somebodys_delivery-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: somebodys-delivery\nVersion: 1.0\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text(
        "[energy_etl.responses]\nnote = somebodys_delivery:note\ngone = somebodys_delivery:gone\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    discover_handlers.cache_clear()
    yield
    discover_handlers.cache_clear()
    sys.modules.pop("somebodys_delivery", None)


@pytest.mark.usefixtures("distribution")
def test_declared_entry_points_are_told_and_one_that_cannot_be_loaded_is_left_out(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    acks = AckWriter(outbox.path, lambda: NOW + timedelta(0))
    acks.put(_response(1))
    acks.close()

    assert list(discover_handlers()) == ["note"]
    assert [r.stamped_at for r in sys.modules["somebodys_delivery"].told] == [stamp(1)]
    assert "'gone'" in caplog.text
    assert "cannot be loaded from 'somebodys_delivery:gone'" in caplog.text
