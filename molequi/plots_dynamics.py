"""Figures of learned dynamics: errors along rollouts, and errors against the amount of data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_PANELS = (("state", "state MSE"), ("energy", "relative energy error"), ("linear", "change of linear momentum"), ("angular", "of angular momentum"))
_SIZE = (3.1, 3.0)


def rollout_errors(times: np.ndarray, curves: Mapping[str, Mapping[str, np.ndarray]], path: Path) -> None:
    """Draw errors over time, a panel each for states, energy, linear and angular momentum, a line for each model.

    times: (T,). curves: model -> state, energy, linear, angular -> (T,). Zeros and values that are not finite are left out.
    """
    figure = Figure(figsize=(4 * _SIZE[0], _SIZE[1]), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, 4), _PANELS, strict=True):
        for number, (model, errors) in enumerate(curves.items()):
            _line(axes, times, errors[name], model, number)
        axes.set(xlabel="time", title=title)
    _finish(figure, path)


def errors_against_data(errors: Mapping[str, Mapping[int, Sequence[float]]], path: Path) -> None:
    """Draw the test error over the number of training trajectories: geometric means over seeds, and a point for each seed.

    errors: model -> trajectories -> the error of each seed.
    """
    figure = Figure(figsize=(2 * _SIZE[0], 1.3 * _SIZE[1]), layout="constrained")
    axes = figure.subplots()
    for number, (model, by_size) in enumerate(errors.items()):
        sizes = sorted(by_size)
        means = np.array([np.exp(np.mean(np.log(np.asarray(by_size[size], dtype=float)))) for size in sizes])
        _line(axes, np.array(sizes, dtype=float), means, model, number, marker="o")
        for size in sizes:
            axes.plot([size] * len(by_size[size]), by_size[size], ".", color=f"C{number}", markersize=3, alpha=0.5)
    axes.set_xscale("log")
    axes.set(xlabel="training trajectories", ylabel="test MSE of the predicted states")
    _finish(figure, path)


def _line(axes: Axes, x: np.ndarray, y: np.ndarray, label: str, number: int, marker: str | None = None) -> None:
    shown = np.where(np.isfinite(y) & (y > 0), y, np.nan)
    style = "-" if number < 10 else "--"
    axes.plot(x, shown, style, label=label, color=f"C{number % 10}", linewidth=1.2, marker=marker, markersize=4)


def _finish(figure: Figure, path: Path) -> None:
    for axes in figure.axes:
        axes.set_yscale("log")
        axes.grid(visible=True, alpha=0.25)
    figure.axes[-1].legend(fontsize=6.5, loc="best")
    FigureCanvasAgg(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
