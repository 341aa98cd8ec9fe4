"""Which streams are filled again when the stream map changes."""

import polars as pl

from energy_etl.defs.assets.portfolio import fed_anew
from energy_etl.tables import Table, push

STREAMS = {"dp-1": "rome.l1", "dp-2": "rome.gas", "dp-3": None}
FIELDS = [("dp-1", "pC_2", "rome.l2"), ("dp-1", "v_1", "rome.v1")]


def stream_map(
    streams: dict[str, str | None], fields: list[tuple[str, str, str]]
) -> dict[Table, pl.DataFrame]:
    return {
        push.STREAM: pl.DataFrame(
            [{"stream_id": s, "register_id": r} for s, r in streams.items()],
            schema=push.STREAM.polars_schema,
        ),
        push.STREAM_FIELD: pl.DataFrame(
            [{"stream_id": s, "field": f, "register_id": r} for s, f, r in fields],
            schema=push.STREAM_FIELD.polars_schema,
        ),
    }


BEFORE = stream_map(STREAMS, FIELDS)


def test_map_that_is_the_same_fills_nothing_again() -> None:
    assert fed_anew(BEFORE, stream_map(STREAMS, FIELDS[::-1])) == set()


def test_all_registers_of_a_stream_count_when_any_of_its_rows_changed() -> None:
    of_stream = {"rome.l1", "rome.l2", "rome.v1"}
    other_phase = [FIELDS[0], ("dp-1", "v_1", "rome.v2")]
    assert fed_anew(BEFORE, stream_map(STREAMS, other_phase)) == {"rome.l1", "rome.l2", "rome.v2"}
    more = [*FIELDS, ("dp-1", "c_1", "rome.c1")]
    assert fed_anew(BEFORE, stream_map(STREAMS, more)) == of_stream | {"rome.c1"}
    assert fed_anew(BEFORE, stream_map(STREAMS | {"dp-1": "rome.l3"}, FIELDS)) == {
        "rome.l3",
        "rome.l2",
        "rome.v1",
    }


def test_stream_whose_field_was_taken_out_is_filled_again_and_one_that_went_is_not() -> None:
    assert fed_anew(BEFORE, stream_map(STREAMS, FIELDS[:1])) == {"rome.l1", "rome.l2"}
    assert fed_anew(BEFORE, stream_map({"dp-2": "rome.gas", "dp-3": None}, [])) == set()
