"""The teacher: four AIMNet2 networks (ωB97M-D3(BJ)/def2-TZVPP), their labels, paths and dynamics.

The file comes with PyPI's Auto3D 2.3.1 (MIT; `pip install --no-deps`). E = sum_i (network_i +
shift_Z) + E_LR + E_D3; `atom_energies` are the network_i, without the shifts of the elements.
Positions in Å, energies in eV, charges in e. Every batch holds structures of similar size.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import teacher_geometries as geometries
import torch
from ase.data import chemical_symbols
from scipy.linalg import cho_factor, cho_solve

ELEMENTS = "H B C N O F Si P S Cl As Se Br I".split()
PAIRS_PER_BATCH = 20000  # padded pairs of atoms, which keeps a batch in the processor's cache
# On a GPU a network and its gradient take 20 GB for so many.
PAIRS_PER_GPU_BATCH, MOST_ON_A_GPU = 1_500_000, 4096
FEMTOSECOND = 0.09822694788  # Å sqrt(u/eV)
MASS = 12.0  # u, of every atom: thermal averages of positions do not depend on masses
JACOBIAN_STEP = 0.05  # Å, of all atoms together, far above the rounding of float32 positions
MEMORY = 8  # steps that the quasi-Newton relaxation remembers

Forces = Callable[[list["Structure"]], list[np.ndarray]]


class Structure(NamedTuple):
    """Numbers (n,), positions (n, 3) and the total charge."""

    z: np.ndarray
    pos: np.ndarray
    charge: int


class Label(NamedTuple):
    """What the ensemble says of a structure; `_std`: standard deviation over the networks (n - 1).

    energy, energy_std: eV; forces (n, 3): eV/Å; forces_std (n,): length of the componentwise
    deviations; charges, charges_std (n,): e; atom_energies (n,): eV.
    """

    energy: float
    energy_std: float
    forces: np.ndarray
    forces_std: np.ndarray
    charges: np.ndarray
    charges_std: np.ndarray
    atom_energies: np.ndarray


def batches(
    sizes: Sequence[int], pairs: int = PAIRS_PER_BATCH, most: int = 64
) -> Iterator[np.ndarray]:
    """Yield indices of structures of similar size, as many as the padded pairs allow."""
    order = np.argsort(-np.asarray(sizes), kind="stable")
    while len(order):
        n = int(np.clip(pairs // sizes[order[0]] ** 2, 1, most))
        yield order[:n]
        order = order[n:]


def pad(structures: Sequence[Structure]) -> dict[str, torch.Tensor]:
    """Lay structures out as the networks read them; empty places have number 0.

    At least two places: of a single atom alone the networks cannot make a matrix of distances.
    """
    width = max(2, *(len(s.z) for s in structures))
    numbers = np.zeros((len(structures), width), dtype=np.int64)
    coord = np.zeros((len(structures), width, 3), dtype=np.float32)
    for row, s in enumerate(structures):
        numbers[row, : len(s.z)], coord[row, : len(s.z)] = s.z, s.pos
    charge = torch.tensor([float(s.charge) for s in structures])
    return {
        "coord": torch.from_numpy(coord),
        "numbers": torch.from_numpy(numbers),
        "charge": charge,
    }


class Teacher:
    """The ensemble and its single networks."""

    def __init__(self, path: Path, threads: int = 1, device: str = "cpu") -> None:
        """Load the TorchScript file."""
        torch.set_num_threads(threads)
        self.device = torch.device(device)
        ensemble = torch.jit.load(str(path), map_location=self.device)
        self.networks = [getattr(ensemble.models, str(k)) for k in range(4)]
        for network in self.networks:
            for weight in network.parameters():
                weight.requires_grad_(False)

    def batches(self, structures: Sequence[Structure]) -> Iterator[np.ndarray]:
        """Yield indices of structures that are computed together."""
        sizes = [len(s.z) for s in structures]
        if self.device.type == "cpu":
            return batches(sizes)
        return batches(sizes, PAIRS_PER_GPU_BATCH, MOST_ON_A_GPU)

    def padded(self, structures: Sequence[Structure]) -> dict[str, torch.Tensor]:
        """Lay structures out where the networks lie."""
        return {name: values.to(self.device) for name, values in pad(structures).items()}

    def shifts(self) -> dict[str, float]:
        """Return the mean shift of each element in eV."""
        tables = [n.module.outputs.atomic_shift.shifts.weight for n in self.networks]
        mean = torch.stack([t.detach().double().flatten() for t in tables]).mean(0)
        return {symbol: float(mean[chemical_symbols.index(symbol)]) for symbol in ELEMENTS}

    def evaluate(self, k: int, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Run network k: energy (B,), forces, charges and atom_energies (B, N)."""
        out = self.networks[k](dict(batch))
        with torch.no_grad():
            head = {"aim": out["aim"].detach(), "pad_mask": out["pad_mask"]}
            atoms = self.networks[k].module.outputs.energy_mlp(head)["energy"]
        energy, forces, charges = (out[name].detach() for name in ("energy", "forces", "charges"))
        return {"energy": energy, "forces": forces, "charges": charges, "atom_energies": atoms}

    def forces(self, structures: list[Structure], k: int) -> list[np.ndarray]:
        """Return the forces (n, 3) of network k for each structure."""
        found: list[np.ndarray] = [np.zeros(0)] * len(structures)
        for rows in self.batches(structures):
            out = self.networks[k](self.padded([structures[r] for r in rows]))["forces"].detach()
            for r, forces in zip(rows, out.double().cpu().numpy(), strict=True):
                found[r] = forces[: len(structures[r].z)]
        return found

    def label(self, structures: list[Structure]) -> list[Label]:
        """Label structures with the whole ensemble."""
        found: list[Label | None] = [None] * len(structures)
        for rows in self.batches(structures):
            batch = self.padded([structures[r] for r in rows])
            outs = [self.evaluate(k, batch) for k in range(len(self.networks))]
            stacked = {name: torch.stack([o[name].double() for o in outs]) for name in outs[0]}
            mean = {name: values.mean(0).cpu().numpy() for name, values in stacked.items()}
            std = {name: values.std(0).cpu().numpy() for name, values in stacked.items()}
            for row, r in enumerate(rows):
                n = slice(len(structures[r].z))
                found[r] = Label(
                    float(mean["energy"][row]),
                    float(std["energy"][row]),
                    mean["forces"][row, n],
                    np.linalg.norm(std["forces"][row, n], axis=-1),
                    mean["charges"][row, n],
                    std["charges"][row, n],
                    mean["atom_energies"][row, n],
                )
        return [label for label in found if label is not None]


def descent_direction(
    forces: np.ndarray, factor: tuple, history: list[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Return the L-BFGS step (3n,) from flat forces, starting from a factored model Hessian."""
    gradient, weights = -forces.copy(), []
    for step, change in reversed(history):
        weights.append(step @ gradient / (step @ change))
        gradient -= weights[-1] * change
    direction = cho_solve(factor, gradient)
    for (step, change), weight in zip(history, reversed(weights), strict=True):
        direction += step * (weight - change @ direction / (step @ change))
    return -direction


def remember(
    history: list[tuple[np.ndarray, np.ndarray]], step: np.ndarray, change: np.ndarray
) -> None:
    """Add a step and its change of gradient; forget all where the curvature is not a well's."""
    if step @ change > 0.05 * (step @ step):
        history.append((step, change))
        del history[:-MEMORY]
    else:
        history.clear()


def relax(
    forces_of: Forces, structures: list[Structure], n_steps: int, keep: Sequence[int]
) -> list[list[np.ndarray]]:
    """Go downhill; returns, for each step in `keep`, the positions of all structures.

    Quasi-Newton steps from a stiffened elastic network, which errs to the side of short steps. No
    atom moves further than 0.15 Å in a step, none where all forces are below 0.03 eV/Å.
    """
    hessians = [geometries.elastic_hessian(s.z, s.pos) for s in structures]
    factors = [cho_factor(1.5 * h + 6.0 * np.eye(len(h))) for h in hessians]
    histories: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in structures]
    positions = [s.pos.astype(np.float64) for s in structures]
    kept, before = [], [np.zeros(0)] * len(structures)
    forces = forces_of(structures)
    for step in range(1, n_steps + 1):
        for i, history in enumerate(histories):
            flat = forces[i].ravel()
            if np.linalg.norm(forces[i], axis=1).max() < 0.03:
                continue
            if step > 1:
                remember(history, before[i][0], before[i][1] - flat)
            move = descent_direction(flat, factors[i], history)
            longest = np.linalg.norm(move.reshape(-1, 3), axis=1).max()
            move *= min(1.0, 0.15 / max(longest, 1e-12))
            positions[i] = positions[i] + move.reshape(-1, 3)
            before[i] = (move, flat)
        if step in keep:
            kept.append([p.copy() for p in positions])
        if step < n_steps:
            forces = forces_of(
                [s._replace(pos=p) for s, p in zip(structures, positions, strict=True)]
            )
    return kept


def langevin(
    forces_of: Forces, structures: list[Structure], temperatures: np.ndarray, n_steps: int,
    keep: Sequence[int], rng: np.random.Generator, *, timestep: float = 2.5, friction: float = 0.02,
) -> list[list[np.ndarray]]:  # fmt: skip
    """Run Langevin dynamics (BAOAB, doi:10.1093/amrx/abs010) of atoms of equal mass.

    temperatures in K, one for each structure; timestep in fs, friction in 1/fs. It starts with
    the kinetic energy of twice the temperature, as from a minimum. Returns, for each step in
    `keep`, the positions of all structures. No atom is faster than 0.06 Å/fs.
    """
    speeds = np.sqrt(geometries.BOLTZMANN * temperatures / MASS) * FEMTOSECOND
    positions = [s.pos.astype(np.float64) for s in structures]
    velocities = [
        2**0.5 * v * rng.normal(size=p.shape) for v, p in zip(speeds, positions, strict=True)
    ]
    decay, kick = np.exp(-friction * timestep), 0.5 * timestep / MASS * FEMTOSECOND**2
    forces, kept = forces_of(structures), []
    for step in range(1, n_steps + 1):
        for i, force in enumerate(forces):
            velocity = velocities[i] + kick * force
            positions[i] = positions[i] + 0.5 * timestep * velocity
            noise = rng.normal(size=velocity.shape)
            velocities[i] = decay * velocity + np.sqrt(1 - decay**2) * speeds[i] * noise
            positions[i] = positions[i] + 0.5 * timestep * velocities[i]
        forces = forces_of([s._replace(pos=p) for s, p in zip(structures, positions, strict=True)])
        for i, force in enumerate(forces):
            velocity = velocities[i] + kick * force
            speed = np.linalg.norm(velocity, axis=1, keepdims=True)
            velocities[i] = velocity * (0.06 / np.maximum(speed, 0.06))
        if step in keep:
            kept.append([p.copy() for p in positions])
    return kept


def jacobian_columns(
    teacher: Teacher, arrays: dict[str, np.ndarray], *, rng: np.random.Generator, every: int = 7
) -> dict[str, np.ndarray]:
    """Return how forces change along a random displacement of every `every`-th frame of a shard.

    row (M,): frames of the shard; n_atoms (M,); displacements d (A, 3), Å, of length
    `JACOBIAN_STEP` over a frame; force_changes (A, 3): (F(x + d) - F(x - d)) / 2|d|, eV/Å², a
    column of the force Jacobian but for the square of the step. In float32.
    """
    off = np.concatenate([[0], np.cumsum(arrays["n_atoms"])])
    rows = np.arange(int(rng.integers(every)), len(arrays["n_atoms"]), every)
    structures = [
        Structure(arrays["z"][off[r] : off[r + 1]], arrays["pos"][off[r] : off[r + 1]], int(q))
        for r, q in zip(rows, arrays["charge"][rows], strict=True)
    ]
    ways = [rng.normal(size=s.pos.shape) for s in structures]
    ways = [JACOBIAN_STEP * way / np.linalg.norm(way) for way in ways]
    ends = [
        teacher.label(
            [s._replace(pos=s.pos + d * w) for s, w in zip(structures, ways, strict=True)]
        )
        for d in (-1, 1)
    ]
    slopes = [(b.forces - a.forces) / (2 * JACOBIAN_STEP) for a, b in zip(*ends, strict=True)]
    return {
        "row": rows,
        "n_atoms": arrays["n_atoms"][rows],
        "displacements": np.concatenate(ways).astype(np.float32),
        "force_changes": np.concatenate(slopes).astype(np.float32),
    }
