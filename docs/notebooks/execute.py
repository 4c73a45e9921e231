"""Runs the notebooks: `python docs/notebooks/execute.py` writes an .ipynb of each .py beside it.

`python docs/notebooks/execute.py property` runs one. A source is Python in cells: `# %%` begins
code, `# %% [markdown]` a text. What a cell prints, the value of its last line, and the figures that
it leaves open become its outputs, which must be small. Cells run in an empty folder with
`data/samples`, in one process, without Jupyter.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parents[1] / "data" / "samples"
SOURCES = sorted(path for path in HERE.glob("*.py") if path != Path(__file__).resolve())
MOST_TEXT, MOST_PICTURE = 4_000, 60_000  # characters, bytes

Output = dict[str, Any]


class Cell(NamedTuple):
    """A cell of a source."""

    is_code: bool
    text: str


def cells_of(source: Path) -> list[Cell]:
    """Part a source into its cells; the lines of a text lose their `# `."""
    found = []
    for part in source.read_text(encoding="utf-8").split("# %%")[1:]:
        heading, _, body = part.partition("\n")
        lines = body.strip("\n").splitlines()
        is_code = heading.strip() != "[markdown]"
        if not is_code:
            lines = [line.removeprefix("#").removeprefix(" ") for line in lines]
        found.append(Cell(is_code, "\n".join(lines)))
    return found


def run(code: str, namespace: dict[str, Any]) -> list[Output]:
    """Run a cell and return what it prints, its last value, and its figures."""
    tree, value, printed = ast.parse(code), None, io.StringIO()
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), namespace)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), namespace)
    outputs: list[Output] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue()})
    if value is not None:
        data = {"text/plain": repr(value)}
        if "_repr_html_" in dir(value):
            data["text/html"] = value._repr_html_()
        outputs.append(_shown("execute_result", data))
    return [*outputs, *_figures()]


def _figures() -> Iterator[Output]:
    for number in plt.get_fignums():
        picture = io.BytesIO()
        plt.figure(number).savefig(picture, dpi=70, bbox_inches="tight", metadata={"Software": ""})
        text = base64.b64encode(picture.getvalue()).decode("ascii")
        yield _shown("display_data", {"image/png": text})
    plt.close("all")


def _shown(kind: str, data: dict[str, str]) -> Output:
    return {"output_type": kind, "data": data, "metadata": {}}


def refuse_large(outputs: list[Output], where: str) -> None:
    """Raise ValueError for outputs that do not belong into a repository."""
    for output in outputs:
        for kind, text in {"text": output.get("text", ""), **output.get("data", {})}.items():
            most = MOST_PICTURE if kind == "image/png" else MOST_TEXT
            if len(text) > most:
                raise ValueError(f"{where}: {kind} of {len(text)} characters, at most {most}")


def notebook(source: Path) -> dict[str, Any]:
    """Run a source in a folder of its own; returns the notebook, of format 4.5."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    cells: list[dict[str, Any]] = []
    for number, cell in enumerate(cells_of(source)):
        entry: dict[str, Any] = {
            "cell_type": "code" if cell.is_code else "markdown", "id": f"cell-{number}",
            "metadata": {}, "source": cell.text,
        }  # fmt: skip
        if cell.is_code:
            outputs = run(cell.text, namespace)
            refuse_large(outputs, f"{source.name}, cell {number}")
            count = sum(one["cell_type"] == "code" for one in cells) + 1
            for output in outputs:
                if output["output_type"] == "execute_result":
                    output["execution_count"] = count
            entry |= {"execution_count": count, "outputs": outputs}
        cells.append(entry)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    about = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}


def main(names: list[str]) -> None:
    """Run the sources of these names, or all."""
    for source in SOURCES:
        if names and source.stem not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(SAMPLES, Path(folder) / "data" / "samples")
            os.chdir(folder)
            found = notebook(source)
            os.chdir(HERE)
        target = source.with_suffix(".ipynb")
        target.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        sys.stderr.write(f"{target.name}: {os.path.getsize(target)} bytes\n")


if __name__ == "__main__":
    main(sys.argv[1:])
