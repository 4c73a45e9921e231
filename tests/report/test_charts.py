"""Charts: values come to lie where their axes say."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from ase.data import chemical_symbols

from molequi.report.axes import Axis, axis_over
from molequi.report.charts import Labels, Series, chart

LABELS = Labels("Heading <b>", "time (fs)", "energy (eV)", "What one sees.")


def numbers_beside(svg: ElementTree.Element, kind: str) -> dict[str, float]:
    """Return the texts beside an axis and where they stand along it."""
    place = "x" if kind == "middle" else "y"
    texts = [text for text in svg.iter("text") if text.get("class") == kind]
    return {str(text.text): float(str(text.get(place))) for text in texts}


def drawing(markup: str) -> ElementTree.Element:
    found = ElementTree.fromstring(markup).find("svg")
    assert found is not None
    return found


def points_of(svg: ElementTree.Element, kind: str) -> np.ndarray:
    (path,) = (path for path in svg.iter("path") if str(path.get("class")).startswith(kind))
    pairs = re.findall(r"(-?[\d.]+) (-?[\d.]+)", str(path.get("d")))
    return np.array(pairs, dtype=float)


@pytest.mark.parametrize("is_log", [False, True])
def test_points_lie_on_the_lines_of_the_grid(is_log: bool) -> None:
    """A point at a value that is written beside the axis lies where that stands."""
    x = np.array([1.0, 10.0, 100.0]) if is_log else np.array([0.0, 50.0, 100.0])
    svg = drawing(chart(LABELS, [Series("", x, x, "points")], log_x=is_log, log_y=is_log))
    across, down = numbers_beside(svg, "middle"), numbers_beside(svg, "end")
    for value, (a, b) in zip(x, points_of(svg, "points"), strict=True):
        assert a == pytest.approx(across[f"{value:g}"], abs=0.1)
        assert b == pytest.approx(down[f"{value:g}"] - 4, abs=0.1)  # letters hang below their place


def test_what_is_not_finite_is_left_out() -> None:
    y = np.array([1.0, np.nan, 3.0, np.inf, -1.0])
    svg = drawing(chart(LABELS, [Series("", np.arange(5.0), y, "points")], log_y=True))
    assert len(points_of(svg, "points")) == 2


def test_no_values_make_an_empty_frame() -> None:
    svg = drawing(chart(LABELS, [Series("", np.zeros(0), np.zeros(0))]))
    assert not [path for path in svg.iter("path") if "line" in str(path.get("class"))]


def test_a_long_line_keeps_its_extremes() -> None:
    y = np.sin(np.arange(100_000) / 50.0)
    y[[33_333, 66_666]] = 7.0, -7.0
    markup = chart(LABELS, [Series("", np.arange(100_000), y)])
    places = points_of(drawing(markup), "line")[:, 1]
    assert len(markup) < 30_000
    beside = numbers_beside(drawing(markup), "end")
    assert places.min() < beside["5"] - 4 < beside["−5"] - 4 < places.max()


def test_many_points_become_squares_that_hold_all_of_them() -> None:
    values = np.random.default_rng(0).standard_normal((2, 20_000))
    svg = drawing(chart(LABELS, [Series("", *values, "points")]))
    levels = [path for path in svg.iter("path") if "density" in str(path.get("class"))]
    assert len(levels) == 4
    assert len(ElementTree.tostring(svg)) < 60_000


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (Axis(0, 1), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (Axis(-3e-7, 3e-7), ["−2·10⁻⁷", "0", "2·10⁻⁷"]),
        (Axis(1, 3, is_whole=True), ["1", "2", "3"]),
        (Axis(1e-4, 1e2, is_log=True), ["10⁻⁴", "0.01", "1", "100"]),
        (Axis(0, 1.1e-4), ["0", "2.5·10⁻⁵", "5.0·10⁻⁵", "7.5·10⁻⁵", "1.00·10⁻⁴"]),
        (Axis(0, 1.2e6), ["0", "2.5·10⁵", "5.0·10⁵", "7.5·10⁵", "1.00·10⁶"]),
        (Axis(1e3, 1.4e3, is_log=True), ["1000", "1100", "1200", "1300", "1400"]),
        (Axis(1e3, 1e5, is_log=True), ["1000", "10000", "10⁵"]),
    ],
)
def test_what_stands_beside_an_axis(axis: Axis, expected: list[str]) -> None:
    assert axis.texts(axis.ticks()) == expected


@pytest.mark.parametrize(
    ("values", "expected", "beyond"),
    [
        ((1e6, 1e6 + 5), ["0", "2", "4"], " − 1 000 000"),
        ((999_998, 1_000_003), ["8", "10", "12"], " − 999 990"),
        ((-76000.123, -76000.1229), ["0", "2.5·10⁻⁵", "5.0·10⁻⁵", "7.5·10⁻⁵", "1.00·10⁻⁴"],
         " + 76 000.123"),
        ((1e9, 1e9 + 1000), ["0", "250", "500", "750", "1000"], " − 1·10⁹"),
        ((1000.2, 1001.1), ["1000.2", "1000.4", "1000.6", "1000.8", "1001.0"], ""),
        ((1e-5, 9e-5), ["2·10⁻⁵", "4·10⁻⁵", "6·10⁻⁵", "8·10⁻⁵"], ""),
    ],
)  # fmt: skip
def test_what_long_numbers_share_is_written_once(
    values: tuple[float, float], expected: list[str], beyond: str
) -> None:
    axis = axis_over(np.array(values))
    assert axis.texts(axis.ticks()) == expected
    assert axis.beyond().replace("\u202f", " ") == beyond


def test_points_far_from_zero_lie_where_their_axis_says() -> None:
    x = 1e6 + np.array([0.0, 2.0, 4.0, 5.0])
    svg = drawing(chart(LABELS, [Series("", x, x, "points")]))
    across, down = numbers_beside(svg, "middle"), numbers_beside(svg, "end")
    for value, (a, b) in zip(("0", "2", "4"), points_of(svg, "points"), strict=False):
        assert a == pytest.approx(across[value], abs=0.1)
        assert b == pytest.approx(down[value] - 4, abs=0.1)
    assert {"time (fs) − 1\u202f000\u202f000", "energy (eV) − 1\u202f000\u202f000"} < set(across)


@pytest.mark.parametrize("n_names", [5, 14, 15, 30])
def test_no_element_is_left_out_below_bars(n_names: int) -> None:
    """One cannot guess which stands between two others."""
    names = chemical_symbols[1 : n_names + 1]
    bars = Series("", np.arange(n_names), np.ones(n_names), "bars")
    svg = drawing(chart(LABELS, [bars], names=names))
    texts = [text for text in svg.iter("text") if text.text in names]
    assert [text.text for text in texts] == names
    for row in {text.get("y") for text in texts}:
        places = [float(str(text.get("x"))) for text in texts if text.get("y") == row]
        assert min(np.diff(places)) > 17  # two letters of 12 px


def test_names_without_room_are_thinned() -> None:
    names = [f"element {k}" for k in range(40)]
    svg = drawing(chart(LABELS, [Series("", np.arange(40), np.ones(40), "bars")], names=names))
    assert 4 <= len([text for text in svg.iter("text") if text.text in names]) <= 8


def test_a_square_chart_far_from_zero_is_filled_by_its_values() -> None:
    values = np.array([1000.2, 1001.1])
    svg = drawing(chart(LABELS, [Series("", values, values, "points")], is_square=True))
    assert np.ptp(points_of(svg, "points")[:, 0]) > 250  # of the 288 between the axes


def test_what_is_zero_everywhere_has_an_axis_from_0_to_1() -> None:
    axis = axis_over(np.zeros(3), from_zero=True)
    assert (axis.low, axis.high) == (0.0, 1.0)


@pytest.mark.parametrize("is_log", [False, True])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
@pytest.mark.parametrize("spread", [0.0, 1e-9, 0.3, 5.0])
def test_every_axis_has_its_values_inside_and_a_few_texts_that_differ(
    is_log: bool, scale: float, spread: float
) -> None:
    values = scale * np.array([1.0, 1.0 + spread])
    axis = axis_over(values, is_log=is_log)
    share = axis.share(values)
    assert (share >= -1e-9).all()
    assert (share <= 1 + 1e-9).all()
    assert 1 <= len(axis.ticks()) <= 12


def test_words_are_escaped() -> None:
    assert "<b>" not in chart(LABELS, [Series("<i>", np.ones(2), np.ones(2))])
