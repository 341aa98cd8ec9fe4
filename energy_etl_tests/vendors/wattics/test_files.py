"""Files to packets: fields, order, repetitions, streams; Swarm's ini and JSON lines."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.errors import ConfigurationError, DeliveryError
from energy_etl.tables.push import STREAM
from energy_etl.vendors.wattics.files import (
    FilePackets,
    FileStream,
    StreamMap,
    one_packet,
    read_packets,
)
from energy_etl.vendors.wattics.wire import COUNTED_FIELDS, ELECTRICAL_FIELDS

NOW = datetime(2025, 1, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
STREAMS = StreamMap(
    {
        "gas": FileStream("gas", "value", "Europe/Rome", QUARTER),
        "mains": FileStream("mains", "pC_1", "Europe/Rome", QUARTER),
        "power": FileStream("power", "aP_1", "America/New_York", QUARTER),
    },
    {"dp-1": "rome-a.grid"},
)


def read(path: Path, stream_id: str | None = None, **options: object) -> FilePackets:
    return read_packets(path, STREAMS, now=NOW, stream_id=stream_id, **options)  # pyright: ignore[reportArgumentType]


def bodies(packets: FilePackets) -> list[str]:
    return [body for batch in packets.batches() for body in batch["body"]]


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_single_column_goes_into_the_field_of_its_stream(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "2024-01-01 00:15:00,1.5", "2024-07-01 00:15:00,-0")
    assert bodies(read(path, "gas")) == [
        '{"id":"gas","tsISO8601":"2024-01-01T00:15:00.000+01:00","value":1.5}',
        '{"id":"gas","tsISO8601":"2024-07-01T00:15:00.000+02:00","value":0.0}',
    ]
    assert bodies(read(path, "mains"))[0].endswith('"pC_1":1.5}')


def test_electrical_columns_stand_in_the_vendors_order_and_empty_cells_are_left_out(
    tmp_path: Path,
) -> None:
    numbers = [str(float(n)) for n in range(1, 22)]
    path = written(
        tmp_path / "a.csv",
        "2024-01-01 00:15:00," + ",".join(numbers),
        "2024-01-01 00:30:00,7,,8",
    )
    full, short = (json.loads(body) for body in bodies(read(path, "mains")))
    assert {name: full[name] for name in ELECTRICAL_FIELDS} == dict(
        zip(ELECTRICAL_FIELDS, map(float, numbers), strict=True)
    )
    assert list(full)[2:] == list(ELECTRICAL_FIELDS)
    assert list(short.items())[2:] == [("aP_1", 7.0), ("aP_3", 8.0)]


def test_columns_without_the_streams_own_field_are_of_another_stream(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "2024-01-01 00:15:00,1234,5")
    with pytest.raises(DeliveryError, match=r"The columns of the file are aP_1, aP_2 .* pC_1"):
        read(path, "mains")
    assert bodies(read(path, "power"))[0].endswith('"aP_1":1234.0,"aP_2":5.0}')


def test_lines_are_sorted_and_repeated_ones_left_out_and_both_are_told(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.csv",
        "2024-01-01 00:30:00,2",
        "2024-01-01 00:15:00,1",
        "2024-01-01 00:30:00,2.0",
        "2024-01-01 00:45:00,",
        "2024-01-01 01:00:00,4",
    )
    packets = read(path, "gas")
    assert packets.rows["value"].to_list() == [1.0, 2.0, 4.0]
    assert packets.bad.n == 0
    assert [note.split(" ", 2)[2] for note in packets.notes] == [
        "without any value were left out: they are holes.",
        "were not in order of time: they were sorted.",
        "that repeat another one were left out.",
    ]
    assert [note[0] for note in packets.notes] == ["1", "1", "1"]


def test_lines_that_contradict_each_other_are_all_bad(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.csv",
        "2024-01-01 00:15:00,1",
        "2024-01-01 00:30:00,2",
        "2024-01-01 00:30:00,3",
        "2024-01-01 00:30:00,2",
    )
    packets = read(path, "gas")
    assert packets.rows["line"].to_list() == [1]
    assert [s.split(":")[0] for s in packets.bad.sentences] == ["line 2", "line 3", "line 4"]
    assert "different numbers, first in line 2" in packets.bad.sentences[1]


def test_counter_that_falls_is_bad_in_its_own_stream_alone(tmp_path: Path) -> None:
    line = '{"id":"%s","tsISO8601":"2024-01-01T00:%s:00+01:00","pC_1":%s,"pC_2":%s}'
    cases = [("mains", "15", 5, 7), ("power", "15", 1, 1), ("mains", "30", 5, "null")]
    cases += [("mains", "45", 6, 6.5), ("power", "30", 2, 1), ("mains", "50", 6, 7)]
    packets = read(written(tmp_path / "a.jsonl", *(line % case for case in cases)))
    assert packets.rows["line"].to_list() == [1, 3, 6, 2, 5]
    assert packets.bad.sentences[0].startswith("line 4: pC_2 falls to 6.5: Wattics subtracts")
    # What Swarm calls fake_electricity counts anew in each slot.
    path = swarm(tmp_path, "fake_electricity", "mains", slot="15")
    written(tmp_path / "data" / "a.csv", "2024-01-01 00:15:00,3", "2024-01-01 00:30:00,2")
    assert (read(path).bad.n, read(path).counters) == (0, ())


def test_stamps_that_are_still_to_come_are_bad(tmp_path: Path) -> None:
    # 00:15 in Rome is 45 minutes before NOW: an hour of a wrong zone is found.
    path = written(
        tmp_path / "a.csv",
        "2025-01-01 01:15:00,1",
        "2025-01-01 01:16:00,2",
        "1970-06-01 00:00:00,1",
    )
    packets = read(path, "gas")
    assert packets.rows["line"].to_list() == [1]
    assert "line 2: 2025-01-01T00:16:00Z is still to come" in packets.bad.sentences[0]
    assert "line 3: " in packets.bad.sentences[1]
    assert "is before 1971" in packets.bad.sentences[1]
    # The last hours of the calendar were a traceback.
    line = '{"id":"gas","tsISO8601":"%s","value":1}'
    ends = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00")
    packets = read(written(tmp_path / "a.jsonl", *(line % end for end in ends)))
    assert [sentence[:30] for sentence in packets.bad.sentences] == [
        "line 1: 0000-12-31T10:00:00Z i",
        "line 2: +10000-01-01T13:00:00Z",
    ]


def test_only_streams_without_a_register_take_files(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "2024-01-01 00:15:00,1")
    with pytest.raises(ConfigurationError, match=r"dp-1 is fed by the register rome-a\.grid"):
        read(path, "dp-1")
    with pytest.raises(ConfigurationError, match="Stream other takes no files: add it to streams"):
        read(path, "other")
    with pytest.raises(ConfigurationError, match="does not say which stream it is for"):
        read(path)
    with pytest.raises(ConfigurationError, match="No stream takes files"):
        read_packets(path, StreamMap({}, {}), now=NOW, stream_id="gas")


def test_streams_for_files_are_those_of_the_stream_map_with_content_file() -> None:
    row = {
        "interval_minutes": 15,
        "credential": "main",
        "push_from_at": None,
        "estimates": "send",
        "is_historical": False,
    }
    frame = pl.DataFrame(
        [
            {**row, "stream_id": "f", "field": "v_1", "content": "file", "zone": "UTC"},
            {**row, "stream_id": "r", "field": "pC_1", "content": "sample", "register_id": "m.a"},
        ],
        schema=STREAM.polars_schema,
    )
    found = StreamMap.of(frame)
    assert found.by_id == {"f": FileStream("f", "v_1", "UTC", QUARTER)}
    assert found.others == {"r": "m.a"}


def test_a_mixed_group_of_json_lines_becomes_packets_of_its_streams(tmp_path: Path) -> None:
    path = written(
        tmp_path / "group.jsonl",
        '{"id": "gas", "tsISO8601": "2024-01-01T00:15:00.000+01:00", "value": 1}',
        '{"id":"power","tsISO8601":"2024-01-01T00:15:00.070-05:00","v_1":230.5,"aP_1":1e3,"c_1":null}',
        "",
        '{"tsISO8601":"2024-01-01T00:00:00+01:00","id":"gas","value":0}',
    )
    packets = read(path)
    assert (packets.bad.n, packets.fields) == (0, ["aP_1", "v_1", "value"])
    assert bodies(packets) == [
        '{"id":"gas","tsISO8601":"2024-01-01T00:00:00.000+01:00","value":0.0}',
        '{"id":"gas","tsISO8601":"2024-01-01T00:15:00.000+01:00","value":1.0}',
        '{"id":"power","tsISO8601":"2024-01-01T00:15:00.070-05:00","aP_1":1000.0,"v_1":230.5}',
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"id":"gas","tsISO8601":"2024-01-01T00:15:00.000","value":1}', "with the offset of that"),
        ('{"id":"gas","tsISO8601":"2024-02-30T00:15:00+01:00","value":1}', "is no time stamp"),
        ('{"id":"gas","tsISO8601":"2024-01-01T00:15:00+01:00","value":"1"}', "value does not fit"),
        ('{"id":"gas","tsISO8601":"2024-01-01T00:15:00+01:00","valu":1}', "unknown field `valu`"),
        ('{"id":"gas","tsISO8601":"2024-01-01T00:15:00+01:00","value":NaN}', "no packet of one"),
        ('{"id":"gas","tsISO8601":"2024-01-01T00:15:00+01:00","aP_1":1}', "value alone"),
        ('{"id":"mains","tsISO8601":"2024-01-01T00:15:00+01:00","value":1}', "has no value"),
        ('{"id":"dp-1","tsISO8601":"2024-01-01T00:15:00+01:00","value":1}', "by the register rome"),
        (
            '{"id":"x","tsISO8601":"2024-01-01T00:15:00+01:00","value":1}',
            "stream x takes no files",
        ),
        ('{"id":"gas","tsISO8601":"2024-01-01T00:15:00+01:00","value":1}{}', "no packet of one"),
        ("[" * 100_000, "no packet of one"),
    ],
)
def test_a_line_that_is_no_packet_is_told_with_its_number(
    tmp_path: Path, line: str, why: str
) -> None:
    good = '{"id":"gas","tsISO8601":"2024-01-01T00:00:00+01:00","value":1}'
    packets = read(written(tmp_path / "a.ndjson", good, line))
    assert packets.rows["line"].to_list() == [1]
    assert packets.bad.sentences[0].startswith("line 2: ")
    assert why in packets.bad.sentences[0]


def test_json_lines_of_other_streams_than_the_one_asked_for_are_bad(tmp_path: Path) -> None:
    line = '{"id":"%s","tsISO8601":"2024-01-01T00:00:00+01:00","value":1}'
    packets = read(written(tmp_path / "a.jsonl", line % "gas", line % "power"), "gas")
    assert packets.bad.sentences == ["line 2: it is of stream power, and only gas was asked for"]


NUMBERS = st.none() | st.floats(-1e9, 1e9)
# Counters do not take any number.
MEASURED = [name for name in ELECTRICAL_FIELDS if name not in COUNTED_FIELDS]


@settings(max_examples=15, deadline=None)
@given(
    rows=st.dictionaries(
        st.datetimes(datetime(1980, 1, 1), datetime(2024, 1, 1), timezones=st.just(UTC)).map(
            lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)
        ),
        st.dictionaries(st.sampled_from(MEASURED), NUMBERS, min_size=1, max_size=4),
        min_size=1,
        max_size=6,
    )
)
def test_what_json_lines_say_is_what_the_bodies_say(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[datetime, dict[str, float | None]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "group.jsonl"
    written(
        path, *(json.dumps({"id": "power", "tsISO8601": stamp(at), **r}) for at, r in rows.items())
    )
    found = {
        datetime.fromisoformat(packet.pop("tsISO8601")): packet
        for packet in map(json.loads, bodies(read(path)))
    }
    given_ = {at: {k: v for k, v in row.items() if v is not None} for at, row in rows.items()}
    assert found == {at: {"id": "power", **row} for at, row in given_.items() if row}
    assert list(found) == sorted(found)


def stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


INI = """[Logs]
Level=INFO
Filename=swarm.log
[Web DC]
URL=https://collector.example/
Username=someone
Password=100%%secret
[General]
Filename=data/a.csv
ChannelType={channel}
ChannelReference={stream}
MinutesShift={shift}
MinutesInSlot={slot}
"""


def swarm(tmp_path: Path, channel: str, stream: str, shift: str = "", slot: str = "") -> Path:
    text = INI.format(channel=channel, stream=stream, shift=shift, slot=slot)
    (tmp_path / "data").mkdir(exist_ok=True)
    written(tmp_path / "data" / "a.csv", "2024-01-01 00:15:00,3")
    return written(tmp_path / "swarm.ini", text.replace("%%", "%"))


@pytest.mark.parametrize(
    ("channel", "stream", "shift", "slot", "tail"),
    [
        ("other", "gas", "", "", 'T00:15:00.000+01:00","value":3.0}'),
        ("other", "gas", "15", "10", 'T00:30:00.000+01:00","value":3.0}'),
        ("other", "gas", "-10", "", 'T00:05:00.000+01:00","value":3.0}'),
        ("real_electricity", "power", "", "", 'T00:15:00.000-05:00","aP_1":3.0}'),
        ("fake_electricity", "mains", "", "10", 'T00:15:00.000+01:00","aP_1":18.0,"pC_1":3.0}'),
    ],
)
def test_an_ini_of_swarm_says_file_stream_and_fields(
    tmp_path: Path, channel: str, stream: str, shift: str, slot: str, tail: str
) -> None:
    packets = read(swarm(tmp_path, channel, stream, shift, slot))
    assert bodies(packets)[0].endswith(tail)
    assert "those of the settings are" in packets.notes[0]
    assert "secret" not in repr(packets)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("ChannelType=other", "ChannelType=gas", "ChannelType must be one of real_electricity"),
        ("ChannelType=other", "ChannelType=real_electricity", "carries value in streams.csv"),
        ("ChannelReference=gas", "", "ChannelReference is missing"),
        ("Filename=data/a.csv", "Filename=", "Filename is missing"),
        ("MinutesShift=", "MinutesShift=ten", "MinutesShift must be a whole number"),
        ("MinutesShift=", "MinutesShift=99999999", "MinutesShift must be at most"),
        ("ChannelType=other", "ChannelType=fake_electricity", "needs MinutesInSlot"),
        ("[Logs]", "Password=topsecret", "line 1 stands before any"),
        ("Password=", "=topsecret\nPassword=", "line 7 is no setting"),
        ("Username=someone", "Password=topsecret", "line 7 gives something twice"),
        ("[General]", "[Other]", r"section \[General\] is missing"),
        ("data/a.csv", "data/b.csv", "Filename names .*, and there is no such file"),
    ],
)
def test_an_ini_that_cannot_be_used_is_refused_without_its_password(
    tmp_path: Path, old: str, new: str, why: str
) -> None:
    path = swarm(tmp_path, "other", "gas")
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DeliveryError, match=why) as refused:
        read(path)
    assert "secret" not in str(refused.value)


def test_one_packet_is_stamped_in_whole_milliseconds() -> None:
    at = datetime(2024, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)
    assert bodies(one_packet(STREAMS.by_id["power"], at, 2)) == [
        '{"id":"power","tsISO8601":"2024-07-01T08:00:00.123-04:00","aP_1":2.0}'
    ]
