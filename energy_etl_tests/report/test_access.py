"""Licences and ways in: what asks for somebody stands first and has a mark."""

import pytest

from energy_etl.report.section_access import access, licences
from energy_etl_tests.report.world import frame


def test_many_licences_show_those_to_act_on_and_fold_the_others() -> None:
    rows = [
        {
            "licence_key_end": f"K{place}",
            "licence_status": "ended" if place == 29 else "active",
            "has_capacity": place != 28,
        }
        for place in range(30)
    ]
    first, rest = licences(frame("licence", rows)).split("<details")
    assert [f">K{place}<" in first for place in (0, 28, 29)] == [False, True, True]
    assert ">The other 28\u00a0licences<" in rest
    assert ">K0<" in rest
    assert "<details" not in licences(frame("licence", rows[:5]))


@pytest.mark.parametrize(
    ("holder", "marks"),
    [
        ({"holder_kind": "service_account", "way": "basic"}, ["password"]),
        ({"holder_kind": "user", "way": "basic"}, []),
        ({"holder_kind": "api_key", "way": "api_key"}, ["no owner"]),
        ({"holder_kind": "user", "way": "api_key", "is_migrated_key": True}, ["old key"]),
    ],
)
def test_way_in_that_somebody_should_mind_is_marked(
    holder: dict[str, object], marks: list[str]
) -> None:
    html = access(frame("access", [{"holder_name": "Ada", **holder}]))
    known = ("password", "no owner", "old key", "manages users")
    assert [mark for mark in known if f"! {mark}<" in html] == marks
