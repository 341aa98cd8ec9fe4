"""The sandbox's estimates are wrong in known ways: the scores tell shift, misses and mistakes."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_etl.sandbox import World, estimates, fixed_clock
from energy_etl.sandbox.calendar import from_ms, local_time
from energy_etl.sandbox.estimates import EstimateParameters, Estimates
from energy_etl.tables.core import APPLIANCE_INTERVAL, INTERVAL
from energy_etl.transform.disaggregation_scores import compute_disaggregation_scores
from energy_etl.transform.disaggregation_total import compute_disaggregation_totals
from energy_etl_tests.transform.builders import make_register

SITE = "newyork-a"  # no PV: all that its appliances use comes from the grid
N_SLOTS = 60 * 96
STEP = timedelta(minutes=15)
WORLD = World(now=fixed_clock(datetime(2024, 3, 1, tzinfo=UTC)))
OTHERWISE = {
    "washingMachine": EstimateParameters(0.10, 3, 0.05),
    "dishwasher": EstimateParameters(0.25, 0, 0.20),
    "ev": EstimateParameters(0.15, 2, 0.10),
    "heatPump": EstimateParameters(0.05, 0, 0.0),
    "fridge": EstimateParameters(0.10, 0, 0.0),
    "freezer": EstimateParameters(0.10, 0, 0.0),
    "standby": EstimateParameters(0.02, 0, 0.0),
}


def frame_of(schema: pl.Schema, kwh: np.ndarray, **columns: object) -> pl.DataFrame:
    """Quarter hours from the start of the truth on."""
    first_at = from_ms(WORLD.origin_ms)
    start_at = pl.datetime_range(
        first_at, first_at + (len(kwh) - 1) * STEP, STEP, time_unit="us", eager=True
    )
    frame = pl.DataFrame({"start_at": start_at, "energy_kwh": kwh}).with_columns(
        end_at=pl.col("start_at") + STEP,
        **{name: pl.lit(value) for name, value in columns.items()},
    )
    missing = {n: pl.lit(None, dtype) for n, dtype in schema.items() if n not in frame.columns}
    return frame.with_columns(**missing).select(schema.names()).cast(schema)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("parameters", [None, OTHERWISE], ids=["as planted", "otherwise"])
def test_planted_shifts_misses_and_mistakes_are_found_again(
    parameters: dict[str, EstimateParameters] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if parameters is not None:
        monkeypatch.setattr(estimates, "_PARAMETERS", parameters)
    vendor = Estimates(WORLD, "elapsed", False)
    known = [r for r in WORLD.registers.values() if r.site_id == SITE and r.appliance]
    measured = {r.register_id: WORLD.steps(r.register_id)[:N_SLOTS] for r in known}
    measured["mains"] = vendor.mains(SITE)[:N_SLOTS]
    said = {name: each[:N_SLOTS] for name, each in vendor.appliances(SITE).items()}
    intervals = pl.concat(
        frame_of(
            INTERVAL.polars_schema,
            kwh,
            register_id=name,
            quality="measured",
            is_provisional=False,
        )
        for name, kwh in measured.items()
    )
    guesses = pl.concat(
        frame_of(
            APPLIANCE_INTERVAL.polars_schema,
            kwh,
            meter_id="m",
            vendor="digiwatt",
            appliance=name,
        )
        for name, kwh in said.items()
    )
    registers = pl.concat(
        [
            make_register("mains", meter_id="m"),
            *(make_register(r.register_id, role="appliance", appliance=r.appliance) for r in known),
        ]
    )
    scores = compute_disaggregation_scores(guesses, intervals, registers)
    assert set(scores["appliance"]) == set(said)
    at_ms = WORLD.origin_ms + np.arange(N_SLOTS) * WORLD.slot_ms
    days = local_time(WORLD.sites[SITE].zone, at_ms).day
    for row in scores.iter_rows(named=True):
        planted = estimates.parameters_of(row["appliance"])
        register = WORLD.registers[row["register_id"]]
        truth = measured[row["register_id"]]
        is_missed = np.isin(days, [d for d in np.unique(days) if vendor.is_missed(register, d)])
        missed = truth[is_missed & (planted.missed_days > 0)].sum() / truth.sum()
        assert row["best_shift_minutes"] == -15 * planted.shift_slots, row["appliance"]
        # What is missed is an error whole; a mistaken share misses here and is too much there.
        # Claims above an hour's mains are cut: energy is lost, though no more than is mistaken.
        mistaken = planted.misattributed
        assert missed - 0.02 <= row["nep_aligned"] <= missed + 2 * mistaken + 0.05
        lost = (row["own_kwh"] - row["vendor_kwh"]) / row["own_kwh"]
        assert missed - 0.02 <= lost <= missed + mistaken + 0.02
        if planted.shift_slots:
            assert row["nep"] > row["nep_aligned"] + 0.1
        else:
            assert row["nep"] == pytest.approx(row["nep_aligned"], rel=1e-12)
    total = compute_disaggregation_totals(guesses, intervals, registers).row(0, named=True)
    assert total["n_appliances"] == len(known)
    assert total["total_energy_accuracy"] > total["total_energy_accuracy_floor"]
    assert 0.8 < total["fraction_assigned_correctly"] < 1.0
