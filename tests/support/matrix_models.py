"""Models that one environment writes and another reads: used by `tests/matrix.sh`.

`matrix_models.py write PREFIX` writes models and what they give; `compare FOLDER` reads all that
stand there, computes again and prints the largest difference.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
from pathlib import Path

import torch
from ase.build import molecule

from molequi.models.checkpoint import load_model, save_model
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.structures.atoms import graph_from_atoms
from molequi.structures.molecules import atoms_from_smiles

LIMIT = 1e-6
MOLECULES = ("H2O", "CH3CHO", "NH3", "HCN")
SETTINGS = {
    "plain": {"n_channels": 8, "l_max": 1},
    "many_body": {"n_channels": 8, "l_max": 2, "correlation": 2, "parity": "full"},
}


def results(model: MolecularModel) -> dict[str, list]:
    """Return what a model gives for some molecules."""
    graphs = (graph_from_atoms(molecule(name), model.cutoff) for name in MOLECULES)
    found = [model.compute(graph) for graph in graphs]
    return {name: [values[name].tolist() for values in found] for name in model.outputs}


def write(prefix: Path) -> None:
    """Write every model, and beside it what it gives."""
    for name, settings in SETTINGS.items():
        torch.manual_seed(0)
        model = make_model([1, 6, 7, 8], ["energy", "dipole"], **settings).double().eval()
        save_model(model, f"{prefix}-{name}.safetensors")
        Path(f"{prefix}-{name}.json").write_text(json.dumps(results(model)))


def compare(folder: Path) -> bool:
    """Print how far each model is from what its writer found; tell whether all are near."""
    packages = ("torch", "e3nn", "ase", "rdkit", "numpy")
    versions = " ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    print(f"Python {platform.python_version()} {versions}, {len(atoms_from_smiles('CCO'))} atoms")
    worst = 0.0
    for path in sorted(folder.glob("*.safetensors")):
        expected = json.loads(path.with_suffix(".json").read_text())
        found = results(load_model(path))
        pairs = [
            (x, y) for name in expected for x, y in zip(expected[name], found[name], strict=True)
        ]
        error = max(float((torch.tensor(x) - torch.tensor(y)).abs().max()) for x, y in pairs)
        print(f"  {path.stem}: {error:.1e}")
        worst = max(worst, error)
    return worst < LIMIT


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]))
    elif not compare(Path(sys.argv[2])):
        sys.exit(f"two environments differ by more than {LIMIT}")
