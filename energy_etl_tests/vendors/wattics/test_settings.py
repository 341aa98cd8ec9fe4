"""Where packets may go, and that passwords stay secret."""

import pytest
from pydantic import SecretStr, ValidationError

from energy_etl.delivery.limits import DrainLimits
from energy_etl.vendors import discover_vendors
from energy_etl.vendors.wattics.settings import (
    LIVE_URL,
    ON_REFUSAL,
    WatticsSettings,
    sandbox_section,
)


def test_production_is_the_default() -> None:
    assert WatticsSettings().collector_url == LIVE_URL
    assert LIVE_URL.startswith("https://")


def test_sandbox_section_is_valid_and_on_loopback() -> None:
    section = WatticsSettings.model_validate(sandbox_section("http://127.0.0.1:8080"))
    assert section.collector_url == "http://127.0.0.1:8080/measurements/v2/unifiedjson/"
    assert set(section.credentials) == {"main", "second"}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://web-collector.wattics.com/measurements/v2/unifiedjson/", "not https"),
        ("https://web-collector.wattics.com/measurements/v2/unifiedjson", "end in a slash"),
        ("ftp://127.0.0.1/x/", "not https"),
        ("https://user:secret@host/x/", "no collector URL"),
        ("https:///x/", "no collector URL"),
        ("https://host/x/?stream=1", "no collector URL"),
    ],
)
def test_a_url_that_is_not_safe_is_refused_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason) as caught:
        WatticsSettings(collector_url=url)
    assert "secret" not in str(caught.value)


def test_passwords_are_shown_nowhere() -> None:
    section = WatticsSettings.model_validate(sandbox_section("http://127.0.0.1:1"))
    assert "sandbox-wattics-secret" not in repr(section) + str(section.model_dump_json())
    wrong = {"credentials": {"main": {"username": "a:b", "password": "canary"}}}
    with pytest.raises(ValidationError, match="colon") as caught:
        WatticsSettings.model_validate(wrong)
    assert "canary" not in str(caught.value)
    assert isinstance(section.credentials["main"].password, SecretStr)


@pytest.mark.parametrize("n", [0, 513])
def test_more_parallel_streams_than_the_maximum_are_refused(n: int) -> None:
    with pytest.raises(ValidationError, match="max_parallel_streams"):
        WatticsSettings(max_parallel_streams=n)
    assert WatticsSettings(max_parallel_streams=512).max_parallel_streams == 512


def test_refusals_that_are_not_given_stay_as_they_are_and_others_are_errors() -> None:
    # Keys of TOML and of the environment are text.
    section = WatticsSettings.model_validate({"on_refusal": {"400": "park"}})
    assert section.on_refusal == {400: "park", 404: "park", 413: "reject", 422: "reject"}
    assert WatticsSettings().on_refusal == {**ON_REFUSAL}
    with pytest.raises(ValidationError, match="503 cannot be set: a refusal is one of 400, 404"):
        WatticsSettings.model_validate({"on_refusal": {"503": "park"}})
    with pytest.raises(ValidationError, match="'reject' or 'park'"):
        WatticsSettings.model_validate({"on_refusal": {"404": "drop"}})


def test_limits_of_a_drain_are_those_of_the_settings() -> None:
    section = WatticsSettings.model_validate(
        {
            "max_parallel_streams": 3,
            "request_timeout_s": 7.0,
            "on_refusal": {404: "reject"},
            "breaker_after": 2,
            "breaker_gives_up_after": 4,
        }
    )
    limits = DrainLimits.from_settings(section)
    assert (limits.max_parallel_streams, limits.request_timeout_s) == (3, 7.0)
    assert (limits.breaker_after, limits.breaker_gives_up_after) == (2, 4)
    assert limits.refusals[404] == "reject"
    assert DrainLimits.from_settings(WatticsSettings()) == DrainLimits()


def test_unknown_keys_are_errors() -> None:
    with pytest.raises(ValidationError, match="colector_url"):
        WatticsSettings.model_validate({"colector_url": LIVE_URL})


def test_the_vendor_is_found_by_its_folder() -> None:
    assert discover_vendors()["wattics"].settings is WatticsSettings
