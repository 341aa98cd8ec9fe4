"""What must not be stored is taken out, and nothing else is touched."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.rest import Redactor

NAMES = ["access_token", "refreshToken", "client-secret", "PASSWORD", "email", "phoneNumber"]


@pytest.mark.parametrize(
    "name", [*NAMES, "address", "addressLine1", "firstName", "last_name", "apiKey"]
)
def test_member_with_a_secret_or_personal_name_loses_its_value(name: str) -> None:
    body = json.dumps([{"deviceId": "B1", "inner": {name: {"street": "x", "no": 1}}}]).encode()
    assert json.loads(Redactor().body(body)) == [{"deviceId": "B1", "inner": {name: "[redacted]"}}]


def test_escaped_name_is_found() -> None:
    assert b"a@b.c" not in Redactor().body(b'{"\\u0065mail": "a@b.c"}')


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.sampled_from([True, None, 1e5, 7, "x", "email", "a}b", 'q"', "e"]),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["x", "", "e", "email", 'p"', "}"]), inner, max_size=3
            )
        ),
        max_leaves=12,
    )
)
def test_no_neighbour_hides_a_name(document: object) -> None:
    redacted = json.loads(Redactor().body(json.dumps([document, {"x": 1}, document]).encode()))
    assert redacted == [_redacted(document), {"x": 1}, _redacted(document)]


def _redacted(node: object) -> object:
    if isinstance(node, dict):
        is_known = {name: name == "email" and node[name] is not None for name in node}
        return {k: "[redacted]" if is_known[k] else _redacted(v) for k, v in node.items()}
    return [_redacted(item) for item in node] if isinstance(node, list) else node


def test_text_that_is_no_json_is_redacted_too() -> None:
    body = b'<p>"password": "hunter22" Authorization: Bearer abc.def</p>'
    redacted = Redactor().body(body)
    assert b"hunter22" not in redacted
    assert b"abc.def" not in redacted


def test_nan_beside_a_secret_stays_nan() -> None:
    assert Redactor().body(b'[{"email":"a","value":NaN}]') == (
        b'[{"email":"[redacted]","value":NaN}]'
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"property": st.text(max_size=8), "timestamp": st.integers(0, 10**13)},
            optional={"payload": st.floats(allow_nan=False) | st.text(max_size=8)},
        )
    )
)
def test_readings_stay_byte_for_byte(rows: list[dict[str, object]]) -> None:
    body = json.dumps(rows).encode()
    assert Redactor(["canary-secret"]).body(body) == body


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_end_in_bytes(body: bytes) -> None:
    assert isinstance(Redactor(["canary-secret"]).body(body + b'"email"'), bytes)


@given(before=st.text(max_size=20), after=st.text(max_size=20))
def test_known_secret_is_removed_wherever_it_stands(before: str, after: str) -> None:
    redactor = Redactor(["canary-secret"])
    text = f"{before}canary-secret{after}"
    assert "canary-secret" not in redactor.text(text)
    assert b"canary-secret" not in redactor.body(text.encode("utf-8", "replace"))


@pytest.mark.parametrize("told", [r"ab\/cd+ef==", "ab%2Fcd%2Bef%3D%3D"])
def test_secret_that_an_answer_wrote_with_escapes_was_stored(told: str) -> None:
    body = Redactor(["ab/cd+ef=="]).body(b'{"message":"bad key %b"}' % told.encode())
    assert body == b'{"message":"bad key [redacted]"}'


def test_personal_text_of_several_words_stayed_when_the_answer_was_cut_short() -> None:
    whole = b'[{"address":"1 Sandbox \\"B\\" Street","contact_name":"Sam Sandbox","city":"Rome"}]'
    assert Redactor().body(whole[:-2]) == (
        b'[{"address":"[redacted]","contact_name":"[redacted]","city":"Rome"'
    )
    cut = whole.partition(b'dbox","city')[0]
    assert Redactor().body(cut) == b'[{"address":"[redacted]","contact_name":"[redacted]'


def test_personal_text_deep_in_an_answer_ended_the_whole_fetch() -> None:
    # Deep enough for the walk through the lists to run out of stack, not for reading them.
    body = b"[" * 600 + b'{"email":"a b@c.d"}' + b"]" * 600
    assert Redactor().body(body) == body.replace(b"a b@c.d", b"[redacted]")
