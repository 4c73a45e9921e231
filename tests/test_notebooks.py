"""The notebooks of docs/notebooks hold what their sources say, were run, and are small."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "notebooks"
NAMES = ("chirality", "force_field", "property")
LARGEST = 60_000  # bytes


def _execute() -> ModuleType:
    spec = importlib.util.spec_from_file_location("execute", FOLDER / "execute.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


execute = _execute()


def load(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))


def test_every_source_has_its_notebook() -> None:
    assert tuple(source.stem for source in execute.SOURCES) == NAMES
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_its_source(name: str) -> None:
    """Where this fails, run `docs/notebooks/execute.py`."""
    cells = load(name)["cells"]
    source = execute.cells_of(FOLDER / f"{name}.py")
    assert [(one["cell_type"] == "code", one["source"]) for one in cells] == [
        tuple(c) for c in source
    ]


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_whole_and_small(name: str) -> None:
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert len(text.encode()) < LARGEST
    assert not any(word in text for word in ("Traceback", "/tmp", "/home", "/work", "/root"))
    code = [cell for cell in load(name)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    shown = [one for cell in code for one in cell["outputs"]]
    assert any("image/png" in one.get("data", {}) for one in shown)
    assert len(shown) >= 4


def test_what_a_cell_gives() -> None:
    namespace: dict[str, Any] = {}
    assert execute.run("x = 2\nprint(x)\nx + 1", namespace) == [
        {"output_type": "stream", "name": "stdout", "text": "2\n"},
        {"output_type": "execute_result", "data": {"text/plain": "3"}, "metadata": {}},
    ]
    assert execute.run("y = x", namespace) == []
    (picture,) = execute.run(
        "import matplotlib.pyplot as plt\n_ = plt.figure(figsize=(1, 1))", namespace
    )
    assert list(picture["data"]) == ["image/png"]
    with pytest.raises(ValueError, match="here: text of 5000 characters, at most 4000"):
        execute.refuse_large([{"text": "a" * 5000}], "here")
    with pytest.raises(ZeroDivisionError):
        execute.run("1 / 0", namespace)


@pytest.mark.slow
def test_a_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shortest; it has the same cells and kinds of outputs as the one that is kept."""
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    found, kept = execute.notebook(FOLDER / "chirality.py"), load("chirality")
    kinds = [
        [[one["output_type"] for one in cell.get("outputs", ())] for cell in notebook["cells"]]
        for notebook in (found, kept)
    ]
    assert kinds[0] == kinds[1]
