"""Axes of charts: where values come to lie, and which of them are written beside an axis."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
# Beside a logarithmic axis that spans less than this many decades a few values more are written.
_FEW_DECADES = 1.5
# Numbers of at least this many digits, or as small, are written with a power of ten.
_LARGE, _SMALL = 1e5, 1e-3
# Letters for which there is room beside an axis; raised ones are half as wide.
_ROOM = 8.0
_HIGH = "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"


@dataclasses.dataclass(frozen=True)
class Axis:
    """A range of values, linear or logarithmic, from its low end to its high one.

    is_whole: nothing but whole numbers is written beside it.
    """

    low: float
    high: float
    is_log: bool = False
    is_whole: bool = False

    def share(self, values: np.ndarray) -> np.ndarray:
        """Return how far along the axis values lie, 0 to 1."""
        if self.is_log:
            low, high = math.log10(self.low), math.log10(self.high)
            return (np.log10(values) - low) / (high - low)
        return (values - self.low) / (self.high - self.low)

    def ticks(self, most: int = 5) -> list[float]:
        """Return round values along the axis, about `most`."""
        return _log_ticks(self, most) if self.is_log else _linear_ticks(self, most)

    def texts(self, ticks: Sequence[float]) -> list[str]:
        """Write what stands beside the ticks, without what `beyond` says."""
        step, shared = self._step(ticks), self._shared(ticks)
        if shared:
            return [written(round((value - shared) / step) * step, step) for value in ticks]
        return [written(value, step) for value in ticks]

    def beyond(self) -> str:
        """Write what all texts beside the axis leave out, to stand behind its words: ` − 1000`.

        Empty where they are short enough as they are.
        """
        ticks = self.ticks()
        shared = self._shared(ticks)
        if not shared:
            return ""
        return f" {'−' if shared > 0 else '+'} {_exact(abs(shared), self._step(ticks))}"

    def _step(self, ticks: Sequence[float]) -> float:
        """Return the distance of the ticks; 0 where there is no single one."""
        step = 0.0 if len(ticks) < 2 else ticks[1] - ticks[0]
        if self.is_log and not np.allclose(np.diff(ticks), step):
            return 0.0
        return float(f"{step:.3g}")  # of large values the last digits are rounding

    def _shared(self, ticks: Sequence[float]) -> float:
        """Return a round value that long texts share, such as 1,000,000 of 1,000,005; else 0."""
        step = self._step(ticks)
        if not step or max(map(_letters, (written(one, step) for one in ticks))) <= _ROOM:
            return 0.0
        span = ticks[-1] - ticks[0]
        if min(map(abs, ticks)) < 5 * span:
            return 0.0
        unit = 10.0 ** math.ceil(math.log10(span) - 1e-9)
        return math.floor(ticks[0] / unit + 1e-9) * unit


def axis_over(
    *series: np.ndarray, is_log: bool = False, from_zero: bool = False, margin: float = 0.04
) -> Axis:
    """Return an axis on which all finite values of the series lie, with some room at its ends.

    is_log: for positive values alone. from_zero: it begins at zero where nothing lies below.
    """
    values = np.concatenate([np.zeros(0), *(np.ravel(one).astype(float) for one in series)])
    values = values[np.isfinite(values)]
    if is_log:
        return _log_axis(values[values > 0], margin)
    if not len(values):
        return Axis(0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    if from_zero and low >= 0:
        return Axis(0.0, high * (1 + margin) or 1.0)
    is_whole = bool((values == np.round(values)).all()) and high < _LARGE
    alone = 0.5 if is_whole else max(0.05 * abs(high), 1e-300)
    room = margin * (high - low) if high > low else alone
    return Axis(low - room, high + room, is_whole=is_whole)


def _log_axis(values: np.ndarray, margin: float) -> Axis:
    if not len(values):
        return Axis(0.1, 1.0, is_log=True)
    low, high = float(values.min()), float(values.max())
    room = max((high / low) ** margin, 1.1)
    return Axis(low / room, high * room, is_log=True)


def written(value: float, step: float = 0.0) -> str:
    """Write a value beside an axis, with the digits that tell it from its neighbour `step` off."""
    if value == 0:
        return "0"
    if not _SMALL <= max(abs(value), step) < _LARGE:
        return _with_power(value, step)
    if not step:
        return f"{value:.0f}" if value >= 1000 else f"{value:.3g}".replace("-", "−")
    return f"{value:.{_digits(step)}f}".replace("-", "−")


def _digits(step: float) -> int:
    """Return how many digits behind the point tell multiples of a step apart."""
    digits = max(-math.floor(math.log10(step) + 1e-9), 0)
    return digits + (round(step * 10.0**digits, 6) % 1 > 0)  # of 2.5 one more


def _with_power(value: float, step: float) -> str:
    """Write a value with a power of ten, which alone stands for once itself."""
    power = math.floor(math.log10(abs(value)) + 1e-9)
    factor = value / 10.0**power
    text = f"{factor:.{_digits(step / 10.0**power)}f}" if step else f"{factor:.3g}"
    return f"{text}·10{_raised(power)}".removeprefix("1·").replace("-", "−")


def _exact(value: float, step: float) -> str:
    """Write a value with all its digits down to a step."""
    power = 0 if _SMALL <= value < 1e9 else math.floor(math.log10(value) + 1e-9)
    text = f"{value / 10.0**power:,.{_digits(step / 10.0**power)}f}".replace(",", "\u202f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return f"{text}·10{_raised(power)}" if power else text


def _letters(text: str) -> float:
    """Return how wide a text is, in letters."""
    return sum(0.5 if letter in _HIGH else 1.0 for letter in text)


def _raised(power: int) -> str:
    return str(power).translate(str.maketrans("-0123456789", _HIGH))


def _linear_ticks(axis: Axis, most: int) -> list[float]:
    raw = (axis.high - axis.low) / max(most, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in _STEPS if factor * power >= raw * 0.999)
    if axis.is_whole:
        step = max(math.ceil(step - 1e-9), 1)
    first = math.ceil(axis.low / step - 1e-9)
    last = math.floor(axis.high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _log_ticks(axis: Axis, most: int) -> list[float]:
    low, high = math.log10(axis.low), math.log10(axis.high)
    powers = range(math.floor(low), math.ceil(high) + 1)
    factors = (1.0, 2.0, 5.0) if high - low < _FEW_DECADES else (1.0,)
    found = [factor * 10.0**power for power in powers for factor in factors]
    inside = [value for value in found if axis.low <= value <= axis.high]
    if len(inside) < 3:
        return _linear_ticks(Axis(axis.low, axis.high), 4)
    return inside[:: math.ceil(len(inside) / (most + 1))]
