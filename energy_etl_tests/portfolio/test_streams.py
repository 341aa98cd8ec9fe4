"""Streams, their further fields and what files feed: what fits, and who waits when it does not."""

from pathlib import Path

import pytest

from energy_etl.errors import ConfigurationError
from energy_etl.portfolio import Portfolio, set_stream, set_stream_field
from energy_etl.tables import core, push
from energy_etl.vendors.wattics.wire import field_problem
from energy_etl_tests.portfolio.files import FILES, write_files

METERS = """\
meter_id,site_id,name,commodity
rome.mains,rome,Mains,electricity
rome.gas,rome,Gas,gas
"""
REGISTERS = """\
register_id,meter_id,role,kind,unit,grid_minutes,resolution_native,stamp,is_primary,phase
rome.l1,rome.mains,mains,cumulative,kWh,15,0.001,instant,true,L1
rome.l2,rome.mains,mains,cumulative,Wh,15,1,instant,true,L2
rome.v1,rome.mains,sensor,instant,V,5,0.1,instant,false,L1
rome.a1,rome.mains,sensor,instant,A,60,0.1,instant,false,L1
rome.gas,rome.gas,mains,cumulative,m3,15,0.01,instant,true,
"""
STREAMS = """\
stream_id,register_id,field,content,interval_minutes,credential,estimates,is_historical,zone
dp-1,rome.l1,pC_1,cumulative_wh,15,main,hold,,
dp-2,rome.gas,value,interval,15,main,,true,
dp-3,,value,file,15,main,,,America/New_York
dp-4,rome.l2,pC_1,cumulative_wh,15,main,,,
"""
FIELDS = """\
stream_id,field,register_id,content
dp-1,pC_2,rome.l2,cumulative_wh
dp-1,v_1,rome.v1,sample
"""
OTHERS = {"exchanges.csv": FILES["exchanges.csv"].splitlines()[0] + "\n"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path)
    given = {
        "meters.csv": METERS,
        "registers.csv": REGISTERS,
        "streams.csv": STREAMS,
        "stream_fields.csv": FIELDS,
        "gaps.csv": FILES["gaps.csv"],
        **OTHERS,
    }
    for name, text in given.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def loaded(folder: Path) -> Portfolio:
    return Portfolio.load(folder, field_problem)


def change(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))


def test_streams_and_their_fields_become_frames(folder: Path) -> None:
    frames = Portfolio.load_strictly(folder, field_problem).frames
    assert frames[push.STREAM_FIELD].rows() == [
        ("dp-1", "pC_2", "rome.l2", "cumulative_wh"),
        ("dp-1", "v_1", "rome.v1", "sample"),
    ]
    columns = ("stream_id", "register_id", "estimates", "is_historical", "zone")
    assert frames[push.STREAM].select(columns).rows() == [
        ("dp-1", "rome.l1", "hold", False, None),
        ("dp-2", "rome.gas", "send", True, None),
        ("dp-3", None, "send", False, "America/New_York"),
        ("dp-4", "rome.l2", "send", False, None),
    ]


def test_portfolio_without_further_fields_needs_no_file_of_them(folder: Path) -> None:
    (folder / "stream_fields.csv").unlink()
    assert Portfolio.load_strictly(folder, field_problem).frames[push.STREAM_FIELD].is_empty()


@pytest.mark.parametrize(
    ("file", "old", "new", "place", "message", "waiting"),
    [
        (
            "streams.csv",
            "dp-1,rome.l1",
            "dp-1,",
            "2, column register_id",
            "name the register, or write content file",
            "dp-1",
        ),
        (
            "streams.csv",
            "dp-3,,",
            "dp-3,rome.gas,",
            "4, column content",
            "leave register_id empty",
            "dp-3",
        ),
        (
            "streams.csv",
            "America/New_York",
            "",
            "4, column zone",
            "write the zone of the local times",
            "dp-3",
        ),
        (
            "streams.csv",
            "hold,,",
            "hold,,Europe/Rome",
            "2, column zone",
            "those of its site",
            "dp-1",
        ),
        ("streams.csv", "hold", "wait", "2, column estimates", "write one of send, hold", "dp-1"),
        (
            "streams.csv",
            "rome.gas,value",
            "rome.gas,pC_1",
            "3, column field",
            "pC_1 does not fit interval",
            "dp-2",
        ),
        (
            "streams.csv",
            ",value,file",
            ",volts,file",
            "4, column field",
            "volts is no field of a packet",
            "dp-3",
        ),
        (
            "streams.csv",
            "rome.l1,pC_1,cumulative_wh",
            "rome.l1,value,interval",
            "2, column field",
            "value stands alone",
            "dp-1",
        ),
        (
            "stream_fields.csv",
            "dp-1,pC_2",
            "dp-1,pC_1",
            "2, column field",
            "is the stream's own field",
            "dp-1",
        ),
        (
            "stream_fields.csv",
            "dp-1,v_1",
            "dp-1,pC_2",
            "3, column stream_id+field",
            "stands in line 2 already",
            "dp-1",
        ),
        (
            "stream_fields.csv",
            "dp-1,v_1",
            "dp-3,v_1",
            "3, column stream_id",
            "files feed this stream",
            "dp-3",
        ),
        (
            "stream_fields.csv",
            "v_1,rome.v1",
            "v_1,rome.a1",
            "3, column register_id",
            "15 is no multiple of the register's grid of 60",
            "dp-1",
        ),
        (
            "stream_fields.csv",
            "v_1,rome.v1",
            "c_1,rome.v1",
            "3, column field",
            "c_1 is in A, and the register in V",
            "dp-1",
        ),
        (
            "stream_fields.csv",
            "v_1,rome.v1",
            "value,rome.v1",
            "3, column field",
            "value stands alone",
            "dp-1",
        ),
        (
            "stream_fields.csv",
            "v_1,rome.v1,sample",
            "pC_3,rome.gas,cumulative_wh",
            "3, column content",
            "needs a cumulative energy register",
            "dp-1",
        ),
        (
            "stream_fields.csv",
            "v_1,rome.v1,sample",
            "v_1,rome.v1,interval",
            "3, column content",
            "does not fit a register of kind instant",
            "dp-1",
        ),
        (
            "stream_fields.csv",
            "rome.v1",
            "rome.v9",
            "3, column register_id",
            "'rome.v9' is not in registers.csv",
            "dp-1",
        ),
        (
            "stream_fields.csv",
            "rome.v1,sample",
            "rome.v1,",
            "3, column content",
            "the cell is empty",
            "dp-1",
        ),
        # What a field needs is left out for a fault of its own.
        (
            "registers.csv",
            "instant,V",
            "instant,Volt",
            "4, column unit",
            "'Volt' is not known",
            "dp-1",
        ),
    ],
)
def test_stream_with_a_faulty_row_waits_as_a_whole_and_the_others_go_on(
    folder: Path, file: str, old: str, new: str, place: str, message: str, waiting: str
) -> None:
    change(folder, file, old, new)
    portfolio = loaded(folder)
    (told,) = portfolio.frames[core.PORTFOLIO_PROBLEM]["message"]
    assert told.startswith(f"{file} line {place}: ")
    assert message in told
    left = {"dp-1", "dp-2", "dp-3", "dp-4"} - {waiting}
    assert set(portfolio.frames[push.STREAM]["stream_id"]) == left
    assert waiting not in set(portfolio.frames[push.STREAM_FIELD]["stream_id"])
    why = portfolio.why_it_waits(waiting)
    assert why == f"waits until {file} line {place} of the portfolio is mended"
    with pytest.raises(ConfigurationError, match="has 1 problem"):
        Portfolio.load_strictly(folder, field_problem)


def test_field_of_a_stream_that_is_not_there_is_told_and_holds_nobody_up(folder: Path) -> None:
    change(folder, "stream_fields.csv", "dp-1,v_1", "dp-9,v_1")
    portfolio = loaded(folder)
    assert "'dp-9' is not in streams.csv" in portfolio.problems[0].message
    assert portfolio.frames[push.STREAM].height == 4
    assert portfolio.frames[push.STREAM_FIELD]["field"].to_list() == ["pC_2"]


def test_line_of_the_fields_that_cannot_be_read_makes_every_stream_of_registers_wait(
    folder: Path,
) -> None:
    change(folder, "stream_fields.csv", "rome.v1,sample", "rome.v1")
    portfolio = loaded(folder)
    assert portfolio.frames[push.STREAM]["stream_id"].to_list() == ["dp-3"]
    assert "stream_fields.csv line 3" in str(portfolio.why_it_waits("dp-4"))


def test_faulty_exchange_of_one_phase_makes_every_stream_that_it_feeds_wait(folder: Path) -> None:
    faulty = OTHERS["exchanges.csv"] + "rome.l2,yesterday,1,0\n"
    (folder / "exchanges.csv").write_text(faulty)
    portfolio = loaded(folder)
    assert portfolio.frames[push.STREAM]["stream_id"].to_list() == ["dp-2", "dp-3"]
    assert portfolio.frames[push.STREAM_FIELD].is_empty()
    assert "exchanges.csv line 2" in str(portfolio.why_it_waits("dp-1"))


def test_portfolio_that_nobody_pushes_from_may_have_any_field(folder: Path) -> None:
    change(folder, "streams.csv", ",value,file", ",volts,file")
    assert Portfolio.load(folder).problems == ()


def test_row_of_a_further_field_is_added_changed_and_put_back_when_it_does_not_fit(
    folder: Path,
) -> None:
    (folder / "stream_fields.csv").unlink()
    row = {"stream_id": "dp-1", "field": "v_1", "register_id": "rome.v1", "content": "sample"}
    assert set_stream_field(folder, row, field_problem)
    assert not set_stream_field(folder, row, field_problem)
    assert (folder / "stream_fields.csv").read_text().splitlines()[1:] == [
        "dp-1,v_1,rome.v1,sample"
    ]
    with pytest.raises(ConfigurationError, match="c_1 is in A"):
        set_stream_field(folder, row | {"field": "c_1"}, field_problem)
    with pytest.raises(ConfigurationError, match="value stands alone"):
        set_stream(
            folder, {"stream_id": "dp-1", "field": "value", "content": "interval"}, field_problem
        )
    assert Portfolio.load_strictly(folder, field_problem).frames[push.STREAM_FIELD].height == 1
