"""Packets of several fields: which are in, in which order, and what is missing."""

import json
import math
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.errors import TransformError
from energy_etl.vendors.wattics.packets import PACKET_SCHEMA, Packets, compute_packets
from energy_etl.vendors.wattics.wire import ELECTRICAL_FIELDS
from energy_etl_tests.vendors.wattics.packet_rows import (
    NO_FIELDS,
    NO_INTERVALS,
    NO_OFFSETS,
    NO_SAMPLES,
    at,
    field,
    frozen,
    intervals,
    numbers,
    register,
    samples,
    stream,
)

REGISTERS = pl.concat(
    [
        register(),
        register(register_id="l2"),
        register(register_id="v", unit="V", kind="instant"),
        register(register_id="p", unit="W", kind="instant"),
    ]
)
PHASE_2 = field("pC_2", "cumulative_wh", "l2")
VOLTAGE = field("v_1", "sample", "v")


def of(register_id: str, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(register_id=pl.lit(register_id))


def said(packets: pl.DataFrame) -> list[dict[str, Any]]:
    """The fields of each packet, in the order in which they stand there."""
    return [dict(list(json.loads(body).items())[2:]) for body in packets["body"]]


def computed(
    rows: pl.DataFrame, fields: pl.DataFrame, means: pl.DataFrame = NO_SAMPLES, **own: object
) -> Packets:
    return compute_packets(rows, means, stream(**own), fields, REGISTERS, NO_OFFSETS)


def test_packet_has_the_fields_of_all_its_registers_in_the_order_of_the_page() -> None:
    power = field("aP_1", "sample", "p")
    rows = pl.concat([intervals([1.0, 1.5]), of("l2", intervals([7.0, 7.25]))])
    means = pl.concat([samples([230.5], register_id="v"), samples([500.0], register_id="p")])
    packets, offsets = computed(rows, pl.concat([VOLTAGE, PHASE_2, power]), means)
    assert packets.schema == PACKET_SCHEMA
    assert packets["body"][0] == (
        '{"id":"s","tsISO8601":"2025-03-30T01:15:00.000+01:00",'
        '"aP_1":500.0,"v_1":230.5,"pC_1":1000.0,"pC_2":7000.0}'
    )
    assert offsets.select("stream_id", "field").rows() == [("s", "pC_1"), ("s", "pC_2")]


def test_missing_field_is_left_out_and_the_packet_is_incomplete() -> None:
    rows = pl.concat([intervals([1.0, 1.5, 2.0]), of("l2", intervals([7.0, 7.25]))])
    packets, _ = computed(
        rows, pl.concat([PHASE_2, VOLTAGE]), samples([230.0, None, 229.0, 231.0], register_id="v")
    )
    assert said(packets) == [
        {"v_1": 230.0, "pC_1": 1000.0, "pC_2": 7000.0},
        {"pC_1": 1500.0, "pC_2": 7250.0},
        {"v_1": 229.0, "pC_1": 2000.0},
        # Without the stream's own field too: one field is enough.
        {"v_1": 231.0},
    ]
    assert packets["is_incomplete"].to_list() == [False, True, True, True]


def test_packet_is_estimated_when_any_of_its_fields_is() -> None:
    estimated: dict[int, dict[str, object]] = {1: {"quality": "estimated"}}
    rows = pl.concat([intervals([1.0, 1.5]), of("l2", intervals([7.0, 7.25], changes=estimated))])
    packets, _ = computed(rows, PHASE_2)
    assert packets["is_estimated"].to_list() == [False, True]
    assert packets["is_incomplete"].to_list() == [False, False]


def test_each_phase_goes_on_by_its_own_offset_after_its_own_reset() -> None:
    own = intervals([10.0, 10.5, 0.2, 0.7], [0.5, 0.5, 0.2, 0.5])
    second = intervals([70.0, 70.25, 70.5, 0.25], [0.25] * 4)
    packets, offsets = computed(pl.concat([own, of("l2", second)]), PHASE_2)
    assert numbers(packets) == [10_000.0, 10_500.0, 10_700.0, 11_200.0]
    assert numbers(packets, "pC_2") == [70_000.0, 70_250.0, 70_500.0, 70_750.0]
    assert offsets.select("field", "from_at", "offset_wh").rows() == [
        ("pC_1", at(1), 0.0),
        ("pC_1", at(3), 10_500.0),
        ("pC_2", at(1), 0.0),
        ("pC_2", at(4), 70_500.0),
    ]


def test_field_that_comes_late_has_its_reset_behind_packets_that_went_without_it() -> None:
    """Packets 3 and 4 were sent without phase 2, whose counter was reset meanwhile."""
    own = intervals([10.0, 10.5, 11.0, 11.5, 12.0])
    second = intervals([70.0, 70.25, 0.25, 0.5, 0.75], [0.25] * 5)
    before = pl.concat([own.head(4), of("l2", second.head(2))])
    packets, offsets = computed(before, PHASE_2)
    released = offsets.with_columns(
        is_frozen=True,
        used_to_at=pl.when(field="pC_1").then(pl.lit(at(4))).otherwise(pl.lit(at(2))),
    )
    later = pl.concat([own, of("l2", second)])
    again, _ = compute_packets(later, NO_SAMPLES, stream(), PHASE_2, REGISTERS, released)
    assert again["body"].to_list()[:2] == packets["body"].to_list()[:2]
    assert numbers(again, "pC_2") == [70_000.0, 70_250.0, 70_500.0, 70_750.0, 71_000.0]


def test_fields_that_are_coarser_than_the_registers_are_whole_or_missing() -> None:
    packets, _ = computed(
        intervals([float(n) for n in range(1, 9)]),
        VOLTAGE,
        samples([230.0, 231.0, 232.0, 233.0, 234.0, None, 236.0, 237.0], register_id="v"),
        interval_minutes=60,
    )
    assert said(packets) == [{"v_1": 231.5, "pC_1": 4000.0}, {"pC_1": 8000.0}]


def test_one_register_may_feed_several_streams() -> None:
    both = pl.concat([stream(), stream(stream_id="t", field="pC_3")])
    packets, _ = compute_packets(
        intervals([1.0]), NO_SAMPLES, both, NO_FIELDS, REGISTERS, NO_OFFSETS
    )
    assert said(packets) == [{"pC_1": 1000.0}, {"pC_3": 1000.0}]


def test_stream_that_files_feed_and_fields_of_other_streams_say_nothing() -> None:
    from_files = stream(register_id=None, content="file", zone="Europe/Rome")
    packets, offsets = compute_packets(
        intervals([1.0]), NO_SAMPLES, from_files, PHASE_2, REGISTERS, NO_OFFSETS
    )
    assert (packets.height, offsets.height) == (0, 0)


def test_further_field_that_does_not_fit_is_named() -> None:
    with pytest.raises(TransformError, match=r"s, v_1: .*cumulative register"):
        computed(NO_INTERVALS, field("v_1", "cumulative_wh", "p"))


def test_every_field_at_once_is_one_packet_in_the_order_of_the_page() -> None:
    fields = pl.concat(field(name, "sample", "v") for name in reversed(ELECTRICAL_FIELDS[1:]))
    packets, _ = compute_packets(
        NO_INTERVALS,
        samples([230.0], register_id="v"),
        stream(register_id="v", field=ELECTRICAL_FIELDS[0], content="sample"),
        fields,
        REGISTERS,
        NO_OFFSETS,
    )
    assert [list(each) for each in said(packets)] == [list(ELECTRICAL_FIELDS)]


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.floats()), min_size=1, max_size=5),
    st.lists(st.one_of(st.none(), st.floats()), min_size=1, max_size=5),
)
def test_any_numbers_leave_as_the_finite_ones_alone(
    watts: list[float | None], volts: list[float | None]
) -> None:
    packets, _ = compute_packets(
        NO_INTERVALS,
        pl.concat([samples(watts, register_id="p"), samples(volts, register_id="v")]),
        stream(register_id="p", field="aP_1", content="sample"),
        VOLTAGE,
        REGISTERS,
        NO_OFFSETS,
    )
    expected = [
        {
            name: value
            for name, values in (("aP_1", watts), ("v_1", volts))
            if n < len(values) and (value := values[n]) is not None and math.isfinite(value)
        }
        for n in range(max(len(watts), len(volts)))
    ]
    found = said(packets)
    assert [list(each) for each in found] == [list(each) for each in expected if each]
    for got, wanted in zip(found, filter(None, expected), strict=True):
        assert list(got.values()) == pytest.approx(list(wanted.values()), rel=1e-12, abs=1e-6)
    assert packets["is_incomplete"].to_list() == [len(each) < 2 for each in expected if each]
    assert not any(
        sign in body for body in packets["body"] for sign in ("NaN", "inf", "-0.0}", "null")
    )


@settings(max_examples=8, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3000),
            st.integers(0, 3000),
            st.sampled_from(["grow"] * 5 + ["reset", "rollover", "exchange"]),
            st.sampled_from(["grow"] * 5 + ["reset", "rollover", "exchange"]),
        ),
        min_size=4,
        max_size=30,
    ),
    st.data(),
)
def test_older_half_filled_in_after_the_newer_was_released_supersedes_nothing(
    history: list[tuple[int, int, str, str]], data: st.DataObject
) -> None:
    rows = pl.concat(
        [
            _counter([(step, kind) for step, _, kind, _ in history]),
            of("l2", _counter([(step, kind) for _, step, _, kind in history])),
        ]
    )
    n = len(history)
    cut = data.draw(st.integers(1, n - 1))
    newer = rows.filter(pl.col("start_at") >= at(cut))
    first, offsets = computed(newer, PHASE_2)
    used = frozen(offsets, at(data.draw(st.integers(cut + 1, n))))
    again, steps = compute_packets(rows, NO_SAMPLES, stream(), PHASE_2, REGISTERS, used)
    assert again.tail(first.height).equals(first)
    assert again.height == n
    for name, k in (("pC_1", 0), ("pC_2", 1)):
        values = numbers(again, name)
        growth = [b - a for a, b in pairwise(values)]
        assert growth == pytest.approx([each[k] for each in history[1:]], abs=0.011)
    # Once more, with the older half released too: still the same text.
    third, _ = compute_packets(rows, NO_SAMPLES, stream(), PHASE_2, REGISTERS, frozen(steps, at(n)))
    assert third.equals(again)


def _counter(history: list[tuple[int, str]]) -> pl.DataFrame:
    """A counter of 6 digits of Wh with everything that makes one fall or leap."""
    value, ends = 5000, []
    for step_wh, kind in history:
        value = {
            "grow": value + step_wh,
            "reset": step_wh,
            "rollover": (value + step_wh) % 4096,
            "exchange": 123_456 + step_wh,
        }[kind]
        ends.append(value / 1000)
    return intervals(ends, [step_wh / 1000 for step_wh, _ in history])
