"""The Wattics collector over real HTTP: who may push, what a packet is, order, state on disk."""

import base64
import json
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy_etl.sandbox import SandboxServer, World, fixed_clock
from energy_etl.sandbox.model import id_wattics
from energy_etl.sandbox.wattics import ELECTRICAL_FIELDS, PacketError, parse_packet
from energy_etl_tests.sandbox.conftest import COLLECTOR, MAIN, NOW_AT, SECOND, Caller

STREAM = id_wattics("rome-a.grid_import")
OTHER_ACCOUNTS = id_wattics("newyork-a.grid_import")


def _packet(stamp: str = "2025-04-16T11:00:00.000+02:00", **fields: float) -> dict[str, object]:
    return {"id": STREAM, "tsISO8601": stamp, **(fields or {"pC_1": 12.5})}


def _stream(caller: Caller, stream_id: str = STREAM) -> dict:
    rows = caller.http.get("/_sandbox/streams").json()
    return next(row for row in rows if row["stream"] == stream_id)


@pytest.fixture
def own():
    """A sandbox of its own: these tests count what it received."""
    with SandboxServer(World(now=fixed_clock(NOW_AT))) as sandbox:
        caller = Caller(sandbox)
        yield caller
        caller.close()


def test_call_without_credentials_is_challenged_with_the_documented_text(caller):
    answer = caller.push(_packet(), auth=None)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="Wattics"'
    text = "HTTP Status 401 - Full authentication is required to access this resource"
    assert text in answer.text


@pytest.mark.parametrize("auth", [("sandbox-wattics", "wrong"), ("nobody", "x"), MAIN[::-1]])
def test_wrong_password_is_answered_401(caller, auth):
    assert caller.push(_packet(), auth=auth).status_code == 401
    assert caller.last(STREAM, auth=auth).status_code == 401


def test_scheme_in_lower_case_is_accepted(caller):
    token = base64.b64encode(":".join(MAIN).encode()).decode()
    headers = {"Authorization": f"basic {token}"}
    assert caller.http.post(COLLECTOR, json=_packet(), headers=headers).status_code == 200


def test_packet_is_accepted_whatever_its_content_type(own):
    for content_type in ("text/json", "application/json", "application/x-www-form-urlencoded", ""):
        body = json.dumps(_packet()).encode()
        headers = {"Content-Type": content_type} if content_type else {}
        answer = own.http.post(COLLECTOR, content=body, headers=headers, auth=MAIN)
        assert (answer.status_code, answer.content) == (200, b"")
    assert _stream(own)["received"] == 4


def test_last_packet_is_the_text_as_pushed(own):
    assert own.last(STREAM).status_code == 404
    body = b'{"pC_1": 12.50, "tsISO8601": "2025-04-16T11:00:00.000+02:00", "id": "%s"}'
    body %= STREAM.encode()
    assert own.push(body).status_code == 200
    assert own.last(STREAM).content == body
    assert own.last("nobody").status_code == 404


def test_each_account_has_its_own_streams(caller):
    foreign = _packet() | {"id": OTHER_ACCOUNTS}
    assert caller.push(foreign, auth=MAIN).status_code == 404
    assert caller.push(foreign, auth=SECOND).status_code == 200
    assert caller.last(OTHER_ACCOUNTS, auth=MAIN).status_code == 404
    assert caller.last(OTHER_ACCOUNTS, auth=SECOND).status_code == 200


def test_any_stream_is_taken_when_the_switch_is_on(world):
    with SandboxServer(world, wattics_options={"accepts_any_stream": True}) as sandbox:
        caller = Caller(sandbox)
        status = caller.push(_packet() | {"id": "meter-id-01"}).status_code
        last = caller.last("meter-id-01").status_code
        caller.close()
    assert (status, last) == (200, 200)


def test_session_cookie_is_set_once_and_kept(running):
    with httpx.Client(base_url=running.url, auth=MAIN) as client:
        first = client.post(COLLECTOR, json=_packet())
        second = client.post(COLLECTOR, json=_packet())
    assert first.headers["Set-Cookie"].startswith("JSESSIONID=")
    assert "Set-Cookie" not in second.headers


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[1]",
        b'{"id":"%s","tsISO8601":"2025-04-16T11:00:00.000+02:00"}',
        b'{"id":"%s","tsISO8601":"2025-04-16T11:00:00.000+02:00","value":NaN}',
        b'{"id":"%s","tsISO8601":"2025-04-16T11:00:00.000+02:00","value":Infinity}',
        b'{"id":"%s","tsISO8601":"2025-04-16T11:00:00.000+02:00","value":null}',
        b'{"id":"%s","tsISO8601":"2025-04-16T11:00:00.000+02:00","value":"1"}',
        b'{"id":"%s","tsISO8601":"2025-04-16T11:00:00.000+02:00","value":true}',
        b'{"id":"%s","tsISO8601":"2025-04-16T11:00:00.000+02:00","value":1,"pC_1":1}',
        b'{"id":"%s","tsISO8601":"2025-04-16T11:00:00.000+02:00","pC_4":1}',
        b'{"id":"%s","tsISO8601":"2025-04-16T11:00:00.000+02:00","unit":"kWh","pC_1":1}',
        b'{"id":"%s","tsISO8601":"2025-04-16T09:00:00.000Z","value":1}',
        b'{"id":"%s","tsISO8601":"2025-04-16T11:00:00+02:00","value":1}',
        b'{"id":"%s","tsISO8601":"2025-04-16T11:00:00.000","value":1}',
        b'{"id":"%s","tsISO8601":"2025-02-30T11:00:00.000+02:00","value":1}',
        b'{"id":"%s","tsISO8601":"2025-04-16 11:00:00.000+02:00","value":1}',
        b'{"id":"%s","tsISO8601":1744794000000,"value":1}',
        b'{"id":7,"tsISO8601":"2025-04-16T11:00:00.000+02:00","value":1}',
        b'{"tsISO8601":"2025-04-16T11:00:00.000+02:00","value":1}',
        b'{"id":"%s",\n"tsISO8601":"2025-04-16T11:00:00.000+02:00","value":1}',
    ],
)
def test_packet_that_breaks_the_format_is_answered_400_with_a_reason(caller, body):
    answer = caller.push(body.replace(b"%s", STREAM.encode()))
    assert answer.status_code == 400
    assert answer.json()["status"] == 400
    assert len(answer.json()["message"]) > 10


def test_there_are_21_electrical_fields():
    assert len(ELECTRICAL_FIELDS) == 21


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(sorted(ELECTRICAL_FIELDS)),
        st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53),
        min_size=1,
    ),
    st.datetimes(timezones=st.timezones()),
)
def test_any_subset_of_fields_and_any_offset_is_a_packet(fields, at):
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    stamp = at.isoformat("T", "milliseconds")
    body = json.dumps({"id": "x", "tsISO8601": stamp} | fields).encode()
    if len(stamp) != 29:  # a local mean time, with seconds in its offset
        with pytest.raises(PacketError):
            parse_packet(body)
        return
    packet, at_ms = parse_packet(body)
    assert {key: packet[key] for key in fields} == fields
    assert at_ms == round(at.timestamp() * 1000)


def test_order_is_counted_and_arrival_is_kept(own):
    stamps = ["11:00", "11:15", "11:45", "11:30", "11:45", "12:00"]
    for number, stamp in enumerate(stamps):
        own.push(_packet(f"2025-04-16T{stamp}:00.000+02:00", pC_1=number))
    row = _stream(own)
    counts = (row["received"], row["out_of_order"], row["duplicates"])
    assert counts == (6, 1, 1)
    assert row["first_at"] == "2025-04-16T09:00:00+00:00"
    assert row["last_at"] == "2025-04-16T10:00:00+00:00"
    packets = own.http.get("/_sandbox/packets", params={"stream": STREAM}).json()
    assert [packet["packet"]["pC_1"] for packet in packets] == [0, 1, 2, 3, 4, 5]
    assert packets[3]["at"] == "2025-04-16T09:30:00+00:00"


def test_clock_change_in_autumn_is_in_order(own):
    for stamp in ("02:45:00.000+02:00", "02:00:00.000+01:00", "02:15:00.000+01:00"):
        own.push(_packet(f"2024-10-27T{stamp}"))
    assert _stream(own)["out_of_order"] == 0


@pytest.mark.parametrize(("switch", "expected"), [("received", 1), ("newest", 2)])
def test_last_packet_is_the_last_received_or_the_newest_by_switch(world, switch, expected):
    with SandboxServer(world, wattics_options={"last_packet": switch}) as sandbox:
        caller = Caller(sandbox)
        caller.push(_packet("2025-04-16T12:00:00.000+02:00", pC_1=2))
        caller.push(_packet("2025-04-16T11:00:00.000+02:00", pC_1=1))
        last = caller.last(STREAM).json()["pC_1"]
        caller.close()
    assert last == expected


def test_utc_route_shows_the_local_time_of_the_stream(own):
    packet = _packet("2025-04-16T09:00:00.000+00:00")
    assert own.http.post("/measurements/v2/unifiedjson_utc/", json=packet, auth=MAIN).is_success
    assert own.last(STREAM).json()["tsISO8601"] == "2025-04-16T11:00:00.000+02:00"


def test_partial_packets_of_one_stamp_become_one_last_packet(own):
    for packet in (_packet(pC_1=1.0), _packet(pC_2=2.0)):
        own.http.post("/measurements/v2/unifiedjson_partial/", json=packet, auth=MAIN)
    assert own.last(STREAM).json() == _packet(pC_1=1.0, pC_2=2.0)
    assert _stream(own)["duplicates"] == 0


@pytest.mark.parametrize("path", ["unifiedjson", "other/", ""])
def test_path_without_its_slash_or_unknown_is_answered_404(caller, path):
    answer = caller.http.post(f"/measurements/v2/{path}", json=_packet(), auth=MAIN)
    assert answer.status_code == 404


def test_other_methods_are_refused(caller):
    assert caller.http.put(COLLECTOR, json=_packet(), auth=MAIN).status_code == 405


def test_state_on_disk_survives_a_restart_and_a_half_written_line(world, tmp_path: Path):
    state_dir = tmp_path / "collector"
    for round_number in range(3):
        with SandboxServer(world, state_dir=state_dir) as sandbox:
            caller = Caller(sandbox)
            row = _stream(caller)
            assert row["received"] == 2 * round_number
            for minute in (0, 15):
                stamp = f"2025-04-16T1{round_number}:{minute:02d}:00.000+02:00"
                assert caller.push(_packet(stamp, pC_1=round_number)).status_code == 200
            caller.push(_packet() | {"id": OTHER_ACCOUNTS}, auth=SECOND)
            caller.close()
        with (state_dir / "wattics-main.jsonl").open("ab") as file:
            file.write(b'{"route":"unifiedjson/","packet":{"id":"dp')
    with SandboxServer(world, state_dir=state_dir) as sandbox:
        caller = Caller(sandbox)
        row, last = _stream(caller), caller.last(STREAM).json()
        second = _stream(caller, OTHER_ACCOUNTS)
        caller.close()
    assert (row["received"], row["out_of_order"], row["duplicates"]) == (6, 0, 0)
    assert last["tsISO8601"] == "2025-04-16T12:15:00.000+02:00"
    assert (second["received"], second["duplicates"]) == (3, 2)


def test_rejected_packets_are_not_kept(world, tmp_path: Path):
    with SandboxServer(world, state_dir=tmp_path) as sandbox:
        caller = Caller(sandbox)
        caller.push(_packet(), auth=None)
        caller.push(_packet() | {"id": "nobody"})
        caller.push(b"no json")
        caller.close()
    assert (tmp_path / "wattics-main.jsonl").read_bytes() == b""


def test_changed_password_is_the_only_one_accepted(own):
    change = {"account": "main", "password": "new"}
    assert own.http.post("/_sandbox/passwords", json=change).status_code == 204
    assert own.push(_packet()).status_code == 401
    assert own.push(_packet(), auth=(MAIN[0], "new")).status_code == 200
    assert own.push(_packet() | {"id": OTHER_ACCOUNTS}, auth=SECOND).status_code == 200
