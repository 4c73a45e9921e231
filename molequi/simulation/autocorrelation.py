"""The infrared spectrum of a trajectory, from the autocorrelation of its dipole.

A classical oscillator of frequency omega at temperature T has <Q^2> = k T / omega^2, so that the
integral over its band in

    A(nu) = N_A / (12 epsilon_0 c^2 k T) S(nu),
    S(nu) = 4 c int_0^inf <dM/dt(0) . dM/dt(t)> cos(2 pi c nu t) dt

is its harmonic intensity N_A |d mu / d Q|^2 / (12 epsilon_0 c^2) (derived here; the form is that of
M. Thomas et al., Phys. Chem. Chem. Phys. 15, 6608, 2013). Written with the classical line shape
I of M, an absorption is omega (1 - exp(-x)) Q(x) I(omega), x = hbar omega / k T, with a quantum
correction Q, of which R. Ramirez et al., J. Chem. Phys. 121, 3973, 2004, compare four. The formula
above is that with the harmonic one, which alone satisfies the fluctuation-dissipation theorem.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from ase import units

from molequi.errors import UserError
from molequi.simulation.bands import SIGMA_OF_WIDTH, Bands, Spectrum
from molequi.simulation.intensities import PER_SQUARED_SLOPE

_CM_PER_FS = units._c * 100.0 * 1e-15
# What is left of the autocorrelation where the window ends.
_WINDOW_END = 1e-6
_BLOCK = 256

# Q(x) (1 - exp(-x)) / x: each correction beside the harmonic one.
CORRECTIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = MappingProxyType(
    {
        "harmonic": np.ones_like,
        "standard": lambda x: np.tanh(x / 2) / (x / 2),
        "schofield": lambda x: np.sinh(x / 2) / (x / 2),
        "none": lambda x: -np.expm1(-x) / x,
    }
)


class Record(NamedTuple):
    """The dipole of a molecule in time.

    dipoles: (T, 3), e·Å. interval: fs, between them. temperature: K, of the nuclei's motion.
    """

    dipoles: np.ndarray
    interval: float
    temperature: float


def nyquist(interval: float) -> float:
    """Return the largest wavenumber, cm^-1, that frames so many fs apart can tell."""
    return float(1.0 / (2.0 * _CM_PER_FS * interval))


def infrared_of_record(record: Record, bands: Bands, correction: str = "harmonic") -> Spectrum:
    """Return the infrared spectrum, km/mol for each cm^-1, with Gaussian bands.

    Raises UserError where the record is too short for the width, or its frames too far apart for
    the range.
    """
    _check(record, bands, correction)
    slopes = np.diff(record.dipoles, axis=0) / record.interval
    sigma = bands.width * SIGMA_OF_WIDTH
    times = record.interval * np.arange(len(slopes))
    window = np.exp(-0.5 * (2.0 * np.pi * _CM_PER_FS * sigma * times) ** 2)
    kept = int((window > _WINDOW_END).sum())
    correlation = _autocorrelation(slopes)[:kept] * window[:kept]
    correlation[0] *= 0.5  # the trapezoidal rule
    grid = bands.grid
    phases = 2.0 * np.pi * _CM_PER_FS * grid
    density = 4.0 * _CM_PER_FS * record.interval * _cosines(phases, times[:kept], correlation)
    # A difference of neighbouring frames is the slope times sin(y) / y.
    half = phases * record.interval / 2
    density /= np.sinc(half / np.pi) ** 2
    kT = units.kB * record.temperature * units.fs**2  # amu Å²/fs²
    x = grid * units.invcm / (units.kB * record.temperature)
    factor = CORRECTIONS[correction](np.maximum(x, 1e-9))
    return Spectrum(grid, PER_SQUARED_SLOPE / kT * density * factor)


def _autocorrelation(values: np.ndarray) -> np.ndarray:
    """Return <v(0) . v(t)>: (T,), each lag the mean over its pairs. values: (T, 3)."""
    count = len(values)
    spectra = np.fft.rfft(values, n=2 * count, axis=0)
    sums = np.fft.irfft(np.abs(spectra) ** 2, axis=0)[:count].sum(axis=1)
    return np.asarray(sums / np.arange(count, 0, -1))


def _cosines(phases: np.ndarray, times: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return sum_t w_t cos(p t), block by block: (G,)."""
    return np.concatenate(
        [
            np.cos(np.outer(phases[start : start + _BLOCK], times)) @ weights
            for start in range(0, len(phases), _BLOCK)
        ]
    )


def _check(record: Record, bands: Bands, correction: str) -> None:
    if correction not in CORRECTIONS:
        raise UserError(
            f"quantum correction {correction!r} is unknown; choose {', '.join(CORRECTIONS)}"
        )
    if not 0 < record.temperature < np.inf:
        raise UserError(f"the temperature is {record.temperature} K; it must be positive")
    highest = nyquist(record.interval)
    if bands.high > highest:
        raise UserError(
            f"frames {record.interval:g} fs apart tell wavenumbers up to {highest:.0f} cm⁻¹ alone, "
            f"and faster vibrations would appear as slower ones; keep frames every "
            f"{np.floor(10.0 * highest * record.interval / bands.high) / 10.0:g} fs or less "
            "(`molequi md --interval`)"
        )
    length = record.interval * (len(record.dipoles) - 1)
    least = 1.0 / (_CM_PER_FS * bands.width)
    if length < least:
        raise UserError(
            f"the trajectory is {length / 1000.0:.3g} ps long; bands of {bands.width:g} cm⁻¹ need "
            f"{least / 1000.0:.3g} ps, so give a longer one or a larger --width"
        )
