"""A page in a browser: it draws, it is silent, it calls nobody, and it can be read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, find_browser
from matplotlib.image import imread

from molequi.report import write_report

PROGRAM = find_browser()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")

# The smallest letters of the page, px as shown; and which texts of one drawing lie on each other.
READING = """(() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = { smallest: 99, palest: 99, small: "", pale: "", crossed: [] };
  const shade = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3)
      .map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const owner = node.parentElement, text = node.textContent.trim();
    if (!text || ["SCRIPT", "STYLE", "OPTION"].includes(owner.tagName)) continue;
    if (!owner.checkVisibility()) continue;
    const style = getComputedStyle(owner);
    const turned = owner.ownerSVGElement ? owner.getScreenCTM() : { a: 1, b: 0 };
    const scale = Math.hypot(turned.a, turned.b);
    const size = parseFloat(style.fontSize) * scale;
    if (size < found.smallest) Object.assign(found, { smallest: size, small: text });
    const colour = owner.ownerSVGElement ? style.fill : style.color;
    const contrast = 1.05 / (shade(colour) + 0.05);
    if (contrast < found.palest) Object.assign(found, { palest: contrast, pale: text });
  }
  for (const drawing of document.querySelectorAll("figure > svg")) {
    const boxes = [...drawing.querySelectorAll("text")]
      .map((one) => [one.textContent, one.getBoundingClientRect()]);
    const frame = drawing.getBoundingClientRect();
    boxes.forEach(([text, a], i) => {
      const sticksOut = a.left < frame.left - 1 || a.right > frame.right + 1;
      if (sticksOut) found.crossed.push(`${text} sticks out`);
      boxes.slice(i + 1).forEach(([other, b]) => {
        const across = a.left < b.right && b.left < a.right;
        const down = a.top + 2 < b.bottom && b.top + 2 < a.bottom;
        if (across && down) found.crossed.push(`${text} lies on ${other}`);
      });
    });
  }
  return { ...found, wide: document.scrollingElement.scrollWidth };
})()"""
STAGES = """[...document.querySelectorAll(".stage")].map((stage) => {
  const box = stage.getBoundingClientRect();
  return { x: box.x, y: box.y + scrollY, width: box.width, height: box.height };
})"""


@pytest.fixture(scope="module")
def page(
    tmp_path_factory: pytest.TempPathFactory,
    run_folder: Path,
    structures: Path,
    trajectory: Path,
    vibrations_folder: Path,
) -> Path:
    sources = [structures, trajectory, vibrations_folder, run_folder]
    output = tmp_path_factory.mktemp("page") / "report.html"
    return write_report(sources, output, title="<script>window.bitten=1</script>")


@pytest.fixture(scope="module")
def browser(page: Path) -> Iterator[Browser]:
    with Browser(str(PROGRAM)) as found:
        found.open(page, width=1280)
        yield found


def stage(browser: Browser, number: int) -> np.ndarray:
    """Return the pixels of a picture, which is drawn when one comes to it: (height, width, 3)."""
    one = f'document.querySelectorAll(".stage")[{number}]'
    browser.value(f"{one}.scrollIntoView()")
    browser.wait_for(f'{one}.querySelector("canvas") !== null')
    clip = browser.value(STAGES)[number]
    return imread(io.BytesIO(browser.picture(clip=clip)))[:, :, :3]


def test_page_is_silent_and_calls_nobody(browser: Browser, page: Path) -> None:
    assert browser.said == []
    assert set(browser.asked) <= {page.as_uri(), "data:,"}
    assert browser.value("window.bitten") is None
    assert browser.value("document.title") == "<script>window.bitten=1</script>"


def test_molecules_are_drawn_and_obey(browser: Browser) -> None:
    before = stage(browser, 0)
    background = np.abs(before - before[2, 2]).max(axis=2) < 0.02
    assert 0.01 < 1 - background.mean() < 0.6
    note = 'document.querySelector(".controls p").textContent'
    assert "dipole 0.961 D" in browser.value(note)
    browser.value('document.querySelector(".controls [aria-label=next]").click()')
    assert browser.value('document.querySelector(".controls select").value') == "1"
    with_arrows = stage(browser, 0)
    assert np.abs(with_arrows - before).max() > 0.1
    browser.value('document.querySelector(".controls input[type=checkbox]").click()')
    assert np.abs(stage(browser, 0) - with_arrows).max() > 0.1
    assert "forces" not in browser.value(note)


def test_modes_swing(browser: Browser) -> None:
    still = stage(browser, 2)
    play = 'document.querySelectorAll(".viewer")[2].querySelector("button").click()'
    browser.value(f"{play}, new Promise(done => setTimeout(done, 250))")
    assert np.abs(stage(browser, 2) - still).max() > 0.1
    browser.value(play)
    assert browser.said == []


def test_pictures_without_a_size_wait_for_one(page: Path) -> None:
    # Into a canvas of no width WebGL complains at every frame of a mode that swings.
    with Browser(str(PROGRAM)) as browser:
        browser.open(page, width=1280)
        browser.value("document.head.append(document.createElement('style'))")
        style = "document.head.lastChild.textContent"
        stage(browser, 2)
        one = 'document.querySelectorAll(".viewer")[2]'
        swing = f"{one}.querySelector('button').click()"
        browser.value(f"{swing}, {style} = '.stage {{ display: none }}'")
        browser.wait_for(f'{one}.querySelector("canvas").width === 0')
        browser.value("new Promise(done => setTimeout(done, 250))")
        browser.value(swing)
        browser.value(f"{style} = ''")
        browser.wait_for(f'{one}.querySelector("canvas").width > 0')
        still = stage(browser, 2)
        assert np.abs(still - still[2, 2]).max() > 0.1
        assert browser.said == []


@pytest.mark.parametrize("width", [1280, 400])
def test_page_can_be_read(browser: Browser, width: int) -> None:
    browser.resize(width)
    found = browser.value(READING)
    assert found["wide"] <= width
    assert found["smallest"] >= 11.5, found["small"]
    assert found["palest"] >= 4.5, found["pale"]  # WCAG 2.1, contrast of text, on white
    assert found["crossed"] == []
    assert browser.said == []
