"""Figures from arrays, drawn without a display.

Learning curves, parity plots, errors of learned dynamics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from molequi.runtime.files import written_by_rename

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


def learning_curve(
    epochs: Sequence[float],
    losses: Mapping[str, Sequence[float | None]],
    errors: Mapping[str, Sequence[float | None]],
    path: Path,
) -> None:
    """Draw training losses (left, pure numbers) and validation errors (right) over the epochs.

    Both are logarithmic. losses: by target. errors: by name with unit, such as `forces MAE (eV/Å)`.
    Values that are None or not positive are left out.
    """
    figure = Figure(figsize=(2 * _SIZE[0], _SIZE[1]))
    # Fixed margins: a layout engine measures every tick label, which takes longer than the drawing.
    left, right = figure.subplots(
        1, 2, gridspec_kw={"left": 0.07, "right": 0.98, "bottom": 0.13, "top": 0.91, "wspace": 0.18}
    )
    for axes, series, title in (
        (left, losses, "training loss (in units of each target's scale)"),
        (right, errors, "validation"),
    ):
        for name, values in series.items():
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
        axes.set(xlabel="epoch", title=title)
        axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, which="both", alpha=0.25)
        if axes.lines:
            axes.legend(fontsize=8)
    save_figure(figure, path)


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
    figure = Figure(figsize=_SQUARE)
    axes = figure.add_axes((0.17, 0.13, 0.79, 0.83))
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
    suffix = "" if unit == "1" else f" ({unit})"
    axes.set(xlabel=f"reference {label}{suffix}", ylabel=f"predicted {label}{suffix}")
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
    figure = Figure(figsize=_SQUARE)
    axes = figure.add_axes((0.17, 0.13, 0.79, 0.83))
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
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
    axes.set(xlabel=f"{label} ({unit})", ylabel=f"{100 * share:.0f} % of the errors below ({unit})")
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
