"""What the program adds to the portfolio, and what it leaves alone."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from energy_etl.errors import ConfigurationError
from energy_etl.portfolio import Portfolio, set_push_from, set_stream, write_proposal
from energy_etl.tables import core, push
from energy_etl_tests.portfolio.files import FILES, write_files

PROPOSAL = {
    "sites": [{"site_id": "B1", "name": "Device B1", "zone": ""}],
    "meters": [
        {
            "meter_id": "B1.p1",
            "site_id": "B1",
            "name": "p1",
            "commodity": "electricity",
            "meter_id_wiser": "w1",
        },
        {"meter_id": "B1.p9", "site_id": "B1", "name": "p9", "commodity": "water"},
    ],
    "registers": [
        {
            "register_id": "B1.p9",
            "meter_id": "B1.p9",
            "unit": "m3",
            "register_id_wattsense": "B1/p9",
        }
    ],
}


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_proposal_into_an_empty_folder_makes_files_a_person_completes(tmp_path: Path) -> None:
    folder = tmp_path / "portfolio"
    added = write_proposal(folder, PROPOSAL)
    assert added == {
        "sites.csv": ["B1"],
        "meters.csv": ["B1.p1", "B1.p9"],
        "registers.csv": ["B1.p9"],
    }
    assert (folder / "sites.csv").read_text() == (
        "site_id,name,zone,currency,area_m2,use\nB1,Device B1,,,,\n"
    )
    with pytest.raises(
        ConfigurationError, match=r"sites\.csv line 2, column zone: the cell is empty"
    ):
        Portfolio.load_strictly(folder)


def test_same_proposal_twice_adds_nothing_and_touches_no_file(tmp_path: Path) -> None:
    write_proposal(tmp_path, PROPOSAL)
    before = contents(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert not any(write_proposal(tmp_path, PROPOSAL).values())
    assert contents(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times


def test_mapped_vendor_id_is_left_out_and_its_children_follow_our_id(tmp_path: Path) -> None:
    write_files(tmp_path)
    added = write_proposal(
        tmp_path,
        {
            "meters": [{"meter_id": "87c3897", "name": "renamed", "meter_id_digiwatt": "87c3897"}],
            "registers": [
                {"register_id": "new", "meter_id": "87c3897", "register_id_wattsense": "B1/p7"},
                {"register_id": "old", "meter_id": "87c3897", "register_id_wattsense": "B1/p1"},
            ],
        },
    )
    assert added == {"sites.csv": [], "meters.csv": [], "registers.csv": ["new"]}
    after = contents(tmp_path)
    assert after["meters.csv"] == FILES["meters.csv"]
    assert after["registers.csv"] == FILES["registers.csv"] + "new,rome.mains,,,,,,,,,,,B1/p7\n"


def test_id_that_is_taken_by_something_else_gets_a_number(tmp_path: Path) -> None:
    write_files(tmp_path)
    meter = {"meter_id": "rome.mains", "name": "Other", "meter_id_digiwatt": "zz"}
    register = {"register_id": "r", "meter_id": "rome.mains", "register_id_wattsense": "B9/p1"}
    added = write_proposal(tmp_path, {"meters": [meter], "registers": [register]})
    assert added["meters.csv"] == ["rome.mains-2"]
    assert contents(tmp_path)["registers.csv"].splitlines()[-1].startswith("r,rome.mains-2,")


BOX = {
    "sites": [{"site_id": "box", "name": "Box", "zone": ""}],
    "meters": [
        {"meter_id": "box.a", "site_id": "box", "name": "A", "commodity": "electricity"},
        {"meter_id": "box.b", "site_id": "box", "name": "Gas", "commodity": "gas"},
    ],
    "registers": [
        {"register_id": "box.a", "meter_id": "box.a", "register_id_wattsense": "B1/p1"},
        {"register_id": "box.b", "meter_id": "box.b", "register_id_wattsense": "B1/p2"},
    ],
}


def test_box_whose_registers_are_all_known_is_left_out(tmp_path: Path) -> None:
    # `init --discover` once added sites without a zone and meters without a register.
    write_files(tmp_path)
    before = contents(tmp_path)
    assert not any(write_proposal(tmp_path, BOX).values())
    assert contents(tmp_path) == before


def test_new_register_of_a_known_box_goes_to_its_site_and_to_the_meter_that_waits(
    tmp_path: Path,
) -> None:
    write_files(tmp_path, {"registers.csv": (FILES["registers.csv"].splitlines()[2] + "\n", "")})
    assert write_proposal(tmp_path, BOX) == {
        "sites.csv": [],
        "meters.csv": [],
        "registers.csv": ["box.b"],
    }
    assert contents(tmp_path)["registers.csv"].splitlines()[-1].startswith("box.b,rome.gas,")


def test_new_register_without_a_meter_brings_one_at_the_known_site(tmp_path: Path) -> None:
    write_files(tmp_path)
    registers = [BOX["registers"][0], BOX["registers"][1] | {"register_id_wattsense": "B1/p9"}]
    added = write_proposal(tmp_path, BOX | {"registers": registers})
    assert added == {"sites.csv": [], "meters.csv": ["box.b"], "registers.csv": ["box.b"]}
    assert contents(tmp_path)["meters.csv"].splitlines()[-1] == "box.b,rome,Gas,gas,"


def test_box_whose_registers_stand_at_two_sites_gets_a_site_for_what_is_new(tmp_path: Path) -> None:
    write_files(tmp_path)
    registers = [
        BOX["registers"][0],
        {"register_id": "b", "meter_id": "box.b", "register_id_wattsense": "B2/p1"},
        {"register_id": "c", "meter_id": "box.c", "register_id_wattsense": "B1/p9"},
    ]
    meters = [*BOX["meters"], {"meter_id": "box.c", "site_id": "box", "name": "C"}]
    added = write_proposal(tmp_path, BOX | {"meters": meters, "registers": registers})
    assert added == {"sites.csv": ["box"], "meters.csv": ["box.c"], "registers.csv": ["c"]}


def test_register_whose_meter_was_taken_out_does_not_stop_a_proposal(tmp_path: Path) -> None:
    write_files(tmp_path, {"meters.csv": ("rome.gas,rome,Gas,gas,\n", "")})
    assert not any(write_proposal(tmp_path, BOX).values())


def test_site_and_meter_that_nobody_could_map_are_left_out(tmp_path: Path) -> None:
    assert not any(write_proposal(tmp_path, BOX | {"registers": []}).values())


def test_new_vendor_gets_a_column_and_existing_cells_stay(tmp_path: Path) -> None:
    write_files(tmp_path)
    write_proposal(
        tmp_path, {"sites": [{"site_id": "oslo", "name": "Oslo", "site_id_wiser": "w-1"}]}
    )
    assert contents(tmp_path)["sites.csv"] == (
        "site_id,name,zone,currency,area_m2,site_id_wiser\n"
        'rome,"Villa, Appia",Europe/Rome,EUR,180.5,\n'
        "berlin,Haus,Europe/Berlin,EUR,,\n"
        "oslo,Oslo,,,,w-1\n"
    )


def test_completed_proposal_loads(tmp_path: Path) -> None:
    write_files(tmp_path)
    site = {"site_id": "oslo", "name": "Oslo", "zone": "Europe/Oslo", "currency": "NOK"}
    write_proposal(tmp_path, {"sites": [site | {"site_id_wiser": "w-1"}]})
    assert "oslo" in Portfolio.load(tmp_path).frames[core.SITE]["site_id"]


def test_file_that_cannot_be_read_is_not_added_to(tmp_path: Path) -> None:
    write_files(tmp_path, {"meters.csv": ("rome.gas,", "rome.gas,too,many,")})
    before = contents(tmp_path)
    with pytest.raises(ConfigurationError, match=r"meters\.csv cannot be added to: .*line 3"):
        write_proposal(tmp_path, PROPOSAL)
    assert contents(tmp_path) == before


def test_unknown_column_of_a_proposal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"unknown columns colour"):
        write_proposal(tmp_path, {"sites": [{"site_id": "a", "colour": "red"}]})


def test_push_from_fills_only_empty_cells(tmp_path: Path) -> None:
    write_files(tmp_path)
    assert set_push_from(tmp_path, datetime(2024, 5, 1, tzinfo=UTC)) == 2
    stream = Portfolio.load(tmp_path).frames[push.STREAM]
    assert dict(stream.select("stream_id", "push_from_at").iter_rows()) == {
        "dp-1": datetime(2024, 5, 1, tzinfo=UTC),
        "dp-2": datetime(2024, 3, 1, tzinfo=UTC),
        "dp-3": datetime(2024, 5, 1, tzinfo=UTC),
    }
    assert set_push_from(tmp_path, datetime(2025, 1, 1, tzinfo=UTC)) == 0


def test_column_that_an_old_header_lacks_is_added_when_it_gets_a_value(tmp_path: Path) -> None:
    write_files(tmp_path)
    streams = tmp_path / "streams.csv"
    rows = [line.rsplit(",", 1)[0] for line in FILES["streams.csv"].splitlines()]
    streams.write_text("\n".join(rows) + "\n")
    assert Portfolio.load_strictly(tmp_path).frames[push.STREAM]["push_from_at"].null_count() == 3
    assert not set_stream(tmp_path, {"stream_id": "dp-2", "field": "value"})
    assert streams.read_text().splitlines()[0] == rows[0]
    assert set_push_from(tmp_path, datetime(2024, 5, 1, tzinfo=UTC)) == 3
    assert streams.read_text() == "".join(
        f"{row},{'2024-05-01T00:00:00Z' if n else 'push_from_at'}\n" for n, row in enumerate(rows)
    )


def test_proposal_with_a_value_for_a_column_that_may_be_missing_keeps_it(tmp_path: Path) -> None:
    write_files(tmp_path)
    site = {"site_id": "oslo", "name": "Oslo", "use": "office", "site_id_wiser": "w-1"}
    write_proposal(tmp_path, {"sites": [site]})
    lines = (tmp_path / "sites.csv").read_text().splitlines()
    assert lines[0] == "site_id,name,zone,currency,area_m2,use,site_id_wiser"
    assert lines[-1] == "oslo,Oslo,,,,office,w-1"


def test_push_from_without_a_stream_file_fills_nothing(tmp_path: Path) -> None:
    assert set_push_from(tmp_path, datetime(2024, 5, 1, tzinfo=UTC)) == 0


STREAM = {
    "stream_id": "dp-9",
    "register_id": "rome.import",
    "field": "pC_2",
    "content": "cumulative_wh",
    "interval_minutes": "30",
    "credential": "main",
    "push_from_at": "2024-05-01T00:00:00Z",
}


def test_stream_is_appended_and_then_changed_where_it_stands(tmp_path: Path) -> None:
    write_files(tmp_path)
    before = (tmp_path / "streams.csv").read_text()
    assert set_stream(tmp_path, STREAM)
    row = "dp-9,rome.import,pC_2,cumulative_wh,30,main,2024-05-01T00:00:00Z\n"
    assert (tmp_path / "streams.csv").read_text() == before + row
    assert not set_stream(tmp_path, {"stream_id": "dp-1", "field": "pC_3"})
    changed = before.replace("dp-1,rome.import,pC_1", "dp-1,rome.import,pC_3")
    assert (tmp_path / "streams.csv").read_text() == changed + row


def test_stream_that_does_not_fit_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    write_files(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(ConfigurationError, match=r"streams\.csv line 5, column register_id"):
        set_stream(tmp_path, STREAM | {"register_id": "nope"})
    assert contents(tmp_path) == before


def test_fault_elsewhere_refuses_a_change_that_a_run_would_leave_out(tmp_path: Path) -> None:
    write_files(tmp_path, {"tariffs.csv": ("all,0.25", "sundays,0.25")})
    before = contents(tmp_path)
    assert Portfolio.load(tmp_path).frames[core.TARIFF].height == 1
    with pytest.raises(ConfigurationError, match="'sundays' is not known"):
        set_stream(tmp_path, STREAM)
    assert contents(tmp_path) == before


def test_first_stream_of_a_portfolio_makes_the_file_or_leaves_none(tmp_path: Path) -> None:
    write_files(tmp_path)
    (tmp_path / "streams.csv").unlink()
    with pytest.raises(ConfigurationError, match="no multiple"):
        set_stream(tmp_path, STREAM | {"interval_minutes": "20"})
    assert not (tmp_path / "streams.csv").exists()
    assert set_stream(tmp_path, STREAM)
    assert Portfolio.load(tmp_path).frames[push.STREAM]["stream_id"].to_list() == ["dp-9"]
