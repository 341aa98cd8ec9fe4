"""The step of the marts: one that fails keeps its rows, the others are computed."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import polars as pl
import pytest

from energy_etl.defs.assets.mart import build_step, compute_each
from energy_etl.defs.failures import told_plainly
from energy_etl.defs.marts import made
from energy_etl.defs.metadata import asset_key
from energy_etl.defs.resources import Etl
from energy_etl.errors import TransformError
from energy_etl.tables import Column, Mart, Table
from energy_etl.vendors import all_tables
from energy_etl.warehouse import Warehouse, read_published

NOW = datetime(2026, 5, 20, 9, tzinfo=UTC)
SITE = Column("site_id", "text", "The site.", is_nullable=False)
KWH = Column("energy_kwh", "float", "Its energy.")
SOURCE, FAULTY, AFTER, BESIDE = (
    Table(schema="mart", name=name, description=name, columns=(SITE, KWH), key=("site_id",))
    for name in ("source", "faulty", "after", "beside")
)


def rows(energy_kwh: float | None, site_id: str | None = "rome") -> pl.DataFrame:
    return pl.DataFrame([(site_id, energy_kwh)], schema=SOURCE.polars_schema, orient="row")


def doubled(frame: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
    assert now == NOW
    return frame.with_columns(pl.col("energy_kwh") * 2)


def three(faulty: object) -> list[Mart]:
    """A mart that fails, one that is made of it and one that is not."""

    def compute(frame: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
        del frame, now
        if isinstance(faulty, BaseException):
            raise faulty
        assert isinstance(faulty, pl.DataFrame)
        return faulty

    return [
        made(FAULTY, compute, SOURCE),
        made(AFTER, doubled, FAULTY),
        made(BESIDE, doubled, SOURCE),
    ]


@pytest.mark.parametrize(
    "faulty",
    [
        TransformError("Two meters are one: mend meters.csv."),
        pl.exceptions.ColumnNotFoundError("a"),
        pl.exceptions.PanicException("engine"),
        ZeroDivisionError("division by zero"),
        KeyError("rome"),
        ValueError("SVD did not converge"),
        OverflowError("too large"),
        AttributeError("None"),
        rows(1.0).rename({"energy_kwh": "energy_wh"}),
        rows(1.0, site_id=None),
        rows(1.0).with_columns(pl.lit("much").alias("energy_kwh")),
        pl.concat([rows(1.0), rows(2.0)]),
    ],
)
def test_mart_that_raises_or_breaks_its_table_keeps_its_rows_and_the_others_are_computed(
    faulty: object,
) -> None:
    computed, faults = compute_each(
        three(faulty), {SOURCE.full_name: rows(3.0)}, NOW, held={FAULTY: rows(10.0)}.__getitem__
    )
    assert list(faults) == [FAULTY]
    assert computed.keys() == {AFTER, BESIDE}
    assert computed[BESIDE].equals(rows(6.0))
    # What is made of it is made of what it held before.
    assert computed[AFTER].equals(rows(20.0))


def test_all_marts_are_computed_when_none_fails() -> None:
    computed, faults = compute_each(
        three(rows(1.0)), {SOURCE.full_name: rows(3.0)}, NOW, held={}.__getitem__
    )
    assert not faults
    assert {table.name: frame["energy_kwh"].item() for table, frame in computed.items()} == {
        "faulty": 1.0,
        "after": 2.0,
        "beside": 6.0,
    }


@pytest.mark.parametrize("error", [MemoryError(), OSError("No space left on device")])
def test_what_the_machine_lacks_ends_the_step(error: BaseException) -> None:
    with pytest.raises(type(error)):
        compute_each(three(error), {SOURCE.full_name: rows(3.0)}, NOW, held={}.__getitem__)


def test_fault_of_the_program_is_told_as_such_and_an_error_of_ours_as_it_is() -> None:
    assert told_plainly(TransformError("Mend it.")) == "Mend it."
    told = told_plainly(KeyError("rome"))
    assert told.startswith("KeyError: 'rome' (a fault of the program")
    assert "report" in told


def test_step_with_a_mart_that_fails_stores_and_publishes_the_others_and_tells_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Called as a function: what is asked for here needs no run."""
    etl = Etl(root=str(tmp_path), now_at=NOW.isoformat())
    kept = rows(10.0)
    # The views for people are made of all that there is.
    tables = (*all_tables(), SOURCE, FAULTY, AFTER, BESIDE)
    warehouse = Warehouse(tmp_path / "data" / "warehouse.duckdb", tables)
    with warehouse.write() as writer:
        writer.replace_all(SOURCE, rows(3.0))
        writer.replace_all(FAULTY, kept)
    monkeypatch.setattr(Etl, "warehouse", lambda _: warehouse)
    declared = three(KeyError("rome"))
    told: dict[str, str] = {}
    built = build_step("declared", declared)
    step = built.op.compute_fn.decorated_fn  # pyright: ignore[reportFunctionMemberAccess]
    selected = {asset_key(each.table) for each in declared}
    context = SimpleNamespace(
        selected_asset_keys=selected,
        log=SimpleNamespace(error=lambda text, exc_info: told.update({text: str(exc_info)})),
    )
    results = []
    with pytest.raises(dg.Failure, match=r"1 of 3 marts keep .* mart\.faulty: KeyError: 'rome'"):
        results.extend(step(context, etl))
    assert [text.split(" ")[0] for text in told] == ["mart.faulty"]
    people = tmp_path / "data" / "energy.duckdb"
    assert warehouse.read_table(FAULTY).equals(kept)
    shown = read_published(
        people,
        "SELECT f.energy_kwh, a.energy_kwh AS after_kwh, b.energy_kwh AS beside_kwh "
        "FROM mart.faulty AS f, mart.after AS a, mart.beside AS b",
    )
    assert shown.rows() == [(10.0, 20.0, 6.0)]
