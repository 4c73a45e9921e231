"""Tables of a page: texts to the left, numbers to the right with the digits that mean something."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from molequi.report.axes import written
from molequi.report.markup import Markup, element

Cell = str | float | int | None
# Numbers below are written with a power of ten.
_SMALL = 1e-4


class Digits(str):
    """A number that is written already, for a column of numbers."""

    __slots__ = ()

    @classmethod
    def of(cls, value: float, digits: int) -> Digits:
        """Write a number with so many digits behind the point, and what is not finite as a dash."""
        return cls(f"{value:.{digits}f}".replace("-", "−") if math.isfinite(value) else "–")


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], caption: str = "") -> Markup:
    """Return a table that can be moved sideways where the page is too narrow for it."""
    lines = [list(row) for row in rows]
    kinds = [
        "number" if all(map(_is_number, cells)) else None for cells in zip(*lines, strict=True)
    ] or [None] * len(columns)
    head = element(
        "tr",
        *(
            element("th", *_unbroken(name), scope="col", class_=kind)
            for name, kind in zip(columns, kinds, strict=True)
        ),
    )
    body = (
        element(
            "tr",
            *(
                element("td", number(cell), class_=kind)
                for cell, kind in zip(line, kinds, strict=True)
            ),
        )
        for line in lines
    )
    return element(
        "div",
        element(
            "table",
            element("caption", caption) if caption else None,
            element("thead", head),
            element("tbody", *body),
        ),
        class_="table",
        tabindex=0,
    )


def _unbroken(name: str) -> Sequence[str | Markup]:
    """Return a column's name, its unit in one piece: browsers break lines behind a slash."""
    text, opening, unit = name.rpartition("(")
    return (text, element("span", opening + unit, class_="unit")) if opening else (name,)


def facts(rows: Iterable[tuple[str, Cell]]) -> Markup:
    """Return names and what is to be said of each; those without are left out."""
    known = [(name, value) for name, value in rows if value not in (None, "")]
    parts = (
        element("div", element("dt", name), element("dd", number(value))) for name, value in known
    )
    return element("dl", *parts)


def number(value: Cell) -> str:
    """Write a number with four digits, a text as it is, and nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if not math.isfinite(value):
        return "–"
    if 0 < abs(value) < _SMALL:
        return written(value)
    return f"{value:.4g}".replace("-", "−")


def _is_number(value: Cell) -> bool:
    return isinstance(value, Digits) or not isinstance(value, str)
