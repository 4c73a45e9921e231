"""What active learning begins with: structures that move, and what is labelled already."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols

from molequi.datasets.in_memory import Frames
from molequi.datasets.load import load_labelled
from molequi.errors import UserError
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import resolve_model
from molequi.properties import PROPERTIES
from molequi.runtime.wording import counted
from molequi.structures.atoms import charge_of, graph_from_atoms, multiplicity_of
from molequi.structures.structure import Structure


@dataclasses.dataclass(frozen=True)
class Start:
    """What it begins with. model: a bundled name or a path; None for a new one, which needs data.

    data: a file of labelled structures, which are trained on before the first round and in each.
    """

    model: str | os.PathLike[str] | None = "organic"
    data: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.model is None and self.data is None:
            raise UserError("there is neither a model nor labelled data to begin with; give one")

    def model_file(self) -> Path | None:
        """Return the file of the model. Raises UserError where there is none of that name."""
        return None if self.model is None else resolve_model(self.model)

    def labelled(self) -> list[Atoms]:
        """Return the labelled structures. Raises UserError where the file has none."""
        return [] if self.data is None else _read_labelled(self.data)


def _read_labelled(path: str | os.PathLike[str]) -> list[Atoms]:
    """Return the structures of a file that have an energy and forces, with these alone.

    Raises UserError where there are none.
    """
    frames = load_labelled(os.fspath(path), [PROPERTIES["energy"], PROPERTIES["forces"]]).frames
    frames = frames.with_targets(["energy", "forces"])
    found = [atoms for row in range(len(frames)) if (atoms := _atoms(frames, row)) is not None]
    if not found:
        raise UserError(f"{path}: no structure has an energy and forces")
    return found


def _atoms(frames: Frames, row: int) -> Atoms | None:
    one = frames.subset(torch.tensor([row]))
    energy, forces = one.targets["energy"].numpy(), one.targets["forces"].numpy()
    if not (np.isfinite(energy).all() and np.isfinite(forces).all()):
        return None
    atoms = Atoms(
        one.atomic_numbers.numpy(), one.positions.numpy(), cell=one.cell[0].numpy(),
        pbc=one.pbc[0].numpy(),
    )  # fmt: skip
    atoms.info |= {
        "charge": int(one.total_charge[0]),
        "spin_multiplicity": int(one.spin_multiplicity[0]),
    }
    atoms.calc = SinglePointCalculator(atoms, energy=float(energy[0]), forces=forces)
    return atoms


def require_enough(labelled: Sequence[Atoms]) -> None:
    """Raise UserError for fewer structures than train and tell how far the training has come."""
    if len(labelled) < 2:
        raise UserError(
            f"there is {counted(len(labelled), 'labelled structure')}, and training needs two or "
            "more; give --data with two or more, or begin anew (--overwrite) with more --steps, a "
            "shorter --interval or more --copies"
        )


def require_known(structures: Sequence[Structure], model: MolecularModel) -> None:
    """Raise UserError, which names it, for a structure that the model does not take."""
    for structure in structures:
        try:
            model.check_input(graph_from_atoms(structure.require_atoms(), model.cutoff))
        except (UserError, ValueError) as error:
            raise UserError(
                f"{structure.source}, structure {structure.index}: {error}; begin with another "
                "--model, or with labelled structures of that kind as --data"
            ) from error


def require_like(
    structures: Sequence[Structure], labelled: Sequence[Atoms], model: MolecularModel | None
) -> None:
    """Raise UserError for a structure that no model trained on these labels will know.

    model: what the training begins from, whose elements and charges it keeps; None for a new one.
    """
    elements = {int(number) for atoms in labelled for number in atoms.numbers}
    states = {(charge_of(atoms), multiplicity_of(atoms, charge_of(atoms))) for atoms in labelled}
    if model is not None:
        elements |= set(model.elements)
        states |= set(model.metadata.charge_multiplicity)
    for structure in structures:
        atoms = structure.require_atoms()
        where = f"{structure.source}, structure {structure.index}"
        if new := sorted({int(number) for number in atoms.numbers} - elements):
            raise UserError(f"{where}: no structure of --data has {chemical_symbols[new[0]]}")
        state = (charge_of(atoms), multiplicity_of(atoms, charge_of(atoms)))
        if state not in states:
            raise UserError(
                f"{where}: no structure of --data has charge {state[0]:+d} and multiplicity "
                f"{state[1]}"
            )


def fingerprint(structures: Sequence[Atoms]) -> str:
    """Return a name that differs wherever structures, their charges or spins differ."""
    digest = hashlib.sha256()
    for atoms in structures:
        charge = charge_of(atoms)
        electrons = [charge, multiplicity_of(atoms, charge)]
        for part in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, electrons):
            digest.update(np.asarray(part, "<f8").tobytes())
    return digest.hexdigest()[:16]


def fingerprint_of_labels(structures: Sequence[Atoms]) -> str:
    """Return a name that differs wherever energies or forces differ."""
    digest = hashlib.sha256()
    for atoms in structures:
        for part in (atoms.get_potential_energy(), atoms.get_forces()):
            digest.update(np.asarray(part, "<f8").tobytes())
    return digest.hexdigest()[:16]
