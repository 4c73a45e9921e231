"""Boltzmann means over conformers: what a measurement of a flexible molecule sees.

The weights are w_k = exp(-(E_k - E_min) / kT) / (sigma_k Z), sigma the symmetry number: of pentane
there are one trans-trans, four trans-gauche and two gauche-gauche conformers of one sense. Only
what does not turn with the molecule has a mean: scalars, even and odd, no vectors, tensors or
values of atoms.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from ase import Atoms, units

from molequi.errors import UserError
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import load
from molequi.prediction.optical_rotation import ROTATION, sign_of, smallest_rotation
from molequi.prediction.predict import predict
from molequi.properties import Property
from molequi.simulation.conformers import Pool, conformer_pool, mirrored
from molequi.simulation.movers import as_calculator
from molequi.structures.inputs import Input, read_inputs
from molequi.structures.structure import Structure
from molequi.structures.writers import check_writable, write_results

_LABELS = ("formula", "n_atoms", "total_charge", "model", "level")
_MARKS = ("rotation_sign", "mirror_error")
_CIP = ("cip", "cip_note")


def predict_means(
    inputs: Input | Iterable[Input] = (),
    model: str | os.PathLike[str] | MolecularModel = "organic",
    *,
    conformers: int,
    temperature: float,
    smiles: str | Sequence[str] = (),
    charge: int | None = None,
    seed: int = 0,
    energies: str | os.PathLike[str] | MolecularModel = "organic",
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> list[dict[str, Any]]:
    """Predict every molecule as the Boltzmann mean over its conformers: one record each, in order.

    inputs, smiles, charge, seed: see `inputs.read_inputs`; a structure with coordinates gives
    its bonds and stereocentres. temperature: K.
    energies: the model that relaxes and weighs. output: a .json file. A record holds temperature
    (K), the means by the names of the property table, and `conformers`: each with weight,
    relative_energy (eV) and values; or source, index and error. Raises UserError where the model
    has nothing with a mean.
    """
    _refuse_impossible(temperature)
    if output is not None and check_writable(output, overwrite=overwrite).suffix != ".json":
        raise UserError(f"the output {output} of means over conformers is a .json file")
    loaded = load(model) if isinstance(model, str | os.PathLike) else model
    names = averaged(loaded)
    calculator = as_calculator(energies)
    records: list[dict[str, Any]] = []
    for structure in read_inputs(inputs, smiles=smiles, charge=charge, seed=seed):
        try:
            pool = conformer_pool(structure, conformers, seed, calculator)
            records.append(_record(structure, pool, loaded, names, temperature))
        except ValueError as error:
            records.append({**structure.labels(), "error": str(error)})
    if output is not None:
        nowhere = [None] * len(records)
        write_results(output, records, nowhere, loaded.properties, overwrite=overwrite)
    return records


def _refuse_impossible(temperature: float) -> None:
    if not 0 < temperature < np.inf:
        raise UserError(f"temperature is {temperature} K; it must be positive, 298.15 is usual")


def averaged(model: MolecularModel) -> list[str]:
    """Name the outputs of a model that have a mean over conformers.

    Raises UserError where there are none.
    """
    names = [name for name, target in model.properties.items() if _has_mean(target)]
    if not names:
        given = ", ".join(
            f"{name} ({target.irreps}{', per atom' if target.per_atom else ''})"
            for name, target in model.properties.items()
        )
        raise UserError(
            f"--temperature asks for a mean over conformers, but {given} turns with the molecule "
            "or belongs to its atoms; leave it out"
        )
    return names


def boltzmann_weights(
    energies: np.ndarray, temperature: float, symmetry_numbers: np.ndarray | float = 1.0
) -> np.ndarray:
    """Return the weights of conformers: energies (K,), eV; temperature: K.

    symmetry_numbers: (K,), where the energies do not hold them, as Gibbs energies do.
    """
    weights = np.exp(-(energies - energies.min()) / (units.kB * temperature)) / symmetry_numbers
    return weights / weights.sum()


def _has_mean(target: Property) -> bool:
    return target.shape == () and not target.per_atom


def _record(
    structure: Structure, pool: Pool, model: MolecularModel, names: list[str], temperature: float
) -> dict[str, Any]:
    records = [
        _as_geometry(record, model, atoms)
        for record, atoms in zip(_predicted(pool.atoms, model), pool.atoms, strict=True)
    ]
    weights = boltzmann_weights(pool.energies, temperature, pool.symmetry_numbers)
    notes = (*_MARKS, *_CIP) if ROTATION in names else ()
    conformers = [
        {"weight": weight, "relative_energy": energy, "symmetry_number": int(number)}
        | {name: record[name] for name in (*names, *notes) if name in record}
        | {"atomic_numbers": atoms.numbers, "positions": atoms.positions}
        for weight, energy, number, record, atoms in zip(
            weights.tolist(),
            (pool.energies - pool.energies[0]).tolist(),
            pool.symmetry_numbers,
            records,
            pool.atoms,
            strict=True,
        )
    ]
    return {
        **structure.labels(),
        **structure.electron_sources(),
        **{name: records[0][name] for name in _LABELS},
        "temperature": temperature,
        **_means(pool, model, names, records, weights),
        "conformers": conformers,
        "left_out": pool.left_out,
    }


def _as_geometry(record: dict[str, Any], model: MolecularModel, atoms: Atoms) -> dict[str, Any]:
    """Give a conformer the sign of its geometry: among all conformers its image has the other."""
    if ROTATION not in record:
        return record
    smallest = smallest_rotation(model, atoms)
    return {**record, "rotation_sign": sign_of(record[ROTATION], record["mirror_error"], smallest)}


def _means(
    pool: Pool,
    model: MolecularModel,
    names: list[str],
    records: list[dict[str, Any]],
    weights: np.ndarray,
) -> dict[str, Any]:
    # A conformer may pass for its own mirror image and be so only to the precision of its
    # relaxation.
    images = [mirrored(atoms) for atoms in pool.atoms] if pool.is_achiral else []
    opposite = _predicted(images, model) if images else records
    means: dict[str, Any] = {
        name: float(
            weights @ [(a[name] + b[name]) / 2 for a, b in zip(records, opposite, strict=True)]
        )
        for name in names
    }
    if ROTATION in names:
        error = float(weights @ [record["mirror_error"] for record in records])
        sign = sign_of(means[ROTATION], error, smallest_rotation(model, pool.atoms[0]))
        means |= {"mirror_error": error, "rotation_sign": sign}
        means |= {name: records[0][name] for name in _CIP if name in records[0]}
    return means


def _predicted(structures: Sequence[Atoms], model: MolecularModel) -> list[dict[str, Any]]:
    """Return the records of conformers. Raises UserError where one of them has an error."""
    records = predict(structures, model)
    for record in records:
        if "error" in record:
            raise UserError(record["error"])
    return records
