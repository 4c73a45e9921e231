"""Aligning by turned features against running the network again.

`python tests/benchmarks/align.py [--poses N] [--molecules N] [--json]`.

For each pair: scores of all orientations from one run of the network for each molecule; then by
brute force, the molecule turned, the network run and its fields expanded anew for every pose. Do
both rank the same 100 poses first, how far are the scores apart, how many times as fast is the
scan? Times are of the processor, one thread; the network's in batches of 50 poses, without forces.
Then: a random rotation of each of N molecules of the QM9 sample is to be found again, and chiral
targets are to prefer their own hand.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from molequi.alignment.align import align
from molequi.alignment.fields import Multipoles, Shells, fields_of, multipoles, shells_for
from molequi.alignment.orientations import angle_between, grid_rotations
from molequi.alignment.scoring import (
    Pair,
    best_pose,
    ranking,
    scan_orientations,
    unit_features,
)
from molequi.datasets.npz import load_npz
from molequi.datasets.places import find_data
from molequi.graphs.graph import collate
from molequi.graphs.neighbors import build_graph
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.models.structure import random_rotation
from molequi.models.zoo import load
from molequi.structures.molecules import atoms_from_smiles

WEIGHT, BATCH, TOP = 0.5, 50, 100
PAIRS = {
    "ethanol on lactonitrile": ("CCO", "C[C@H](O)C#N"),
    "alanine on lactic acid": ("C[C@H](N)C(=O)O", "C[C@@H](O)C(=O)O"),
}
CHIRAL = (
    "C[C@H](N)C(=O)O",
    "C[C@H](O)C#N",
    "C[C@@H](O)C(=O)O",
    "C[C@H]1CO1",
    "CC[C@H](C)O",
    "N[C@@H](CO)C(=O)O",
    "C[C@H]1CCCCN1",
    "O=C[C@H](O)CO",
)
BESIDE = 1e-3  # Å, by which two molecules' atoms of one element differ from a symmetry's image


def poses(atoms: Atoms, rotations: Tensor, model: FrozenModel) -> Iterator[Multipoles]:
    """Run the network on a molecule turned by each of the rotations (B, 3, 3)."""
    for turns in rotations.split(BATCH):
        graph = collate(
            [
                build_graph(atoms.positions @ turn.numpy().T, atoms.numbers, model.cutoff)
                for turn in turns
            ]
        )
        yield multipoles(model, graph)


def brute_force(
    atoms: Atoms, target: Tensor, shells: Shells, rotations: Tensor, model: FrozenModel
) -> tuple[Tensor, float, float]:
    """Return the scores (B,), the seconds of network runs alone and of everything."""
    scores, network, start = [], 0.0, time.process_time()
    runs = poses(atoms, rotations, model)
    while True:
        before = time.process_time()
        molecule = next(runs, None)
        network += time.process_time() - before
        if molecule is None:
            return torch.tensor(scores, dtype=torch.float64), network, time.process_time() - start
        fields = fields_of(molecule, shells)
        scores += [
            float((unit_features(fields, WEIGHT, pose) * target).sum())
            for pose in range(len(molecule.positions))
        ]


def compare(name: str, n_poses: int, model: FrozenModel) -> dict:
    """Scan one pair both ways.

    Brute force takes every (10,000 / n_poses)-th pose, and its time is scaled to all.
    """
    a, b = (atoms_from_smiles(smiles, 0) for smiles in PAIRS[name])
    rotations = grid_rotations()
    scan_once(a, b, model)  # tables of the grid and compiled kernels are made once
    rounds = []
    for _ in range(5):
        start = time.process_time()
        scores, target, shells = scan_once(a, b, model)
        rounds.append(time.process_time() - start)
    chosen = torch.arange(0, len(rotations), len(rotations) // n_poses)
    found, network, everything = brute_force(a, target, shells, rotations[chosen], model)
    scale = len(rotations) / len(chosen)
    same = torch.equal(ranking(scores[chosen])[:TOP], ranking(found)[:TOP])
    return {
        "pair": name,
        "atoms": [len(a), len(b)],
        "poses": len(chosen),
        "top": TOP,
        "same_top": same,
        "largest_difference": float((scores[chosen] - found).abs().max()),
        "scan_s": float(np.median(rounds)),
        "network_s": network * scale,
        "brute_force_s": everything * scale,
        "speedup_over_network": network * scale / float(np.median(rounds)),
        "speedup_over_brute_force": everything * scale / float(np.median(rounds)),
    }


def scan_once(a: Atoms, b: Atoms, model: FrozenModel) -> tuple[Tensor, Tensor, Shells]:
    """Run the network on both, expand, and score all orientations.

    Everything that a user waits for but the refinement.
    """
    parts = [multipoles(model, build_graph(x.positions, x.numbers, model.cutoff)) for x in (a, b)]
    shells = shells_for(*parts)
    pair = Pair(*(unit_features(fields_of(part, shells), WEIGHT) for part in parts))
    return scan_orientations(pair), pair.b, shells


def without_symmetry(model: MolecularModel) -> Iterator[Atoms]:
    """Molecules of the QM9 sample that no rotation maps on themselves.

    Heavy atoms not in a line, all different by the network's invariants.
    """
    frames = load_npz(find_data("samples/qm9_sample.npz")).frames
    for k in range(len(frames)):
        graph = frames.batch(torch.tensor([k]), model.cutoff)[0]
        heavy = graph.atomic_numbers > 1
        if not bool(model.is_known[graph.atomic_numbers].all()) or int(heavy.sum()) < 3:
            continue
        features = model.embed(graph)[heavy]
        distances = torch.cdist(features, features) + 1e9 * torch.eye(len(features))
        places = graph.positions[heavy] - graph.positions[heavy].mean(dim=0)
        if (
            float(distances.min()) > BESIDE * float(features.norm(dim=1).mean())
            and float(torch.linalg.svdvals(places)[1]) > 0.3
        ):
            yield Atoms(graph.atomic_numbers.numpy(), graph.positions.numpy())


def recover(n_molecules: int, model: MolecularModel) -> dict:
    """Turn molecules by random rotations and find these again; degrees."""
    rng, errors, seconds = np.random.default_rng(0), [], []
    for _, atoms in zip(range(n_molecules), without_symmetry(model), strict=False):
        rotation = random_rotation(rng)
        turned = Atoms(atoms.numbers, atoms.positions @ rotation.T + rng.normal(size=3))
        start = time.process_time()
        record = align(atoms, turned, model, charge_weight=WEIGHT)
        seconds.append(time.process_time() - start)
        errors.append(
            float(angle_between(torch.as_tensor(record["rotation"]), torch.as_tensor(rotation)))
        )
    return {
        "molecules": len(errors),
        "within_2_degrees": sum(e < 2 for e in errors),
        "largest_error_deg": max(errors),
        "align_s": float(np.median(seconds)),
    }


def hands(model: FrozenModel) -> list[dict]:
    """Score both hands of chiral molecules, one turned at random, against one of them."""
    rng, rows = np.random.default_rng(1), []
    for smiles in CHIRAL:
        target = atoms_from_smiles(smiles, 0)
        scores = []
        for sign in (1, -1):
            parts = [
                multipoles(model, build_graph(x, target.numbers, model.cutoff))
                for x in (sign * target.positions @ random_rotation(rng).T, target.positions)
            ]
            shells = shells_for(*parts)
            scores.append(
                best_pose(
                    Pair(*(unit_features(fields_of(part, shells), WEIGHT) for part in parts))
                ).score
            )
        rows.append({"smiles": smiles, "same_hand": scores[0], "wrong_hand": scores[1]})
    return rows


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="organic")
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--poses", type=int, default=10_000)
    parser.add_argument("--molecules", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    # The fastest, for both ways.
    model = load(options.model, dtype=options.dtype).freeze(kernels="specialized")
    result = {
        "scan": [compare(name, options.poses, model) for name in PAIRS],
        "rotations": recover(options.molecules, load(options.model, dtype="float64")),
        "hands": hands(load(options.model, dtype="float64").freeze()),
    }
    if options.json:
        print(json.dumps(result, indent=1))
        return
    report(result)


def report(result: dict) -> None:
    """Print for people."""
    for row in result["scan"]:
        same = "the same" if row["same_top"] else "NOT the same"
        print(
            f"{row['pair']}: {same} best {TOP} of {row['poses']:,} poses, scores within "
            f"{row['largest_difference']:.1e}"
        )
        print(
            f"  scan {row['scan_s'] * 1e3:.0f} ms; network alone {row['network_s']:.1f} s, "
            f"{row['speedup_over_network']:.0f} times as long;",
            end=" ",
        )
        print(
            f"  all of brute force {row['brute_force_s']:.1f} s, "
            f"{row['speedup_over_brute_force']:.0f} times as long"
        )
    found = result["rotations"]
    print(
        f"{found['within_2_degrees']} of {found['molecules']} rotations found within 2°, largest "
        f"error {found['largest_error_deg']:.1e}°"
    )
    for row in result["hands"]:
        print(
            f"{row['smiles']}: same hand {row['same_hand']:.6f}, wrong hand {row['wrong_hand']:.4f}"
        )


if __name__ == "__main__":
    main()
