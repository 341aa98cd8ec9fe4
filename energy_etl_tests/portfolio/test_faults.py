"""A fault in one row: it is left out with what depends on it, the rest is as it would be."""

import copy
import csv
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.errors import ConfigurationError
from energy_etl.portfolio import Portfolio
from energy_etl.portfolio.layout import FILES as LAYOUTS
from energy_etl.tables import Table, core, push
from energy_etl_tests.portfolio.files import FILES, write_files
from energy_etl_tests.portfolio.test_reading import FAULTS

MANUAL_EDITS = """\
register_id,from_at,to_at,action,reading_native,reason
rome.import,2024-03-02T00:00:00Z,2024-03-02T00:00:00Z,replace,12.5,display read by Anna
rome.gas,2024-03-02T00:00:00Z,2024-03-03T00:00:00Z,drop,,gateway was moved
"""
MEASURES = """\
measure_id,register_id,name,baseline_start_on,baseline_end_on,reporting_start_on,reporting_end_on
led,rome.import,LED lamps,2023-01-01,2024-01-01,2024-01-01,
"""
WEATHER = """\
site_id,local_on,temperature_degc
rome,2024-03-01,11.5
"""
MORE = {"manual_edits.csv": MANUAL_EDITS, "measures.csv": MEASURES, "weather.csv": WEATHER}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Every file of a portfolio without a fault."""
    write_files(tmp_path)
    for name, text in MORE.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def change(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))


def ids(portfolio: Portfolio, table: Table) -> list[str]:
    return portfolio.frames[table].to_series().to_list()


def assert_named_rows_are_there(frames: Mapping[Table, pl.DataFrame]) -> None:
    by_file = {layout.file: frames[layout.table] for layout in LAYOUTS}
    for layout in LAYOUTS:
        for column, file in layout.refers_to.items():
            assert by_file[layout.file].join(by_file[file], on=column, how="anti").is_empty()


def problems(portfolio: Portfolio) -> list[str]:
    return portfolio.frames[core.PORTFOLIO_PROBLEM]["message"].to_list()


def test_every_file_without_a_fault_has_no_problem(folder: Path) -> None:
    portfolio = Portfolio.load_strictly(folder)
    assert portfolio.problems == ()
    assert portfolio.frames[core.PORTFOLIO_PROBLEM].is_empty()
    assert portfolio.frames[core.MANUAL_EDIT]["action"].to_list() == ["drop", "replace"]
    assert ids(portfolio, core.MEASURE) == ["led"]
    assert portfolio.frames[core.WEATHER]["temperature_degc"].to_list() == [11.5]
    assert portfolio.gone(["rome.import", "sold"]) == {"sold"}
    assert portfolio.why_it_waits("sold") is None


def test_unknown_zone_leaves_out_the_site_and_all_that_depends_on_it(folder: Path) -> None:
    change(folder, "sites.csv", "Europe/Rome", "Europe/Rom")
    portfolio = Portfolio.load(folder)
    row = portfolio.frames[core.PORTFOLIO_PROBLEM].row(0, named=True)
    assert (row["file"], row["line"], row["columns"]) == ("sites.csv", 2, "zone")
    assert row["message"].startswith("sites.csv line 2, column zone: 'Europe/Rom' is no IANA")
    assert len(portfolio.problems) == 1, "what depends on it is no fault of its own"
    assert ids(portfolio, core.SITE) == ["berlin"]
    assert ids(portfolio, core.METER) == ["berlin.mains", "berlin.room"]
    assert ids(portfolio, core.REGISTER) == ["berlin.import", "berlin.room"]
    assert ids(portfolio, push.STREAM) == ["dp-3"]
    for table in (core.EXCHANGE, core.GAP, core.MANUAL_EDIT, core.TARIFF, core.MEASURE):
        assert portfolio.frames[table].is_empty()
    why = "waits until sites.csv line 2, column zone of the portfolio is mended"
    assert portfolio.why_it_waits("dp-1") == why
    assert portfolio.why_it_waits("dp-3") is None


# Without its header, with a quote that swallows every row, with one id for both sites: nothing of
# the sites can be used, so there is no portfolio.
NEEDED = [
    fault
    for fault in FAULTS
    if "lacks" in fault[3] or (fault[0] == "sites.csv" and fault[2] in ('"Villa', "rome,"))
]
OTHERS = [fault for fault in FAULTS if fault not in NEEDED]


@pytest.mark.parametrize(("name", "old", "new", "message"), NEEDED, ids=[f[3] for f in NEEDED])
def test_fault_that_leaves_nothing_is_an_error(
    folder: Path, name: str, old: str, new: str, message: str
) -> None:
    change(folder, name, old, new)
    with pytest.raises(ConfigurationError) as caught:
        Portfolio.load(folder)
    assert message in str(caught.value)


@pytest.mark.parametrize(("name", "old", "new", "message"), OTHERS, ids=[f[3] for f in OTHERS])
def test_any_fault_is_told_and_the_rest_is_as_without_it(
    folder: Path, name: str, old: str, new: str, message: str
) -> None:
    sound = Portfolio.load(folder).frames
    change(folder, name, old, new)
    portfolio = Portfolio.load(folder)
    assert message in portfolio.problems[0].message
    for table, frame in portfolio.frames.items():
        if table is not core.PORTFOLIO_PROBLEM:
            shared = frame.join(sound[table], on=frame.columns, how="semi", nulls_equal=True)
            assert shared.height == frame.height, "nothing is there that was not there before"
    n_before = sum(frame.height for frame in sound.values())
    n_after = sum(f.height for t, f in portfolio.frames.items() if t is not core.PORTFOLIO_PROBLEM)
    assert n_after < n_before
    assert_named_rows_are_there(portfolio.frames)


TABLES = {
    name: list(csv.reader(io.StringIO(text), strict=True)) for name, text in (FILES | MORE).items()
}
CELLS = [
    (name, line, column)
    for name, rows in TABLES.items()
    for line in range(1, len(rows))
    for column in range(len(rows[0]))
]


@settings(max_examples=12, deadline=None)
@given(
    spoilt=st.lists(st.sampled_from(CELLS), min_size=1, max_size=3, unique=True),
    text=st.sampled_from(["", "?", "a b", "nan", "rome", "1"]),
)
def test_any_cells_spoilt_leave_rows_that_fit_together(
    tmp_path_factory: pytest.TempPathFactory, spoilt: list[tuple[str, int, int]], text: str
) -> None:
    folder = tmp_path_factory.mktemp("spoilt")
    tables = copy.deepcopy(TABLES)
    for name, line, column in spoilt:
        tables[name][line][column] = text
    for name, rows in tables.items():
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    try:
        portfolio = Portfolio.load(folder)
    except ConfigurationError:
        # Both sites can be hit: then nothing is left.
        assert len({cell for cell in spoilt if cell[0] != "streams.csv"}) > 1
        return
    frames = portfolio.frames
    assert frames[core.PORTFOLIO_PROBLEM].height == len(portfolio.problems)
    for table, frame in frames.items():
        assert not frame.select(table.key).is_duplicated().any(), table.full_name
        assert frame.schema == table.polars_schema
        needed = [column.name for column in table.columns if not column.is_nullable]
        assert not any(frame.select(needed).null_count().row(0)), table.full_name
    assert_named_rows_are_there(frames)


def test_of_two_rows_with_one_id_neither_is_used(folder: Path) -> None:
    change(folder, "streams.csv", "dp-2", "dp-1")
    portfolio = Portfolio.load(folder)
    assert ids(portfolio, push.STREAM) == ["dp-3"]
    assert "line 3, column stream_id" in str(portfolio.why_it_waits("dp-1"))


def test_vendor_id_that_two_claim_maps_neither(folder: Path) -> None:
    change(folder, "registers.csv", "B1/p2", "B1/p1")
    portfolio = Portfolio.load(folder)
    assert ids(portfolio, core.REGISTER) == ["berlin.import", "berlin.room"]
    assert portfolio.vendor_ids("register", "wattsense") == {"B2/p1": "berlin.import"}


def test_left_out_register_keeps_its_alias_but_brings_no_readings(folder: Path) -> None:
    change(folder, "registers.csv", "kWh,15,6", "kWh,15,six")
    portfolio = Portfolio.load(folder)
    assert portfolio.vendor_ids("register", "wattsense")["B1/p1"] == "rome.import"
    used = portfolio.used_aliases()
    assert used.filter(pl.col("thing") == "register")["thing_id"].to_list() == [
        "rome.gas",
        "berlin.import",
    ]


def test_while_anything_is_wrong_no_register_counts_as_taken_out(folder: Path) -> None:
    change(folder, "registers.csv", "rome.import,", "rome.imporT,")
    portfolio = Portfolio.load(folder)
    assert any("'rome.import' is not in registers.csv" in text for text in problems(portfolio))
    assert portfolio.gone(["rome.import", "sold"]) == set()


def test_two_exchanges_of_one_register_at_one_instant_are_a_fault(folder: Path) -> None:
    row = FILES["exchanges.csv"].splitlines()[1]
    (folder / "exchanges.csv").write_text(FILES["exchanges.csv"] + row.replace("999.5", "7") + "\n")
    portfolio = Portfolio.load(folder)
    assert "column register_id+exchanged_at" in portfolio.problems[0].message
    assert portfolio.frames[core.EXCHANGE].is_empty()
    assert "rome.import" in ids(portfolio, core.REGISTER), "it is computed as before"
    assert portfolio.why_it_waits("dp-1") is not None, "but nothing of it is sent"


@pytest.mark.parametrize(
    ("old", "new"),
    [("999.5", "x"), ("rome.import", "rome.imporT"), ("rome.import", ""), ("0\n", "0,0\n")],
)
def test_exchange_that_becomes_unreadable_stays_as_it_was(folder: Path, old: str, new: str) -> None:
    before = Portfolio.load(folder).frames[core.EXCHANGE]
    header, row = FILES["exchanges.csv"].splitlines()
    other = "rome.gas,2024-05-01T00:00:00Z,5,0"
    (folder / "exchanges.csv").write_text(f"{header}\n{row.replace(old, new)}\n{other}\n")
    if "\n" in old:
        (folder / "exchanges.csv").write_text(f"{header}\n{row},0\n{other}\n")
    portfolio = Portfolio.load(folder)
    assert ids(portfolio, core.EXCHANGE) == ["rome.gas"]
    kept = portfolio.with_last_good(core.EXCHANGE, before)
    assert kept["register_id"].to_list() == ["rome.gas", "rome.import"]
    assert kept["final_native"].to_list() == [5.0, 999.5]


def test_sound_file_says_all_there_is_whatever_was_before(folder: Path) -> None:
    before = Portfolio.load(folder).frames[core.EXCHANGE]
    change(folder, "tariffs.csv", "all,0.25", "never,0.25")
    (folder / "exchanges.csv").write_text(FILES["exchanges.csv"].splitlines()[0] + "\n")
    assert Portfolio.load(folder).with_last_good(core.EXCHANGE, before).is_empty()


def test_unreadable_file_of_streams_makes_every_stream_wait(folder: Path) -> None:
    (folder / "streams.csv").write_text("stream_id,what\ndp-1,x\n")
    portfolio = Portfolio.load(folder)
    assert portfolio.frames[push.STREAM].is_empty()
    why = portfolio.why_it_waits("dp-1")
    assert str(why).startswith("waits until streams.csv line 1, column field, content")


def test_old_tariff_header_is_told_its_new_name(folder: Path) -> None:
    change(folder, "tariffs.csv", "price_per_kwh", "price_eur_per_kwh")
    portfolio = Portfolio.load(folder)
    assert portfolio.frames[core.TARIFF].is_empty()
    assert all(
        text.endswith("; price_eur_per_kwh is called price_per_kwh now.")
        for text in problems(portfolio)
    )
    assert ids(portfolio, core.REGISTER), "the rest is there"


def test_old_headers_without_the_columns_that_may_be_missing_are_read(folder: Path) -> None:
    frames = Portfolio.load_strictly(folder).frames
    tariff = frames[core.TARIFF].row(0, named=True)
    assert (tariff["commodity"], tariff["role"], tariff["currency"]) == (
        "electricity",
        "mains",
        "EUR",
    )
    register = frames[core.REGISTER].row(0, named=True)
    assert register["phase"] is None
    assert register["nominal_native"] is None


def test_new_columns_are_read(folder: Path) -> None:
    header, *rows = FILES["registers.csv"].splitlines()
    lines = [f"{header},phase,nominal_native", f"{rows[0]},L2,", *(f"{row},," for row in rows[1:])]
    lines.append("rome.v1,rome.mains,sensor,,instant,V,15,,,0.1,instant,true,,L1,230")
    (folder / "registers.csv").write_text("\n".join(lines) + "\n")
    (folder / "tariffs.csv").write_text(
        "site_id,commodity,role,valid_from_on,valid_to_on,from_local_time,to_local_time,days,"
        "price_per_kwh,currency\nrome,gas,mains,2024-01-01,,00:00,24:00,all,0.1,CHF\n"
        "rome,,export,2024-01-01,,00:00,24:00,all,0.08,\n"
    )
    frames = Portfolio.load_strictly(folder).frames
    register = {row["register_id"]: row for row in frames[core.REGISTER].iter_rows(named=True)}
    assert register["rome.import"]["phase"] == "L2"
    assert register["rome.v1"]["nominal_native"] == 230.0
    assert frames[core.TARIFF].select("commodity", "role", "currency").rows() == [
        ("electricity", "export", "EUR"),
        ("gas", "mains", "CHF"),
    ]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("manual_edits.csv", "replace,12.5", "replace,", "the action replace needs a value"),
        ("manual_edits.csv", "replace,12.5", "mend,12.5", "'mend' is not known"),
        ("manual_edits.csv", ",gateway was moved", ",", "column reason: the cell is empty"),
        ("manual_edits.csv", "2024-03-03T", "2024-03-01T", "column to_at: 2024-03-01 00:00:00"),
        ("measures.csv", "2024-01-01,\n", "2023-12-31,\n", "is before baseline_end_on 2024-01-01"),
        ("measures.csv", "2023-01-01", "2024-01-01", "is not after baseline_start_on 2024-01-01"),
        ("measures.csv", "01-01,\n", "01-01,2024-01-01\n", "is not after reporting_start_on"),
        ("measures.csv", "rome.import", "rome.steam", "'rome.steam' is not in registers.csv"),
        ("weather.csv", "11.5", "mild", "column temperature_degc: 'mild' is no number"),
        ("weather.csv", "rome", "oslo", "'oslo' is not in sites.csv"),
    ],
)
def test_fault_of_what_people_declare_is_told_and_alone_left_out(
    folder: Path, file: str, old: str, new: str, message: str
) -> None:
    change(folder, file, old, new)
    portfolio = Portfolio.load(folder)
    assert [message in text for text in problems(portfolio)] == [True]
    assert portfolio.frames[core.REGISTER].height == 4


def test_measure_that_stands_twice_is_a_fault(folder: Path) -> None:
    (folder / "measures.csv").write_text(MEASURES + MEASURES.splitlines()[1] + "\n")
    portfolio = Portfolio.load(folder)
    assert portfolio.problems[0].message.startswith("measures.csv line 3, column measure_id: 'led'")
    assert portfolio.frames[core.MEASURE].is_empty()


def test_phase_of_something_that_is_not_electrical_is_a_fault(folder: Path) -> None:
    header, *rows = FILES["registers.csv"].splitlines()
    lines = [f"{header},phase", *(f"{row},L1" for row in rows)]
    (folder / "registers.csv").write_text("\n".join(lines) + "\n")
    portfolio = Portfolio.load(folder)
    assert ids(portfolio, core.REGISTER) == ["berlin.import", "rome.import"]
    assert [(p.line, p.columns) for p in portfolio.problems] == [(3, "phase"), (5, "phase")]


def test_interval_register_in_watts_may_be_pushed_as_its_energy(folder: Path) -> None:
    change(folder, "registers.csv", "mains,,cumulative,m3,15", "mains,,interval,W,15")
    assert Portfolio.load_strictly(folder).frames[core.REGISTER].height == 4


def test_portfolio_of_which_nothing_is_left_is_none(folder: Path) -> None:
    text = FILES["sites.csv"].replace("Europe/Rome", "").replace("Europe/Berlin", "")
    (folder / "sites.csv").write_text(text)
    with pytest.raises(ConfigurationError, match="has 2 problems"):
        Portfolio.load(folder)


def test_manual_edit_at_one_instant_is_allowed(folder: Path) -> None:
    edit = Portfolio.load_strictly(folder).frames[core.MANUAL_EDIT].filter(action="replace")
    at = datetime(2024, 3, 2, tzinfo=UTC)
    assert edit.select("from_at", "to_at", "reading_native").row(0) == (at, at, 12.5)


def test_counter_of_a_phase_beside_the_counter_of_all_phases_counted_twice(folder: Path) -> None:
    header, *rows = FILES["registers.csv"].splitlines()
    lines = [f"{header},phase", *(f"{row}," for row in rows)]
    part = "rome.l1,rome.mains,mains,,cumulative,kWh,15,6,,0.001,instant,{},,L1"
    (folder / "registers.csv").write_text("\n".join([*lines, part.format("true")]) + "\n")
    portfolio = Portfolio.load(folder)
    assert "rome.l1" not in ids(portfolio, core.REGISTER)
    assert problems(portfolio) == [
        "registers.csv line 6, column is_primary: the energy of L1 is within that of rome.import in"
        " line 2 and would count twice: write false."
    ]
    (folder / "registers.csv").write_text("\n".join([*lines, part.format("false")]) + "\n")
    assert "rome.l1" in ids(Portfolio.load_strictly(folder), core.REGISTER)


def test_what_a_left_out_register_is_stays_known_to_its_neighbours(folder: Path) -> None:
    change(folder, "registers.csv", "26.8", "many")
    left_out = Portfolio.load(folder).left_out
    assert left_out.select("register_id", "site_id", "commodity", "role", "unit").rows() == [
        ("rome.import", "rome", "electricity", "mains", "kWh")
    ]
    change(folder, "registers.csv", "rome.import,rome.mains,mains", "rome.import,rome.mains,")
    assert Portfolio.load(folder).left_out.is_empty()
    change(folder, "sites.csv", "Europe/Rome", "Europe/Rom")
    assert Portfolio.load(folder).left_out["register_id"].to_list() == ["rome.gas"]
