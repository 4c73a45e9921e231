"""HTML and SVG as text that cannot be mistaken: whatever is not markup is escaped."""

from __future__ import annotations

import html
import json

from molequi.runtime.gate import printable
from molequi.runtime.plain import plain


class Markup(str):
    """Text that is HTML already; every other text is escaped where it becomes part of one."""

    __slots__ = ()


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """Return an element with its children one after the other.

    attributes: `class_` is `class`, other underscores are hyphens; None is left out.
    """
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(printable(str(value)))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{given}>{joined(*children)}</{tag}>")


def joined(*children: object) -> Markup:
    """Return children as one piece: markup as it is, other text escaped, None left out."""
    return Markup("".join(_escaped(child) for child in children if child is not None))


def embedded_json(document: object) -> Markup:
    """Return JSON that no HTML parser takes for markup, to stand inside a script element."""
    text = json.dumps(plain(document), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _escaped(child: object) -> str:
    return child if isinstance(child, Markup) else html.escape(printable(str(child)))
