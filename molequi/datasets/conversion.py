"""ASE's structures to Frames, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ase
import numpy as np
import torch
from torch import Tensor

from molequi.datasets.in_memory import Electrons, Frames, Periodicity, make_frames
from molequi.errors import UserError
from molequi.properties import Property
from molequi.structures.atoms import charge_of, check_atoms, multiplicity_of


def frames_from_atoms(
    structures: Sequence[ase.Atoms],
    *,
    targets: Mapping[str, Tensor] | None = None,
    properties: Mapping[str, Property] | None = None,
    source: Sequence[str] = (),
) -> Frames:
    """Join structures to Frames; targets as in `Frames`.

    Raises UserError that names the structure at fault.
    """
    electrons = _electrons(structures, source)
    n_frames = len(structures)
    positions = [atoms.positions for atoms in structures]
    numbers = [atoms.numbers for atoms in structures]
    cells = [np.asarray(atoms.cell) for atoms in structures]
    pbc = [atoms.pbc for atoms in structures]
    return make_frames(
        torch.from_numpy(np.concatenate([*positions, np.zeros((0, 3))])),
        torch.from_numpy(np.concatenate([*numbers, np.zeros(0, dtype=np.int64)])),
        torch.tensor([len(atoms) for atoms in structures], dtype=torch.int64),
        periodic=Periodicity(
            torch.from_numpy(np.array(cells, dtype=np.float64).reshape(n_frames, 3, 3)),
            torch.from_numpy(np.array(pbc, dtype=bool).reshape(n_frames, 3)),
        ),
        electrons=electrons,
        targets=targets,
        properties=properties,
        source=source,
    )


def atoms_from_frames(frames: Frames, index: int) -> ase.Atoms:
    """Return structure `index` as ASE has it; charge and multiplicity stand in `info`."""
    rows = slice(int(frames.offsets[index]), int(frames.offsets[index + 1]))
    atoms = ase.Atoms(
        frames.atomic_numbers[rows].numpy(),
        frames.positions[rows].numpy(),
        cell=frames.cell[index].numpy(),
        pbc=frames.pbc[index].numpy(),
    )
    atoms.info["charge"] = int(frames.total_charge[index])
    atoms.info["spin_multiplicity"] = int(frames.spin_multiplicity[index])
    return atoms


def _electrons(structures: Sequence[ase.Atoms], source: Sequence[str]) -> Electrons:
    charges, multiplicities = [], []
    for index, atoms in enumerate(structures):
        try:
            check_atoms(atoms)
            charges.append(charge_of(atoms))
            multiplicities.append(multiplicity_of(atoms, charges[-1]))
        except UserError as error:
            where = source[index] if source else f"structure {index}"
            raise UserError(f"{where}: {error}") from error
    return Electrons(
        torch.tensor(charges, dtype=torch.int64), torch.tensor(multiplicities, dtype=torch.int64)
    )
