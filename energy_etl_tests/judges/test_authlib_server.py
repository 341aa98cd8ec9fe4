"""Our consents judged by Authlib's server: codes and PKCE, one renewal for all, nothing lost."""

import http.client
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
import pytest

from energy_etl.errors import AuthenticationError, ConfigurationError, UnavailableError
from energy_etl.rest import Limits, RequestLog, RestClient
from energy_etl.tokens import TokenStore
from energy_etl.vendors.wiser.consent import (
    authorize,
    authorize_by_paste,
    build_auth,
    read_consent,
)
from energy_etl.vendors.wiser.settings import TOKEN_PATH, WiserSettings
from energy_etl_tests.judges.authlib_server import CLIENT_ID, CLIENT_SECRET, AuthlibServer

N_THREADS = 8
N_PROCESSES = 4


@pytest.fixture
def judge() -> Iterator[AuthlibServer]:
    with AuthlibServer() as judge:
        yield judge


def section(url: str, **settings: Any) -> WiserSettings:
    given = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_port": 0}
    return WiserSettings(base_url=url, **{**given, **settings})


def follow(url: str) -> str:
    """GET an address and return where it leads, as a browser would show it in the end."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        answer.read()
        return answer.getheader("Location", "")
    finally:
        connection.close()


def client(url: str, folder: Path) -> RestClient:
    return RestClient(
        vendor="wiser",
        base_url=f"{url}/api",
        log=RequestLog("wiser"),
        auth=build_auth(section(url), folder),
        limits=Limits(answer_s=10.0, total_s=20.0, backoff_s=0.01),
    )


def use(url: str, folder: Path, n_threads: int, n_calls: int) -> list[int]:
    """Call the resource from many threads at once."""
    with client(url, folder) as rest, ThreadPoolExecutor(n_threads) as threads:
        return list(threads.map(lambda _: rest.get("things", "/things").status, range(n_calls)))


def expire(judge: AuthlibServer, folder: Path) -> None:
    """Let the access token have ended, for both sides."""
    judge.end_access_tokens()
    token = build_auth(section(judge.url), folder).consent()
    assert token is not None
    key = (judge.url + TOKEN_PATH, CLIENT_ID, "main")
    TokenStore(folder).write(msgspec.structs.replace(token, expires_at_s=1.0), *key)


def consent(judge: AuthlibServer, folder: Path) -> None:
    authorize_by_paste(section(judge.url), folder, ask=follow)
    judge.calls.clear()


@pytest.mark.parametrize("uses_pkce", [True, False])
def test_consent_through_the_listener_is_accepted(
    judge: AuthlibServer, tmp_path: Path, uses_pkce: bool
) -> None:
    pages: list[str] = []

    def browse(url: str) -> None:
        target = follow(url)
        parts = urlsplit(target)
        connection = http.client.HTTPConnection(parts.netloc, timeout=10)
        connection.request("GET", f"{parts.path}?{parts.query}")
        pages.append(connection.getresponse().read().decode())
        connection.close()

    browsers: list[threading.Thread] = []

    def open_url(url: str) -> None:
        browsers.append(threading.Thread(target=browse, args=(url,)))
        browsers[0].start()

    settings = section(judge.url, uses_pkce=uses_pkce)
    given = authorize(settings, tmp_path / "tokens", open_url=open_url)
    browsers[0].join()
    assert given.state == "authorised"
    assert given.is_renewable
    assert "<h1>Access to Wiser is given</h1>" in pages[0]
    codes_left = list(judge.books.codes)
    assert codes_left == []
    assert use(judge.url, tmp_path / "tokens", 1, 1) == [200]


def test_code_for_another_verifier_is_refused_by_the_judge(
    judge: AuthlibServer, tmp_path: Path
) -> None:
    def steal(url: str) -> str:
        # The code is asked for with a challenge of somebody else.
        query = urlsplit(url).query.replace("code_challenge=", "code_challenge=x&was=")
        query = query.replace("code_challenge=x", "code_challenge=" + "x" * 43)
        return follow(url.partition("?")[0] + "?" + query)

    with pytest.raises(AuthenticationError, match="refused the code"):
        authorize_by_paste(section(judge.url), tmp_path / "tokens", ask=steal)
    assert read_consent(section(judge.url), tmp_path / "tokens").state == "none"


def test_denied_consent_is_told_and_stores_nothing(judge: AuthlibServer, tmp_path: Path) -> None:
    judge.allows = False
    with pytest.raises(AuthenticationError, match="was denied"):
        authorize_by_paste(section(judge.url), tmp_path / "tokens", ask=follow)
    assert read_consent(section(judge.url), tmp_path / "tokens").state == "none"


def test_scope_that_the_judge_does_not_know_is_a_matter_of_settings(
    judge: AuthlibServer, tmp_path: Path
) -> None:
    wrong = section(judge.url, scope="read:everything")
    with pytest.raises(ConfigurationError, match="invalid_scope"):
        authorize_by_paste(wrong, tmp_path / "tokens", ask=follow)


def test_wrong_client_secret_is_told_without_it(judge: AuthlibServer, tmp_path: Path) -> None:
    wrong = section(judge.url, client_secret="canary-wrong")
    with pytest.raises(AuthenticationError, match=r"wiser\.client_secret") as caught:
        authorize_by_paste(wrong, tmp_path / "tokens", ask=follow)
    assert "canary-wrong" not in str(caught.value)


# One interpreter that imports once and then splits: what is judged are processes, not imports.
_PROCESSES = """
import os, sys
from pathlib import Path
from energy_etl_tests.judges.test_authlib_server import use

url, folder, n_processes = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
children = []
for _ in range(n_processes):
    child = os.fork()
    if child == 0:
        os.write(1, b"r")
        os.read(0, 1)
        os._exit(0 if use(url, folder, 2, 4) == [200] * 4 else 1)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
sys.exit(max(codes))
"""


def use_from_processes(url: str, folder: Path) -> list[int]:
    """Call the resource from 8 threads here and from 4 further processes, all at once."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROCESSES, url, str(folder), str(N_PROCESSES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as processes:
        assert processes.stdin is not None
        assert processes.stdout is not None
        assert processes.stdout.read(N_PROCESSES) == b"r" * N_PROCESSES
        processes.stdin.write(b"g" * N_PROCESSES)
        processes.stdin.flush()
        statuses = use(url, folder, N_THREADS, 2 * N_THREADS)
        _, errors = processes.communicate(timeout=60)
        assert processes.returncode == 0, errors.decode()
    return statuses


def test_eight_threads_and_four_processes_renew_once_and_lose_no_consent(
    judge: AuthlibServer, tmp_path: Path
) -> None:
    folder = tmp_path / "tokens"
    consent(judge, folder)
    expire(judge, folder)
    # Long enough for everybody else to come and want one too.
    judge.delay_s = 0.3
    assert use_from_processes(judge.url, folder) == [200] * (2 * N_THREADS)
    assert judge.calls["token"] == 1
    assert judge.calls["things"] == 2 * N_THREADS + 4 * N_PROCESSES
    # And the one that is stored is good for the next time.
    expire(judge, folder)
    assert use(judge.url, folder, 1, 1) == [200]
    assert not judge.is_consent_lost


def test_refresh_token_that_is_not_rotated_stays_good(tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    with AuthlibServer(rotates=False, delay_s=0.05) as judge:
        consent(judge, folder)
        for n_renewals in (1, 2):
            expire(judge, folder)
            assert use(judge.url, folder, N_THREADS, N_THREADS) == [200] * N_THREADS
            assert judge.calls["token"] == n_renewals


def test_token_that_ends_in_mid_use_is_renewed_once_by_all_threads(
    judge: AuthlibServer, tmp_path: Path
) -> None:
    consent(judge, tmp_path / "tokens")
    with client(judge.url, tmp_path / "tokens") as rest, ThreadPoolExecutor(N_THREADS) as threads:
        assert rest.get("things", "/things").status == 200
        judge.end_access_tokens()
        judge.delay_s = 0.1
        asked = threads.map(lambda _: rest.get("things", "/things").status, range(N_THREADS))
        assert list(asked) == [200] * N_THREADS
    assert judge.calls["token"] == 1
    assert not judge.is_consent_lost


def test_revoked_consent_fails_all_threads_after_one_call(
    judge: AuthlibServer, tmp_path: Path
) -> None:
    folder = tmp_path / "tokens"
    consent(judge, folder)
    judge.revoke()

    def ask(rest: RestClient) -> str:
        with pytest.raises(AuthenticationError) as caught:
            rest.get("things", "/things")
        return str(caught.value)

    with client(judge.url, folder) as rest, ThreadPoolExecutor(N_THREADS) as threads:
        told = set(threads.map(ask, [rest] * N_THREADS))
    assert told == {
        "The consent of the wiser account main has ended or was revoked: "
        "run `energy-etl wiser authorize` again."
    }
    assert judge.calls["token"] == 1
    assert read_consent(section(judge.url), folder).state == "ended"
    consent(judge, folder)
    assert use(judge.url, folder, 1, 1) == [200]


def test_outage_of_the_token_endpoint_costs_no_consent(
    judge: AuthlibServer, tmp_path: Path
) -> None:
    folder = tmp_path / "tokens"
    consent(judge, folder)
    expire(judge, folder)
    judge.faults.append((503, b"<html>down for maintenance</html>"))
    with pytest.raises(UnavailableError):
        use(judge.url, folder, N_THREADS, N_THREADS)
    assert judge.calls["token"] == 1
    assert read_consent(section(judge.url), folder).state == "authorised"
    # A minute later, told by the clock that is stored.
    token = build_auth(section(judge.url), folder).consent()
    assert token is not None
    assert token.renewal_sent_at_s is not None
    earlier = msgspec.structs.replace(token, renewal_sent_at_s=token.renewal_sent_at_s - 61)
    TokenStore(folder).write(earlier, judge.url + TOKEN_PATH, CLIENT_ID, "main")
    assert use(judge.url, folder, 1, 1) == [200]
    assert not judge.is_consent_lost


def test_judge_ends_a_consent_whose_refresh_token_is_used_twice(
    judge: AuthlibServer, tmp_path: Path
) -> None:
    consent(judge, tmp_path / "tokens")
    token = build_auth(section(judge.url), tmp_path / "tokens").consent()
    assert token is not None
    form = {
        "grant_type": "refresh_token",
        "refresh_token": token.refresh_token or "",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }
    body = urlencode(form).encode()
    statuses = [judge.answer("POST", TOKEN_PATH, {}, body)[0] for _ in range(2)]
    assert statuses == [200, 400]
    assert judge.is_consent_lost
