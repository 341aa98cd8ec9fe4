"""One meter, one person: out of everything, and a rebuild does not bring them back."""

import hashlib
import json
import zlib
from collections.abc import Generator
from contextlib import closing
from datetime import UTC, datetime
from typing import cast

import polars as pl
import pytest

from energy_etl.cli.rebuild import rebuild_from_raw
from energy_etl.defs.forgetting import forget_subject, user_subject
from energy_etl.defs.instance import create_instance, open_instance
from energy_etl.errors import ConfigurationError
from energy_etl.settings import Settings
from energy_etl.tables.raw import BODY, REQUEST
from energy_etl.vendors.wattsense.tables_access import USER_ACCOUNT
from energy_etl.warehouse.deleting import delete_rows
from energy_etl_tests.cli.typed import Typed
from energy_etl_tests.defs.project import Project
from energy_etl_tests.defs.test_retention import ended_run

METER = "rome-b.mains"
# Ours and the vendors' names of that meter, its register and its stream; the box has others too.
NAMES = ("rome-b.mains", "rome-b.grid_import", "dp-06a1a73248", "d35835f", "p52f01d00986")
BOX = "BD13A0F1715"
PERSON = ("user-4711", "Grazia Deledda")
LISTING = {
    "url": f"http://127.0.0.1/devices/{BOX}/properties",
    "body": [
        {"propertyId": "p52f01d00986", "name": "Import"},
        {"propertyId": "p532f6db4724", "name": "Dishwasher"},
    ],
}
USERS = {
    "url": "http://127.0.0.1/users",
    "body": {
        "users": [{"id": PERSON[0], "name": PERSON[1]}, {"id": "user-2", "name": "Somebody else"}],
        "owner": {"by": PERSON[1], "since": 2020},
    },
}


def raw_rows(name: str, given: dict) -> tuple[dict, dict]:
    content = json.dumps(given["body"]).encode()
    key = hashlib.sha256(content).hexdigest()
    body = {"body_sha256": key, "body_zlib": zlib.compress(content), "n_bytes": len(content)}
    request = {
        "request_id": name,
        "vendor": "wattsense",
        # No endpoint of the vendor: the rebuild passes over it.
        "endpoint": "token",
        "url": given["url"],
        "params": "{}",
        "status": 200,
        "body_sha256": key,
        "requested_at": datetime(2026, 10, 1, tzinfo=UTC),
    }
    return request, body


@pytest.fixture
def typed(
    computed: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typed:
    """Return the command line of a computed project that names the meter in many more places."""
    settings = computed.settings
    requests, bodies = zip(
        *(raw_rows(*each) for each in (("l", LISTING), ("u", USERS))), strict=True
    )
    user = dict.fromkeys(USER_ACCOUNT.polars_schema) | {
        "user_id_wattsense": PERSON[0],
        "name": PERSON[1],
        "listed_in": "users",
        "valid_from_at": datetime(2026, 10, 1, tzinfo=UTC),
        "request_id": "u",
        "received_at": datetime(2026, 10, 1, tzinfo=UTC),
    }
    with computed.warehouse.write() as writer:
        writer.append(REQUEST, pl.DataFrame(requests, schema=REQUEST.polars_schema))
        writer.append(BODY, pl.DataFrame(bodies, schema=BODY.polars_schema))
        writer.append(USER_ACCOUNT, pl.DataFrame([user], schema=USER_ACCOUNT.polars_schema))
    report = settings.data_dir / "reports" / "energy.html"
    report.parent.mkdir()
    report.write_text(f"<p>{METER} of {PERSON[1]}</p>")
    create_instance(settings.dagster_home)
    with open_instance(settings.dagster_home) as instance:
        ended_run(instance, "readings", "2026-10-27", told=f"failed: {NAMES[1]}")
        ended_run(instance, "people", told=f"{PERSON[0]} left")
        ended_run(instance, "readings", "2026-10-26", told="all went well")
    return Typed(computed.root, computed.sandbox.url, monkeypatch, capsys)


def places(settings: Settings, *names: str) -> list[str]:
    """Return which files hold a name, as bytes."""
    found = []
    for path in settings.data_dir.rglob("*"):
        inner = path.relative_to(settings.data_dir)
        if path.is_file() and inner.parts[0] != "portfolio.example":
            content = path.read_bytes()
            found += [f"{inner}: {name}" for name in names if name.encode() in content]
    return found


def rows_naming(project: Project, *names: str) -> list[str]:
    """Return the tables with a row that names it, whatever column: read and searched as text."""
    found = []
    with project.warehouse.reading() as reader:
        for table in project.warehouse.tables:
            frame = reader.read_table(table)
            text = frame.drop("body_zlib", strict=False).write_json()
            if table is BODY:
                text += "".join(zlib.decompress(b).decode() for b in frame["body_zlib"])
            found += [f"{table.full_name}: {name}" for name in names if name in text]
    return found


def kill_when_rows_of_the_person_are_gone(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leave what a kill left: the name stood in those rows only, and the id was unknown then."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    subject = user_subject(project.settings, PERSON[0])
    with monkeypatch.context() as patched:
        patched.setattr("energy_etl.defs.forgetting.redact_raw", die)
        with (
            open_instance(project.settings.dagster_home) as instance,
            pytest.raises(KeyboardInterrupt),
        ):
            forget_subject(project.settings, instance, subject)
    with project.warehouse.write() as writer:
        delete_rows(writer, USER_ACCOUNT, "t.user_id_wattsense = ?", [PERSON[0]])


def test_meter_is_gone_from_everything_and_stays_gone(computed: Project, typed: Typed) -> None:
    assert {p.split(":")[0] for p in places(computed.settings, *NAMES)} >= {
        "warehouse.duckdb",
        "state.sqlite",
        "portfolio/streams.csv",
        "reports/energy.html",
    }
    before = rows_naming(computed, *NAMES)
    assert {p.split(":")[0] for p in before} >= {"raw.body", "raw.request", "core.reading"}
    code, out, _ = typed.run("forget", METER, answers="n\n")
    assert code == 1
    for line in (
        "Of the meter rome-b.mains (1 registers) there is:",
        "portfolio, streams.csv: 1 rows",
        "raw.body: 1 answers that lose a part",
        "Dagster's history: 1 runs",
        "data/reports/energy.html",
    ):
        assert line in out

    code, out, err = typed.run("forget", METER, "--yes")
    assert code == 0, err
    assert "names it any more" in out
    assert places(computed.settings, *NAMES) == []
    # What is about others is still there.
    left = rows_naming(computed, *NAMES, "rome-b.dishwasher", "p532f6db4724", BOX)
    assert {p.split(":")[0] for p in left} >= {"raw.body", "raw.request", "core.interval"}
    assert not {p.split(": ")[1] for p in left} & set(NAMES)
    # Everything but raw is emptied and read from raw again; the computation is another test's.
    steps = cast(
        "Generator[str, None, None]", rebuild_from_raw(computed.settings, now=computed.now)
    )
    with closing(steps):
        assert any("of Wattsense" in line for line in steps)
    left = rows_naming(computed, *NAMES, "rome-b.dishwasher")
    assert "core.reading: rome-b.dishwasher" in left
    assert not {p.split(": ")[1] for p in left} & set(NAMES)
    code, _, err = typed.run("forget", METER)
    assert code == 2
    assert "knows no meter rome-b.mains" in err


def test_person_is_gone_with_the_name_that_stands_beside_the_id(
    computed: Project, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Publishing is the other test's.
    monkeypatch.setattr("energy_etl.defs.forgetting.publish", lambda *_, **__: None)
    kill_when_rows_of_the_person_are_gone(computed, monkeypatch)
    note = computed.settings.data_dir / ".forgetting.json"
    assert note.stat().st_mode & 0o777 == 0o600
    code, out, err = typed.run("forget", "--user", PERSON[0], "--yes")
    assert code == 0, err
    assert "what an earlier attempt left that did not end" in out
    assert "wattsense.user_account" not in out
    assert not note.exists()
    assert places(computed.settings, *PERSON) == []
    left = rows_naming(computed, *PERSON, "Somebody else")
    assert "raw.body: Somebody else" in left
    assert not {p.split(": ")[1] for p in left} & set(PERSON)
    with pytest.raises(ConfigurationError, match="No table of a vendor knows the id user-4711"):
        user_subject(computed.settings, PERSON[0])
    with computed.warehouse.write() as writer:
        short = dict.fromkeys(USER_ACCOUNT.polars_schema) | {
            "user_id_wattsense": "7",
            "listed_in": "users",
            "valid_from_at": computed.now,
            "request_id": "u",
            "received_at": computed.now,
        }
        writer.append(USER_ACCOUNT, pl.DataFrame([short], schema=USER_ACCOUNT.polars_schema))
    with pytest.raises(ConfigurationError, match="The id 7 is too short to be told from other"):
        user_subject(computed.settings, "7")
