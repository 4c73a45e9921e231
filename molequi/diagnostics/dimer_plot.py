"""The curves of all pairs of elements as one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from molequi import plots
from molequi.diagnostics.dimers import DimerCurve

_PANEL = (3.1, 2.6)
_COLUMNS = 4
_LOWEST, _HIGHEST = -12.0, 15.0  # eV
_FARTHEST = 4.0  # sums of covalent radii


def plot_dimers(curves: Sequence[DimerCurve], path: Path) -> None:
    """Draw a panel for each element with its curves beside every element.

    Distances are in units of the sum of the covalent radii, energies in eV.
    """
    elements = list(dict.fromkeys(symbol for curve in curves for symbol in curve.symbols))
    n_columns = min(_COLUMNS, len(elements))
    n_rows = math.ceil(len(elements) / n_columns)
    figure = Figure(figsize=(n_columns * _PANEL[0], n_rows * _PANEL[1]), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[len(elements) :]:
        axes.set_axis_off()
    for axes, element in zip(panels.flat, elements, strict=False):
        for curve in (one for one in curves if element in one.symbols):
            other = curve.symbols[0] if curve.symbols[1] == element else curve.symbols[1]
            number = elements.index(other)
            axes.plot(
                curve.distances / curve.length,
                curve.energies,
                "-" if number < 10 else "--",
                color=f"C{number % 10}",
                linewidth=1.0,
                label=other,
            )
        axes.set_title(element, fontsize=9)
        axes.set(xlim=(0.4, _FARTHEST), ylim=(_LOWEST, _HIGHEST))
        axes.tick_params(labelsize=8)
        axes.grid(visible=True, alpha=0.25)
        axes.legend(fontsize=6, ncols=2)
    figure.supxlabel("distance / sum of the covalent radii", fontsize=9)
    figure.supylabel("energy (eV)", fontsize=9)
    plots.save_figure(figure, path)
