"""ASE's structures to Frames, and back."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

import ase
import numpy as np
import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.datasets.making import Electrons, Periodicity, make_frames
from molequi.errors import UserError
from molequi.properties import Property
from molequi.structures.atoms import check_atoms, stated_charge, stated_multiplicity
from molequi.structures.electrons import Statement

_LOG = logging.getLogger(__name__)
_MOST_SAID = 10


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
    atoms.info["charge_source"] = atoms.info["multiplicity_source"] = "the data set"
    return atoms


def _electrons(structures: Sequence[ase.Atoms], source: Sequence[str]) -> Electrons:
    charges: list[Statement] = []
    multiplicities: list[Statement] = []
    for index, atoms in enumerate(structures):
        try:
            check_atoms(atoms)
            charge = stated_charge(atoms)
            spin = stated_multiplicity(atoms, charge.value)
        except UserError as error:
            where = source[index] if source else f"structure {index}"
            raise UserError(f"{where}: {error}") from error
        charges.append(charge)
        multiplicities.append(spin)
    _say("total charge", charges, 0)
    _say("multiplicity", multiplicities, 1)
    return Electrons(
        *(
            torch.tensor([one.value for one in found], dtype=torch.int64)
            for found in (charges, multiplicities)
        )
    )


def _say(what: str, found: Sequence[Statement], usual: int) -> None:
    """Log which values there are and where they come from, if they are not all the usual one."""
    counts = Counter(found)
    if any(one.value != usual for one in found):
        parts = [
            f"{one.value} in {count} structures ({one.source})"
            for one, count in counts.most_common(_MOST_SAID)
        ]
        _LOG.info("%s: %s%s", what, ", ".join(parts), " ..." if len(counts) > _MOST_SAID else "")
