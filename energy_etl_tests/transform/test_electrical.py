"""Power, voltage and current of a meter against each other: only what fails is told."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.tables import core
from energy_etl.tables.mart import ELECTRICAL_CHECK, FINDING
from energy_etl.transform.electrical import (
    compute_electrical_check,
    compute_electrical_findings,
)
from energy_etl_tests.transform.register_frames import (
    LATER,
    compute,
    minutes,
    real_data,
    register,
    registers,
)

N = 100
Values = list[float | None]


def shown(unit: str, phase: str | None = None, **changed: Any) -> dict[str, Any]:
    role = "mains" if unit in ("W", "kW") else "sensor"
    row = {"kind": "instant", "unit": unit, "phase": phase, "role": role, "resolution_native": 0.0}
    return register(f"{unit}{phase or ''}", **(row | changed))


def judge(
    *shows: tuple[dict[str, Any], float | Values],
    counts: tuple[dict[str, Any], Values] | None = None,
) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Check meters of N quarter hours; a single number is that of each."""
    rows = [
        (row["register_id"], minutes(15 * n), minutes(15 * (n + 1)), value)
        for row, values in shows
        for n, value in enumerate(values if isinstance(values, list) else [values] * N)
        if value is not None
    ]
    columns = core.SAMPLE.polars_schema
    schema = {name: columns[name] for name in ("register_id", "start_at", "end_at")}
    samples = pl.DataFrame(rows, schema=schema | {"sample_native": pl.Float64}, orient="row")
    energies = pl.DataFrame(schema=schema | {"energy_kwh": pl.Float64})
    known = [row for row, _ in shows]
    if counts:
        known.append(counts[0])
        energies = pl.DataFrame(
            [
                (counts[0]["register_id"], minutes(15 * n), minutes(15 * (n + 1)), value)
                for n, value in enumerate(counts[1])
            ],
            schema=energies.schema,
            orient="row",
        )
    checks = compute_electrical_check(samples, energies, registers(*known), now=LATER)
    assert checks.schema == ELECTRICAL_CHECK.polars_schema
    return {
        (row["rule"], row["phase"], row["quantity"]): row for row in checks.iter_rows(named=True)
    }


def test_quantities_that_fit_are_counted_and_none_fails() -> None:
    found = judge(
        *((shown(unit, phase), value) for phase in ("L1", "L2", "L3") for unit, value in FITTING),
        (shown("kW"), 2.4),
        (shown("var"), 1800.0),
    )
    assert {key: (row["n_checked"], row["n_failed"]) for key, row in found.items()} == {
        **{("power_triangle", phase, "VA"): (N, 0) for phase in ("L1", "L2", "L3")},
        **{("apparent_power", phase, "VA"): (N, 0) for phase in ("L1", "L2", "L3")},
        ("phases_not_measured", "total", "W"): (N, 0),
        ("sum_of_phases", "total", "W"): (N, 0),
        ("sum_of_phases", "total", "var"): (N, 0),
    }
    row = found["power_triangle", "L1", "VA"]
    assert (row["from_at"], row["to_at"]) == (minutes(0), minutes(15 * N))
    assert (row["worst_at"], row["worst_native"]) == (None, None)
    assert (row["meter_id"], row["site_id"]) == ("meter", "site")


FITTING = (("W", 800.0), ("var", 600.0), ("VA", 1000.0), ("V", 230.0), ("A", 1000.0 / 230.0))


def test_apparent_power_that_is_not_the_root_of_its_parts_fails() -> None:
    s: Values = [1000.0] * N
    s[40], s[41], s[42] = 1045.0, 1100.0, 900.0
    row = judge((shown("W"), 800.0), (shown("var"), -600.0), (shown("VA"), s))
    triangle = row["power_triangle", "total", "VA"]
    assert (triangle["n_checked"], triangle["n_failed"]) == (N, 2)
    assert triangle["worst_at"] == minutes(41 * 15)
    assert triangle["worst_native"] == pytest.approx(100.0)


def test_rounding_at_low_load_is_no_failure_and_a_coarse_meter_gets_its_step() -> None:
    def failed(s: float, step: float) -> int:
        rows = ((shown(unit, resolution_native=step), 0.0) for unit in ("W", "var"))
        return judge(*rows, (shown("VA", resolution_native=step), s))[
            "power_triangle", "total", "VA"
        ]["n_failed"]

    assert failed(19.0, 0.0) == 0
    assert failed(21.0, 0.0) == N
    assert failed(45.0, 10.0) == 0
    assert failed(51.0, 10.0) == N


def test_power_that_changes_its_direction_within_an_interval_is_no_failure() -> None:
    p: Values = [1000.0, 0.0, -1000.0, 0.0] * (N // 4)
    both = judge((shown("W"), p), (shown("var"), 0.0), (shown("VA"), 1000.0))
    assert both["power_triangle", "total", "VA"]["n_failed"] == 0
    too_small = judge((shown("W"), p), (shown("var"), 0.0), (shown("VA"), 500.0))
    assert too_small["power_triangle", "total", "VA"]["n_failed"] == N // 2


def test_apparent_power_that_is_not_voltage_times_current_fails() -> None:
    def failed(amperes: float, step: float) -> tuple[int, float | None]:
        row = judge(
            (shown("VA", "L1"), 1000.0),
            (shown("V", "L1"), 230.0),
            (shown("A", "L1", resolution_native=step), amperes),
        )["apparent_power", "L1", "VA"]
        return row["n_failed"], row["worst_native"]

    assert failed(4.35, 0.0) == (0, None)
    assert failed(4.0, 0.0) == (N, pytest.approx(80.0))
    assert failed(4.0, 0.3) == (0, None)
    of_all_three = judge(
        (shown("VA"), 3000.0), (shown("V"), 230.0), (shown("A"), 4.35), (shown("V", "L1"), 230.0)
    )
    assert of_all_three == {}  # what U and I of all phases together mean is the meter's secret


def test_only_voltages_that_no_working_supply_has_fail() -> None:
    volts: Values = [230.0] * N
    volts[10:16] = [206.0, 253.5, 115.0, 299.0, 114.0, 301.0]
    row = judge((shown("V", "L1", nominal_native=230.0), volts))["voltage_limits", "L1", "V"]
    assert (row["n_checked"], row["n_failed"]) == (N, 2)
    assert (row["worst_at"], row["worst_native"]) == (minutes(15 * 15), pytest.approx(2.0))
    assert judge((shown("V", "L1"), volts)) == {}  # its nominal voltage is not declared


def test_total_that_is_not_the_sum_of_its_phases_fails() -> None:
    phases = [(shown("W", phase), 1000.0) for phase in ("L1", "L2")]
    backwards = judge((shown("W"), 3000.0), *phases, (shown("W", "L3"), -1000.0))
    row = backwards["sum_of_phases", "total", "W"]
    assert (row["n_failed"], row["worst_native"]) == (N, pytest.approx(2000.0))
    two_of_three = judge((shown("W"), 3000.0), *phases)
    assert ("sum_of_phases", "total", "W") not in two_of_three


def test_zero_phases_while_the_total_grows_are_not_measured_and_no_wrong_sum() -> None:
    zeros: Values = [*[0.0] * 60, *[500.0] * (N - 60)]
    phases = [(shown("W", phase), zeros) for phase in ("L1", "L2", "L3")]
    total: Values = [*[1200.0] * 50, *[10.0] * 10, *[1500.0] * (N - 60)]
    found = judge((shown("W"), total), *phases)
    row = found["phases_not_measured", "total", "W"]
    assert (row["n_checked"], row["n_failed"]) == (N, 50)
    assert (row["worst_at"], row["worst_native"]) == (minutes(0), 1200.0)
    row = found["sum_of_phases", "total", "W"]
    assert (row["n_checked"], row["n_failed"]) == (N - 60, 0)


def test_energy_of_the_counter_stands_for_the_power_that_nobody_shows() -> None:
    counter = register("counter", role="mains", unit="Wh")
    phases = [(shown("W", phase), 0.0) for phase in ("L1", "L2", "L3")]
    found = judge(*phases, counts=(counter, [0.25] * N))
    assert found["phases_not_measured", "total", "W"]["n_failed"] == N
    assert found["phases_not_measured", "total", "W"]["worst_native"] == pytest.approx(1000.0)
    shown_too = judge(*phases, (shown("W"), 0.0), counts=(counter, [0.25] * N))
    assert shown_too["phases_not_measured", "total", "W"]["n_failed"] == 0


def test_export_is_taken_off_and_the_primary_register_counts() -> None:
    second = shown("W", is_primary=False) | {"register_id": "0"}
    found = judge(
        (shown("W"), 100.0),
        (shown("W", role="export") | {"register_id": "out"}, 900.0),
        (second, 5000.0),
        (shown("var"), 600.0),
        (shown("VA"), 1000.0),
    )
    assert found["power_triangle", "total", "VA"]["n_failed"] == 0


def test_interval_without_one_of_its_quantities_is_not_checked() -> None:
    q: Values = [600.0] * N
    q[3] = q[4] = None
    row = judge((shown("W"), 800.0), (shown("var"), q), (shown("VA"), 1000.0))
    assert row["power_triangle", "total", "VA"]["n_checked"] == N - 2
    assert judge((shown("W"), 800.0), (shown("VA"), 1000.0)) == {}


def test_no_electrical_registers_give_no_checks_and_no_findings() -> None:
    assert judge((register("t", kind="instant", unit="degC", role="sensor"), 20.0)) == {}
    assert judge() == {}
    findings = compute_electrical_findings(ELECTRICAL_CHECK.empty_frame())
    assert findings.is_empty()
    assert findings.schema == FINDING.polars_schema


@settings(max_examples=15, deadline=None)
@given(
    loads=st.lists(
        st.tuples(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5), st.floats(0.6, 1.2)),
        min_size=1,
        max_size=20,
    )
)
def test_any_consistent_meter_passes_every_rule(
    loads: list[tuple[float, float, float]],
) -> None:
    def each(value: Callable[[float, float, float], float]) -> Values:
        return [value(*load) for load in loads]

    found = judge(
        (shown("W", "L1"), each(lambda p, q, u: p)),
        (shown("var", "L1"), each(lambda p, q, u: q)),
        (shown("VA", "L1"), each(lambda p, q, u: math.hypot(p, q))),
        (shown("V", "L1", nominal_native=230.0), each(lambda p, q, u: 230.0 * u)),
        (shown("A", "L1"), each(lambda p, q, u: math.hypot(p, q) / (230.0 * u))),
    )
    assert {key[0] for key in found} == {"power_triangle", "apparent_power", "voltage_limits"}
    assert all(row["n_failed"] == 0 for row in found.values())


def check_row(**changed: Any) -> dict[str, Any]:
    return {
        "meter_id": "m1",
        "site_id": "site",
        "rule": "sum_of_phases",
        "phase": "total",
        "quantity": "W",
        "from_at": minutes(0),
        "to_at": minutes(1500),
        "n_checked": 200,
        "n_failed": 3,
        "worst_at": minutes(15),
        "worst_native": 812.34,
    } | changed


def test_what_fails_persistently_is_a_finding_with_the_place_and_the_next_step() -> None:
    rows = [
        check_row(),
        check_row(meter_id="m2", n_failed=2),
        check_row(meter_id="m3", n_checked=95, n_failed=95),
    ]
    findings = compute_electrical_findings(pl.DataFrame(rows, ELECTRICAL_CHECK.polars_schema))
    row = findings.row(0, named=True)
    assert findings.height == 1
    assert (row["kind"], row["place"]) == ("electrical_sum_of_phases", "m1 total W")
    assert row["message"] == (
        "Meter m1 (total): the total is not the sum of L1, L2 and L3 in 3 of 200 intervals, "
        "most at 2024-03-31 00:15 UTC (by 812.3 W)."
    )
    assert "current transformer the wrong way round" in row["next_step"]


@pytest.mark.real_data
def test_ampds2_is_consistent_and_wrong_voltages_in_it_are_found() -> None:
    # 300 hours of one circuit, most of them at no load: S shows 8 to 10 VA while P, Q, I show 0.
    source = pl.read_parquet(real_data() / "ampds2_electricity_B1E_last51200min.parquet")
    units = {"V": "V", "I": "A", "P": "W", "Q": "var", "S": "VA"}
    steps = {"V": 0.1, "I": 0.1}
    frame = (
        source.head(300 * 60)
        .select("unix_ts", pl.col(list(units)).cast(pl.Float64))
        .unpivot(index="unix_ts", variable_name="register_id", value_name="reading_native")
        .select(
            "register_id",
            "reading_native",
            read_at=pl.from_epoch("unix_ts").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            version=pl.lit(1, pl.Int64),
        )
    )
    rows = [
        shown(unit, zone="America/Vancouver", resolution_native=steps.get(name, 1.0))
        | {"register_id": name, "nominal_native": 120.0 if name == "V" else None}
        for name, unit in units.items()
    ]
    now = datetime(2014, 4, 2, tzinfo=UTC)
    samples = compute(frame, *rows, now=now).samples
    energies = pl.DataFrame(schema=core.INTERVAL.polars_schema)
    checks = compute_electrical_check(samples, energies, registers(*rows), now=now)
    assert checks.select("rule", "n_checked", "n_failed").rows() == [
        (rule, 4 * 300 - 1, 0) for rule in ("apparent_power", "power_triangle", "voltage_limits")
    ]
    in_tenths = pl.when(pl.col("register_id") == "V").then(0.1).otherwise(1.0)
    wrong = samples.with_columns(pl.col("sample_native") * in_tenths)
    checks = compute_electrical_check(wrong, energies, registers(*rows), now=now)
    n_failed = dict(checks.select("rule", "n_failed").rows())
    assert n_failed["voltage_limits"] == 4 * 300 - 1
    # It is seldom under load, so U*I is seldom far from S: too seldom for a finding.
    assert 0 < n_failed["apparent_power"] < 0.01 * 4 * 300
    findings = compute_electrical_findings(checks)
    assert findings["kind"].to_list() == ["electrical_voltage_limits"]
