"""Boltzmann means over conformers: what a measurement of a flexible molecule sees.

Conformers come from the bonds (ETKDGv3 and MMFF94), are relaxed with a model that has energies,
counted once each, and weighted by w_k = exp(-(E_k - E_min) / kT) / Z. Only what does not turn with
the molecule has a mean: scalars, even and odd, no vectors, tensors or values of atoms.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms, units
from rdkit import Chem

from molequi.errors import UserError
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import load
from molequi.prediction.optical_rotation import ROTATION, sign_of, smallest_rotation
from molequi.prediction.predict import predict
from molequi.properties import Property
from molequi.simulation.calculator import Calculator, as_calculator
from molequi.simulation.relaxation import Relaxed, relax_atoms
from molequi.structures.cip import StereoLabels, constitution_of, label_molecule
from molequi.structures.inputs import Input, Structure, read_inputs
from molequi.structures.molecules import conformers_from_smiles
from molequi.structures.perception import GeometryLabels, labels_from_geometry
from molequi.structures.writers import check_writable, write_results

# eV/Å: far below what moves a conformer's energy by kT. Steps: a conformer that needs more is left
# out by name.
_FMAX, _STEPS = 0.02, 500
# Two geometries are one conformer where energies (eV), distances (Å) and handed triple products
# agree to this. Those of mirror images differ by twice their size, 2e-3 and more for gauche chains;
# what relaxation leaves of a torsion moves them by 3e-4.
_SAME_ENERGY, _SAME_DISTANCE, _SAME_HAND, _NO_HAND = 0.002, 0.1, 0.2, 5e-4


_NITROGEN = 7


class Pool(NamedTuple):
    """The different conformers of one molecule, by energy.

    energies: eV. left_out: number of the conformer and why, in words. is_achiral: whether the
    mirror image of each is a conformer too.
    """

    atoms: list[Atoms]
    energies: np.ndarray
    left_out: list[str]
    is_achiral: bool


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
    """Predict every molecule as the Boltzmann mean over its conformers.

    One record each, in the order of the inputs.

    inputs, smiles, charge, seed: see `inputs.read_inputs`; a structure with coordinates gives
    its bonds and stereocentres. temperature: K.
    energies: the model that relaxes and weighs. output: a .json file. A record holds temperature
    (K), the means by the names of the property table, and `conformers`: each with weight,
    relative_energy (eV) and values; or source, index and error. Raises UserError where the model
    has nothing with a mean.
    """
    if not temperature > 0:
        raise UserError(f"temperature is {temperature} K; it must be positive, 298.15 is usual")
    if output is not None and check_writable(output, overwrite=overwrite).suffix != ".json":
        raise UserError(f"the output {output} of means over conformers is a .json file")
    loaded = load(model) if isinstance(model, str | os.PathLike) else model
    names = averaged(loaded)
    calculator = as_calculator(energies)
    records = []
    for structure in read_inputs(inputs, smiles=smiles, charge=charge, seed=seed):
        try:
            pool = _pool(structure, conformers, seed, calculator)
            records.append(_record(structure, pool, loaded, names, temperature))
        except ValueError as error:
            records.append({**structure.labels(), "error": str(error)})
    if output is not None:
        write_results(output, records, [None] * len(records), loaded.properties)
    return records


def averaged(model: MolecularModel) -> list[str]:
    """Name the outputs of a model that have a mean over conformers.

    Raises UserError where there are none.
    """
    names = [name for name, row in model.properties.items() if _has_mean(row)]
    if not names:
        given = ", ".join(
            f"{name} ({row.irreps}{', per atom' if row.per_atom else ''})"
            for name, row in model.properties.items()
        )
        raise UserError(
            f"--temperature asks for a mean over conformers, but {given} turns with the molecule "
            "or belongs to its atoms; leave it out"
        )
    return names


def boltzmann_weights(energies: np.ndarray, temperature: float) -> np.ndarray:
    """Return the weights of conformers: energies (K,), eV; temperature: K."""
    weights = np.exp(-(energies - energies.min()) / (units.kB * temperature))
    return weights / weights.sum()


def is_same_conformer(first: Atoms, second: Atoms) -> bool:
    """Whether two geometries of one molecule agree but for a rotation and the names of equal atoms.

    Mirror images are not the same.
    """
    for a, b in zip(_distances(first), _distances(second), strict=True):
        if np.abs(a - b).max(initial=0.0) > _SAME_DISTANCE:
            return False
    a, b = _handed(first), _handed(second)
    return bool(
        np.abs(a - b).max(initial=0.0)
        <= max(_NO_HAND, _SAME_HAND * max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0)))
    )


def _has_mean(row: Property) -> bool:
    return row.shape == () and not row.per_atom


def _pool(structure: Structure, count: int, seed: int, calculator: Calculator) -> Pool:
    """Make, relax and count the conformers of a structure.

    Of an achiral molecule each together with its mirror image.
    """
    if structure.atoms is None:
        raise UserError(structure.error)
    text, drawn = _bonds(structure)
    starts = conformers_from_smiles(text, count, seed)
    if drawn is not None:
        starts = [structure.atoms, *starts]
    molecule = Chem.MolFromSmiles(text)
    labels = label_molecule(molecule)
    wanted = _centres([atom.GetAtomicNum() for atom in molecule.GetAtoms()], labels)
    is_achiral = labels.kind in {"achiral", "meso"}
    kept: list[tuple[float, Atoms]] = []
    left_out = []
    for number, start in enumerate(starts):
        atoms = Atoms(
            start.numbers,
            start.positions,
            info={"charge": structure.atoms.info["charge"], "smiles": text},
        )
        atoms.calc = calculator
        relaxed = _relaxed(atoms)
        energy = relaxed.atoms.get_potential_energy()
        problem = (
            f"not relaxed in {_STEPS} steps"
            if not relaxed.converged
            else _changed(start, relaxed.atoms, wanted)
        )
        if problem:
            left_out.append(f"conformer {number}: {problem}")
            continue
        for geometry in (relaxed.atoms, _mirrored(relaxed.atoms))[: 2 if is_achiral else 1]:
            if not any(
                abs(energy - other) < _SAME_ENERGY and is_same_conformer(geometry, known)
                for other, known in kept
            ):
                kept.append(
                    (energy, Atoms(geometry.numbers, geometry.positions, info=dict(atoms.info)))
                )
    if not kept:
        raise UserError(f"no conformer of {structure} is left: {'; '.join(left_out[:3])}")
    kept.sort(key=lambda pair: pair[0])
    return Pool(
        [atoms for _, atoms in kept], np.array([energy for energy, _ in kept]), left_out, is_achiral
    )


def _relaxed(atoms: Atoms) -> Relaxed:
    """Relax a conformer. Raises UserError that says which of the two models does not know it."""
    try:
        return relax_atoms(atoms, fmax=_FMAX, steps=_STEPS)
    except UserError as error:
        raise UserError(
            "its conformers have no energies by the model "
            f"{atoms.calc.model.metadata.get('name')}: {error}"
        ) from error


def _bonds(structure: Structure) -> tuple[str, GeometryLabels | None]:
    """Return a SMILES with all stereo marks, and what was read where it came from coordinates.

    Raises UserError where stereocentres are open, or an allene may be handed: conformers would be
    of several molecules.
    """
    if "ETKDG" in str(structure.atoms.info.get("geometry")) and "smiles" in structure.atoms.info:
        text, read = str(structure.atoms.info["smiles"]), None
    else:
        read = labels_from_geometry(structure.atoms, charge=structure.atoms.info["charge"])
        if read.labels is None:
            raise UserError(f"no conformers without bonds: {read.status}")
        text = read.smiles
    molecule = Chem.MolFromSmiles(text)
    if label_molecule(molecule).kind == "unknown":
        raise UserError(
            f"{text} has an allene, whose hand no SMILES keeps, so its conformers are of both "
            "hands; predict geometries one by one"
        )
    for entry in Chem.FindPotentialStereo(molecule):
        is_nitrogen = (
            entry.type == Chem.StereoType.Atom_Tetrahedral
            and molecule.GetAtomWithIdx(entry.centeredOn).GetAtomicNum() == _NITROGEN
        )
        if entry.specified == Chem.StereoSpecified.Unspecified and not is_nitrogen:
            kind = "double bond" if entry.type == Chem.StereoType.Bond_Double else "centre"
            raise UserError(
                f"{text} leaves a stereo {kind} open, so its conformers are of several molecules; "
                "mark it in the SMILES (@, / or \\)"
            )
    return text, read


def _centres(numbers: Iterable[int], labels: StereoLabels) -> list[str]:
    """Return the sorted labels of the stereocentres.

    Nitrogen turns over, or has the hand of its cage, and is not read off coordinates.
    """
    return sorted(
        label
        for number, label in zip(numbers, labels.atoms, strict=True)
        if label and number != _NITROGEN
    )


def _changed(start: Atoms, relaxed: Atoms, wanted: list[str]) -> str:
    """Say how relaxation changed the molecule, if it did: bonds, or labels of centres."""
    before, found = labels_from_geometry(start), labels_from_geometry(relaxed)
    if found.labels is None:
        return f"after relaxation {found.status}"
    if before.labels is not None and (bonds := constitution_of(found.smiles)) != (
        old := constitution_of(before.smiles)
    ):
        return f"its bonds became those of {bonds} in place of {old}"
    centres = _centres(relaxed.numbers, found.labels)
    return (
        ""
        if centres == wanted
        else f"its stereocentres became {' '.join(centres) or 'none'} in place of {' '.join(wanted) or 'none'}"
    )


def _record(
    structure: Structure, pool: Pool, model: MolecularModel, names: list[str], temperature: float
) -> dict[str, Any]:
    rows = predict(pool.atoms, model)
    # A conformer may pass for its own mirror image and be so only to the precision of its
    # relaxation.
    images = predict([_mirrored(atoms) for atoms in pool.atoms], model) if pool.is_achiral else rows
    bad = next((row["error"] for row in (*rows, *images) if "error" in row), None)
    if bad is not None:
        raise UserError(bad)
    weights = boltzmann_weights(pool.energies, temperature)
    shared = {
        name: rows[0][name] for name in ("formula", "n_atoms", "total_charge", "model", "level")
    }
    record = {**structure.labels(), **shared, "temperature": temperature}
    for name in names:
        record[name] = float(
            weights
            @ [(row[name] + image[name]) / 2 for row, image in zip(rows, images, strict=True)]
        )
    kept = [
        *names,
        *(("rotation_sign", "mirror_error", "cip", "cip_note") if ROTATION in names else ()),
    ]
    if ROTATION in names:
        record["mirror_error"] = float(weights @ [row["mirror_error"] for row in rows])
        record["rotation_sign"] = sign_of(
            record[ROTATION], record["mirror_error"], smallest_rotation(model, pool.atoms[0])
        )
        record.update({name: rows[0][name] for name in ("cip", "cip_note") if name in rows[0]})
    record["conformers"] = [
        {
            "weight": weight, "relative_energy": energy, **{name: row[name] for name in kept if name in row},
            "atomic_numbers": atoms.numbers, "positions": atoms.positions,
        }
        for weight, energy, row, atoms in zip(weights.tolist(), (pool.energies - pool.energies[0]).tolist(), rows, pool.atoms, strict=True)
    ]  # fmt: skip
    return {**record, "left_out": pool.left_out}


def _mirrored(atoms: Atoms) -> Atoms:
    return Atoms(atoms.numbers, -atoms.positions, info=dict(atoms.info))


def _distances(atoms: Atoms) -> list[np.ndarray]:
    """Return the sorted distances of every pair of elements, Å."""
    distances = atoms.get_all_distances()
    elements = np.unique(atoms.numbers)
    return [
        np.sort(distances[np.ix_(atoms.numbers == a, atoms.numbers == b)], axis=None)
        for a in elements
        for b in elements
        if a <= b
    ]


def _handed(atoms: Atoms) -> np.ndarray:
    """Return sorted pseudoscalars of the atoms of each element, t = (a x b) . c / max |a| |b| |c|, a, b, c = sum_j Z_j r_ij exp(-k r_ij / Å).

    k = 0.5, 1, 2; the largest product of lengths in the molecule makes them pure numbers.
    """
    vectors = atoms.positions[None] - atoms.positions[:, None]
    lengths = np.linalg.norm(vectors, axis=2)[..., None]
    sums = [
        (atoms.numbers[None, :, None] * vectors * np.exp(-k * lengths)).sum(axis=1)
        for k in (0.5, 1.0, 2.0)
    ]
    triple = np.einsum("nx,nx->n", np.cross(sums[0], sums[1]), sums[2])
    triple /= max(np.prod([np.linalg.norm(part, axis=1) for part in sums], axis=0).max(), 1e-12)
    return np.concatenate(
        [np.sort(triple[atoms.numbers == element]) for element in np.unique(atoms.numbers)]
    )
