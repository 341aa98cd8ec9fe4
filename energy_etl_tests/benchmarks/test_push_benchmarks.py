"""The push benchmarks deliver what they claim to deliver, at a tiny scale; no time is asserted."""

import base64
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.table import Table

from energy_etl_tests.benchmarks import push, push_acks, push_latency, push_memory, push_vendor
from energy_etl_tests.benchmarks.measure import (
    BenchmarkError,
    Clock,
    Contender,
    Measurement,
    Task,
    run_here,
)
from energy_etl_tests.benchmarks.push_input import arrived, make_packets, stream_ids
from energy_etl_tests.benchmarks.report import compare, table_of
from energy_etl_tests.benchmarks.serving import collector_server
from energy_etl_tests.benchmarks.serving_collector import BareCollector

PATH = "/measurements/v2/unifiedjson/"
# What Wattics' clients do, in a few lines: it takes a file, pushes, and says what that took.
PUSHER = """
import base64, http.client, json, sys
path, username, password = sys.argv[2:]
basic = base64.b64encode(f"{username}:{password}".encode()).decode()
host = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
for line in open(path):
    stream, stamped_ms, value = line.split("\\t")
    assert int(stamped_ms) % 900_000 == 0
    minutes = int(stamped_ms) // 60_000 % 1440
    stamp = f"2025-01-06T{minutes // 60:02}:{minutes % 60:02}:00.000+00:00"
    packet = {"id": stream, "tsISO8601": stamp, "value": float(value)}
    head = {"Authorization": "Basic " + basic}
    host.request("POST", "/measurements/v2/unifiedjson/", json.dumps(packet), head)
    assert host.getresponse().read() == b""
print('{"wall_s": 2.5, "cpu_s": 0.75}')
"""


@pytest.fixture(scope="module")
def collector() -> Iterator[str]:
    with collector_server() as url:
        yield url


def installed(contenders: tuple[Contender, ...]) -> list[Contender]:
    """Return who can run where only the tests' packages are, against a collector anywhere."""
    return [
        c for c in contenders if c.is_installed() and c.is_able(Task(1, 1, "http://127.0.0.1:0"))
    ]


@pytest.mark.parametrize("contender", installed(push.BENCHMARK.contenders), ids=lambda c: c.name)
def test_push_delivers_every_packet_once_and_in_order(contender: Contender, collector: str) -> None:
    assert run_here(contender, [Task(5, 8, collector)]).n_items == 40


def test_push_of_packets_that_came_twice_is_refused(collector: str) -> None:
    task = Task(1, 3, collector)
    packets = make_packets(task)
    push.send_bare(task, {stream: [*bodies, *bodies] for stream, bodies in packets.items()})
    with pytest.raises(BenchmarkError, match="3 packets came twice or out of order"):
        arrived(task, packets)


def test_far_collector_with_tls_is_trusted_and_nobody_is_faster_than_its_answers() -> None:
    ours, *_, limit = push_latency.BENCHMARK.contenders
    with collector_server(push_latency.DELAY_S, has_tls=True) as source:
        assert source.startswith("https://127.0.0.1:")
        found = [run_here(contender, [Task(3, 4, source)]) for contender in (ours, limit)]
    assert [one.n_items for one in found] == [12, 12]
    assert min(one.wall_s for one in found) >= 4 * push_latency.DELAY_S


def test_every_acknowledgement_is_durable_with_and_without_its_answer() -> None:
    found = [run_here(c, [Task(34, 7)]) for c in push_acks.BENCHMARK.contenders]
    assert [one.n_items for one in found] == [238] * len(found)


def test_large_outbox_is_filled_some_streams_at_a_time(collector: str) -> None:
    filling = push_memory.BENCHMARK.contenders[1]
    assert run_here(filling, [Task(23, 4, collector)]).n_items == 92


def asked(
    collector: BareCollector, line: str, body: bytes = b"", password: str = "secret"
) -> tuple[bytes, Any]:
    """Return status and body of an answer."""
    pair = base64.b64encode(f"user:{password}".encode()).decode()
    head = f"{line} HTTP/1.1\r\nAuthorization: Basic {pair}"
    status, _, rest = collector.answer(head.encode(), body).partition(b"\r\n")
    return status.split(b" ")[1], rest.partition(b"\r\n\r\n")[2]


def test_bare_collector_knows_the_last_packet_and_counts_what_came_wrong() -> None:
    collector = BareCollector(PATH, "user", "secret")
    packets = [
        b'{"id":"s","tsISO8601":"2025-01-06T%b:00.000+00:00","value":1}' % minute
        for minute in (b"00:15", b"00:30", b"00:30", b"00:15", b"00:45")
    ]
    assert asked(collector, f"GET {PATH}?stream=s") == (b"404", b"")
    assert [asked(collector, f"POST {PATH}", packet)[0] for packet in packets] == [b"200"] * 5
    assert asked(collector, f"GET {PATH}?stream=s") == (b"200", packets[-1])
    (row,) = msgspec.json.decode(asked(collector, "GET /_sandbox/streams")[1])
    assert row == {"stream": "s", "received": 5, "out_of_order": 1, "duplicates": 1}


def test_bare_collector_refuses_whom_it_does_not_know_and_what_is_no_packet() -> None:
    collector = BareCollector(PATH, "user", "secret")
    assert asked(collector, f"POST {PATH}", b"{}", password="wrong")[0] == b"401"
    assert asked(collector, f"POST {PATH}", b"{}")[0] == b"400"
    assert asked(collector, "POST /elsewhere/", b"{}")[0] == b"404"


def test_vendor_clients_are_looked_for_in_the_folder_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.delenv("WATTICS_CLIENTS", raising=False)
    assert not push_vendor.has_java_client()
    assert not push_vendor.has_ruby_client()
    monkeypatch.setenv("WATTICS_CLIENTS", str(tmp_path))
    (tmp_path / "java/src/main/java").mkdir(parents=True)
    entry = tmp_path / "gem/lib/wattics-api-client.rb"
    entry.parent.mkdir(parents=True)
    entry.touch()
    assert push_vendor.has_java_client()
    assert push_vendor.has_ruby_client()
    assert push_vendor.is_at_vendor_port(Task(1, 1, "http://127.0.0.1:8080"))
    assert not push_vendor.is_at_vendor_port(Task(1, 1, "https://127.0.0.1:8080#ca.pem"))


def test_vendor_client_is_timed_by_its_own_clock(tmp_path: Path, collector: str) -> None:
    task, clock = Task(3, 4, collector), Clock()
    command = [sys.executable, "-S", "-c", PUSHER, collector.rpartition(":")[2]]
    outcome = push_vendor.push_with(task, tmp_path, clock, command)
    assert (outcome.n_items, clock.wall_s, clock.cpu_s) == (12, 2.5, 0.75)


def test_java_client_warms_up_with_other_streams(
    tmp_path: Path, collector: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands for Java pushes both files; counted is what the second one holds."""
    pusher, files = tmp_path / "pusher.py", tmp_path / "files"
    pusher.write_text(PUSHER, encoding="utf-8")
    run = f"{sys.executable} -S {pusher} {collector.rpartition(':')[2]}"
    (tmp_path / "java").write_text(
        f'#!/bin/sh\n{run} "$4" "$6" "$7" && {run} "$5" "$6" "$7"\n', encoding="utf-8"
    )
    (tmp_path / "javac").write_text("#!/bin/sh\n", encoding="utf-8")
    for name in ("java", "javac"):
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(push_vendor, "_MOST_TO_WARM_UP", 7)
    files.mkdir()
    assert push_vendor.run_java(Task(3, 4, collector), files, Clock()).n_items == 12
    warm_up, measured = (
        [line.split("\t")[0] for line in (files / name).read_text(encoding="ascii").splitlines()]
        for name in ("warm_up.tsv", "measurements.tsv")
    )
    assert (len(warm_up), len(measured)) == (6, 12)
    assert set(warm_up).isdisjoint(measured)


def test_vendor_client_that_does_not_end_is_refused(
    tmp_path: Path, collector: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_vendor, "START_S", 0.1)
    with pytest.raises(BenchmarkError, match="sh did not end within"):
        push_vendor.push_with(Task(1, 1, collector), tmp_path, Clock(), ["sh", "-c", "sleep 60"])


def test_stream_ids_are_new_each_time() -> None:
    assert set(stream_ids(Task(3, 1))).isdisjoint(stream_ids(Task(3, 1)))


def test_wall_time_is_told_as_ratio_and_as_share_of_the_ideal() -> None:
    ours, peer, *_, limit = (c.name for c in push_latency.BENCHMARK.contenders)
    measured = {
        name: [Measurement(1_000, 1.0, 1.0, wall_s, 100.0)]
        for name, wall_s in ((ours, 2.0), (peer, 5.0), (limit, 1.0))
    }
    result = compare(push_latency.BENCHMARK, "tiny", measured, ideal_per_s=1_000.0)
    lines = {line.name: line for line in result.lines}
    assert (lines[ours].ratio_per_s, lines[ours].share) == (None, pytest.approx(0.5))
    assert lines[peer].ratio_per_s == pytest.approx(2.5)
    assert lines[limit].ratio_per_s == pytest.approx(0.5)
    told = table_of([result], 1).renderables[2]
    assert isinstance(told, Table)
    cells = [list(column.cells) for column in told.columns]
    assert cells[3:] == [
        ["500", "200", "1,000"],
        ["", "2.50", "0.50"],
        ["50%", "20%", "100%"],
        ["≥ 0.85", "", ""],
    ]
