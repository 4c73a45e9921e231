"""Figures of simulations, drawn without a display: spectra, scans, reaction paths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from molequi.plots import save_figure
from molequi.runtime.wording import wrapped
from molequi.simulation.bands import Spectrum

_BLUE, _ORANGE = "#1f5fa8", "#d9822b"
_WIDE = (8.0, 4.2)
_TITLE = 90  # letters in a line


def draw_spectrum(
    spectrum: Spectrum,
    lines: tuple[np.ndarray, np.ndarray] | None,
    labels: tuple[str, str, str],
    path: Path,
) -> None:
    """Draw a spectrum over falling wavenumbers, with its sticks on a scale of their own.

    lines: positions, cm^-1, and strengths, (K,) both. labels: title, unit of the curve, unit of
    the sticks.
    """
    title, of_curve, of_lines = labels
    figure = Figure(figsize=_WIDE, layout="constrained")
    axes = figure.subplots()
    axes.plot(spectrum.wavenumbers, spectrum.values, color=_BLUE, linewidth=1.2)
    axes.set(xlabel="wavenumber (cm⁻¹)", ylabel=of_curve)
    axes.set_title(wrapped(title, _TITLE), fontsize=10)
    axes.set_xlim(spectrum.wavenumbers[-1], spectrum.wavenumbers[0])
    axes.set_ylim(bottom=0.0)
    axes.grid(visible=True, alpha=0.25)
    if lines is not None and len(lines[0]):
        sticks = axes.twinx()
        sticks.vlines(lines[0], 0.0, lines[1], color=_ORANGE, linewidth=1.4, alpha=0.6)
        sticks.set_ylabel(of_lines, color=_ORANGE)
        sticks.set_ylim(0.0, 1.05 * max(float(lines[1].max()), 1e-12))
    save_figure(figure, path)


def draw_profile(
    places: np.ndarray, energies: np.ndarray, labels: tuple[str, str, str], path: Path
) -> None:
    """Draw energies (K,), kJ/mol, over places (K,). labels: title, of both axes."""
    figure = Figure(figsize=_WIDE, layout="constrained")
    axes = figure.subplots()
    axes.plot(places, energies, color=_BLUE, marker="o", markersize=4, linewidth=1.2)
    top = int(np.argmax(energies))
    axes.annotate(
        f"{energies[top]:.1f}", (places[top], energies[top]), textcoords="offset points",
        xytext=(0, 7), ha="center", fontsize=9, color=_ORANGE,
    )  # fmt: skip
    title, across, up = labels
    axes.set(xlabel=across, ylabel=up)
    axes.set_title(wrapped(title, _TITLE), fontsize=10)
    axes.margins(y=0.12)
    axes.grid(visible=True, alpha=0.25)
    save_figure(figure, path)
