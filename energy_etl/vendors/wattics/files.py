"""Files of measurements to packets: Swarm's CSV and ini, and JSON lines. Nothing is sent here.

A file is read whole before anything of it goes anywhere. What every format shares is here: which
streams files may feed, what a column means, and the body of each packet. How lines are read is in
`files_lines.py`, `files_csv.py`, `files_json.py`, local times in `files_times.py`, Swarm's settings
in `files_ini.py`, order, repetitions and counters that fall in `files_rows.py`.

A CSV alone does not say what its columns are, so this is modelled on the vendor's page and not
verified: where a line has more than one measurement, the columns are the page's electrical ones in
its order; where all measurements of the file stand in the first column, they are the stream's
`field` of streams.csv. In the first case that field must occur, or the file is taken for another
stream's. Source: Wattics' API page ("CSV format", "JSON Format", "Groups of measurements").
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

import polars as pl

from energy_etl.errors import ConfigurationError, DeliveryError, UsageError
from energy_etl.vendors.wattics.files_csv import MOST_COLUMNS, column, parse_csv
from energy_etl.vendors.wattics.files_ini import SwarmIni, read_ini
from energy_etl.vendors.wattics.files_json import parse_json
from energy_etl.vendors.wattics.files_lines import BadLines, read_lines
from energy_etl.vendors.wattics.files_rows import (
    FALLS,
    KEY,
    counting,
    in_order,
    in_time,
    with_values,
)
from energy_etl.vendors.wattics.files_times import to_instants
from energy_etl.vendors.wattics.wire import (
    COUNTED_FIELDS,
    ELECTRICAL_FIELDS,
    FIELDS,
    FROM_FILES,
    SINGLE_FIELD,
    packet_head,
    stamp_expression,
)

FileFormat = Literal["csv", "ini", "jsonl"]
Progress = Callable[[int, int], None]
# What offsets say of a counter that files feed; of another one it is the register.
_BY_FILES: Final = ""
_BY_SUFFIX: Final[dict[str, FileFormat]] = {".ini": "ini", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_BATCH_PACKETS: Final = 50_000


@dataclass(frozen=True, slots=True)
class FileStream:
    """A stream that files may feed."""

    stream_id: str
    field: str
    zone: str
    interval: timedelta


@dataclass(frozen=True, slots=True)
class StreamMap:
    """Which streams files may feed, and why the others not.

    Attributes:
        by_id: those that they may.
        others: a stream that a register feeds -> that register.
    """

    by_id: dict[str, FileStream]
    others: dict[str, str]

    @classmethod
    def of(cls, streams: pl.DataFrame) -> "StreamMap":
        """Read the rows of push.stream."""
        rows = streams.to_dicts()
        return cls(
            {
                row["stream_id"]: FileStream(
                    row["stream_id"],
                    row["field"],
                    row["zone"],
                    timedelta(minutes=row["interval_minutes"]),
                )
                for row in rows
                if row["content"] == FROM_FILES and row["zone"] is not None
            },
            {row["stream_id"]: row["register_id"] for row in rows if row["register_id"]},
        )

    def why_not(self, stream_id: str) -> str:
        """Say why files may not feed a stream that is not among `by_id`."""
        if stream_id in self.others:
            return (
                f"stream {stream_id} is fed by the register {self.others[stream_id]}: packets of "
                "files would come between its own; have another stream agreed for files"
            )
        return (
            f"stream {stream_id} takes no files: add it to streams.csv with content file and its "
            "zone, and without a register"
        )

    def get(self, stream_id: str) -> FileStream:
        """Return a stream that files may feed.

        Raises:
            ConfigurationError: it is not in streams.csv, or a register feeds it.
        """
        if stream_id not in self.by_id:
            sentence = self.why_not(stream_id)
            raise ConfigurationError(f"{sentence[0].upper()}{sentence[1:]}.")
        return self.by_id[stream_id]


@dataclass(frozen=True)
class FilePackets:
    """What a file says, sorted by stream and instant, one row per packet.

    Attributes:
        rows: line, stream_id, stamped_at, and a column per field that occurs (null: left out).
        bad: the lines that cannot be sent.
        notes: what was decided or left aside, as sentences.
        counters: the fields that count energy since the beginning.
    """

    rows: pl.DataFrame
    bad: BadLines
    notes: tuple[str, ...]
    _zones: dict[str, str] = field(repr=False)
    counters: tuple[str, ...] = ()

    def offsets(self, known: pl.DataFrame) -> pl.DataFrame:
        """Return 0 for each counter that files begin to feed, behind what was used before.

        Args:
            known: columns of `offsets.OFFSET_SCHEMA`, as the outbox keeps them.

        Raises:
            DeliveryError: a counter is below what was sent of its stream before.
        """
        found = [known.clear()]
        for name in self.counters:
            used = known.filter("is_frozen", field=name).sort("from_at")
            last = used.group_by("stream_id").agg(
                pl.col("used_to_at", "used_wh", "fed_by").last(), last_at=pl.col("from_at").last()
            )
            firsts = (
                self.rows.filter(pl.col(name).is_not_null())
                .join(last, on="stream_id", how="left", maintain_order="left")
                .filter(
                    (pl.col("stamped_at") > pl.max_horizontal("used_to_at", "last_at"))
                    | pl.col("last_at").is_null()
                )
                .group_by("stream_id", maintain_order=True)
                .first()
            )
            for row in firsts.filter(pl.col(name) < pl.col("used_wh")).iter_rows(named=True):
                raise DeliveryError(
                    f"Stream {row['stream_id']} was at {name} = {row['used_wh']} when it was last "
                    f"sent, and the file begins with {row[name]} behind it: {FALLS} it had been "
                    "at; nothing was sent."
                )
            begun = firsts.filter(pl.col("fed_by").fill_null("?") != _BY_FILES).select(
                "stream_id",
                field=pl.lit(name),
                from_at="stamped_at",
                offset_wh=pl.lit(0.0),
                is_frozen=pl.lit(value=False),
                used_to_at=pl.lit(None, pl.Datetime("us", "UTC")),
                used_wh=pl.lit(None, pl.Float64),
                fed_by=pl.lit(_BY_FILES),
            )
            used = used.join(begun, on="stream_id", how="semi")
            found += [used, begun.select(known.columns)]
        return pl.concat(found)

    @property
    def fields(self) -> list[str]:
        """The fields that occur, in the order of the vendor's page."""
        return [name for name in FIELDS if name in self.rows.columns]

    def batches(self) -> Iterator[pl.DataFrame]:
        """Yield stream_id, stamped_at, body in slices, so that a large file stays small."""
        for rows in self.rows.iter_slices(_BATCH_PACKETS) if self.rows.height else ():
            parts = [
                part.select(*KEY, body=self._body(str(zone)))
                for (zone,), part in rows.with_columns(
                    zone=pl.col("stream_id").replace_strict(self._zones),
                    head=pl.col("stream_id").replace_strict(
                        {stream_id: packet_head(stream_id) for stream_id in self._zones}
                    ),
                ).group_by("zone", maintain_order=True)
            ]
            yield pl.concat(parts).sort(KEY)

    def _body(self, zone: str) -> pl.Expr:
        numbers = (
            pl.when(pl.col(name).is_not_null())
            .then(pl.concat_str(pl.lit(f',"{name}":'), name))
            .otherwise(pl.lit(""))
            for name in self.fields
        )
        return pl.concat_str(
            "head", stamp_expression("stamped_at", zone), pl.lit('"'), *numbers, pl.lit("}")
        )


def one_packet(stream: FileStream, stamped_at: datetime, number: float) -> FilePackets:
    """Return one packet of a stream with a number in its field, stamped in whole milliseconds."""
    rows = pl.DataFrame(
        [(1, stream.stream_id, stamped_at, number)],
        schema={
            "line": pl.UInt32,
            "stream_id": pl.String,
            "stamped_at": pl.Datetime("us", "UTC"),
            stream.field: pl.Float64,
        },
        orient="row",
    ).with_columns(pl.col("stamped_at").dt.truncate("1ms"))
    counters = (stream.field,) if stream.field in COUNTED_FIELDS else ()
    return FilePackets(rows, BadLines(), (), {stream.stream_id: stream.zone}, counters)


def format_of(path: Path) -> FileFormat:
    """Return the format that a file's name says: .ini, .jsonl or .ndjson, else CSV."""
    return _BY_SUFFIX.get(path.suffix.lower(), "csv")


def read_packets(
    path: Path,
    streams: StreamMap,
    *,
    now: datetime,
    stream_id: str | None = None,
    file_format: FileFormat | None = None,
    on_progress: Progress | None = None,
) -> FilePackets:
    """Read a file whole; lines that cannot be sent are in `bad`, the others in `rows`.

    Args:
        path: the file.
        streams: which streams files may feed.
        now: a stamp further ahead than one interval is bad: everything later would come too late.
        stream_id: of a CSV; of an ini instead of its ChannelReference; of JSON lines the only one
            that may occur.
        file_format: default by the file's name.
        on_progress: called with (bytes read, bytes of the file).

    Raises:
        UsageError: there is no such file, or a CSV without `stream_id`.
        DeliveryError: the file cannot be read at all, or is taken for another stream's.
        ConfigurationError: there is no such stream for files.
    """
    chosen, bad = file_format or format_of(path), BadLines()
    notes: list[str] = []
    ini = read_ini(path) if chosen == "ini" else None
    if not streams.by_id:
        raise ConfigurationError(
            "No stream takes files: have one agreed with Wattics, then add it to streams.csv with "
            "content file and its zone, and without a register."
        )
    if chosen == "jsonl":
        if stream_id is not None:
            streams = StreamMap({stream_id: streams.get(stream_id)}, {})
        parsed = [parse_json(lines, bad) for lines in read_lines(path, on_progress)]
        rows = _known_streams(pl.concat(parsed, how="diagonal"), streams, stream_id, bad)
    else:
        wanted = stream_id or (ini.stream_id if ini else None)
        if wanted is None:
            raise UsageError("A CSV does not say which stream it is for: give --stream.")
        rows = _csv_rows(
            ini.csv_path if ini else path, streams.get(wanted), ini, bad, notes, on_progress
        )
    rows = with_values(rows, notes)
    rows = in_time(rows, {s.stream_id: s.interval for s in streams.by_id.values()}, now, bad)
    zones = {stream_id: stream.zone for stream_id, stream in streams.by_id.items()}
    rows = in_order(rows, bad, notes)
    if ini and ini.channel_type == "fake_electricity":
        return FilePackets(rows, bad, tuple(notes), zones)
    counters = tuple(name for name in COUNTED_FIELDS if name in rows.columns)
    return FilePackets(counting(rows, counters, bad), bad, tuple(notes), zones, counters)


def _csv_rows(
    path: Path,
    stream: FileStream,
    ini: SwarmIni | None,
    bad: BadLines,
    notes: list[str],
    on_progress: Progress | None,
) -> pl.DataFrame:
    channel = ini.channel_type if ini else None
    is_single = stream.field == SINGLE_FIELD
    if channel is not None and is_single != (channel == "other"):
        raise DeliveryError(
            f"The ini's ChannelType is {channel}, and stream {stream.stream_id} carries "
            f"{stream.field} in streams.csv: correct the one that is wrong; nothing was sent."
        )
    if ini and ini.has_own_login:
        notes.append("URL, user and password of the ini are not used, those of the settings are.")
    n_columns = 1 if is_single or channel == "fake_electricity" else MOST_COLUMNS
    parsed = [parse_csv(lines, n_columns, bad) for lines in read_lines(path, on_progress)]
    rows = pl.concat(parsed, how="diagonal")
    rows = to_instants(rows, stream.zone, bad)
    if ini and ini.shift:
        rows = rows.with_columns(pl.col("stamped_at") + ini.shift)
        notes.append(f"Each stamp was shifted by {ini.shift // timedelta(minutes=1)} minutes.")
    numbers = _fields_of(rows, stream, ini)
    if channel == "fake_electricity":
        notes.append(
            "fake_electricity: pC_1 is the energy of one slot and no counter, as Swarm sends it; "
            "the stream has to be set up for that at Wattics."
        )
    return rows.select("line", "stamped_at", stream_id=pl.lit(stream.stream_id), **numbers)


def _fields_of(rows: pl.DataFrame, stream: FileStream, ini: SwarmIni | None) -> dict[str, pl.Expr]:
    """Field -> its number, by what the file, its ini and the stream map say."""
    there = [name for name in rows.columns if name[0] == "m" and rows[name].count()]
    first = pl.col(column(1)) if column(1) in rows.columns else pl.lit(None, pl.Float64)
    if ini and ini.channel_type == "fake_electricity":
        assert ini.slot_minutes is not None
        return {"aP_1": first * 60.0 / ini.slot_minutes, "pC_1": first}
    is_ordered = ini is not None and ini.channel_type == "real_electricity"
    if not is_ordered and set(there) <= {column(1)}:
        return {stream.field: first}
    numbers = {
        name: pl.col(column(number))
        for number, name in enumerate(ELECTRICAL_FIELDS, 1)
        if column(number) in there
    }
    if there and stream.field not in numbers:
        raise DeliveryError(
            f"The columns of the file are {', '.join(numbers)} in the vendor's order, and "
            f"{stream.field}, the field of stream {stream.stream_id} in streams.csv, has no value "
            "in it: choose the stream it is for, or mend streams.csv; nothing was sent."
        )
    return numbers


def _known_streams(
    rows: pl.DataFrame, streams: StreamMap, only: str | None, bad: BadLines
) -> pl.DataFrame:
    """Rows of streams that files may feed, with `value` or electrical fields as agreed."""
    is_known = pl.col("stream_id").is_in(list(streams.by_id))
    bad.add(
        rows.filter(~is_known),
        lambda row: (
            streams.why_not(row["stream_id"])
            if only is None
            else f"it is of stream {row['stream_id']}, and only {only} was asked for"
        ),
    )
    rows = rows.filter(is_known)
    singles = [s.stream_id for s in streams.by_id.values() if s.field == SINGLE_FIELD]
    electrical = [name for name in ELECTRICAL_FIELDS if name in rows.columns]
    has_single = (
        pl.col(SINGLE_FIELD).is_not_null() if SINGLE_FIELD in rows.columns else pl.lit(value=False)
    )
    has_electrical = pl.any_horizontal(pl.lit(value=False), pl.col(electrical).is_not_null())
    is_single = pl.col("stream_id").is_in(singles)
    is_other_kind = pl.when(is_single).then(has_electrical).otherwise(has_single)
    bad.add(
        rows.filter(is_other_kind),
        lambda row: (
            f"stream {row['stream_id']} carries {streams.by_id[row['stream_id']].field}: a packet "
            f"of it has {'value alone' if row['stream_id'] in singles else 'no value'}"
        ),
    )
    return rows.filter(~is_other_kind)
