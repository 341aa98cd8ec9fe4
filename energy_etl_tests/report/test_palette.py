"""The colours are seen: contrast by WCAG, and series apart for every kind of colour vision."""

from itertools import combinations

import pytest

from energy_etl.report.palette import (
    BESIDE,
    DARK,
    LEAST_DISTANCE,
    LEAST_MARK_CONTRAST,
    LEAST_TEXT_CONTRAST,
    LIGHT,
    MARKS,
    TEXTS,
    VISIONS,
    contrast,
    distance,
)
from energy_etl.report.style import style_sheet

BOTH = pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])


def test_contrast_and_distance_are_those_of_their_definitions() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=0.001)
    # L* of white is 100, of black 0; a grey has no hue for anybody.
    assert distance("#000000", "#ffffff") == pytest.approx(100.0, abs=0.05)
    assert distance("#808080", "#808080", "protanopia") == 0
    # What makes the simulations worth something: red and green of one lightness come together.
    assert distance("#c83232", "#6e6e00", "deuteranopia") < 0.5 * distance("#c83232", "#6e6e00")


@BOTH
def test_every_text_can_be_read_on_every_ground(colours: dict[str, str]) -> None:
    for text in TEXTS:
        for ground in ("ground", "panel"):
            found = contrast(colours[text], colours[ground])
            assert found >= LEAST_TEXT_CONTRAST, (text, ground, found)
    assert contrast(colours["own"], colours["ground"]) >= LEAST_TEXT_CONTRAST, "links"


@BOTH
def test_every_mark_is_seen_on_the_ground(colours: dict[str, str]) -> None:
    for mark in MARKS:
        found = contrast(colours[mark], colours["ground"])
        assert found >= LEAST_MARK_CONTRAST, (mark, found)


@BOTH
@pytest.mark.parametrize("vision", VISIONS)
def test_series_of_a_chart_stay_apart_for_everybody(colours: dict[str, str], vision: str) -> None:
    pairs = [*combinations(BESIDE, 2), ("own", "gap"), ("own", "previous"), ("own", "band")]
    for one, other in pairs:
        found = distance(colours[one], colours[other], vision)
        assert found >= LEAST_DISTANCE, (one, other, found)


def test_style_sheet_names_no_colour_beside_the_palette() -> None:
    rules = style_sheet()
    for colours in (LIGHT, DARK):
        for colour in colours.values():
            rules = rules.replace(colour, "")
    assert "#" not in rules.replace("#sites,#delivery,#findings", "")
    assert "url(" not in rules
    assert "@import" not in rules
