"""Sticks and bands: a spectrum as lines, and broadened as a spectrometer shows it."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from molequi.errors import UserError

SHAPES = ("lorentzian", "gaussian")
_MOST_POINTS = 200_000
# Standard deviation of a Gaussian of full width one at half of its height.
SIGMA_OF_WIDTH = 1.0 / np.sqrt(8.0 * np.log(2.0))
_BLOCK = 256


class Spectrum(NamedTuple):
    """A broadened spectrum. wavenumbers: (G,), cm^-1. values: (G,), strength per cm^-1."""

    wavenumbers: np.ndarray
    values: np.ndarray


@dataclasses.dataclass(frozen=True)
class Bands:
    """How lines are broadened, and where the spectrum is shown; all in cm^-1.

    width: full, at half of the height. shape: one of `SHAPES`. step: between the points.
    Raises UserError for what makes no spectrum.
    """

    width: float = 10.0
    shape: str = "lorentzian"
    low: float = 0.0
    high: float = 4200.0
    step: float = 1.0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise UserError(f"shape {self.shape!r} is unknown; choose {' or '.join(SHAPES)}")
        for name in ("width", "step"):
            value = float(vars(self)[name])
            if not 0 < value < np.inf:
                raise UserError(f"{name} is {value} cm⁻¹; it must be positive")
        if not 0 <= self.low < self.high < np.inf:
            raise UserError(
                f"the spectrum goes from {self.low} to {self.high} cm⁻¹; it must rise from 0 or "
                "more, 0 to 4200 is usual"
            )
        if (self.high - self.low) / self.step > _MOST_POINTS:
            raise UserError(
                f"a step of {self.step} cm⁻¹ makes more than {_MOST_POINTS} points; give a larger"
            )

    @property
    def grid(self) -> np.ndarray:
        """The wavenumbers of the points."""
        return np.arange(self.low, self.high + self.step / 2, self.step)

    def broadened(self, positions: np.ndarray, strengths: np.ndarray) -> Spectrum:
        """Return the sum of bands, each of the area of its line. positions, strengths: (K,)."""
        grid = self.grid
        values = np.zeros_like(grid)
        for start in range(0, len(positions), _BLOCK):
            part = slice(start, start + _BLOCK)
            values += self._profile(grid[:, None] - positions[None, part]) @ strengths[part]
        return Spectrum(grid, values)

    def _profile(self, distance: np.ndarray) -> np.ndarray:
        """Return the band of area one: cm."""
        if self.shape == "gaussian":
            sigma = self.width * SIGMA_OF_WIDTH
            return np.asarray(
                np.exp(-0.5 * (distance / sigma) ** 2) / (sigma * np.sqrt(2.0 * np.pi))
            )
        half = self.width / 2
        return np.asarray(half / np.pi / (distance**2 + half**2))
