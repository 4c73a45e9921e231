"""Do molecules that a model has never seen survive dynamics?

Langevin dynamics of many molecules at once.

    python tests/benchmarks/survival.py [--model organic] [--data teacher.npz] [--count 20]
    [--picoseconds 10] [--json]

Molecules: `count` of 6 to 20 atoms from the part `test` of the set that `data/recipes/teacher.py`
makes. A molecule is lost when a bond of the first frame becomes longer than 1.75 covalent
distances, when two atoms come closer than 0.5 Å, or when a number is not finite.
Integrator: BAOAB, 0.5 fs, friction 0.01/fs (Leimkuhler and Matthews, J. Chem. Phys. 138, 174102
(2013)).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math

import numpy as np
import torch
from ase import units
from ase.data import atomic_masses, covalent_radii

from molequi.datasets.in_memory import Frames
from molequi.datasets.npz import load_npz
from molequi.models.zoo import load


def unseen(path: str, count: int) -> tuple[Frames, list[str]]:
    """Return one frame each of `count` molecules of the test part, and their SMILES.

    Relaxed, of those with 6 to 20 atoms; ions are among them.
    """
    loaded = load_npz(path)
    chosen: dict[str, int] = {}
    for row in loaded.splits["test"].tolist():
        _, sampler, name = loaded.frames.source[row].split(" ", 2)
        is_one = sampler == "relaxed" and "." not in name
        if is_one and 6 <= loaded.frames.n_atoms[row] <= 20:
            chosen.setdefault(name, row)
    names = sorted(chosen)[:: max(len(chosen) // count, 1)][:count]
    return loaded.frames.subset(torch.tensor([chosen[name] for name in names])), names


def bonds(frames: Frames) -> torch.Tensor:
    """Return the bonded pairs: (P, 2)."""
    graph, _ = frames.batch(torch.arange(len(frames)), 3.6)
    i, j = graph.edge_index
    radii = torch.tensor(covalent_radii)[frames.atomic_numbers]
    near = (frames.positions[i] - frames.positions[j]).norm(dim=1) < 1.3 * (radii[i] + radii[j])
    return graph.edge_index[:, near & (i < j)].T


def run(
    model_name: str, frames: Frames, picoseconds: float, temperature: float = 300.0, seed: int = 0
) -> dict[str, object]:
    """Run the dynamics.

    Returns the time each molecule lived (ps) and the mean temperature of the survivors (K).
    """
    model = load(model_name).freeze(kernels="specialized")
    generator = torch.Generator().manual_seed(seed)
    step, friction, kT = 0.5 * units.fs, 0.01 / units.fs, temperature * units.kB
    masses = torch.tensor(atomic_masses)[frames.atomic_numbers][:, None]
    owner = torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)
    pairs, radii = bonds(frames), torch.tensor(covalent_radii)[frames.atomic_numbers]
    limit = 1.75 * (radii[pairs[:, 0]] + radii[pairs[:, 1]])
    keep = math.exp(-friction * step)

    def forces(x: torch.Tensor) -> torch.Tensor:
        graph, _ = dataclasses.replace(frames, positions=x).batch(
            torch.arange(len(frames)), model.cutoff
        )
        return model.compute(graph)["forces"]

    def noise() -> torch.Tensor:
        return (
            torch.randn(frames.positions.shape, dtype=torch.float64, generator=generator)
            * (kT / masses).sqrt()
        )

    x, v = frames.positions.clone(), noise()
    f, lived, heat = forces(x), torch.full((len(frames),), math.inf, dtype=torch.float64), []
    n_steps = round(picoseconds * 1000.0 / 0.5)
    for number in range(n_steps):
        v = v + 0.5 * step * f / masses
        x = x + 0.5 * step * v
        v = keep * v + math.sqrt(1.0 - keep * keep) * noise()
        x = x + 0.5 * step * v
        alive = torch.isinf(lived)
        # A lost molecule is frozen where it began, so that it cannot disturb the rest of the batch.
        gone = torch.zeros(len(frames), dtype=torch.bool)
        gone[owner[pairs[:, 0]][(x[pairs[:, 0]] - x[pairs[:, 1]]).norm(dim=1) > limit]] = True
        gone[owner[~torch.isfinite(x).all(dim=1)]] = True
        lived[gone & alive] = number * 0.0005
        dead = ~torch.isinf(lived)[owner]
        x, v = (
            torch.where(dead[:, None], frames.positions, x),
            torch.where(dead[:, None], torch.zeros_like(v), v),
        )
        f = forces(x)
        v = v + 0.5 * step * f / masses
        if number > n_steps // 5:
            heat.append(float((masses * v * v).sum() / (3 * units.kB * (~dead).sum().clamp(min=1))))
    times = [min(float(time), picoseconds) for time in lived]
    return {
        "lived_ps": times,
        "survived": int(torch.isinf(lived).sum()),
        "temperature_mean": float(np.mean(heat)),
    }


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="organic")
    parser.add_argument("--data", default="teacher.npz")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--picoseconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    frames, names = unseen(arguments.data, arguments.count)
    result = run(arguments.model, frames, arguments.picoseconds)
    if arguments.json:
        print(json.dumps({**result, "molecules": names}))
        return
    for name, time, n_atoms in zip(names, result["lived_ps"], frames.n_atoms.tolist(), strict=True):
        print(f"{name:30s} {n_atoms:3d} atoms  {time:7.2f} ps")
    print(
        f"{result['survived']} of {len(names)} survived {arguments.picoseconds:g} ps at "
        f"{result['temperature_mean']:.0f} K"
    )


if __name__ == "__main__":
    main()
