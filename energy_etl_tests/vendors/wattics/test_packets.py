"""Core frames to packets: numbers, stamps, holes, and offsets that never change once used."""

import json
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.errors import TransformError
from energy_etl.tables.core import SAMPLE
from energy_etl.vendors.wattics.packets import OFFSET_SCHEMA, PACKET_SCHEMA, compute_packets
from energy_etl.vendors.wattics.wire import FIELDS
from energy_etl_tests.vendors.wattics.packet_rows import (
    NO_FIELDS,
    NO_INTERVALS,
    NO_OFFSETS,
    NO_SAMPLES,
    at,
    frozen,
    intervals,
    numbers,
    register,
    stream,
)


def test_a_packet_is_one_compact_line_with_the_register_in_wh() -> None:
    packets, offsets = compute_packets(
        intervals([1234.5, 1235.0]), NO_SAMPLES, stream(), NO_FIELDS, register(), NO_OFFSETS
    )
    assert packets.schema == PACKET_SCHEMA
    assert packets["body"].to_list() == [
        '{"id":"s","tsISO8601":"2025-03-30T01:15:00.000+01:00","pC_1":1234500.0}',
        '{"id":"s","tsISO8601":"2025-03-30T01:30:00.000+01:00","pC_1":1235000.0}',
    ]
    assert packets["stamped_at"].to_list() == [at(1), at(2)]
    assert offsets.rows() == [("s", "pC_1", at(1), 0.0, False, None, None, "r")]


def test_stamps_of_a_spring_night_jump_and_the_offset_with_them() -> None:
    packets, _ = compute_packets(
        intervals([float(n) for n in range(6)]),
        NO_SAMPLES,
        stream(),
        NO_FIELDS,
        register(),
        NO_OFFSETS,
    )
    stamps = [json.loads(body)["tsISO8601"] for body in packets["body"]]
    assert stamps[2:5] == [
        "2025-03-30T01:45:00.000+01:00",
        "2025-03-30T03:00:00.000+02:00",
        "2025-03-30T03:15:00.000+02:00",
    ]


def test_a_register_in_wh_is_not_multiplied() -> None:
    packets, _ = compute_packets(
        intervals([5000.0, 5500.0], [0.5, 0.5]),
        NO_SAMPLES,
        stream(),
        NO_FIELDS,
        register(unit="Wh"),
        NO_OFFSETS,
    )
    assert numbers(packets) == [5000.0, 5500.0]


def test_rows_that_may_not_be_delivered_are_holes() -> None:
    rows = intervals(
        [1.0, 2.0, 3.0, 4.0],
        changes={1: {"is_pushable": False}, 3: {"is_pushable": False, "is_provisional": True}},
    )
    packets, _ = compute_packets(rows, NO_SAMPLES, stream(), NO_FIELDS, register(), NO_OFFSETS)
    assert packets["stamped_at"].to_list() == [at(1), at(3)]
    assert numbers(packets) == [1000.0, 3000.0]


def test_nothing_of_before_the_start_becomes_a_packet() -> None:
    packets, _ = compute_packets(
        intervals([1.0, 2.0, 3.0, 4.0]),
        NO_SAMPLES,
        stream(push_from_at=at(1) + timedelta(seconds=1)),
        NO_FIELDS,
        register(),
        NO_OFFSETS,
    )
    assert packets["stamped_at"].to_list() == [at(3), at(4)]


def test_a_reset_goes_on_with_the_energy_alone() -> None:
    rows = intervals([10.0, 10.5, 0.2, 0.7], [0.5, 0.5, 0.2, 0.5])
    packets, offsets = compute_packets(
        rows, NO_SAMPLES, stream(), NO_FIELDS, register(), NO_OFFSETS
    )
    assert numbers(packets) == [10_000.0, 10_500.0, 10_700.0, 11_200.0]
    assert offsets.select("from_at", "offset_wh").rows() == [(at(1), 0.0), (at(3), 10_500.0)]


def test_a_rollover_goes_on_without_a_fall() -> None:
    rows = intervals([999_999.8, 0.3], [0.5, 0.5])
    packets, _ = compute_packets(rows, NO_SAMPLES, stream(), NO_FIELDS, register(), NO_OFFSETS)
    assert numbers(packets) == [999_999_800.0, 1_000_000_300.0]


def test_a_change_of_level_with_unknown_energy_adds_nothing() -> None:
    rows = intervals(
        [10.0, 500.0, 501.0],
        [0.5, None, 1.0],
        changes={1: {"is_pushable": False, "quality": "implausible", "flags": ["level"]}},
    )
    packets, _ = compute_packets(rows, NO_SAMPLES, stream(), NO_FIELDS, register(), NO_OFFSETS)
    assert packets["stamped_at"].to_list() == [at(1), at(3)]
    assert numbers(packets) == [10_000.0, 11_000.0]


def test_growth_across_rows_without_a_value_is_what_the_meter_counted() -> None:
    rows = intervals(
        [10.0, None, None, 13.0],
        [0.5, None, None, 1.0],
        changes={n: {"is_pushable": False, "quality": "missing"} for n in (1, 2)},
    )
    packets, offsets = compute_packets(
        rows, NO_SAMPLES, stream(), NO_FIELDS, register(), NO_OFFSETS
    )
    assert numbers(packets) == [10_000.0, 13_000.0]
    assert offsets.height == 1


def test_a_fall_across_a_hole_never_makes_the_stream_fall() -> None:
    rows = intervals([10.0, 2.0], [0.5, 0.4]).filter(pl.col("start_at") != at(99))
    rows = pl.concat([rows.head(1), intervals([2.0], [0.4], first=5)])
    packets, _ = compute_packets(rows, NO_SAMPLES, stream(), NO_FIELDS, register(), NO_OFFSETS)
    assert numbers(packets) == [10_000.0, 10_400.0]


def test_a_break_hidden_in_rows_without_a_value_adds_no_energy() -> None:
    rows = intervals(
        [10.0, None, 900.0],
        [0.5, None, 0.4],
        changes={1: {"is_pushable": False, "quality": "implausible", "flags": ["level"]}},
    )
    packets, _ = compute_packets(rows, NO_SAMPLES, stream(), NO_FIELDS, register(), NO_OFFSETS)
    assert numbers(packets) == [10_000.0, 10_400.0]


def test_noise_of_floats_is_no_break_and_computing_again_gives_the_same_text() -> None:
    ends = [1_000_000 + n * 0.1 + 1e-10 * (n % 3) for n in range(50)]
    rows = intervals(ends, [0.1] * 50)
    first, offsets = compute_packets(rows, NO_SAMPLES, stream(), NO_FIELDS, register(), NO_OFFSETS)
    again, _ = compute_packets(
        rows.sample(fraction=1, shuffle=True, seed=3),
        NO_SAMPLES,
        stream(),
        NO_FIELDS,
        register(),
        frozen(offsets, at(20)),
    )
    assert offsets.height == 1
    assert first.equals(again)
    assert numbers(first)[1] == 1_000_000_100.0


def test_older_days_filled_in_later_change_no_packet_that_was_used() -> None:
    newer = intervals([0.2, 0.7, 1.2, 0.1, 0.6], [0.5, 0.5, 0.5, 0.1, 0.5], first=10)
    packets, offsets = compute_packets(
        newer, NO_SAMPLES, stream(), NO_FIELDS, register(), NO_OFFSETS
    )
    # The register was reset on the very edge between old and new, and once before.
    older = intervals([7.0, 8.0, 1.0, 2.0, 3.0], [1.0, 1.0, 1.0, 1.0, 1.0], first=5)
    both = pl.concat([older, newer])

    packets_again, offsets_again = compute_packets(
        both, NO_SAMPLES, stream(), NO_FIELDS, register(), frozen(offsets, at(12))
    )

    assert packets_again.filter(pl.col("stamped_at") > at(10)).equals(packets)
    # Older values lead up to the first used one by the energies, and never fall.
    assert numbers(packets_again) == [
        -4300.0, -3300.0, -2300.0, -1300.0, -300.0, 200.0, 700.0, 1200.0, 1300.0, 1800.0
    ]  # fmt: skip
    assert offsets_again.filter("is_frozen").equals(frozen(offsets, at(12)).filter("is_frozen"))


def test_a_break_found_later_within_what_was_used_moves_nothing() -> None:
    rows = intervals([10.0, 10.5, 11.0, 11.5], [0.5] * 4)
    packets, offsets = compute_packets(
        rows, NO_SAMPLES, stream(), NO_FIELDS, register(), NO_OFFSETS
    )
    changed = rows.with_columns(
        energy_kwh=pl.when(pl.col("end_at") == at(2)).then(0.1).otherwise("energy_kwh")
    )
    again, _ = compute_packets(
        changed, NO_SAMPLES, stream(), NO_FIELDS, register(), frozen(offsets, at(4))
    )
    assert again.equals(packets)


def test_a_break_after_what_was_used_begins_a_new_step_there() -> None:
    rows = intervals([10.0, 10.5], [0.5] * 2)
    _, offsets = compute_packets(rows, NO_SAMPLES, stream(), NO_FIELDS, register(), NO_OFFSETS)
    longer = intervals([10.0, 10.5, 0.1, 0.3], [0.5, 0.5, 0.1, 0.2])
    packets, steps = compute_packets(
        longer, NO_SAMPLES, stream(), NO_FIELDS, register(), frozen(offsets, at(2))
    )
    assert numbers(packets) == [10_000.0, 10_500.0, 10_600.0, 10_800.0]
    assert steps.select("from_at", "is_frozen").rows() == [(at(1), True), (at(3), False)]


@settings(max_examples=9, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3000), st.sampled_from(["grow", "grow", "grow", "reset", "level"])
        ),
        min_size=3,
        max_size=40,
    ),
    st.data(),
)
def test_in_any_history_a_stream_grows_by_the_energy_and_used_packets_never_change(
    history: list[tuple[int, str]], data: st.DataObject
) -> None:
    value, ends, energies = 5000, [], []
    for step_wh, kind in history:
        value = {"grow": value + step_wh, "reset": step_wh, "level": value + 90_000}[kind]
        ends.append(value / 1000)
        energies.append(None if kind == "level" else step_wh / 1000)
    rows = intervals(ends, energies)
    cut = data.draw(st.integers(1, len(ends) - 1))
    used = data.draw(st.integers(cut, len(ends)))

    newer = rows.slice(cut)
    first, offsets = compute_packets(newer, NO_SAMPLES, stream(), NO_FIELDS, register(), NO_OFFSETS)
    again, steps = compute_packets(
        rows, NO_SAMPLES, stream(), NO_FIELDS, register(), frozen(offsets, at(used + 1))
    )

    assert again.tail(first.height).equals(first)
    growth = [b - a for a, b in zip(numbers(again), numbers(again)[1:], strict=False)]
    expected = [0 if energy is None else energy * 1000 for energy in energies[1:]]
    assert growth == pytest.approx(expected, abs=0.011)
    third, _ = compute_packets(
        rows, NO_SAMPLES, stream(), NO_FIELDS, register(), frozen(steps, at(len(ends)))
    )
    assert third.equals(again)


def test_a_coarser_stream_takes_the_register_at_its_own_stamps() -> None:
    packets, _ = compute_packets(
        intervals([float(n) for n in range(1, 11)]),
        NO_SAMPLES,
        stream(interval_minutes=60),
        NO_FIELDS,
        register(),
        NO_OFFSETS,
    )
    assert packets["stamped_at"].to_list() == [at(4), at(8)]
    assert numbers(packets) == [4000.0, 8000.0]


def test_totals_of_a_volume_are_in_the_registers_unit_and_whole() -> None:
    rows = intervals([1.0] * 9, changes={5: {"is_pushable": False}}).with_columns(
        energy_kwh=None, volume_m3=pl.lit(0.1)
    )
    packets, offsets = compute_packets(
        rows,
        NO_SAMPLES,
        stream(field="value", content="interval", interval_minutes=60),
        NO_FIELDS,
        register(unit="l", commodity="water"),
        NO_OFFSETS,
    )
    # The second hour lacks a quarter, the third is not over.
    assert packets["body"].to_list() == [
        '{"id":"s","tsISO8601":"2025-03-30T03:00:00.000+02:00","value":400.0}'
    ]
    assert offsets.is_empty()


def test_totals_of_an_energy_are_in_the_registers_unit() -> None:
    packets, _ = compute_packets(
        intervals([1.0, 1.5], [0.3, 0.5]),
        NO_SAMPLES,
        stream(field="value", content="interval"),
        NO_FIELDS,
        register(unit="Wh"),
        NO_OFFSETS,
    )
    assert numbers(packets, "value") == [300.0, 500.0]


@pytest.mark.parametrize(("unit", "number"), [("W", 500.0), ("kW", 0.5)])
def test_totals_of_a_power_register_are_its_energy_in_watt_hours(unit: str, number: float) -> None:
    integrated = intervals([None, None], changes={n: {"quality": "integrated"} for n in range(2)})
    packets, _ = compute_packets(
        integrated,
        NO_SAMPLES,
        stream(content="interval", field="value"),
        NO_FIELDS,
        register(kind="instant", unit=unit, role="production"),
        NO_OFFSETS,
    )
    assert numbers(packets, "value") == [number, number]


def test_means_leave_out_what_may_still_change() -> None:
    samples = pl.DataFrame(
        [
            {
                "register_id": "r",
                "start_at": at(n),
                "end_at": at(n + 1),
                "sample_native": value,
                "n_readings": 1,
                "is_provisional": n == 2,
            }
            for n, value in enumerate([-0.0, 20.1234567, 21.0])
        ],
        schema=SAMPLE.polars_schema,
    )
    packets, _ = compute_packets(
        NO_INTERVALS,
        samples,
        stream(field="value", content="sample"),
        NO_FIELDS,
        register(unit="degC", kind="instant", commodity="temperature"),
        NO_OFFSETS,
    )
    assert [json.loads(body)["value"] for body in packets["body"]] == [0.0, 20.123457]
    assert '"value":0.0}' in packets["body"][0]


def test_each_field_of_a_packet_can_be_sent_alone() -> None:
    streams = pl.concat(
        stream(stream_id=f"s-{field}", field=field, content="sample") for field in FIELDS
    )
    sample = {"register_id": "r", "start_at": at(0), "end_at": at(1), "sample_native": 230.5}
    samples = pl.DataFrame(
        [sample | {"n_readings": 1, "is_provisional": False}], schema=SAMPLE.polars_schema
    )
    packets, _ = compute_packets(
        NO_INTERVALS, samples, streams, NO_FIELDS, register(unit="V", kind="instant"), NO_OFFSETS
    )
    stamp = "2025-03-30T01:15:00.000+01:00"
    assert [json.loads(body) for body in packets["body"]] == [
        {"id": f"s-{field}", "tsISO8601": stamp, field: 230.5} for field in sorted(FIELDS)
    ]
    assert packets.height == 22


@pytest.mark.parametrize("field", ["pC_1", "pC_2", "pC_3"])
def test_each_phase_can_carry_the_cumulative_energy(field: str) -> None:
    packets, _ = compute_packets(
        intervals([1234.5, 1235.0]),
        NO_SAMPLES,
        stream(field=field),
        NO_FIELDS,
        register(),
        NO_OFFSETS,
    )
    assert numbers(packets, field) == [1234500.0, 1235000.0]
    assert {len(json.loads(body)) for body in packets["body"]} == {3}


def test_values_that_are_no_numbers_never_leave() -> None:
    rows = intervals([1.0, float("nan"), float("inf"), 2.0], [0.5, 0.5, 0.5, 0.5])
    packets, _ = compute_packets(rows, NO_SAMPLES, stream(), NO_FIELDS, register(), NO_OFFSETS)
    assert numbers(packets) == [1000.0, 2000.0]


@pytest.mark.parametrize(
    ("content", "minutes", "expected"),
    [
        ("cumulative_wh", 15, [False, True, False, False]),
        ("interval", 15, [False, True, False, False]),
        ("interval", 30, [True, False]),
    ],
)
def test_a_packet_of_an_estimated_interval_says_so(
    content: str, minutes: int, expected: list[bool]
) -> None:
    rows = intervals([1.0, 2.0, 3.0, 4.0], changes={1: {"quality": "estimated"}})
    asked = stream(content=content, interval_minutes=minutes)
    packets, _ = compute_packets(rows, NO_SAMPLES, asked, NO_FIELDS, register(), NO_OFFSETS)
    assert packets["is_estimated"].to_list() == expected


def test_nothing_to_say_is_an_empty_frame() -> None:
    packets, offsets = compute_packets(
        NO_INTERVALS, NO_SAMPLES, stream(), NO_FIELDS, register(), NO_OFFSETS
    )
    assert packets.schema == PACKET_SCHEMA
    assert (packets.height, offsets.height) == (0, 0)


def test_offsets_of_streams_that_are_not_computed_are_not_touched() -> None:
    known = pl.DataFrame(
        [
            ("other", "pC_1", at(1), 5.0, True, at(4), 9.0, "r"),
            ("other", "pC_1", at(6), 7.0, False, None, None, "r"),
        ],
        schema=OFFSET_SCHEMA,
        orient="row",
    )
    _, offsets = compute_packets(
        intervals([1.0]), NO_SAMPLES, stream(), NO_FIELDS, register(), known
    )
    assert offsets["stream_id"].to_list() == ["s"]


@pytest.mark.parametrize(
    ("stream_changes", "register_changes", "reason"),
    [
        ({"interval_minutes": 5}, {}, "no multiple of its register's grid"),
        ({"register_id": "nobody"}, {}, "not in registers.csv"),
        ({"field": "kWh"}, {}, "none of a packet"),
        ({}, {"unit": "m3"}, "register of energy"),
        ({}, {"kind": "interval"}, "cumulative register"),
        ({"content": "interval"}, {"unit": "degC"}, "energy or volume"),
    ],
)
def test_a_stream_that_does_not_fit_its_register_is_named(
    stream_changes: dict[str, object], register_changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(TransformError, match=rf"s, .*: .*{reason}.*streams\.csv"):
        compute_packets(
            NO_INTERVALS,
            NO_SAMPLES,
            stream(**stream_changes),
            NO_FIELDS,
            register(**register_changes),
            NO_OFFSETS,
        )
