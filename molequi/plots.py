"""Figures from arrays, drawn without a display.

Learning curves, parity plots, errors of learned dynamics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import (
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    ScalarFormatter,
)

from molequi.runtime.files import written_by_rename
from molequi.runtime.wording import shortened, wrapped

_SIZE = (5.0, 4.0)
_SQUARE = (4.6, 4.5)
_PANEL = (3.3, 3.0)
_DPI = 130
_PANELS = (
    ("state", "state MSE"),
    ("energy", "relative energy error"),
    ("linear", "change of linear momentum"),
    ("angular", "change of angular momentum"),
)
# Up to this many points each is drawn; beyond it a histogram shows where they lie.
_SCATTER_LIMIT = 5000
_BLUE, _ORANGE = "#1f5fa8", "#d9822b"
# Letters in a line along an axis of a square, names in a legend, and letters in each.
_ALONG, _MOST_NAMES, _NAME = 34, 8, 40
_LINE = 14.0  # points, from one line of a label to the next


def learning_curve(
    epochs: Sequence[float],
    losses: Mapping[str, Sequence[float | None]],
    errors: Mapping[str, Sequence[float | None]],
    path: Path,
) -> None:
    """Draw training losses (left, pure numbers) and validation errors (right) over the epochs.

    Both are logarithmic. losses: by target. errors: by name with unit, such as `forces MAE (eV/Å)`.
    Values that are None or not positive are left out. Of many lines the first are named.
    """
    figure = Figure(figsize=(2 * _SIZE[0], _SIZE[1]))
    # Fixed margins: a layout engine measures every tick label, which takes longer than the drawing.
    left, right = figure.subplots(
        1, 2, gridspec_kw={"left": 0.08, "right": 0.98, "bottom": 0.13, "top": 0.9, "wspace": 0.2}
    )
    for axes, series, title in (
        (left, losses, "training loss (in units of each target's scale)"),
        (right, errors, "validation"),
    ):
        for name, values in series.items():
            _curve(axes, epochs, values, name)
        axes.set(xlabel="epoch", title=title)
        axes.set_yscale("log")
        if len(epochs) == 1:
            axes.set_xlim(epochs[0] + 0.5, epochs[0] + 1.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        _mark_logarithmic(axes.yaxis)
        axes.grid(visible=True, which="both", alpha=0.25)
        _name_lines(axes)
    save_figure(figure, path)


def _curve(axes: Axes, epochs: Sequence[float], values: Sequence[float | None], name: str) -> None:
    """Draw what is positive of values over the epochs, counted from 1."""
    y = np.array(
        [np.nan if value is None or value <= 0 else value for value in values], dtype=float
    )
    if np.isfinite(y).any():
        axes.plot(
            np.asarray(epochs, dtype=float) + 1,
            y,
            label=name,
            linewidth=1.5,
            marker="o" if len(y) < 20 else None,
            markersize=3,
        )


def _name_lines(axes: Axes) -> None:
    """Name the lines of a panel, as many as leave the lines to be seen."""
    lines, names = axes.get_legend_handles_labels()
    if not lines:
        axes.text(0.5, 0.5, "no values above zero", transform=axes.transAxes, ha="center")
        return
    shown = [shortened(name, _NAME) for name in names[:_MOST_NAMES]]
    title = f"the first {_MOST_NAMES} of {len(names)}" if len(names) > _MOST_NAMES else None
    axes.legend(lines[:_MOST_NAMES], shown, fontsize=8, title=title, title_fontsize=8)


def _mark_logarithmic(axis: Axis) -> None:
    """Write a few round numbers beside a logarithmic axis on which everything is drawn."""
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    axis.set_minor_formatter(NullFormatter())
    if decades > 2.4:
        axis.set_major_locator(LogLocator(numticks=7))
        return
    if decades > 0.5:
        few = (1.0, 2.0, 5.0) if decades > 1.0 else (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
        axis.set_major_locator(LogLocator(subs=few))
    else:
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        axis.set_minor_locator(NullLocator())
    if decades > 0.5 and low > 0.005 and high < 1e4:
        axis.set_major_formatter("{x:g}")
        return
    # What all numbers share stands once, at the end of the axis: there is room for a few letters.
    shared = ScalarFormatter()
    shared.set_powerlimits((0, 0) if decades > 1.0 else (-2, 4))
    axis.set_major_formatter(shared)


def parity(
    reference: np.ndarray,
    predicted: np.ndarray,
    label: str,
    unit: str,
    path: Path,
    *,
    note: str = "",
) -> None:
    """Draw predicted over reference values with the line of equality.

    The values have any equal shapes; NaN references are left out. label, unit: of the axes. note: a
    line in the corner, such as the errors.
    """
    x, y = np.ravel(reference), np.ravel(predicted)
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    suffix = "" if unit == "1" else f" ({unit})"
    name = shortened(label, _NAME)
    figure = Figure(figsize=_SQUARE)
    axes = _only_axes(figure, f"reference {name}{suffix}", f"predicted {name}{suffix}", left=0.17)
    if len(x):
        _points(axes, x, y)
        low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
        margin = 0.03 * (high - low or 1.0)
        axes.plot(
            [low - margin, high + margin],
            [low - margin, high + margin],
            color=_ORANGE,
            linewidth=1.0,
            zorder=3,
        )
        axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    axes.grid(visible=True, alpha=0.25)
    axes.text(0.04, 0.96, note, transform=axes.transAxes, va="top", fontsize=8)
    save_figure(figure, path)


def reliability(
    spreads: np.ndarray,
    errors: np.ndarray,
    label: str,
    unit: str,
    path: Path,
    *,
    share: float,
    n_bins: int = 12,
) -> None:
    """Draw the size that the fraction `share` of errors stays below, over the expected spread.

    Both (n,), logarithmic; a point holds as many errors as any other. On the line the spreads are
    right; a flat row of points would say that they tell nothing.
    """
    below = f"{100 * share:.0f} % of the errors below ({unit})"
    figure = Figure(figsize=_SQUARE)
    axes = _only_axes(figure, f"{shortened(label, _NAME)} ({unit})", below, left=0.2)
    order = np.argsort(spreads)
    bins = [part for part in np.array_split(order, n_bins) if len(part)]
    x = np.array([np.median(spreads[part]) for part in bins])
    y = np.array([np.quantile(errors[part], share) for part in bins])
    is_drawn = (x > 0) & (y > 0)
    if is_drawn.any():
        ends = np.array([min(x[is_drawn].min(), y[is_drawn].min()), max(x.max(), y.max())])
        axes.plot(ends, ends, color=_ORANGE, linewidth=1.0)
        axes.plot(x[is_drawn], y[is_drawn], color=_BLUE, marker="o", markersize=4, linewidth=1.0)
        axes.set(xscale="log", yscale="log")
        _mark_logarithmic(axes.xaxis)
        _mark_logarithmic(axes.yaxis)
    axes.grid(visible=True, which="both", alpha=0.25)
    save_figure(figure, path)


def coverage(shares: Sequence[float], held: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw the share of the errors within a radius, in per cent, over the one that it is meant for.

    A line of points for each spread in `held`. On the diagonal the radii are right; below it the
    model is too sure of itself, above it too careful.
    """
    figure = Figure(figsize=_SQUARE)
    axes = figure.add_axes((0.15, 0.12, 0.81, 0.84))
    axes.plot([0, 100], [0, 100], color="0.6", linewidth=1.0, linestyle="--")
    meant = 100 * np.array(shares)
    for number, (name, values) in enumerate(held.items()):
        marker = "os^Dv"[number % 5]
        axes.plot(
            meant, 100 * np.array(values), label=name, marker=marker, markersize=4, linewidth=1.0
        )
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="meant to hold (%)", ylabel="hold (%)")
    axes.set_aspect("equal")
    axes.grid(visible=True, alpha=0.25)
    axes.legend(frameon=False, loc="upper left")
    save_figure(figure, path)


def _only_axes(figure: Figure, across: str, up: str, *, left: float) -> Axes:
    """Return the axes of a square figure, with room for the lines of both labels.

    left: the share of the width beside it, where a label has one line.
    """
    across, up = wrapped(across, _ALONG), wrapped(up, _ALONG)
    left, bottom = (
        part + text.count("\n") * _LINE / (72.0 * size)
        for part, text, size in zip((left, 0.13), (up, across), _SQUARE, strict=True)
    )
    axes = figure.add_axes((left, bottom, 0.95 - left, 0.96 - bottom))
    axes.set(xlabel=across, ylabel=up)
    return axes


def _points(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    if len(x) <= _SCATTER_LIMIT:
        axes.scatter(x, y, s=9, color=_BLUE, alpha=0.5, linewidths=0)
    else:
        axes.hexbin(x, y, gridsize=90, bins="log", cmap="Blues", mincnt=1, linewidths=0)


def save_figure(figure: Figure, path: Path, *, dpi: int = _DPI) -> None:
    """Write a figure; its folder is made where it is missing."""
    FigureCanvasAgg(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_by_rename(path) as temporary:
        figure.savefig(temporary, dpi=dpi)


def rollout_errors(
    times: np.ndarray, curves: Mapping[str, Mapping[str, np.ndarray]], path: Path
) -> None:
    """Draw errors over time, a line for each model.

    A panel each for states, energy, linear and angular momentum. times: (T,). curves: model ->
    state, energy, linear, angular -> (T,). Zeros and values that are not finite are left out.
    """
    figure = Figure(figsize=(4 * _PANEL[0], _PANEL[1]), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, 4), _PANELS, strict=True):
        for number, (model, errors) in enumerate(curves.items()):
            _line(axes, times, errors[name], model, number)
        axes.set(xlabel="time", title=title)
    _save_logarithmic(figure, path)


def errors_against_data(errors: Mapping[str, Mapping[int, Sequence[float]]], path: Path) -> None:
    """Draw the test error over the number of training trajectories.

    Geometric means over seeds, and a point for each seed.

    errors: model -> trajectories -> the error of each seed.
    """
    figure = Figure(figsize=(2 * _PANEL[0], 1.3 * _PANEL[1]), layout="constrained")
    axes = figure.subplots()
    for number, (model, by_size) in enumerate(errors.items()):
        sizes = sorted(by_size)
        means = np.array(
            [np.exp(np.mean(np.log(np.asarray(by_size[size], dtype=float)))) for size in sizes]
        )
        _line(axes, np.array(sizes, dtype=float), means, model, number, marker="o")
        for size in sizes:
            axes.plot(
                [size] * len(by_size[size]),
                by_size[size],
                ".",
                color=f"C{number}",
                markersize=3,
                alpha=0.5,
            )
    axes.set_xscale("log")
    axes.set(xlabel="training trajectories", ylabel="test MSE of the predicted states")
    _save_logarithmic(figure, path)


def _line(
    axes: Axes, x: np.ndarray, y: np.ndarray, label: str, number: int, marker: str | None = None
) -> None:
    shown = np.where(np.isfinite(y) & (y > 0), y, np.nan)
    style = "-" if number < 10 else "--"
    axes.plot(
        x,
        shown,
        style,
        label=label,
        color=f"C{number % 10}",
        linewidth=1.2,
        marker=marker,
        markersize=4,
    )


def _save_logarithmic(figure: Figure, path: Path) -> None:
    for axes in figure.axes:
        axes.set_yscale("log")
        axes.grid(visible=True, alpha=0.25)
    # Beside the panels: within one it would lie on the curves.
    lines = figure.axes[-1].get_legend_handles_labels()
    figure.legend(*lines, fontsize=9, loc="outside right center", frameon=False)
    save_figure(figure, path, dpi=80)
