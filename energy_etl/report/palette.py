"""Every colour of the report, for light and dark, and how far apart colours are to whom.

Nothing is said by colour alone (bars are hollow, marks have shapes, states have words), but what
has a colour must be seen: texts reach WCAG 2.2 AA (4.5 : 1), marks 3 : 1 against their ground, and
the series of one chart stay `LEAST_DISTANCE` apart also for people who lack one kind of cone.
`energy_etl_tests/report/test_palette.py` computes all of it.

Sources: WCAG 2.2, relative luminance and 1.4.3, 1.4.11; Machado, Oliveira and Fernandes 2009,
"A physiologically-based model for simulation of color vision deficiency" (severity 1.0); CIE 1976
L*a*b* under D65.
"""

from typing import Final

import numpy as np

LEAST_TEXT_CONTRAST: Final = 4.5
LEAST_MARK_CONTRAST: Final = 3.0
# CIE 1976; 2.3 is just noticeable, 10 is told apart at a glance.
LEAST_DISTANCE: Final = 12.0

LIGHT: Final = {
    "ground": "#ffffff",
    "panel": "#f5f7fa",
    "text": "#16202c",
    "soft": "#505c6a",
    "line": "#d5dbe3",
    "own": "#1f5fa8",
    "previous": "#c9d1db",
    "edge": "#7d8896",
    "good": "#1b6e3c",
    "bad": "#b3261e",
    "gap": "#d4541b",
    "band": "#d7ebdc",
    "s1": "#1f5fa8",
    "s2": "#d97600",
    "s3": "#118c7a",
    "s4": "#5a1886",
    "s5": "#6b4f00",
    "other": "#3f4a58",
    "unattributed": "#8b95a2",
}
DARK: Final = {
    "ground": "#14181e",
    "panel": "#1d232b",
    "text": "#e8edf3",
    "soft": "#a8b4c2",
    "line": "#37414d",
    "own": "#6ea8f7",
    "previous": "#424e5c",
    "edge": "#8793a1",
    "good": "#7bd19a",
    "bad": "#ff9a8f",
    "gap": "#ff8a4c",
    "band": "#24432f",
    "s1": "#5b9cf5",
    "s2": "#ffb454",
    "s3": "#2fc4a8",
    "s4": "#d8a4ef",
    "s5": "#b08900",
    "other": "#c5ced9",
    "unattributed": "#77828f",
}
SERIES: Final = ("s1", "s2", "s3", "s4", "s5")
# What one chart puts side by side.
BESIDE: Final = (*SERIES, "other", "unattributed")
TEXTS: Final = ("text", "soft", "good", "bad")
MARKS: Final = ("own", "edge", "gap", *BESIDE)

# Linear RGB as seen with no cones for long, medium or short waves.
VISIONS: Final = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
_LUMINANCE: Final = np.array([0.2126, 0.7152, 0.0722])
_XYZ: Final = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_WHITE: Final = np.array([0.95047, 1.0, 1.08883])


def variables(colours: dict[str, str]) -> str:
    """Return the colours as CSS variables."""
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    low, high = sorted(float(_linear(colour) @ _LUMINANCE) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def distance(one: str, other: str, vision: str = "all cones") -> float:
    """Return how far apart two colours look (CIE 1976 L*a*b*) with the given vision."""
    matrix = VISIONS[vision]
    first, second = (_lab(matrix @ _linear(colour)) for colour in (one, other))
    return float(np.linalg.norm(first - second))


def _linear(colour: str) -> np.ndarray:
    part = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    share = _XYZ @ np.clip(linear, 0, 1) / _WHITE
    f = np.where(share > 216 / 24389, np.cbrt(share), (24389 / 27 * share + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
