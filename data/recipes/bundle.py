"""Put a trained `organic` model into the package.

Its file, and its card with the errors on held-out constitutions.

    python data/recipes/bundle.py RUN organic.npz [--name organic]

RUN is the run directory of `molequi train organic`, organic.npz the set that `organic.py` made.
Writes data/models/NAME.safetensors and NAME.json and prints the rows for data/README.md.
"""

import argparse
import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from ase.build import molecule
from ase.units import Debye

from molequi.datasets.in_memory import Frames
from molequi.datasets.npz import load_npz, open_arrays
from molequi.graphs.neighbors import build_graph
from molequi.models.checkpoint import save_model
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import load
from molequi.training.predictions import predict_frames

MODELS = Path(__file__).parents[1] / "models"


def errors(
    model: MolecularModel, frames: Frames, sources: np.ndarray, names: list[str]
) -> dict[str, object]:
    """Return the mean absolute errors over all frames and by the origin of the geometry."""
    rows = ["energy", "forces", "dipole"]
    predicted = predict_frames(model, frames, rows)
    owner = np.repeat(np.arange(len(frames)), frames.n_atoms.numpy())
    force = (predicted["forces"] - frames.targets["forces"]).abs().numpy()
    energy = ((predicted["energy"] - frames.targets["energy"]) / frames.n_atoms).abs().numpy()
    vector = (predicted["dipole"] - frames.targets["dipole"]).norm(dim=1).numpy() / Debye
    length = (
        (predicted["dipole"].norm(dim=1) / Debye - frames.targets["dipole_magnitude"]).abs().numpy()
    )

    def mean(values: np.ndarray, digits: int) -> float | None:
        known = values[np.isfinite(values)]
        return round(float(known.mean()), digits) if known.size else None

    def table(chosen: np.ndarray) -> dict[str, object]:
        return {
            "frames": int(chosen.sum()),
            "energy MAE (meV/atom)": mean(1000 * energy[chosen], 2),
            "force MAE (meV/Å)": mean(1000 * force[chosen[owner]], 1),
            "dipole vector error, mean length (D)": mean(vector[chosen], 3),
            "frames with a dipole vector": int(np.isfinite(vector[chosen]).sum()),
            "|mu| MAE against QM9 (D)": mean(length[chosen], 3),
        }

    result: dict[str, object] = {"all": table(np.ones(len(frames), dtype=bool))}
    for code in np.unique(sources):
        result[names[code]] = table(sources == code)
    return result


def water_dipole(model: MolecularModel) -> float:
    """Return water's dipole along the line from O to the middle of the hydrogens, D."""
    atoms = molecule("H2O")
    dipole = model.compute(build_graph(atoms.positions, atoms.numbers, model.cutoff))["dipole"][
        0
    ].numpy()
    axis = atoms.positions[1:].mean(axis=0) - atoms.positions[0]
    return float(dipole @ axis / np.linalg.norm(axis) / Debye)


def main() -> None:
    """Evaluate, write, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--name", default="organic")
    arguments = parser.parse_args()
    model = load(arguments.run)
    flat, arrays = (
        load_npz(arguments.data),
        open_arrays(arguments.data, only=("source", "constitution", "meta")),
    )
    meta, test = json.loads(str(arrays["meta"])), flat.splits["test"]
    model.metadata = dataclasses.replace(model.metadata, name=arguments.name)
    counts = meta["counts"]
    card = {
        "name": arguments.name,
        "description": "Energies, forces and dipoles of neutral closed-shell molecules of H, C, N "
        "and O",
        "elements": ["H", "C", "N", "O"],
        "level": dict(model.metadata.level),
        "isolated atoms (eV)": dict(model.metadata.isolated_atom_energies),
        "data": {
            "recipe": "data/recipes/organic.py",
            "training": {key: counts["train"][key] for key in ("frames", "constitutions")},
            "held out": {key: counts["test"][key] for key in ("frames", "constitutions")},
            "geometries": counts["source"],
        },
        "model": {**model.backbone.settings, "weights": sum(p.numel() for p in model.parameters())},
        "errors on held-out constitutions": errors(
            model, flat.frames.subset(test), arrays["source"][test.numpy()], meta["sources"]
        ),
        "water, dipole from O to the hydrogens (D)": round(water_dipole(model), 3),
        "limits": [
            "neutral, closed-shell molecules of H, C, N and O; ions, radicals and other elements "
            "are refused",
            "up to 9 heavy atoms in training; no crystals; reactions and broken bonds only as far "
            "as stretched bonds of the training set go",
            "interactions beyond 5 Å between atoms are absent, and pairs of molecules are few in "
            "training",
        ],
    }
    MODELS.mkdir(exist_ok=True)
    save_model(model, MODELS / f"{arguments.name}.safetensors")
    (MODELS / f"{arguments.name}.json").write_text(
        json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    for suffix in ("safetensors", "json"):
        path = MODELS / f"{arguments.name}.{suffix}"
        print(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    print(json.dumps(card["errors on held-out constitutions"], indent=1, ensure_ascii=False))


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
