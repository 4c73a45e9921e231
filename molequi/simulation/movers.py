"""What everything that moves atoms takes: a calculator, or a model to make one of."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import torch
from ase import Atoms

from molequi.errors import NotComputableError, UserError
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.simulation.calculator import Calculator
from molequi.structures.inputs import Input, one_structure
from molequi.structures.structure import Structure


def as_calculator(
    model: str | os.PathLike[str] | MolecularModel | FrozenModel | Calculator,
    *,
    dtype: torch.dtype | None = None,
) -> Calculator:
    """Return the calculator itself, or a new one of a model, for something that moves atoms.

    `dtype` is that of a new one, except of a frozen model, which keeps its own.

    Raises UserError for a model without an energy.
    """
    if isinstance(model, Calculator):
        calculator = model
    else:
        is_open = isinstance(model, str | os.PathLike | MolecularModel)
        calculator = Calculator(model, dtype=dtype if is_open else None)
    if "forces" not in calculator.implemented_properties:
        name, outputs = calculator.model.metadata.name, ", ".join(calculator.model.outputs)
        raise UserError(
            f"model {name} gives {outputs}, but no energy; to move atoms a model with an energy is "
            "needed"
        )
    return calculator


def first_computable(source: Input, calculator: Calculator) -> Atoms:
    """Return a copy of the atoms of the first structure of an input, which the model computes.

    Raises UserError that names the structure where it cannot be read or computed; atoms that are
    given as such have no name.
    """
    if isinstance(source, Atoms):
        atoms, name = source.copy(), ""
    else:
        structure = source if isinstance(source, Structure) else one_structure(source)
        atoms, name = structure.require_atoms().copy(), f"{structure}: "
    require_computable(atoms, calculator, name)
    return atoms


def require_computable(atoms: Atoms, calculator: Calculator, name: str) -> None:
    """Refuse atoms that the model does not compute. Raises UserError that begins with `name`."""
    try:
        calculator.model.check_input(calculator.graph(atoms))
    except ValueError as error:
        if not calculator.unsafe or isinstance(error, NotComputableError):
            raise UserError(f"{name}{error}") from error


def fingerprint(atoms: Atoms, calculator: Calculator) -> str:
    """Return a text that differs where what is computed of a structure does.

    By it a journal knows whose answers it holds: those of another charge or cell are others.
    """
    masses, electrons = atoms.get_masses(), calculator.electrons(atoms)
    told = (atoms.positions, atoms.numbers, atoms.cell.array, atoms.pbc, masses, electrons)
    return hashlib.sha256(b"".join(np.asarray(one).tobytes() for one in told)).hexdigest()[:24]
