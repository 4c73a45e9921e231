"""Charts as inline SVG: lines, points, sticks and bars over axes with their units.

Everything is drawn in a box of 360 x 270, the width of a telephone, so that its letters are as
large as those of the page wherever it is shown.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from molequi.report.axes import Axis, axis_over
from molequi.report.markup import Markup, element, joined

WIDTH, HEIGHT = 360.0, 270.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 60.0, 12.0, 10.0, 46.0
_LETTER = 7.0  # how wide a letter is
# Beyond this many points squares show how many there are.
_MOST_POINTS = 1500
_SQUARES = 48
# Up to so many values a line shows each.
_FEW = 30
_TONES = 4
# A line gets as many pairs of lowest and highest value as the chart has columns to tell apart.
_COLUMNS = 280

Kind = Literal["line", "points", "sticks", "bars", "guide"]


@dataclasses.dataclass(frozen=True)
class Series:
    """Values to draw, and how.

    x, y: (n,); what is not finite is left out. tone: the number of its colour in page.css. A
    guide is a thin line to compare with, and does not stretch the axes.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    kind: Kind = "line"
    tone: int = 0


@dataclasses.dataclass(frozen=True)
class Labels:
    """The words of a chart: heading, axes with their units, and what one sees."""

    heading: str
    x: str
    y: str
    caption: str = ""


def chart(
    labels: Labels,
    series: Sequence[Series],
    *,
    log_x: bool = False,
    log_y: bool = False,
    is_square: bool = False,
    names: Sequence[str] = (),
    right_to_left: bool = False,
) -> Markup:
    """Return a figure with its axes, series, legend and caption.

    is_square: both axes have one range. names: of the places 0, 1, ... along x, for bars.
    right_to_left: x falls, as in spectra.
    """
    shown = [_finite(one, log_x=log_x, log_y=log_y) for one in series]
    x, y = _axes(shown, log_x=log_x, log_y=log_y)
    if names:
        x = Axis(-0.6, len(names) - 0.4)
    if is_square:
        x = y = axis_over(np.array([x.low, x.high, y.low, y.high]), is_log=log_x, margin=0.0)
    frame = _Frame(x, y, right_to_left)
    drawing = element(
        "svg",
        frame.grid(names),
        frame.inside(*(frame.draw(one) for one in shown)),
        frame.words(labels),
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        role="img",
        aria_label=f"{labels.heading}: {labels.y} over {labels.x}",
    )
    return element(
        "figure",
        element("h4", labels.heading),
        drawing,
        _legend([one for one in series if one.name]),
        element("figcaption", labels.caption) if labels.caption else None,
    )


def _axes(shown: Sequence[Series], *, log_x: bool, log_y: bool) -> tuple[Axis, Axis]:
    """Return axes on which all that is measured lies; guides do not count."""
    measured = [one for one in shown if one.kind != "guide"]
    from_zero = any(one.kind in {"sticks", "bars"} for one in shown)
    x = axis_over(*(one.x for one in measured), is_log=log_x)
    return x, axis_over(*(one.y for one in measured), is_log=log_y, from_zero=from_zero)


def _finite(series: Series, *, log_x: bool, log_y: bool) -> Series:
    x, y = np.asarray(series.x, dtype=float), np.asarray(series.y, dtype=float)
    is_shown = np.isfinite(x) & np.isfinite(y) & ((x > 0) | (not log_x)) & ((y > 0) | (not log_y))
    return dataclasses.replace(series, x=x[is_shown], y=y[is_shown])


def _legend(series: Sequence[Series]) -> Markup | None:
    if not series:
        return None
    entries = (
        element("li", element("i", class_=f"key {one.kind} tone{one.tone}"), one.name)
        for one in series
    )
    return element("ul", *entries, class_="legend")


class _Frame:
    """The box between the axes, and what is drawn in it."""

    def __init__(self, x: Axis, y: Axis, right_to_left: bool) -> None:
        self.x, self.y, self._is_mirrored = x, y, right_to_left

    def across(self, values: np.ndarray) -> np.ndarray:
        """Return places from the left."""
        share = self.x.share(np.asarray(values, dtype=float))
        return _LEFT + (1 - share if self._is_mirrored else share) * (WIDTH - _LEFT - _RIGHT)

    def down(self, values: np.ndarray) -> np.ndarray:
        """Return places from the top."""
        share = self.y.share(np.asarray(values, dtype=float))
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)

    def grid(self, names: Sequence[str]) -> Markup:
        """Return the lines of the grid, the frame, and the values beside them."""
        right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
        across = list(range(len(names))) if names else self.x.ticks()
        down = self.y.ticks()
        lines = [f"M{_LEFT:g} {place:.1f}H{right:g}" for place in self.down(np.array(down))]
        if not names:
            lines += [
                f"M{place:.1f} {_TOP:g}V{bottom:g}" for place in self.across(np.array(across))
            ]
        texts = self._below(names or self.x.texts(across), across, in_rows=bool(names))
        texts += [
            element("text", text, x=f"{_LEFT - 6:g}", y=f"{place + 4:.1f}", class_="end")
            for text, place in zip(self.y.texts(down), self.down(np.array(down)), strict=True)
        ]
        box = f"M{_LEFT:g} {_TOP:g}V{bottom:g}H{right:g}"
        return joined(
            element("path", d="".join(lines), class_="grid"),
            element("path", d=box, class_="axis"),
            *texts,
        )

    def _below(
        self, texts: Sequence[str], values: Sequence[float], *, in_rows: bool
    ) -> list[Markup]:
        """Return texts below the axis. in_rows: where one has no room for them, in two rows.

        Of names nobody can tell what stands between two of them: some are left out only where two
        rows have no room either.
        """
        room = (WIDTH - _LEFT - _RIGHT) / max(len(texts), 1)
        wide = _LETTER * (0.5 + max(map(len, texts), default=0)) if in_rows else 0.0
        rows = (13, 25) if wide > room else (19,)
        every = max(math.ceil(wide / (len(rows) * room)), 1)
        places = self.across(np.array(values))
        return [
            element(
                "text", text, x=f"{place:.1f}", y=f"{HEIGHT - _BOTTOM + row:g}", class_="middle"
            )
            for text, place, row in zip(
                texts[::every], places[::every], itertools.cycle(rows), strict=False
            )
        ]

    def words(self, labels: Labels) -> Markup:
        """Return what stands along the axes."""
        middle, height = (_LEFT + WIDTH - _RIGHT) / 2, (_TOP + HEIGHT - _BOTTOM) / 2
        turned = f"rotate(-90 13 {height:g})"
        across, up = labels.x + self.x.beyond(), labels.y + self.y.beyond()
        return joined(
            element("text", across, x=f"{middle:g}", y=f"{HEIGHT - 6:g}", class_="middle"),
            element("text", up, x="13", y=f"{height:g}", class_="middle", transform=turned),
        )

    def inside(self, *marks: Markup | None) -> Markup:
        """Return marks cut off at the frame."""
        wide, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
        box = {"x": f"{_LEFT:g}", "y": f"{_TOP:g}", "width": f"{wide:g}", "height": f"{high:g}"}
        return element("svg", *marks, viewBox=" ".join(box.values()), **box)

    def draw(self, series: Series) -> Markup | None:
        """Return the marks of a series."""
        if not len(series.x):
            return None
        if series.kind == "points" and len(series.x) > _MOST_POINTS:
            return self._squares(series)
        tone = f"tone{series.tone}"
        drawn = element("path", d=self._path(series), class_=f"{series.kind} {tone}")
        if series.kind == "line" and len(series.x) <= _FEW:
            dots = self._path(dataclasses.replace(series, kind="points"))
            drawn = joined(drawn, element("path", d=dots, class_=f"dots {tone}"))
        return drawn

    def _path(self, series: Series) -> str:
        x, y = self.across(series.x), self.down(series.y)
        if series.kind == "points":
            return "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x, y, strict=True))
        if series.kind in {"sticks", "bars"}:
            foot = float(self.down(np.array(max(self.y.low, 0.0))))
            return "".join(f"M{a:.1f} {foot:.1f}V{b:.1f}" for a, b in zip(x, y, strict=True))
        ends = (f"{a:.1f} {b:.1f}" for a, b in zip(*_thinned(x, y), strict=True))
        return "M" + "L".join(ends)

    def _squares(self, series: Series) -> Markup:
        """Draw squares that are the darker the more points lie in them."""
        edges = [
            np.linspace(_LEFT, WIDTH - _RIGHT, _SQUARES + 1),
            np.linspace(_TOP, HEIGHT - _BOTTOM, _SQUARES + 1),
        ]
        counts, _, _ = np.histogram2d(self.across(series.x), self.down(series.y), bins=edges)
        wide, high = edges[0][1] - edges[0][0], edges[1][1] - edges[1][0]
        level = np.zeros(counts.shape, dtype=int)
        filled = counts > 0
        most = math.log1p(counts.max())
        level[filled] = np.ceil(_TONES * np.log1p(counts[filled]) / most).clip(1, _TONES)
        paths = []
        for tone in range(1, _TONES + 1):
            places = np.argwhere(level == tone)
            corners = ((edges[0][i], edges[1][j]) for i, j in places)
            outline = "".join(
                f"M{a:.1f} {b:.1f}h{wide:.2f}v{high:.2f}h-{wide:.2f}z" for a, b in corners
            )
            paths.append(element("path", d=outline, class_=f"density level{tone}"))
        return joined(*paths)


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep the lowest and the highest value of each column of a long line, in their order."""
    if len(x) <= 4 * _COLUMNS:
        return x, y
    kept = []
    for part in np.array_split(np.arange(len(x)), _COLUMNS):
        kept += sorted({int(part[0]), int(part[y[part].argmin()]), int(part[y[part].argmax()])})
    return x[kept], y[kept]
