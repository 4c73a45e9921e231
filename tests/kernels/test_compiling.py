"""Compiled kernels on disk belong to the sources that they were made of."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

from molequi.kernels import compiled
from molequi.kernels.compiled import compiling

FOLDER = Path(compiled.__file__).parent


def test_the_version_covers_what_kernels_are_made_of() -> None:
    """Of what the folder imports from the package beside itself, types excepted."""
    taken = set()
    for file in FOLDER.glob("*.py"):
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("molequi."):
                names = [f"{node.module}.{name.name}" for name in node.names]
                taken |= {name for name in [node.module, *names] if "compiled" not in name}
    files = {f"molequi.kernels.{Path(name).stem}" for name in compiling.CONSTANTS}
    root = FOLDER.parents[1].parent
    modules = {name for name in taken if (root / (name.replace(".", "/") + ".py")).is_file()}
    assert modules <= files | {"molequi.o3.coupling"}  # CouplingTable: a type


def test_a_kernel_is_compiled_anew_when_what_is_compiled_into_it_changes(tmp_path: Path) -> None:
    """The caller stays as it is; only the file of the function that it takes in changes."""
    folder = tmp_path / "kernels" / "compiled"
    folder.mkdir(parents=True)
    shutil.copy(FOLDER / "compiling.py", folder)
    for name in compiling.CONSTANTS:
        (folder.parent / name).write_text("")
    head = "from kernels.compiled.compiling import inline, jit\n"
    (folder / "caller.py").write_text(
        head + "from kernels.compiled.terms import term\n@jit\ndef call(x):\n    return term(x)\n"
    )
    # Beside the files, wherever the tests themselves keep what they compile.
    environment = {name: text for name, text in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    found = []
    for factor in (2, 3):
        (folder / "terms.py").write_text(head + f"@inline\ndef term(x):\n    return {factor} * x\n")
        command = "from kernels.compiled.caller import call; print(call(1))"
        done = subprocess.run(
            [sys.executable, "-c", command],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        found.append(done.stdout.strip())
    assert found == ["2", "3"]
    assert list((folder / "__pycache__").glob("caller.call_*.nbi"))
