"""What a model file of another program holds, read by that program's own interpreter."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from molequi.errors import UserError
from molequi.runtime.gate import reading
from molequi.runtime.plain import read_json

_SCRIPT = Path(__file__).parent / "scripts" / "mace_model.py"
_ADVICE = (
    "make one with `python -m venv mace-env` and `mace-env/bin/python -m pip install "
    "mace-torch==0.3.16`, and give it as --python mace-env/bin/python"
)


class Source(NamedTuple):
    """Plain data of a model: what `scripts/mace_model.py` wrote.

    modules: by their dotted name, with `class` and attributes. tensors: by name. couplings: e3nn's
    invariant tensors by degrees. reference: a structure, and the model's energies and forces.
    versions: of the programs that read it.
    """

    modules: Mapping[str, Mapping[str, Any]]
    tensors: Mapping[str, Tensor]
    couplings: Mapping[str, Any]
    reference: Mapping[str, Any]
    versions: Mapping[str, str]

    def tensor(self, *names: str) -> Tensor:
        """Return a tensor by its dotted name in float64, numbers that count things as they are."""
        found = self.tensors[".".join(names)]
        return found.double() if found.is_floating_point() else found


def read_source(path: Path, python: str) -> Source:
    """Read a model file by the interpreter `python`, in which mace-torch is installed.

    What is in the file is executed there, and nowhere else. Raises UserError where there is no
    such file or interpreter, and where it cannot read the file.
    """
    if not path.is_file():
        raise UserError(f"no model file at {path}")
    with tempfile.TemporaryDirectory(prefix="molequi-import-") as folder:
        _run(python, path, folder)
        return load_source(Path(folder))


def load_source(folder: Path) -> Source:
    """Read the folder that the script has filled."""
    with reading(folder, "exported model"), np.load(folder / "arrays.npz") as arrays:
        tensors = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        content = read_json(folder / "model.json")
        names = ("couplings", "reference", "versions")
        return Source(content["modules"], tensors, *(content[name] for name in names))


def _run(python: str, path: Path, folder: str) -> None:
    environment = {
        **os.environ,
        # Without these torch refuses e3nn 0.4.4's own tables, and finds modules beside the script.
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
        "PYTHONSAFEPATH": "1",
    }
    # From this folder, not from the one it runs in. A link stays: by it Python finds its packages.
    program = os.path.abspath(python) if os.path.dirname(python) else python
    command = [program, str(_SCRIPT), str(path.resolve()), folder]
    try:
        run = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise UserError(
            f"--python is {python}, which cannot be started ({error.strerror}); it must be a "
            f"Python in which mace-torch is installed: {_ADVICE}"
        ) from error
    if run.returncode == 0:
        return
    last = (run.stderr.strip().splitlines() or [f"exit code {run.returncode}"])[-1]
    if last.startswith("ModuleNotFoundError"):
        missing = last.partition(":")[2].strip()
        raise UserError(f"{python} cannot read MACE models ({missing}): {_ADVICE}")
    raise UserError(f"{path} cannot be read by {python}: {last}")
