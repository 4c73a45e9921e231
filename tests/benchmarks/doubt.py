"""Does an ensemble know where it is wrong, of molecules off equilibrium that it has not seen?

    python tests/benchmarks/doubt.py [--seeds 0] [--ways models,heads] [--epochs 30,50]
    [--sizes 500,200,400] [--frames 1,1,1] [--output runs/doubt] [--json] [SETTING ...]

A bundled model is the teacher. Constitutions of H, C, N and O with 2 to 12 heavy atoms, as many of
each size as of any other, are displaced at random as springs between their atoms allow at 50 to
800 K (`displaced`). Constitutions train, validate (they choose the best epoch and calibrate) or
test, never two of these. Printed of the test structures: errors, the share of them within the radii
that are meant to hold 50, 68, 90 and 95 %, and Spearman's correlation of errors and spreads, with
intervals of 95 % by drawing test constitutions anew. Beside it stands `exact`: the correlation that
the same spreads would have if every error were a draw from a normal distribution of just that
spread; one energy is one draw. `by the forces` has the doubts of a molecule's forces, the root of
the sum of their squares, in the place of that of its energy.
Runs are kept in `--output`, and go on where they were interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from ase import Atoms
from ase.data import covalent_radii
from rdkit import Chem
from scipy.stats import spearmanr

from molequi.datasets.making import make_frames
from molequi.datasets.npz import save_npz
from molequi.experiments import prepare
from molequi.models.zoo import load
from molequi.properties import PROPERTIES
from molequi.runtime.plain import read_json
from molequi.structures.inputs import one_structure
from molequi.training.predictions import predict_frames

_KB = 8.617333262e-5  # eV/K
# eV/Å^2 between atoms that are 1, 2, 3, or more bonds apart: about a C-C stretch, what the bending
# of an angle takes, and enough that torsions move by tenths of an Å.
_SPRINGS = (30.0, 6.0, 2.0, 0.5)
_KELVIN = (50.0, 800.0)
_MOST_HEAVY = 12
_SHARES = ("50", "68", "90", "95")
_PARTS = ("train", "valid", "test")
LABELS = ("energy", "forces")
# Groups as they begin a SMILES, and as they end one.
_ENDS = {
    "C": "C", "N": "N", "O": "O", "CO": "OC", "O=C": "C=O", "N#C": "C#N", "OC(=O)": "C(=O)O",
    "NC(=O)": "C(N)=O", "C=C": "C=C", "C#C": "C#C", "CC(C)": "C(C)C", "C1CC1": "C1CC1",
    "O1CC1": "C1CO1",
}  # fmt: skip
_LINKS = ("C", "CC", "C=C", "C(=O)", "C(O)", "CN", "COC", "C#C", "C(=O)N", "c1ccc(cc1)")


def displaced(atoms: Atoms, kelvin: float, random: np.random.Generator) -> np.ndarray:
    """Return positions (N, 3), Å, drawn from the harmonic distribution of springs between atoms."""
    n = len(atoms)
    vectors = atoms.positions[:, None] - atoms.positions[None]
    distances = np.linalg.norm(vectors, axis=2) + np.eye(n)
    radii = covalent_radii[atoms.numbers]
    bonded = (distances < 1.25 * (radii[:, None] + radii[None])) & ~np.eye(n, dtype=bool)
    springs, reached, reach = np.full((n, n), _SPRINGS[3]), np.eye(n, dtype=bool), np.eye(n)
    for stiffness in _SPRINGS[:3]:
        reach = reach @ (bonded + np.eye(n)) > 0
        springs[reach & ~reached] = stiffness
        reached |= reach
    springs[np.eye(n, dtype=bool)] = 0.0
    axes = vectors / distances[..., None]
    blocks = -springs[..., None, None] * axes[..., :, None] * axes[..., None, :]
    blocks[np.arange(n), np.arange(n)] = -blocks.sum(axis=1)
    values, modes = np.linalg.eigh(blocks.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n))
    moves = values > 1e-6 * values[-1]
    sizes = np.sqrt(_KB * kelvin / values[moves]) * random.normal(size=moves.sum())
    return atoms.positions + (modes[:, moves] @ sizes).reshape(n, 3)


def constitutions() -> list[str]:
    """Return the SMILES of all chains of an end, up to two links and an end, each once."""
    found: dict[str, int] = {}
    for links in ("", *_LINKS, *map("".join, itertools.product(_LINKS, repeat=2))):
        for one, other in itertools.product(_ENDS, _ENDS.values()):
            molecule = Chem.MolFromSmiles(f"{one}{links}{other}")
            found[Chem.MolToSmiles(molecule)] = molecule.GetNumHeavyAtoms()
    few = {smiles: n for smiles, n in found.items() if n <= _MOST_HEAVY}
    return sorted(few, key=lambda smiles: (few[smiles], smiles))


def drawn(n: int, random: np.random.Generator) -> list[str]:
    """Return the SMILES of so many constitutions, evenly over their numbers of heavy atoms."""
    by_size: dict[int, list[str]] = {}
    for smiles in constitutions():
        by_size.setdefault(Chem.MolFromSmiles(smiles).GetNumHeavyAtoms(), []).append(smiles)
    rounds = itertools.zip_longest(*(random.permutation(one) for one in by_size.values()))
    evenly = [str(smiles) for one in rounds for smiles in one if smiles is not None]
    return random.permutation(evenly[:n]).tolist()


def make_data(path: Path, teacher: str, sizes: list[int], n_frames: list[int]) -> None:
    """Write displaced molecules with the teacher's energies and forces, split by constitutions."""
    random = np.random.default_rng(0)
    parts = np.repeat(list(_PARTS), sizes)
    frames: list[Atoms] = []
    splits: dict[str, list[int]] = {part: [] for part in _PARTS}
    names = []
    for smiles, part in zip(drawn(len(parts), random), parts, strict=True):
        atoms = one_structure(None, smiles=smiles, seed=0).require_atoms()
        for _ in range(n_frames[_PARTS.index(part)]):
            kelvin = np.exp(random.uniform(*np.log(_KELVIN)))
            splits[part].append(len(frames))
            frames.append(Atoms(atoms.numbers, displaced(atoms, kelvin, random)))
            names.append(smiles)
    labelled = make_frames(
        torch.from_numpy(np.concatenate([atoms.positions for atoms in frames])),
        torch.from_numpy(np.concatenate([atoms.numbers for atoms in frames])).long(),
        torch.tensor([len(atoms) for atoms in frames]),
        source=names,
    )
    labels = predict_frames(load(teacher), labelled, LABELS, batch_size=32)
    labelled = dataclasses.replace(
        labelled, targets=labels, properties={name: PROPERTIES[name] for name in LABELS}
    )
    save_npz(labelled, path, splits={p: torch.tensor(rows) for p, rows in splits.items()})


def train(way: str, seed: int, data: Path, output: Path, epochs: int, settings: list[str]) -> Path:
    """Train members that are whole models or heads on one, or what is left of that."""
    run = output / f"{way}-{seed}"
    if not (run / "result.json").is_file():
        resume = (run / "config.yaml").is_file()
        prepare(
            "extxyz",
            [
                "data.kind=npz", f"data.path={data}", "data.split.kind=stored",
                "model.preset=light", "model.cutoff=4.5", "training.batch_size=8",
                "training.patience=null", "ensemble=4", f"members={way}",
                f"training.epochs={epochs}", f"training.seed={10 * seed}", *settings,
            ],
            run, resume=resume, overwrite=not resume,
        ).run()  # fmt: skip
    return run


class Judged(NamedTuple):
    """Errors of one property, their spreads, and which constitution each is of, (n,)."""

    errors: np.ndarray
    spreads: np.ndarray
    owners: np.ndarray


def judged(run: Path, name: str) -> Judged:
    """Return the test errors of a run."""
    with np.load(run / "test_predictions.npz") as arrays:
        apart = arrays[f"{name}_predicted"] - arrays[name]
        errors = np.linalg.norm(apart.reshape(len(apart), -1), axis=1)
        owners = np.unique(arrays["source"], return_inverse=True)[1]
        if name == "forces":
            owners = owners.repeat(arrays["n_atoms"])
        return Judged(errors, arrays[f"{name}_std_predicted"], owners)


def interval(pairs: Judged, value: Callable[[np.ndarray, np.ndarray], float]) -> list[float]:
    """Return a value and its interval of 95 % over 300 draws of constitutions."""
    random = np.random.default_rng(0)
    rows = [np.flatnonzero(pairs.owners == one) for one in np.unique(pairs.owners)]
    found = []
    for _ in range(300):
        chosen = np.concatenate([rows[k] for k in random.integers(len(rows), size=len(rows))])
        found.append(value(pairs.errors[chosen], pairs.spreads[chosen]))
    return [value(pairs.errors, pairs.spreads), *np.quantile(found, (0.025, 0.975)).tolist()]


def correlation(errors: np.ndarray, spreads: np.ndarray) -> float:
    """Return Spearman's rank correlation."""
    return float(spearmanr(errors, spreads).statistic)


def exact(spreads: np.ndarray, n_components: int) -> float:
    """Return the correlation if each error were a draw from a normal distribution of its spread."""
    random = np.random.default_rng(0)
    draws = np.linalg.norm(random.normal(size=(20, len(spreads), n_components)), axis=2)
    return float(np.mean([correlation(spreads * draw, spreads) for draw in draws]))


def measure(run: Path) -> dict[str, Any]:
    """Return what a run's spreads of energies and forces are worth on the test structures."""
    result = read_json(run / "result.json")
    found: dict[str, Any] = {"run": run.name}
    for name, n_components in (("energy", 1), ("forces", 3)):
        pairs, told = judged(run, name), result[f"{name}_std"]
        radii = load(str(run)).heads[f"{name}_std"].quantiles.double().numpy()
        found[name] = {
            "mae": result[name]["mae"],
            "errors": told["count"],
            "constitutions": int(pairs.owners.max() + 1),
            "correlation": interval(pairs, correlation),
            "exact": exact(pairs.spreads, n_components),
            "coverage": {
                share: interval(pairs, lambda e, s, r=radius: float((e <= r * s).mean()))
                for share, radius in zip(_SHARES, radii, strict=True)
            },
        }
    found["energy"]["by_forces"] = interval(by_forces(run), correlation)
    return found


def by_forces(run: Path) -> Judged:
    """Return errors of energies beside the root of the summed squares of their atoms' doubts."""
    energies, forces = judged(run, "energy"), judged(run, "forces")
    with np.load(run / "test_predictions.npz") as arrays:
        molecules = np.arange(len(arrays["n_atoms"])).repeat(arrays["n_atoms"])
    return energies._replace(spreads=np.sqrt(np.bincount(molecules, forces.spreads**2)))


def show(found: dict[str, Any]) -> None:
    """Print what was found of a run."""
    for name, unit in (("energy", "eV"), ("forces", "eV/Å")):
        row = found[name]
        held = ", ".join(
            f"{100 * mid:.0f} ({100 * low:.0f}-{100 * high:.0f})"
            for mid, low, high in row["coverage"].values()
        )
        (mid, low, high), told = row["correlation"], row.get("by_forces")
        print(
            f"{found['run']:10} {name:6} MAE {row['mae']:.3f} {unit}; within 50, 68, 90, 95 %: "
            f"{held}; Spearman {mid:.2f} ({low:.2f}-{high:.2f}), exact {row['exact']:.2f}; "
            f"{row['errors']} errors, {row['constitutions']} constitutions"
            + ("; by the forces {:.2f} ({:.2f}-{:.2f})".format(*told) if told else ""),
            flush=True,
        )


def numbers(text: str) -> list[int]:
    """Read whole numbers between commas."""
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", default="organic")
    parser.add_argument("--seeds", type=numbers, default=[0])
    parser.add_argument("--ways", default="models,heads")
    parser.add_argument("--epochs", type=numbers, default=[30, 50], help="of each of the ways")
    parser.add_argument("--sizes", type=numbers, default=[500, 200, 400])
    parser.add_argument("--frames", type=numbers, default=[1, 1, 1])
    parser.add_argument("--output", type=Path, default=Path("runs/doubt"))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("settings", nargs="*", help="of the trainings")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    data = arguments.output / "data.npz"
    if not data.is_file():
        make_data(data, arguments.teacher, arguments.sizes, arguments.frames)
    for seed in arguments.seeds:
        for way, epochs in zip(arguments.ways.split(","), arguments.epochs, strict=True):
            run = train(way, seed, data, arguments.output, epochs, arguments.settings)
            found = measure(run)
            if arguments.json:
                print(json.dumps(found), flush=True)
            else:
                show(found)


if __name__ == "__main__":
    main()
