"""README.md and the tutorials: their commands run, their tables are true."""

from __future__ import annotations

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
PAGES = ["README.md", "docs/hands.md", "docs/intertwiners.md", "docs/align.md"]
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


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_blocks_run_one_after_the_other(page: str, tmp_path: Path) -> None:
    """In one folder, as a reader would type them; `data/` is where it is in a checkout."""
    shutil.copytree(ROOT / "data" / "samples", tmp_path / "data" / "samples")
    for block in (block for block in blocks(page) if not block["reason"]):
        code = block["code"]
        command = (
            ["bash", "-euo", "pipefail", "-c", code]
            if block["language"] == "sh"
            else [sys.executable, "-c", code]
        )
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        run = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, f"{code}\n{run.stdout[-2000:]}\n{run.stderr[-4000:]}"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", BLOCK.sub("", text_of(page))):
        assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("name", PROPERTIES)
def test_property_table_is_complete_and_true(name: str) -> None:
    row = PROPERTIES[name]
    per = "atom" if row.per_atom else "molecule"
    assert f"| `{name}` | {row.irreps} | {row.unit} | {per} | {row.description} |" in README
