"""The levels of theory behind the organic training set: ANI-1ccx, GFN2-xTB, and CCSD for H2.

Energies in eV, forces in eV/Å, dipoles in e·Å (from - to +), positions in Å.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torchani
from ase import units
from ase.data import atomic_masses
from scipy.interpolate import CubicSpline

Geometry = tuple[np.ndarray, np.ndarray]


def pad(geometries: Sequence[Geometry]) -> tuple[torch.Tensor, torch.Tensor]:
    """Batch geometries as z (B, n), -1 where empty, and float64 pos (B, n, 3)."""
    width = max(len(z) for z, _ in geometries)
    z = np.full((len(geometries), width), -1)
    pos = np.zeros((len(geometries), width, 3))
    for row, (numbers, points) in enumerate(geometries):
        z[row, : len(numbers)], pos[row, : len(numbers)] = numbers, points
    return torch.as_tensor(z), torch.as_tensor(pos)


def batches(sizes: Sequence[int], batch_size: int) -> Iterator[np.ndarray]:
    """Yield index arrays of at most `batch_size` geometries of similar size."""
    order = np.argsort(sizes, kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


class Ani:
    """The eight ANI-1ccx networks (doi:10.1038/s41467-019-10827-4), evaluated in batches.

    The networks run in `dtype`; the atoms' self energies are added in float64.
    """

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        """Load the weights that ship with torchani 2.0."""
        self.dtype = dtype
        self.model = torchani.models.ANI1ccx(periodic_table_index=True).to(dtype)
        self.model.energy_shifter = self.model.energy_shifter.double()
        self.self_energies = {s: e * units.Hartree for s, e in self.model.sae_dict.items()}
        shifts = [self.model.sae_dict[s] for s in "HCNO"]
        self.model.energy_shifter.self_energies = torch.tensor(shifts, dtype=torch.float64)

    def members(
        self, z: torch.Tensor, pos: torch.Tensor, n_members: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return energies (K, B) in eV and forces (K, B, n, 3) in eV/Å of the first K networks."""
        x = pos.to(self.dtype).requires_grad_(True)
        species, aev = self.model.aev_computer(self.model.species_converter((z, x)))
        shift = self.model.energy_shifter.sae(species)
        energies, forces = [], []
        for k in range(n_members):
            energy = self.model.neural_networks[k]((species, aev)).energies
            (gradient,) = torch.autograd.grad(energy.sum(), x, retain_graph=k < n_members - 1)
            energies.append((energy.detach().double() + shift) * units.Hartree)
            forces.append(-gradient.double() * units.Hartree)
        return torch.stack(energies), torch.stack(forces)

    def label(
        self, z: torch.Tensor, pos: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return mean energies (B,), mean forces (B, n, 3) and the networks' disagreement (B,).

        Disagreement: the largest standard deviation of an atom's force vector, eV/Å.
        """
        energies, forces = self.members(z, pos, len(self.model))
        spread = (forces - forces.mean(0)).square().sum(-1).mean(0).sqrt()
        return energies.mean(0), forces.mean(0), spread.amax(-1)


def langevin(
    ani: Ani,
    geometries: Sequence[Geometry],
    temperatures: np.ndarray,
    snapshots: Sequence[int],
    seed: int,
    *,
    timestep: float = 1.0,
    friction: float = 0.05,
) -> np.ndarray:
    """Run Langevin dynamics (BAOAB, doi:10.1093/amrx/abs010) of one ANI-1ccx network, batched.

    temperatures: (B,) in K; snapshots: the steps to keep; timestep in fs; friction in 1/fs.
    Returns positions (len(snapshots), B, n, 3) in Å. Atoms faster than 0.1 Å/fs are slowed to it.
    """
    generator = torch.Generator().manual_seed(seed)
    z, pos = pad(geometries)
    pos = pos.clone()
    mass = torch.as_tensor(atomic_masses)[z.clamp(min=0)][..., None]
    kt = torch.as_tensor(temperatures, dtype=torch.float64)[:, None, None] * units.kB
    thermal = (z >= 0)[..., None] * (kt / mass).sqrt()
    velocity = thermal * 2**0.5 * torch.randn(pos.shape, generator=generator, dtype=torch.float64)
    half, decay = 0.5 * timestep * units.fs, float(np.exp(-friction * timestep))
    force, kept = ani.members(z, pos, 1)[1][0], []
    for step in range(1, max(snapshots) + 1):
        velocity = velocity + half * force / mass
        pos = pos + half * velocity
        noise = torch.randn(pos.shape, generator=generator, dtype=torch.float64)
        velocity = decay * velocity + (1.0 - decay**2) ** 0.5 * thermal * noise
        pos = pos + half * velocity
        force = ani.members(z, pos, 1)[1][0]
        velocity = velocity + half * force / mass
        speed = velocity.norm(dim=-1, keepdim=True) * units.fs
        velocity = velocity * (0.1 / speed.clamp(min=0.1))
        if step in snapshots:
            kept.append(pos.numpy())
    return np.stack(kept)


def gfn2_dipole(z: np.ndarray, pos: np.ndarray) -> np.ndarray:
    """Return the GFN2-xTB dipole (3,) in e·Å (tblite; doi:10.1021/acs.jctc.8b01176)."""
    from tblite.interface import Calculator  # noqa: PLC0415  # an optional level

    calculator = Calculator("GFN2-xTB", z, pos / units.Bohr)
    calculator.set("verbosity", 0)
    return calculator.singlepoint().get("dipole") * units.Bohr


def hydrogen_molecule(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return energies (B,) in eV and slopes dE/dr (B,) in eV/Å of H2 at `distances` (B,) in Å.

    Full correlation (CCSD of two electrons); correlation energies of cc-pVTZ and cc-pVQZ
    extrapolated as n^-3 (doi:10.1063/1.473863), near ANI-1ccx's target; the curve a spline.
    """
    from pyscf import cc, gto, scf  # noqa: PLC0415

    def energy(distance: float) -> float:
        correlation, field = {}, None
        for n, basis in ((3, "cc-pvtz"), (4, "cc-pvqz")):
            mol = gto.M(atom=f"H 0 0 0; H 0 0 {distance}", basis=basis, verbose=0)
            field = scf.RHF(mol).run(conv_tol=1e-11)
            correlation[n] = cc.CCSD(field).run(conv_tol=1e-10).e_corr
        return (field.e_tot + (64 * correlation[4] - 27 * correlation[3]) / 37) * units.Hartree

    knots = np.linspace(distances.min(), distances.max(), 24)
    curve = CubicSpline(knots, [energy(r) for r in knots])
    return curve(distances), curve(distances, 1)
