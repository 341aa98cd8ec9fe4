"""`energy-etl device update`: what --set means, and one update from plan to record."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.cli.device import parse_properties
from energy_etl.errors import ConfigurationError
from energy_etl.sandbox.model import controller_id_smartgridone
from energy_etl.vendors import all_tables, project_settings
from energy_etl.vendors.smartgridone.change_tables import CHANGE
from energy_etl.warehouse import Warehouse
from energy_etl_tests.cli.typed import Typed, make_root
from energy_etl_tests.vendors.extracting import running_sandbox

_NAMES = st.sampled_from(["name", "info", "nodeId"])


@pytest.mark.parametrize(
    ("given_texts", "properties"),
    [
        (["name=Cellar"], {"name": "Cellar"}),
        (["name="], {"name": ""}),
        (["n=1", "ok=true", "gone=null"], {"n": 1, "ok": True, "gone": None}),
        (['tags=["a", "b"]'], {"tags": ["a", "b"]}),
        (['name="1"'], {"name": "1"}),
        (["formula=a=b"], {"formula": "a=b"}),
        (["info.model=X", "info.year=2024"], {"info": {"model": "X", "year": 2024}}),
    ],
)
def test_set_is_json_or_text_and_dots_go_into_objects(
    given_texts: list[str], properties: dict
) -> None:
    assert parse_properties(given_texts) == properties


@pytest.mark.parametrize(
    ("given_texts", "message"),
    [
        (["name"], "not NAME=VALUE"),
        (["=x"], "not NAME=VALUE"),
        (["info.=x"], "not NAME=VALUE"),
        (["name=a", "name=b"], "gives name twice"),
        (["info=a", "info.model=b"], "goes into a value"),
        (["info=" + "[" * 100_000], "nested too deeply"),
    ],
)
def test_set_that_cannot_be_meant_is_refused(given_texts: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_properties(given_texts)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(_NAMES, st.recursive(st.integers() | st.text(), st.lists, max_leaves=4)))
def test_any_json_value_comes_through_set_as_it_is(properties: dict) -> None:
    texts = [f"{name}={json.dumps(value)}" for name, value in properties.items()]
    assert parse_properties(texts) == properties


def test_update_shows_before_and_after_does_it_and_records_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    box = controller_id_smartgridone("ghent-a")
    with running_sandbox() as sandbox:
        typed = Typed(make_root(tmp_path), sandbox.url, monkeypatch, capsys)
        arguments = ("device", "update", box, "--set", "name=Cellar", "--mode", "legacy")
        code, out, err = typed.run(*arguments, "--validate", "--yes")
        assert (code, err) == (0, "")
        assert "?mode=legacy&validate=true" in out
        assert '-> "Cellar"' in out
        assert out.rstrip().endswith('it says now {"name": "Cellar"}.')
        code, out, _ = typed.run(*arguments, answers="y\n")
        assert code == 1
        assert "it is so already" in out
        code, _, err = typed.run("device", "update", "nowhere", "--set", "name=x")
        assert code == 1
        assert "sees no device nowhere" in err
    warehouse = Warehouse(project_settings(tmp_path).warehouse_path, all_tables())
    changes = warehouse.read_table(CHANGE)
    assert changes.select("action", "outcome").rows() == [("update_device", "done")]
