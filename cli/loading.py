"""What several commands load before they start: a model, a calculator, one structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from molequi.cli.options import Device, Dtype, precision
from molequi.errors import UserError

if TYPE_CHECKING:
    from molequi.models.molecular import MolecularModel
    from molequi.simulation.calculator import Calculator
    from molequi.structures.structure import Structure


def load_network(
    model: str, device: Device, dtype: Dtype | None, *, dispersion: str | None = None
) -> MolecularModel:
    """Load a model by the options of a command."""
    from molequi.models.zoo import load

    return load(model, device=device.value, dtype=precision(dtype), dispersion=dispersion)


def load_calculator(
    model: str,
    device: Device,
    dtype: Dtype | None,
    *,
    dispersion: str | None = None,
    unsafe: bool,
) -> Calculator:
    """Make the calculator of a model by the options of a command."""
    from molequi.simulation.calculator import Calculator

    return Calculator(
        model, device=device.value, dtype=precision(dtype), dispersion=dispersion, unsafe=unsafe
    )


def completed(
    inputs: list[str] | None, *, add_hydrogens: bool, as_is: bool
) -> Sequence[str | Structure]:
    """Read inputs where hydrogens that records in space lack are added, or left out by wish."""
    from molequi.structures.inputs import read_inputs

    if not inputs or not (add_hydrogens or as_is):
        return inputs or []
    return list(read_inputs(inputs, add_hydrogens=add_hydrogens, as_is=as_is))


def read_one(
    source: str | None,
    smiles: str | None,
    charge: int | None,
    seed: int,
    *,
    add_hydrogens: bool,
    as_is: bool,
) -> Structure:
    """Read the first structure of an input. Raises UserError where there is none."""
    from molequi.structures.inputs import one_structure

    return one_structure(
        source, smiles=smiles, charge=charge, seed=seed, add_hydrogens=add_hydrogens, as_is=as_is
    )


def read_pair(
    a: str, b: str, charge: int | None, *, add_hydrogens: bool, as_is: bool
) -> list[Structure]:
    """Read the first structure of each of two files. Raises UserError for standard input twice."""
    if a == b == "-":
        raise UserError(
            "A and B are both standard input, which can be read once; give a file for one of them"
        )
    return [
        read_one(source, None, charge, 0, add_hydrogens=add_hydrogens, as_is=as_is)
        for source in (a, b)
    ]


def read_several(
    source: str | None,
    smiles: list[str] | None,
    charge: int | None,
    seed: int,
    *,
    add_hydrogens: bool,
    as_is: bool,
) -> Sequence[Structure]:
    """Read every structure of an input. Raises UserError where there is none, or none is sound."""
    from molequi.structures.inputs import read_inputs

    if source is not None and smiles:
        raise UserError("give either an input file or a SMILES, not both")
    found = list(
        read_inputs(
            () if source is None else source, smiles=smiles or (), charge=charge, seed=seed,
            add_hydrogens=add_hydrogens, as_is=as_is,
        )
    )  # fmt: skip
    if all(structure.atoms is None for structure in found):
        found[0].require_atoms()
    return found
