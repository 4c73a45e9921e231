"""A network on raw coordinates made exactly O_h-equivariant beside the E(3) model.

Errors and cost on ethanol, energies and forces.

    python tests/benchmarks/equivarified_molecules.py [--data FILE] [--steps 300] [--seeds 0]
    [--output molecules.jsonl] [--json]

FILE: frames with energies and forces that ASE reads; by default the bundled sample of revised MD17.
The first 200 frames train (in a fixed random order), the last 100 test, as they are and turned at
random. `coordinates`: the network itself; `augmented`: the same, trained on randomly turned frames;
`O`, `Oh`: lifted over the cubic groups; `E3`: our model with as many channels and layers. All take
the same steps, batches and schedule, and none has seen another's settings: the figures compare
symmetry, not tuning. `group error`, `rotation error`: largest change of the forces under the
elements of O_h, under 10 random rotations, relative to their root mean square, in float64. Times
are processor seconds of one thread. With --output finished rows are kept in a file, and a second
run goes on from there.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import ase.io
import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from molequi.graphs.graph import AtomGraph, collate
from molequi.graphs.neighbors import build_graph
from molequi.groups.finite import point_group
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.structure import random_rotation
from molequi.nn.backbones.coordinates import CoordinateBackbone
from molequi.properties import get_property

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "samples" / "ethanol.extxyz.gz"
CUTOFF, CHANNELS, BATCH, RATE = 5.0, 32, 8, 5e-3
LINE = (
    "{model:11s} seed {seed}  {weights:6d} weights  forces {force_mev_A:6.1f} meV/Å, turned "
    "{turned_force_mev_A:6.1f}  "
    "energy {energy_mev:5.1f} meV, turned {turned_energy_mev:6.1f}  group error {group_error:.0e}  "
    "rotation error {rotation_error:.0e}  "
    "{ms:.2f} ms  step {ms_per_step:.0f} ms"
)
KINDS = ("coordinates", "augmented", "O", "Oh", "E3")


def graph_of(atoms: Atoms, matrix: np.ndarray | None = None) -> AtomGraph:
    """Return the graph of a frame, turned by a matrix."""
    turn = np.eye(3) if matrix is None else matrix
    return build_graph(atoms.positions @ turn.T, atoms.numbers, CUTOFF)


def model_of(kind: str, frames: list[Atoms], seed: int) -> tuple[MolecularModel, float]:
    """Return an untrained model whose energies start at the mean, and its unit of energy.

    The unit is the spread of the forces."""
    elements = tuple(sorted(set(frames[0].numbers.tolist())))
    if kind == "E3":
        model = make_model(
            elements, ["energy"], seed=seed, cutoff=CUTOFF, n_channels=CHANNELS, n_layers=2, l_max=2
        )
        model.backbone.use_kernels("reference")
    else:
        torch.manual_seed(seed)
        average = kind if kind in {"O", "Oh"} else "none"
        model = MolecularModel(
            CoordinateBackbone(elements, CUTOFF, n_channels=CHANNELS, n_layers=2, average=average),
            [get_property("energy")],
        )
    model.backbone.calibrate(collate([graph_of(atoms) for atoms in frames[:8]]))
    scale = float(np.std([atoms.get_forces() for atoms in frames]))
    model.heads["energy"].set_statistics(
        scale, float(np.mean([atoms.get_potential_energy() for atoms in frames])) / len(frames[0])
    )
    return model, scale


def batch_of(
    frames: list[Atoms], turns: list[np.ndarray | None]
) -> tuple[AtomGraph, Tensor, Tensor]:
    """Return graph, energies and forces of frames, each turned by its matrix."""
    forces = [
        atoms.get_forces() @ (np.eye(3) if turn is None else turn).T
        for atoms, turn in zip(frames, turns, strict=True)
    ]
    energies = torch.tensor([atoms.get_potential_energy() for atoms in frames], dtype=torch.float64)
    return (
        collate([graph_of(atoms, turn) for atoms, turn in zip(frames, turns, strict=True)]),
        energies,
        torch.as_tensor(np.concatenate(forces)),
    )


def train(
    model: MolecularModel, frames: list[Atoms], scale: float, steps: int, seed: int, *, turn: bool
) -> float:
    """Train in place; return processor seconds per step."""
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    spent = 0.0
    for _ in range(steps):
        chosen = [frames[k] for k in rng.choice(len(frames), BATCH, replace=False)]
        graph, energies, forces = batch_of(
            chosen, [random_rotation(rng) if turn else None for _ in chosen]
        )
        start = time.process_time()
        outputs = model.compute(graph, create_graph=True)
        n_atoms = len(chosen[0])
        loss = ((outputs["energy"] - energies) / (scale * n_atoms)).square().mean() + (
            (outputs["forces"] - forces) / scale
        ).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        spent += time.process_time() - start
    return spent / steps


def errors(
    model: MolecularModel, frames: list[Atoms], turns: list[np.ndarray | None]
) -> dict[str, float]:
    """Return mean absolute errors, meV and meV/Å, and processor time, ms per frame."""
    energy, force, spent, frozen = [], [], 0.0, model.freeze()
    for k in range(0, len(frames), BATCH):
        graph, energies, forces = batch_of(frames[k : k + BATCH], turns[k : k + BATCH])
        start = time.process_time()
        outputs = frozen.compute(graph)
        spent += time.process_time() - start
        energy.append((outputs["energy"] - energies).abs())
        force.append((outputs["forces"] - forces).abs().flatten())
    return {
        "energy_mev": 1e3 * float(torch.cat(energy).mean()),
        "force_mev_A": 1e3 * float(torch.cat(force).mean()),
        "ms": 1e3 * spent / len(frames),
    }


def violation(model: MolecularModel, atoms: Atoms, matrices: list[np.ndarray]) -> float:
    """Return the largest change of the forces under motions, relative to their root mean square."""
    still = model.compute(graph_of(atoms))["forces"]
    moved = [model.compute(graph_of(atoms, m))["forces"] @ torch.as_tensor(m) for m in matrices]
    return float(max((one - still).abs().max() for one in moved) / still.square().mean().sqrt())


def row(kind: str, frames: list[Atoms], steps: int, seed: int) -> dict[str, object]:
    """Train one model and measure it."""
    order = np.random.default_rng(0).permutation(len(frames))
    trained, tested = [frames[k] for k in order[:-100]][:200], [frames[k] for k in order[-100:]]
    model, scale = model_of(kind, trained, seed)
    seconds = train(model, trained, scale, steps, seed, turn=kind == "augmented")
    rng = np.random.default_rng(1)
    upright, turned = (
        errors(model, tested, [None] * 100),
        errors(model, tested, [random_rotation(rng) for _ in tested]),
    )
    exact = model.double()
    group, rotations = list(point_group("Oh").matrices), [random_rotation(rng) for _ in range(10)]
    return {
        "model": kind,
        "seed": seed,
        "steps": steps,
        "weights": sum(p.numel() for p in model.parameters()),
        **upright,
        "turned_energy_mev": turned["energy_mev"],
        "turned_force_mev_A": turned["force_mev_A"],
        "group_error": violation(exact, tested[0], group),
        "rotation_error": violation(exact, tested[0], rotations),
        "ms_per_step": 1e3 * seconds,
    }


def main() -> None:
    """Train every model with every seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=SAMPLE)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--models", default=",".join(KINDS))
    parser.add_argument(
        "--output", type=Path, help="a file of finished rows, one JSON document a line"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    frames = ase.io.read(arguments.data, index=":")
    done = (
        [json.loads(line) for line in arguments.output.read_text().splitlines()]
        if arguments.output and arguments.output.exists()
        else []
    )
    rows = []
    for seed in map(int, arguments.seeds.split(",")):
        for kind in arguments.models.split(","):
            wanted = {"model": kind, "seed": seed, "steps": arguments.steps}
            kept = [one for one in done if wanted.items() <= one.items()]
            rows.append(kept[0] if kept else row(kind, frames, arguments.steps, seed))
            if arguments.output and not kept:
                with arguments.output.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
            if not arguments.json:
                print(LINE.format(**rows[-1]), flush=True)
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
