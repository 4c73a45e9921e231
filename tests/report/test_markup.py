"""Markup: what is text stays text."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from molequi.report.markup import Markup, element, embedded_json, joined
from molequi.report.tables import table

NASTY = "</script><script>x()</script>&\"'<img src=x onerror=y()>\x1b[31m\u202e"


class Reader(HTMLParser):
    """Keeps the tags, attributes and texts that a browser would find."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_text_and_attributes_are_escaped() -> None:
    found = Reader(element("p", NASTY, title=NASTY, class_="a"))
    assert found.tags == ["p"]
    assert dict(found.attributes)["class"] == "a"
    shown = NASTY.replace("\x1b", r"\x1b").replace("\u202e", r"\u202e")
    assert "".join(found.texts) == shown
    assert dict(found.attributes)["title"] == shown


def test_markup_is_taken_as_it_is_and_none_left_out() -> None:
    inner = element("b", "a < b")
    assert joined(inner, None, Markup("<i></i>"), 3) == "<b>a &lt; b</b><i></i>3"
    assert element("a", href=None) == "<a></a>"


@pytest.mark.parametrize("text", [NASTY, "<!--", "]]>", "&lt;"])
def test_json_stays_inside_its_script(text: str) -> None:
    written = embedded_json({"name": text, "bad": float("nan")})
    assert not set("<>&") & set(written)
    assert json.loads(written) == {"name": text, "bad": None}


def test_the_unit_of_a_column_is_one_piece():
    written = table(["name", "force (eV/Å)"], [("water", 0.5)])
    assert '<th scope="col">name</th>' in written
    assert '>force <span class="unit">(eV/Å)</span></th>' in written
