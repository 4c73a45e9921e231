"""Figures: drawn from whatever a run can give, and the curves are where the numbers are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

from molequi import plots
from molequi.plots import learning_curve, parity, reliability
from molequi.simulation import charts


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """The figures that would be written."""
    figures: list[Figure] = []

    def keep(figure, path):
        FigureCanvasAgg(figure).draw()
        figures.append(figure)

    monkeypatch.setattr(plots, "save_figure", keep)
    monkeypatch.setattr(charts, "save_figure", keep)
    return figures


def texts_beside(axis) -> list:
    """The texts beside an axis that one sees."""
    low, high = sorted(axis.get_view_interval())
    marks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    inside = [mark for mark in marks if low <= mark.get_loc() <= high]
    return [mark.label1 for mark in inside if mark.label1.get_text()]


def assert_readable(figure: Figure) -> None:
    """Whatever stands along an axis lies in the figure, beside all panels and other numbers."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            beside = texts_beside(axis)
            assert beside
            boxes = [text.get_window_extent() for text in beside]
            assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
            for box in [*boxes, axis.label.get_window_extent(), axes.title.get_window_extent()]:
                assert box.x0 >= 0 and box.y0 >= 0
                assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
                assert not any(box.overlaps(other.bbox) for other in figure.axes)


def ink(path) -> np.ndarray:
    """Where a picture is not white, as booleans."""
    return (imread(path)[..., :3] < 0.98).any(axis=2)


def test_learning_curve_bears_gaps_and_single_epochs(tmp_path):
    losses = {"energy": [1.0, 0.5, 0.2], "forces": [2.0, 1.0, 0.4]}
    learning_curve(
        [0, 1, 2],
        losses,
        {"forces MAE (eV/Å)": [None, 0.2, 0.1], "dipole MAE (e·Å)": [None] * 3},
        tmp_path / "plots" / "curve.png",
    )
    learning_curve([0], {"energy": [0.0]}, {}, tmp_path / "one.png")
    learning_curve([], {}, {}, tmp_path / "none.png")
    assert ink(tmp_path / "plots" / "curve.png").mean() > ink(tmp_path / "none.png").mean() > 0.01


@pytest.mark.parametrize("n_points", [50, 6000])
def test_parity_marks_points_on_the_diagonal_only_where_they_agree(tmp_path, n_points):
    x = np.linspace(-1.0, 1.0, n_points)
    parity(x, x, "dipole", "e·Å", tmp_path / "good.png", note="MAE 0")
    parity(x, -x, "dipole", "e·Å", tmp_path / "bad.png")
    good, bad = (ink(tmp_path / f"{name}.png") for name in ("good", "bad"))
    # The antidiagonal, top left to bottom right, is drawn only for the wrong predictions.
    height, width = good.shape
    centre = (
        slice(int(0.40 * height), int(0.46 * height)),
        slice(int(0.40 * width), int(0.52 * width)),
    )
    assert bad[centre].sum() > good[centre].sum()


def test_parity_leaves_missing_values_out_and_needs_no_points(tmp_path):
    parity(
        np.array([1.0, np.nan, 3.0]),
        np.array([1.1, 2.0, np.nan]),
        "gap",
        "eV",
        tmp_path / "one.png",
    )
    parity(np.array([]), np.array([]), "gap", "1", tmp_path / "none.png")
    assert (tmp_path / "one.png").stat().st_size > 1000
    assert (tmp_path / "none.png").stat().st_size > 1000


NARROW = (0.33, 0.31), (1.2e-5, 1.0e-5), (1000.25, 1000.0), (3.0, 1.0), (4.0, 1.1)
WIDE = (9.0, 1.1), (0.95, 0.05), (300.0, 1.0), (1e4, 1e-6)


@pytest.mark.parametrize("ends", NARROW + WIDE)
def test_every_number_beside_a_logarithmic_axis_can_be_read(drawn, tmp_path, ends):
    y = np.geomspace(*ends, 30).tolist()
    learning_curve(range(30), {"energy": y}, {"gap MAE (eV)": y}, tmp_path / "curve.png")
    reliability(np.array(y), np.array(y), "energy_std", "eV", tmp_path / "doubt.png", share=0.68)
    for figure in drawn:
        assert_readable(figure)
        for axes in figure.axes:
            assert 2 <= len(texts_beside(axes.yaxis)) <= 12


def test_epochs_are_whole_and_a_panel_without_values_says_so(drawn, tmp_path):
    learning_curve([0], {"energy": [0.6]}, {"gap MAE (eV)": [None]}, tmp_path / "one.png")
    left, right = drawn[0].axes
    assert [text.get_text() for text in texts_beside(left.xaxis)] == ["1"]
    assert [text.get_text() for text in right.texts] == ["no values above zero"]
    assert not left.texts


def test_the_legend_of_many_targets_leaves_the_lines_to_be_seen(drawn, tmp_path):
    errors = {f"a_rather_long_name_of_target_{k} MAE (kcal/mol)": [1.0, 0.1] for k in range(25)}
    learning_curve(range(2), errors, errors, tmp_path / "many.png")
    for axes in drawn[0].axes:
        box = axes.get_legend().get_window_extent()
        assert box.width * box.height < 0.5 * axes.bbox.width * axes.bbox.height
        assert axes.get_legend().get_title().get_text() == "the first 8 of 25"
        assert len(axes.lines) == 25


@pytest.mark.parametrize("name", ["a_very_long_property_name_of_somebody_" * 3, "x" * 90])
def test_long_names_are_wrapped_with_their_units(drawn, tmp_path, name):
    values = np.linspace(1.0, 2.0, 40)
    parity(values, values, name, "kcal/mol", tmp_path / "parity.png")
    reliability(values, values, name, "kcal/mol", tmp_path / "doubt.png", share=0.68)
    model = f"/home/{name}/runs/{name}/model.safetensors"
    charts.draw_profile(values, values, (f"C2H6O: {model}", "angle", "kJ/mol"), tmp_path / "p.png")
    for figure in drawn:
        assert_readable(figure)
    for figure in drawn[:2]:
        assert "(kcal/mol)" in figure.axes[0].get_xlabel()
        assert len(figure.axes[0].get_xlabel()) < 80
