"""Which field a register fits, and which meters Wattics is to be given."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from energy_etl.portfolio import Portfolio
from energy_etl.tables import push
from energy_etl.units import COMMODITIES, UNITS
from energy_etl.vendors.wattics.provisioning import (
    Listed,
    NewSite,
    Plan,
    list_streams,
    plan_streams,
)
from energy_etl.vendors.wattics.wire import FIELDS, field_problem, propose_field
from energy_etl_tests.portfolio.files import write_files


def listed(
    *meters: tuple[str, str, str],
    organizations: tuple[str, ...] = ("1",),
    sites: Sequence[tuple[str, str, str]] = (),
) -> Listed:
    """Wattics' lists: (meter, site, reference), organizations, (site, organization, name)."""
    return Listed(
        organization=pl.DataFrame(
            {"organization_id_wattics": organizations},
            schema={"organization_id_wattics": pl.String},
        ),
        site=pl.DataFrame(
            sites,
            schema=dict.fromkeys(("site_id_wattics", "organization_id_wattics", "name"), pl.String),
            orient="row",
        ),
        meter=pl.DataFrame(
            [(*meter, "A meter") for meter in meters],
            schema=dict.fromkeys(
                ("meter_id_wattics", "site_id_wattics", "reference", "name"), pl.String
            ),
            orient="row",
        ),
    )


def add_files(folder: Path) -> None:
    """A further field of dp-1, and a stream that files feed."""
    (folder / "stream_fields.csv").write_text(
        "stream_id,field,register_id,content\ndp-1,pC_2,berlin.import,cumulative_wh\n"
    )
    header, *rows = (folder / "streams.csv").read_text().splitlines()
    lines = [f"{header},zone", *(f"{row}," for row in rows)]
    lines.append("dp-4,,value,file,15,main,,Europe/Rome")
    (folder / "streams.csv").write_text("\n".join(lines) + "\n")


def plan(folder: Path, there: Listed, only: tuple[str, ...] = (), **options: Any) -> Plan:
    """Plan for a portfolio from which berlin.room's stream and rome.gas's were taken."""
    write_files(
        folder, {"streams.csv": ("dp-2,rome.gas,value,interval,30,main,2024-03-01T00:00:00Z\n", "")}
    )
    frames = Portfolio.load(folder).frames
    return plan_streams(frames, there, only=only, credentials=["main", "second"], **options)


@pytest.mark.parametrize(
    ("field", "content", "commodity", "unit", "reason"),
    [
        ("pC_1", "cumulative_wh", "electricity", "kWh", None),
        ("pC_3", "cumulative_wh", "electricity", "Wh", None),
        ("aP_2", "sample", "electricity", "W", None),
        ("v_12", "sample", "electricity", "V", None),
        ("value", "interval", "gas", "m3", None),
        ("value", "sample", "temperature", "degC", None),
        ("pc_1", "cumulative_wh", "electricity", "kWh", "did you mean pC_1"),
        ("power", "sample", "electricity", "W", "write one of aP_1"),
        ("pC_1", "interval", "electricity", "kWh", "does not fit interval"),
        ("value", "cumulative_wh", "electricity", "kWh", "does not fit cumulative_wh"),
        ("pC_1", "cumulative_wh", "heat", "kWh", "the register measures heat"),
        ("aP_1", "sample", "electricity", "kW", "is in W, and the register in kW"),
        ("c_1", "sample", "electricity", "V", "is in A"),
        ("pC_1", "cumulative_wh", "electricity", "m3", "is in Wh"),
        ("aP_1", "interval", "electricity", "W", "carries what is measured, so write sample"),
        ("v_1", "file", None, None, None),
        ("volts", "file", None, None, "volts is no field of a packet"),
    ],
)
def test_field_is_checked_against_content_commodity_and_unit(
    field: str, content: str, commodity: str | None, unit: str | None, reason: str | None
) -> None:
    problem = field_problem(field, content, commodity, unit)
    assert (problem is None) == (reason is None)
    assert reason is None or reason in str(problem)


def test_value_never_stands_beside_another_field() -> None:
    assert field_problem("value", "interval", "gas", "m3", 1) is None
    assert "value stands alone" in str(field_problem("value", "interval", "gas", "m3", 2))
    assert field_problem("v_1", "sample", "electricity", "V", 21) is None


def test_register_of_a_further_field_needs_no_stream_of_its_own(tmp_path: Path) -> None:
    write_files(tmp_path)
    add_files(tmp_path)
    frames = Portfolio.load(tmp_path).frames
    made = plan_streams(frames, listed(), only=["berlin.import"], credentials=["main"])
    assert not made.streams
    assert "berlin.import has a stream already" in made.refused[0]


def test_what_is_proposed_for_any_register_fits_it() -> None:
    for commodity in COMMODITIES:
        for unit in UNITS:
            for kind in ("cumulative", "interval", "instant"):
                field, content = propose_field(kind, commodity, unit)
                assert field in FIELDS
                assert (content == "sample") == (kind == "instant")
                is_counter = kind == "cumulative" and commodity == "electricity"
                # A counter of electricity in another unit than one of energy is no register.
                if not is_counter or unit in ("Wh", "kWh", "MWh"):
                    assert field_problem(field, content, commodity, unit) is None


def test_new_meter_goes_to_the_site_of_the_streams_that_are_mapped(tmp_path: Path) -> None:
    made = plan(tmp_path, listed(("7", "70", "dp-1"), ("8", "80", "dp-3")))
    assert [(s.register_id, s.site_id_wattics, s.meter_id) for s in made.streams] == [
        ("rome.gas", "70", None)
    ]
    stream = made.streams[0]
    assert (stream.field, stream.content, stream.credential) == ("value", "interval", "main")
    assert not stream.is_electrical
    assert not made.sites
    assert not made.refused


def test_meter_that_is_there_is_mapped_and_not_created(tmp_path: Path) -> None:
    made = plan(tmp_path, listed(("9", "70", "rome.gas")))
    assert [(s.meter_id, s.stream_id) for s in made.streams] == [("9", "rome.gas")]
    assert not made.sites
    assert "meter 9 is there" in made.streams[0].sentence()


def test_unknown_site_is_created_in_the_only_organization_or_the_named_one(tmp_path: Path) -> None:
    made = plan(tmp_path, listed())
    assert made.sites == [NewSite("rome", "Villa, Appia", "1")]
    assert made.streams[0].site_id_wattics is None
    several = listed(organizations=("1", "2"))
    assert "--organization" in plan(tmp_path, several).refused[0]
    assert plan(tmp_path, several, organization_id="2").sites[0].organization_id == "2"


def test_site_of_a_run_that_broke_off_was_created_again(tmp_path: Path) -> None:
    left_over = ("71", "1", "Villa, Appia")
    made = plan(tmp_path, listed(sites=[left_over, ("72", "1", "Villa, Nomentana")]))
    assert not made.sites
    assert made.streams[0].site_id_wattics == "71"
    elsewhere = plan(tmp_path, listed(sites=[("71", "2", "Villa, Appia")]))
    assert elsewhere.sites == [NewSite("rome", "Villa, Appia", "1")]
    unclear = plan(tmp_path, listed(sites=[left_over, ("73", "1", "Villa, Appia")]))
    assert not unclear.streams
    assert "(71, 73): fill in site_id_wattics" in unclear.refused[0]


def test_only_what_is_asked_for_is_planned_and_the_rest_is_told(tmp_path: Path) -> None:
    there = listed(("7", "70", "dp-1"), ("8", "80", "dp-3"))
    made = plan(tmp_path, there, ("berlin.import", "rome.import", "nope"), credential="second")
    assert [(s.register_id, s.credential) for s in made.streams] == [("berlin.import", "second")]
    assert [sentence.split(" ")[0] for sentence in made.refused] == ["nope", "rome.import"]


def test_unknown_credential_is_refused(tmp_path: Path) -> None:
    made = plan(tmp_path, listed(), credential="third")
    assert not made.streams
    assert "main, second" in made.refused[0]


def test_list_shows_the_map_beside_what_wattics_lists(tmp_path: Path) -> None:
    write_files(tmp_path)
    add_files(tmp_path)
    frames = Portfolio.load(tmp_path).frames
    streams, further = frames[push.STREAM], frames[push.STREAM_FIELD]
    meters = listed(("7", "70", "dp-1"), ("9", "70", "dp-new")).meter
    rows = {row["stream_id"]: row for row in list_streams(streams, further, meters)}
    assert {stream_id: row["state"] for stream_id, row in rows.items()} == {
        "dp-1": "mapped",
        "dp-2": "unknown there",
        "dp-3": "unknown there",
        "dp-4": "unknown there",
        "dp-new": "unmapped",
    }
    assert rows["dp-1"]["meter_id_wattics"] == "7"
    assert rows["dp-new"]["register_id"] is None
    assert {row["state"] for row in list_streams(streams, further, None)} == {"not asked"}
    assert rows["dp-1"]["further_fields"] == [
        {"field": "pC_2", "register_id": "berlin.import", "content": "cumulative_wh"}
    ]
    assert (rows["dp-4"]["register_id"], rows["dp-4"]["zone"]) == (None, "Europe/Rome")
