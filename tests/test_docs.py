"""README.md and the pages: their commands run, their tables are true, the site builds."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from molequi.properties import PROPERTIES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
]
PAGES_THAT_RUN = [
    page for page in PAGES if re.search("```(sh|python)", (ROOT / page).read_text(encoding="utf-8"))
]
# What docs/generate.py writes when the site is built.
GENERATED = re.compile(r"\b(cli|settings|properties)\.md|reference/api/|architecture\.svg")
# A fenced block, and the reason before it why no test runs it: needs the network, or is a test of
# its own.
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+) -->\n)?```(?P<language>sh|python)\n(?P<code>.*?)```",
    re.DOTALL,
)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[re.Match[str]]:
    return list(BLOCK.finditer(text_of(page)))


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_says_why_not(page: str) -> None:
    text = text_of(page)
    assert len(blocks(page)) == text.count("```") // 2 - text.count("```text") - text.count(
        "```yaml"
    )
    for block in blocks(page):
        if block["reason"]:
            assert len(block["reason"]) > 10


def copy_samples(folder: Path) -> None:
    """Copy the bundled samples, but of the long trajectory that pages train on the first third."""
    shutil.copytree(ROOT / "data" / "samples", folder)
    trajectory, n_lines = folder / "ethanol.extxyz.gz", 100 * (9 + 2)  # frames of nine atoms
    with gzip.open(trajectory, "rt", encoding="utf-8") as file:
        lines = file.readlines()
    assert lines[n_lines] == lines[0]  # where a frame begins: its number of atoms
    trajectory.write_bytes(gzip.compress("".join(lines[:n_lines]).encode()))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES_THAT_RUN)
def test_blocks_run_one_after_the_other(page: str, tmp_path: Path, quick_path: str) -> None:
    """In one folder, as a reader would type them; `data/` is where it is in a checkout.

    Those of the README in processes that are new in all, as a reader's are.
    """
    copy_samples(tmp_path / "data" / "samples")
    installed = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": installed if page == "README.md" else quick_path}
    for block in (block for block in blocks(page) if not block["reason"]):
        code = block["code"]
        command = (
            ["bash", "-euo", "pipefail", "-c", code]
            if block["language"] == "sh"
            else [shutil.which("python", path=environment["PATH"]), "-c", code]
        )
        run = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, f"{code}\n{run.stdout[-2000:]}\n{run.stderr[-4000:]}"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", BLOCK.sub("", text_of(page))):
        there = ((ROOT / page).parent / target).exists()
        assert there or GENERATED.search(target), target


@pytest.mark.parametrize("page", PAGES)
def test_tables_stand_apart_from_what_is_above(page: str) -> None:
    """Markdown takes a table right below a paragraph or a list for more of its text."""
    assert not re.search(r"^(?!\||\n).+\n\|.*\n\|[ :|-]+\|$", text_of(page), re.MULTILINE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site; `strict` in mkdocs.yml turns warnings into errors."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert not re.search("^(WARNING|ERROR)", run.stderr, re.MULTILINE)
    return folder


def test_site_loads_nothing_from_elsewhere(site: Path) -> None:
    """No script, style, font or picture has an address outside the site; links to read may."""
    loaded = re.compile(
        r"""<(?:script|img|iframe|source|link)\b[^>]*?(?:src|href)=["']?((?:https?:)?//[^"'> ]+)"""
        r"""|url\(["']?((?:https?:)?//[^"')]+)|@import\s+["']((?:https?:)?//[^"']+)"""
    )
    pages = [path for path in site.rglob("*") if path.suffix in {".html", ".css", ".svg"}]
    assert len(pages) > len(PAGES)
    found = {
        (path.name, match.group(0))
        for path in pages
        for match in loaded.finditer(path.read_text(encoding="utf-8"))
    }
    assert not found


def test_site_can_be_searched_for_a_docstring(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    assert any("spherical_harmonics" in entry["location"] for entry in index["docs"])


def test_command_line_reference_is_complete(site: Path) -> None:
    text = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    commands = subprocess.run(
        [sys.executable, "-m", "molequi.cli", "--help"], capture_output=True, text=True, check=True
    ).stdout
    names = re.findall(r"^│ (\w+) ", commands, re.MULTILINE)
    assert len(names) > 10
    for name in names:
        assert f"molequi {name}" in text


@pytest.mark.parametrize("name", PROPERTIES)
def test_property_table_is_complete_and_true(name: str) -> None:
    row = PROPERTIES[name]
    per = "atom" if row.per_atom else "molecule"
    assert f"| `{name}` | {row.irreps} | {row.unit} | {per} | {row.description} |" in README
