"""One page in one file: text, style, drawings, data and the viewer, with nothing to be fetched.

The page allows the scripts that it was written with, by their hashes, and no address at all; so
whatever a name in a file says, it runs nothing and calls nobody.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from molequi.report.markup import Markup, element, joined
from molequi.version import __version__

_ASSETS = Path(__file__).with_name("assets")
_VIEWER_LICENCE = (
    "Molecules are drawn by 3Dmol.js 2.5.5, © University of Pittsburgh and contributors, "
    "BSD-3-Clause (N. Rego, D. Koes, Bioinformatics 31, 1322, 2015)."
)


class Section(NamedTuple):
    """A part of a page: its heading, a line below it, and what it shows."""

    title: str
    lead: str
    content: Sequence[Markup | None]


def page(title: str, sections: Sequence[Section]) -> str:
    """Return the whole HTML text of a page."""
    names = [f"part-{number}" for number in range(1, len(sections) + 1)]
    parts = joined(*(_section(*pair, title) for pair in zip(names, sections, strict=True)))
    has_viewer = 'class="viewer"' in parts
    scripts = [_asset("3Dmol-min.js"), _asset("page.js")] if has_viewer else []
    links = (
        element("li", element("a", section.title, href=f"#{name}"))
        for name, section in zip(names, sections, strict=True)
    )
    contents = element("nav", element("ul", *links), aria_label="parts")
    body = element(
        "body",
        element("header", element("h1", title), contents if len(sections) > 1 else None),
        element("main", parts),
        element("footer", _foot(with_viewer=has_viewer)),
        *(element("script", Markup(script)) for script in scripts),
    )
    head = element("head", *_head(title, scripts))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def figures(*drawn: Markup | None) -> Markup | None:
    """Return figures side by side, as many as there is room for."""
    shown = [figure for figure in drawn if figure is not None]
    return element("div", *shown, class_="figures") if shown else None


def heading(text: str) -> Markup:
    """Return a heading inside a section."""
    return element("h3", text)


def paragraph(text: str, kind: str | None = None) -> Markup:
    """Return a paragraph; kind: `warning` for what must not be overlooked."""
    return element("p", text, class_=kind)


def _section(name: str, section: Section, title: str) -> Markup:
    """Return a part of the page; a heading that the page has already is not said again."""
    lead = element("p", section.lead, class_="lead") if section.lead else None
    heading = element("h2", section.title) if section.title != title else None
    return element("section", heading, lead, *section.content, id=name)


def _head(title: str, scripts: Sequence[str]) -> list[Markup]:
    allowed = " ".join(f"'sha256-{_hash(script)}'" for script in scripts) or "'none'"
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"
    )
    return [
        Markup('<meta charset="utf-8">'),
        _meta(http_equiv="Content-Security-Policy", content=policy),
        _meta(name="viewport", content="width=device-width, initial-scale=1"),
        _meta(name="generator", content=f"molequi {__version__}"),
        Markup('<link rel="icon" href="data:,">'),
        element("title", title),
        element("style", Markup(_asset("page.css"))),
    ]


def _meta(**attributes: str) -> Markup:
    return Markup(str(element("meta", **attributes)).removesuffix("</meta>"))


def _foot(*, with_viewer: bool) -> str:
    own = f"Made by molequi {__version__}. Everything that the page shows is in this file."
    return f"{own} {_VIEWER_LICENCE}" if with_viewer else own


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _asset(name: str) -> str:
    """Return a file of the page; line ends as the browser counts them in the hash."""
    return (_ASSETS / name).read_text(encoding="utf-8").replace("\r\n", "\n")
