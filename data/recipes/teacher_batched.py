"""Geometries made and labelled in batches on a GPU, where one structure at a time would be slow.

The samplers are those of `teacher_geometries` and `teacher_aimnet`, of many structures at once:
tensors (B, N, ...), padded to the largest structure. Displaced geometries start from the force
field's geometry, noise and dynamics from the relaxed one. Å, eV, K; time in fs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import teacher_aimnet as aimnet
import teacher_geometries as geometries
import teacher_tiny as tiny
import torch
from ase.data import covalent_radii
from rdkit import Chem
from torch import Tensor

SMALLEST = frozenset((*tiny.QUOTA, *tiny.COMPLEXES, *tiny.MANY))
RELAX_STEPS, LAST_ON_THE_WAY = 14, 5
SINGLE_TEMPERATURES, COMPLEX_TEMPERATURES = (300.0, 1000.0), (100.0, 400.0)
# Shares of molecules and of complexes that move; steps of the dynamics that are kept.
DYNAMICS, KEPT = (0.33, 0.12), (12, 24, 36, 48)
MOST_FRAMES, MOST_OF_COMPLEX, MOST_DISPLACED = 12, 6, 4
Forces = Callable[[Tensor], Tensor]


class Padded(NamedTuple):
    """Structures side by side; z: (B, N), 0 where no atom is. pos: (B, N, 3), charge: (B,)."""

    z: Tensor
    pos: Tensor
    charge: Tensor

    @property
    def is_atom(self) -> Tensor:
        """Where an atom is: (B, N)."""
        return self.z > 0

    @classmethod
    def of(cls, batch: Mapping[str, Tensor]) -> "Padded":
        """Read what `teacher_aimnet.pad` laid out."""
        return cls(batch["numbers"], batch["coord"], batch["charge"])

    def cut(self, positions: Tensor) -> list[np.ndarray]:
        """Return positions (B, N, 3) as arrays of the atoms alone."""
        counts = self.is_atom.sum(dim=1).tolist()
        return [p[:n] for p, n in zip(positions.cpu().double().numpy(), counts, strict=True)]


def radii_of(z: Tensor) -> Tensor:
    """Return covalent radii (B, N), Å."""
    return torch.from_numpy(covalent_radii).to(device=z.device, dtype=torch.float32)[z]


def elastic_hessians(batch: Padded) -> Tensor:
    """Return the Hessian of `teacher_geometries.elastic_hessian` of each structure: (B, 3N, 3N)."""
    n = batch.z.shape[1]
    vectors = batch.pos[:, :, None] - batch.pos[:, None]
    is_pair = batch.is_atom[:, :, None] & batch.is_atom[:, None]
    is_pair = is_pair & ~torch.eye(n, dtype=torch.bool, device=batch.z.device)
    distances = torch.where(is_pair, vectors.norm(dim=-1), 1.0)
    radii = radii_of(batch.z)
    ratios = (radii[:, :, None] + radii[:, None]) / distances
    stiffness = torch.where(is_pair, 30.0 * (ratios**5).clamp(max=4.0), 0.0)
    unit = vectors / distances[..., None]
    blocks = -stiffness[..., None, None] * unit[..., :, None] * unit[..., None, :]
    rows = torch.arange(n, device=batch.z.device)
    blocks[:, rows, rows] = -blocks.sum(dim=2)
    return blocks.permute(0, 1, 3, 2, 4).reshape(len(batch.z), 3 * n, 3 * n)


def factored(hessians: Tensor, scale: float, shift: float) -> Tensor:
    """Return the Cholesky factors of scale H + shift: (B, n, n)."""
    identity = torch.eye(hessians.shape[1], device=hessians.device)
    return torch.linalg.cholesky_ex(scale * hessians + shift * identity)[0]


def relax(forces_of: Forces, batch: Padded, keep: Tensor) -> tuple[Tensor, Tensor]:
    """Go downhill as `teacher_aimnet.relax` does; return positions at step keep (B,), and the last.

    A step and its change of gradient count where the curvature is a well's.
    """
    factors, history = factored(elastic_hessians(batch), 1.5, 6.0), []
    positions, on_the_way, before = batch.pos, batch.pos, None
    for step in range(1, RELAX_STEPS + 1):
        forces = forces_of(positions)
        flat = forces.flatten(1)
        if before is not None:
            history = [*history, _curvature(before[0], before[1] - flat)][-aimnet.MEMORY :]
        move = _descent(flat, factors, history).view_as(forces)
        longest = move.norm(dim=-1).amax(dim=1).clamp(min=0.15)
        is_moving = forces.norm(dim=-1).amax(dim=1) > 0.03
        move = move * (is_moving * 0.15 / longest)[:, None, None]
        positions, before = positions + move, (move.flatten(1), flat)
        on_the_way = torch.where((keep == step)[:, None, None], positions, on_the_way)
    return on_the_way, positions


def _curvature(step: Tensor, change: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return step, change and 1 / (step . change), all zero where they are no well's."""
    product = (step * change).sum(dim=1)
    is_well = product > 0.05 * step.square().sum(dim=1)
    inverse = torch.where(is_well, 1.0 / torch.where(is_well, product, 1.0), 0.0)
    return step * is_well[:, None], change * is_well[:, None], inverse


def _descent(
    forces: Tensor, factors: Tensor, history: list[tuple[Tensor, Tensor, Tensor]]
) -> Tensor:
    """Return the L-BFGS steps (B, n) from flat forces, beginning with the factored Hessians."""
    gradient, weights = -forces, []
    for step, change, inverse in reversed(history):
        weights.append(inverse * (step * gradient).sum(dim=1))
        gradient = gradient - weights[-1][:, None] * change
    move = torch.cholesky_solve(gradient[..., None], factors)[..., 0]
    for (step, change, inverse), weight in zip(history, reversed(weights), strict=True):
        move = move + step * (weight - inverse * (change * move).sum(dim=1))[:, None]
    return -torch.nan_to_num(move, 0.0, 0.0, 0.0)


def thermal_noise(batch: Padded, temperatures: Tensor, generator: torch.Generator) -> Tensor:
    """Displace by thermal noise of the elastic network, each mode stiffer by 2 eV/Å²: (B, N, 3).

    `teacher_geometries.mode_noise` gives the modes 2 eV/Å² at least; here a triangular solve is
    enough, where that takes all modes.
    """
    factors = factored(elastic_hessians(batch), 1.0, 2.0)
    draws = _normal(factors[:, :, :1], generator)
    moves = torch.linalg.solve_triangular(factors.mT, draws, upper=True).view_as(batch.pos)
    width = (geometries.BOLTZMANN * temperatures).sqrt()[:, None, None]
    return batch.pos + torch.nan_to_num(moves, 0.0, 0.0, 0.0) * width * batch.is_atom[..., None]


def langevin(
    forces_of: Forces,
    batch: Padded,
    temperatures: Tensor,
    keep: Sequence[int],
    generator: torch.Generator,
    *,
    timestep: float = 2.5,
    friction: float = 0.02,
) -> list[Tensor]:
    """Run the dynamics of `teacher_aimnet.langevin`; positions (B, N, 3) at each step in `keep`."""
    unit = aimnet.FEMTOSECOND
    speeds = (geometries.BOLTZMANN * temperatures / aimnet.MASS).sqrt()[:, None, None] * unit
    positions, kept = batch.pos, []
    velocities = 2**0.5 * speeds * _normal(positions, generator)
    decay, kick = np.exp(-friction * timestep), 0.5 * timestep / aimnet.MASS * unit**2
    forces = forces_of(positions)
    for step in range(1, max(keep) + 1):
        velocities = velocities + kick * forces
        positions = positions + 0.5 * timestep * velocities
        noise = _normal(positions, generator)
        velocities = decay * velocities + (1 - decay**2) ** 0.5 * speeds * noise
        positions = positions + 0.5 * timestep * velocities
        forces = forces_of(positions)
        velocities = velocities + kick * forces
        speed = velocities.norm(dim=-1, keepdim=True)
        velocities = velocities * (0.06 / speed.clamp(min=0.06)) * batch.is_atom[..., None]
        if step in keep:
            kept.append(positions)
    return kept


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def sample(
    teacher: aimnet.Teacher, items: list[geometries.Start], rng: np.random.Generator
) -> list[tuple[int, geometries.Geometry]]:
    """Make all geometries of a shard: (index of the start, geometry).

    Of complexes of the smallest, in which protons go anywhere, only displaced ones.
    """
    made = [(i, geometry) for i, start in enumerate(items) for geometry in displaced(start, rng)]
    chosen = [i for i, s in enumerate(items) if len(s.z) > 1 and not is_smallest_complex(s)]
    generator = torch.Generator(teacher.device).manual_seed(int(rng.integers(2**31)))
    structures = [aimnet.Structure(items[i].z, items[i].pos, items[i].charge) for i in chosen]
    for rows in teacher.batches(structures):
        starts = [items[chosen[row]] for row in rows]
        found = Sampler(teacher, starts, rng, generator).geometries()
        made += [(chosen[rows[k]], geometry) for k, geometry in found]
    kept = []
    for i, start in enumerate(items):
        own = [geometry for k, geometry in made if k == i]
        most = MOST_OF_COMPLEX if start.fragment.max() else MOST_FRAMES
        kept += [(i, own[row]) for row in rng.permutation(len(own))[:most]]
    return kept


def is_smallest_complex(start: geometries.Start) -> bool:
    """Tell whether a start is a complex of the smallest molecules."""
    return bool(start.fragment.max()) and start.category in SMALLEST


def displaced(start: geometries.Start, rng: np.random.Generator) -> list[geometries.Geometry]:
    """Displace a start from where the force field left it, but for thermal noise."""
    if start.category in SMALLEST:
        found = tiny.displacements(start, start.pos, rng)
        return [g for g in found if geometries.is_usable(g.pos)]
    found = geometries.displacements(start, start.pos, rng)
    found = [g for g in found if g.sampler != "modes" and is_whole(start, g)]
    most = MOST_DISPLACED if start.fragment.max() else len(found)
    return [found[row] for row in rng.permutation(len(found))[:most]]


def is_whole(start: geometries.Start, geometry: geometries.Geometry) -> bool:
    """Tell whether a geometry is usable and its bonds hold, unless broken on purpose."""
    if not geometries.is_usable(geometry.pos):
        return False
    is_free = geometry.sampler in geometries.FREE
    return is_free or geometries.damage(start.z, start.bonds, geometry.pos) < 2


class Sampler:
    """Relaxed, thermally displaced and moving geometries of starts of similar size."""

    def __init__(
        self,
        teacher: aimnet.Teacher,
        starts: Sequence[geometries.Start],
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> None:
        self.teacher, self.starts, self.rng, self.generator = teacher, starts, rng, generator
        structures = [aimnet.Structure(s.z, s.pos - s.pos.mean(0), s.charge) for s in starts]
        self.batch = Padded.of(teacher.padded(structures))
        self.is_complex = np.array([s.fragment.max() > 0 for s in starts])

    def geometries(self) -> list[tuple[int, geometries.Geometry]]:
        """Return all sound geometries, with the place of their start."""
        n = len(self.starts)
        keep = torch.from_numpy(self.rng.integers(1, 1 + LAST_ON_THE_WAY, n))
        forces_of = self.forces_of(self.batch)
        on_the_way, relaxed = relax(forces_of, self.batch, keep.to(self.teacher.device))
        self.batch = self.batch._replace(pos=relaxed)
        everyone = np.ones(n, dtype=bool)
        made = [("relaxing", on_the_way, everyone), ("relaxed", relaxed, everyone)]
        for low, high, is_made in (
            (100.0, 1000.0, everyone),
            (50.0, 500.0, self.rng.random(n) < 0.4),
        ):
            temperatures = self.put(self.rng.uniform(low, high, n))
            moved = thermal_noise(self.batch, temperatures, self.generator)
            made.append(("modes", moved, is_made))
        return [
            (i, geometries.Geometry(sampler, position))
            for sampler, positions, is_made in [*made, *self.dynamics()]
            for i, position in enumerate(self.batch.cut(positions))
            if is_made[i] and is_sound(self.starts[i], position)
        ]

    def dynamics(self) -> list[tuple[str, Tensor, np.ndarray]]:
        """Return positions on the paths of those that move: sampler, (B, N, 3), whose they are."""
        is_moving = self.rng.random(len(self.starts)) < np.where(self.is_complex, *DYNAMICS[::-1])
        is_moving &= np.array([s.category not in SMALLEST for s in self.starts])
        if not is_moving.any():
            return []
        rows = torch.from_numpy(np.flatnonzero(is_moving)).to(self.teacher.device)
        part = Padded(*(values[rows] for values in self.batch))
        spans = np.where(
            self.is_complex[is_moving][:, None], COMPLEX_TEMPERATURES, SINGLE_TEMPERATURES
        )
        temperatures = self.put(self.rng.uniform(*spans.T))
        paths = langevin(self.forces_of(part), part, temperatures, KEPT, self.generator)
        return [("md", self.batch.pos.index_copy(0, rows, path), is_moving) for path in paths]

    def forces_of(self, batch: Padded) -> Forces:
        """Return the forces of one network as a function of positions, zero where no atom is."""
        network = int(self.rng.integers(len(self.teacher.networks)))

        def forces(positions: Tensor) -> Tensor:
            # The network differentiates by the very tensor that it is given.
            coord = positions.detach().clone()
            inputs = {"coord": coord, "numbers": batch.z, "charge": batch.charge}
            found = self.teacher.networks[network](inputs)["forces"].detach()
            return torch.nan_to_num(found, 0.0, 0.0, 0.0) * batch.is_atom[..., None]

        return forces

    def put(self, values: np.ndarray) -> Tensor:
        """Return numbers as a tensor where the structures lie."""
        return torch.from_numpy(values).to(self.batch.pos)


def is_sound(start: geometries.Start, pos: np.ndarray) -> bool:
    """Tell whether bonds hold; protons may go over, but not among the smallest or beside ions."""
    if not geometries.is_usable(pos):
        return False
    parts = start.smiles.split(".")
    is_ionic = len(parts) > 1 and any(
        Chem.GetFormalCharge(Chem.MolFromSmiles(part)) for part in parts
    )
    most = 0 if is_ionic or start.category in SMALLEST else 1
    return geometries.damage(start.z, start.bonds, pos) <= most
