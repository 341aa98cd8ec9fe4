"""Taking one thing out of answers: it is gone, and nothing else is."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.rest.removal import Names, without

METER = Names([frozenset({"m-1"}), frozenset({"box", "p-1"})])


def taken_out(content: Any, context: str = "") -> Any:
    kept = without(METER, json.dumps(content).encode(), context)
    return None if kept is None else json.loads(kept)


@pytest.mark.parametrize(
    ("text", "is_told"),
    [
        ("m-1", True),
        ("The meter m-1.", True),
        ("a/m-1?x=1", True),
        ("m-11", False),
        ("m-1.sub", False),
        ("xm-1", False),
        ("p-1", False),
        ("box has p-1", True),
        ("box has p-10", False),
    ],
)
def test_id_counts_as_a_word_of_its_own(text: str, is_told: bool) -> None:
    assert METER.tell(text) is is_told


@pytest.mark.parametrize(
    "text",
    [
        "50%_ü+&=;",
        "http://v/meters/50%25_%C3%BC%2B%26%3D%3B/savings",
        "a%2F50%25_%C3%BC%2B%26%3D%3B",
        json.dumps({"id": "50%_ü+&=;"}),
        json.dumps({"told": json.dumps({"id": "50%_ü+&=;"})}),
        json.dumps("first line\n50%_ü+&=; failed"),
        "<td>50%_ü+&amp;=;</td>",
    ],
)
def test_id_is_found_however_it_is_written(text: str) -> None:
    names = Names([frozenset({"50%_ü+&=;"})])
    assert names.tell(text)
    assert names.may_be_in(text.encode())
    assert not names.tell(text.replace("50%", "150%"))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("The meter m-1.", "The meter gone."),
        ("m-1,m-1 m-11 m-1.sub", "gone,gone m-11 m-1.sub"),
        (json.dumps("line\nm-1"), json.dumps("line\ngone")),
        # The box serves others too.
        ("box m-1", "box gone"),
        ("box has p-1 and p-10", "gone has gone and p-10"),
        ("box has p-10", "box has p-10"),
    ],
)
def test_id_is_replaced_where_it_tells_the_thing(text: str, left: str) -> None:
    assert METER.replaced_in(text) == left
    assert not METER.tell(left)


def test_reading_with_the_digits_of_an_id_stays() -> None:
    names = Names([frozenset({"4711"})])
    body = json.dumps([{"id": 4712, "kwh": 4711.0}, {"id": 4711, "kwh": 1.5}]).encode()
    assert json.loads(without(names, body) or b"") == [{"id": 4712, "kwh": 4711.0}]


def test_smallest_object_that_names_it_goes() -> None:
    content = {"owner": "o", "meters": [{"id": "m-1", "kwh": 1}, {"id": "m-2", "kwh": 2}]}
    assert taken_out(content) == {"owner": "o", "meters": [{"id": "m-2", "kwh": 2}]}
    assert taken_out({"m-1": {"kwh": 1}, "m-2": {"kwh": 2}}) == {"m-2": {"kwh": 2}}
    assert taken_out({"children": ["m-1", "m-2"], "n": 2}) == {"children": ["m-2"], "n": 2}
    assert taken_out({"id": "m-1", "kwh": 1}) is None


def test_pair_may_be_split_between_what_was_asked_and_the_answer() -> None:
    properties = [{"id": "p-1", "v": 1}, {"id": "p-2", "v": 2}]
    assert taken_out(properties, "http://v/devices/box/properties") == properties[1:]
    assert taken_out(properties, "http://v/devices/other/properties") == properties
    assert taken_out({"id": "box", "properties": properties}) == {
        "id": "box",
        "properties": properties[1:],
    }


def test_answer_that_is_no_json_loses_its_lines_and_others_stay_byte_for_byte() -> None:
    assert without(METER, b"m-2;1\nm-1;2\n") == b"m-2;1\n"
    assert without(METER, b"m-1") is None
    assert without(METER, b'{ "id" : "m-2" }') == b'{ "id" : "m-2" }'


def test_names_that_hold_another_one_whole_are_left_out() -> None:
    names = Names([frozenset({"a", "b"}), frozenset({"a"}), frozenset()])
    assert names.sets == [frozenset({"a"})]
    assert names.single == ("a",)


_LEAVES = st.none() | st.integers(0, 9) | st.sampled_from(["m-1", "m-2", "box", "p-1", "ünï m-1"])
_JSON = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["id", "m-1", "box", "p-1", "v"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(content=_JSON, context=st.sampled_from(["", "box"]))
def test_whatever_the_answer_the_thing_is_gone_and_taking_it_out_again_changes_nothing(
    content: Any, context: str
) -> None:
    body = json.dumps(content).encode()
    kept = without(METER, body, context)
    if kept is None:
        return
    assert "m-1" not in METER.found_in(json.dumps(json.loads(kept), ensure_ascii=False))
    assert without(METER, kept, context) == kept
    if b"m-1" not in body and b"p-1" not in body:
        assert kept == body
