"""The portfolio as frames, and every fault of its files as a sentence."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from energy_etl.errors import ConfigurationError
from energy_etl.portfolio import Portfolio
from energy_etl.tables import core, push
from energy_etl_tests.portfolio.files import FILES, write_files

REPOSITORY = Path(__file__).parents[2]


def test_files_become_frames_in_the_schemas_of_their_tables(tmp_path: Path) -> None:
    frames = Portfolio.load(write_files(tmp_path)).frames
    assert set(frames) == {
        core.SITE,
        core.METER,
        core.REGISTER,
        core.ALIAS,
        core.EXCHANGE,
        core.GAP,
        core.MANUAL_EDIT,
        core.TARIFF,
        core.MEASURE,
        core.WEATHER,
        core.PORTFOLIO_PROBLEM,
        push.STREAM,
        push.STREAM_FIELD,
    }
    for table, frame in frames.items():
        assert frame.schema == table.polars_schema, table.full_name
        assert not frame.select(table.key).is_duplicated().any()
    assert frames[core.SITE].rows()[1] == (
        "rome",
        "Villa, Appia",
        "Europe/Rome",
        "EUR",
        180.5,
        None,
    )
    register = frames[core.REGISTER].filter(register_id="rome.gas").row(0, named=True)
    assert register["site_id"] == "rome"
    assert register["zone"] == "Europe/Rome"
    assert register["commodity"] == "gas"
    assert register["digits"] is None
    assert frames[core.EXCHANGE]["exchanged_at"].to_list() == [datetime(2024, 3, 1, 9, tzinfo=UTC)]
    assert frames[core.TARIFF]["valid_to_on"].to_list() == [date(2024, 2, 1), None]
    assert frames[push.STREAM]["push_from_at"].null_count() == 2


def test_vendor_columns_become_aliases(tmp_path: Path) -> None:
    portfolio = Portfolio.load(write_files(tmp_path))
    assert portfolio.frames[core.ALIAS].rows() == [
        ("meter", "rome.mains", "digiwatt", "87c3897"),
        ("meter", "berlin.mains", "digiwatt", "a1"),
        ("register", "rome.import", "wattsense", "B1/p1"),
        ("register", "rome.gas", "wattsense", "B1/p2"),
        ("register", "berlin.import", "wattsense", "B2/p1"),
    ]
    assert portfolio.vendor_ids("meter", "digiwatt") == {
        "87c3897": "rome.mains",
        "a1": "berlin.mains",
    }


def test_spreadsheet_file_with_byte_order_mark_and_crlf_is_read(tmp_path: Path) -> None:
    write_files(tmp_path)
    sites = tmp_path / "sites.csv"
    sites.write_bytes(
        b"\xef\xbb\xbf" + sites.read_bytes().replace(b"\n", b"\r\n") + b"\r\n,,,,\r\n"
    )
    assert Portfolio.load(tmp_path).frames[core.SITE].height == 2


def test_files_that_may_be_missing_are_empty_frames(tmp_path: Path) -> None:
    write_files(tmp_path)
    for name in ("exchanges.csv", "gaps.csv", "streams.csv", "tariffs.csv"):
        (tmp_path / name).unlink()
    frames = Portfolio.load(tmp_path).frames
    for table in (core.EXCHANGE, core.GAP, push.STREAM, core.TARIFF):
        assert frames[table].schema == table.polars_schema
        assert frames[table].is_empty()


FAULTS = [
    (
        "sites.csv",
        "Europe/Rome",
        "Europe/Rom",
        "sites.csv line 2, column zone: 'Europe/Rom' is no"
        " IANA time zone: did you mean Europe/Rome?",
    ),
    ("sites.csv", "Europe/Berlin", "", "sites.csv line 3, column zone: the cell is empty"),
    ("sites.csv", "EUR,180.5", "eur,180.5", "column currency: 'eur' is no ISO 4217 currency"),
    ("sites.csv", "180.5", "nan", "column area_m2: 'nan' is no finite number"),
    (
        "sites.csv",
        "180.5",
        '"180,5"',
        "column area_m2: '180,5' is no number: write one such as 12.5",
    ),
    ("sites.csv", "180.5", "180.5,more", "sites.csv line 2: 6 cells where the header has 5"),
    ("sites.csv", "berlin,", "rome,", "sites.csv line 3, column site_id: 'rome' stands in line 2"),
    ("sites.csv", "zone,", "zone_name,", "line 1: the header lacks columns zone"),
    ("sites.csv", "site_id,name", "site id,name", "the header lacks columns site_id"),
    ("sites.csv", '"Villa, Appia"', '"Villa', "sites.csv line 3"),
    ("meters.csv", "gas,\n", "gaz,\n", "'gaz' is not known: did you mean gas?"),
    ("meters.csv", "a1", "87c3897", "line 4, column meter_id_digiwatt: '87c3897' stands in line 2"),
    (
        "meters.csv",
        "rome.gas,rome,",
        "rome.gas,paris,",
        "column site_id: 'paris' is not in sites.csv",
    ),
    ("registers.csv", ",rome.gas,mains", ",rome.water,mains", "'rome.water' is not in meters.csv"),
    ("registers.csv", "mains,,cumulative,kWh", "main,,cumulative,kWh", "did you mean mains?"),
    ("registers.csv", "cumulative,kWh", "counter,kWh", "column kind: 'counter' is not known"),
    ("registers.csv", "cumulative,kWh", "cumulative,KWh", "column unit: 'KWh' is not known"),
    ("registers.csv", "kWh,15,", "kWh,7,", "column grid_minutes: '7' is no length that divides"),
    ("registers.csv", "kWh,15,6", "kWh,15,six", "column digits: 'six' is no count of digits"),
    ("registers.csv", "26.8", "-1", "rating_native_per_hour: '-1' is not above 0"),
    ("registers.csv", "instant,true", "instant,yes", "'yes' is neither true nor false"),
    ("registers.csv", "B1/p2", "B1/p1", "column register_id_wattsense: 'B1/p1' stands in line 2"),
    ("registers.csv", "rome.import,", "rome import,", "'rome import' has a blank"),
    ("exchanges.csv", "+01:00", "", "'2024-03-01T10:00:00' has no offset"),
    (
        "exchanges.csv",
        "2024-03-01T",
        "01.03.2024 ",
        "column exchanged_at: '01.03.2024 10:00:00+01:00' is no instant",
    ),
    (
        "exchanges.csv",
        "2024-03-01T10:00:00+01:00",
        "0001-01-01T00:00:00+14:00",
        "'0001-01-01T00:00:00+14:00' is beyond the calendar",
    ),
    ("exchanges.csv", "999.5", "-999.5", "column final_native: '-999.5' is below 0"),
    ("exchanges.csv", "999.5", "9_99.5", "column final_native: '9_99.5' is no number"),
    ("exchanges.csv", "rome.import", "rome.power", "'rome.power' is not in registers.csv"),
    (
        "gaps.csv",
        "2024-03-02",
        "2024-02-02",
        "column to_at: 2024-02-02 00:00:00+00:00 is not after",
    ),
    (
        "streams.csv",
        "dp-2",
        "dp-1",
        "streams.csv line 3, column stream_id: 'dp-1' stands in line 2",
    ),
    ("streams.csv", "rome.gas", "rome.steam", "'rome.steam' is not in registers.csv"),
    ("streams.csv", "interval,30", "interval,5", "5 is no multiple of the register's grid of 15"),
    ("streams.csv", "value,interval", "pC_1,cumulative_wh", "needs a cumulative energy register"),
    ("streams.csv", "value,sample", "value,interval", "does not fit a register of kind instant"),
    ("tariffs.csv", "24:00,all,0.25", "24:01,all,0.25", "'24:01' is no time of day"),
    (
        "tariffs.csv",
        "2024-02-01,00",
        "2023-02-01,00",
        "column valid_to_on: 2023-02-01 is not after",
    ),
    ("tariffs.csv", "all,0.25", "sundays,0.25", "column days: 'sundays' is not known"),
]


@pytest.mark.parametrize(("name", "old", "new", "message"), FAULTS, ids=[f[3] for f in FAULTS])
def test_fault_is_named_with_file_line_column_value_and_what_to_do(
    tmp_path: Path, name: str, old: str, new: str, message: str
) -> None:
    write_files(tmp_path, {name: (old, new)})
    with pytest.raises(ConfigurationError) as caught:
        Portfolio.load_strictly(tmp_path)
    first = str(caught.value).splitlines()[1]
    assert message in first
    assert first.startswith(f"- {name} line ")
    assert first.endswith(".")


def test_all_faults_of_all_files_are_listed_at_once(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "sites.csv": ("Europe/Rome", "Mars"),
            "meters.csv": ("electricity", "electric"),
            "streams.csv": ("cumulative_wh", "total"),
        },
    )
    with pytest.raises(ConfigurationError) as caught:
        Portfolio.load_strictly(tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"The portfolio in {tmp_path} has 3 problems:"
    assert [line.split()[1] for line in lines[1:]] == ["sites.csv", "meters.csv", "streams.csv"]


@pytest.mark.parametrize(
    ("old", "new", "n_problems"), [("site_id,name", "site id,name", 2), ("180.5", "1,2,3", 1)]
)
def test_row_that_cannot_be_read_is_reported_once_not_by_all_that_name_it(
    tmp_path: Path, old: str, new: str, n_problems: int
) -> None:
    write_files(tmp_path, {"sites.csv": (old, new)})
    with pytest.raises(ConfigurationError) as caught:
        Portfolio.load_strictly(tmp_path)
    assert len(str(caught.value).splitlines()) == 1 + n_problems


def test_endless_faults_are_cut_with_their_number(tmp_path: Path) -> None:
    write_files(tmp_path)
    sites = tmp_path / "sites.csv"
    sites.write_text(sites.read_text() + "".join(f"s{n},,,,\n" for n in range(100)))
    with pytest.raises(ConfigurationError, match=r"has 300 problems") as caught:
        Portfolio.load_strictly(tmp_path)
    assert str(caught.value).splitlines()[-1] == "- and 250 more."


def test_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    write_files(tmp_path)
    (tmp_path / "sites.csv").write_bytes(
        FILES["sites.csv"].replace("Haus", "Häuser").encode("latin-1")
    )
    with pytest.raises(ConfigurationError, match=r"sites\.csv: byte \d+ is not UTF-8"):
        Portfolio.load_strictly(tmp_path)


def test_missing_folder_or_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="run `energy-etl init"):
        Portfolio.load(tmp_path / "none")
    write_files(tmp_path)
    (tmp_path / "meters.csv").unlink()
    with pytest.raises(ConfigurationError, match=r"meters\.csv is missing: add it"):
        Portfolio.load(tmp_path)


@pytest.mark.parametrize("name", ["portfolio.example", "portfolio.replay"])
def test_portfolios_of_the_repository_load(name: str) -> None:
    frames = Portfolio.load_strictly(REPOSITORY / "data" / name).frames
    assert frames[core.REGISTER].height > 0
    assert frames[push.STREAM].height > 0
