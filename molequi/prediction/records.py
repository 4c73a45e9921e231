"""What a model computed, as records for people and programs.

Names of the property table, values in its units.

Rules that every output follows, stated once:

- no property that the structure does not have (`Property.is_defined`): one that periodic
  structures never have is None in a record; all are absent from a file;
- a yes/no property is given as its probability;
- no charges of atoms of a model that learned none (`outputs.unfounded`);
- dipoles of ions refer to the centre of the standard masses, those of isotopologues too, and the
  record says so.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor

from molequi.errors import NotFiniteError
from molequi.graphs.graph import AtomGraph
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.models.outputs import unfounded
from molequi.properties import DEBYE, Periodicity, Property
from molequi.structures.atoms import electron_labels, multiplicity_of, origin_of_ions
from molequi.structures.structure import notes_of
from molequi.structures.symbols import formula

# Per atom, beside what the property table says.
_ATOMIC = {"energies"}
ASE_NAMES = ("energy", "free_energy", "energies", "forces", "stress", "dipole", "charges")
PREFIX = "molequi_"
# What `molequi md` and `molequi align` say of where a geometry comes from: true of it whatever is
# computed of it later. Everything else under such a key is a result.
_OF_GEOMETRY = {
    PREFIX + name
    for name in ("index", "step", "time_fs", "temperature", "score", "shape", "electrostatic")
}

Values = dict[str, "float | np.ndarray"]


def split_outputs(
    model: FrozenModel, graph: AtomGraph, outputs: Mapping[str, Tensor]
) -> list[Values]:
    """Split what a batch gave into one dictionary of floats and float64 arrays per molecule.

    outputs: per-molecule values (B, ...) and per-atom values (N, ...), as `MolecularModel.compute`
    returns them, on any device.
    """
    molecules: list[Values] = [{} for _ in range(graph.n_molecules)]
    periodic = graph.pbc.cpu().numpy()
    for name, value in _shown(model, outputs).items():
        target = model.properties.get(name)
        data = value.detach().to("cpu", torch.float64)
        if target is not None and target.binary:
            data = data.sigmoid()
        parts = _per_molecule(data, graph) if _is_atomic(name, target) else data.unbind()
        for molecule, part, pbc in zip(molecules, parts, periodic, strict=True):
            if target is None or target.is_defined(pbc):
                molecule[name] = part.numpy() if part.ndim else float(part)
    return molecules


def refuse_not_finite(
    model: FrozenModel, values: Mapping[str, Any], *, only: Sequence[str] = ()
) -> None:
    """Refuse what is no number, as far as there is a value; spreads may be unknown.

    values: floats, arrays or tensors, by the names of the property table. only: the names that
    count, all without. Raises NotFiniteError.
    """
    for name in only or [name for name, row in model.properties.items() if not row.spread_of]:
        if not torch.isfinite(torch.as_tensor(values.get(name, 0.0), device="cpu")).all():
            raise NotFiniteError(f"the model gives no finite {name} for this geometry")


def _shown(model: FrozenModel, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    hidden = unfounded(model.outputs)
    return {name: value for name, value in outputs.items() if name not in hidden}


def _per_molecule(values: Tensor, graph: AtomGraph) -> tuple[Tensor, ...]:
    """Split values of atoms (N, ...) by molecule."""
    if graph.n_molecules == 1:
        return (values,)
    return values.split(torch.bincount(graph.batch, minlength=graph.n_molecules).tolist())


def make_record(
    model: FrozenModel, atoms: Atoms, values: Values, *, total_charge: int
) -> dict[str, Any]:
    """Return the record of one molecule: `result_labels`, and its values with the usual companions.

    max_force, max_forces_std: eV/Å; dipole_debye: D, the vector; dipole_origin where the molecule
    is charged.
    """
    record = result_labels(model, atoms, total_charge=total_charge)
    record.update({name: value for name, value in values.items() if name != "energies"})
    record.update(
        {
            name: None
            for name, target in model.properties.items()
            if target.periodicity is Periodicity.OPEN and name not in values
        }
    )
    if "forces" in values:
        record["max_force"] = max_force(np.asarray(values["forces"]))
    if "forces_std" in values:
        record["max_forces_std"] = float(np.max(values["forces_std"], initial=0.0))
    if "dipole" in values:
        record["dipole_debye"] = values["dipole"] / DEBYE
    return record | dipole_origin(atoms, values, total_charge)


def dipole_origin(atoms: Atoms, values: Values, total_charge: int) -> dict[str, str]:
    """Say where the dipole of an ion refers to; that of a neutral molecule has no origin."""
    if not total_charge or "dipole" not in values:
        return {}
    return {"dipole_origin": origin_of_ions(atoms)}


def result_labels(
    model: FrozenModel, atoms: Atoms, *, total_charge: int, multiplicity: int | None = None
) -> dict[str, Any]:
    """Return what every result says first: of which structure it is, and by which model.

    Charge and spin stand with the place that states them. multiplicity: the one that was used, if
    it may be another than the structure's.
    """
    used = multiplicity_of(atoms, total_charge, multiplicity)
    return {
        **size_labels(atoms),
        **electron_labels(atoms, total_charge, used),
        **notes_of(atoms),
        "model": model.metadata.name,
        "level": level_text(model),
    }


def size_labels(atoms: Atoms) -> dict[str, Any]:
    """Return the formula, with the isotopes that its masses tell, and the number of atoms."""
    return {"formula": formula(atoms), "n_atoms": len(atoms)}


def max_force(forces: np.ndarray) -> float:
    """Return the length of the longest force, in its unit; forces: (N, 3)."""
    return float(np.sqrt(np.square(forces).sum(axis=1)).max(initial=0.0))


def level_text(model: FrozenModel | MolecularModel) -> str | None:
    """Return the level of theory of a model's outputs as one text."""
    level = model.metadata.level
    if isinstance(level, str):
        return level or None
    texts = {name: text for name, text in level.items() if text}
    if len(set(texts.values())) <= 1:
        return next(iter(texts.values()), None)
    return "; ".join(f"{name}: {text}" for name, text in texts.items())


def ase_results(values: Values) -> dict[str, Any]:
    """Return copies of what ASE has names for: stress as a Voigt 6-vector, free_energy too."""
    results = {name: copy.copy(values[name]) for name in ASE_NAMES if name in values}
    if "energy" in results:
        results["free_energy"] = results["energy"]
    if "stress" in results:
        results["stress"] = full_3x3_to_voigt_6_stress(results["stress"])
    return results


def labelled_atoms(
    model: FrozenModel,
    atoms: Atoms,
    values: Values,
    extra: Mapping[str, Any],
    *,
    total_charge: int,
) -> Atoms:
    """Return a copy of the structure for a file, with what was computed.

    Results stand in a SinglePointCalculator, everything else under `molequi_` keys; the charge that
    it was computed with, e, under `charge`, and where that is not zero the origin of the dipole.
    extra: single values that go into `info`; None is left out. Labels that the file had under the
    same names are replaced, and results of an earlier command, perhaps of another model, left out.
    """
    labelled = atoms.copy()
    for kept in (labelled.info, labelled.arrays):
        for name in [name for name in kept if _is_result(name)]:
            del kept[name]
    results = ase_results(values)
    for name in ("free_energy", "energies"):  # files gain nothing from a second copy of the energy
        results.pop(name, None)
    labelled.calc = SinglePointCalculator(labelled, **results)
    for name, value in values.items():
        if name not in ASE_NAMES:
            is_atomic = _is_atomic(name, model.properties.get(name))
            (labelled.arrays if is_atomic else labelled.info)[PREFIX + name] = value
    labelled.info["charge"] = total_charge
    marks = {**dipole_origin(atoms, values, total_charge), **extra}
    labelled.info |= {PREFIX + name: value for name, value in marks.items() if value is not None}
    # A line break (data fields of an SDF have them) would end the comment line of an XYZ file too
    # early.
    labelled.info |= {
        name: " ".join(value.split())
        for name, value in labelled.info.items()
        if isinstance(value, str)
    }
    return labelled


def _is_result(name: object) -> bool:
    """Tell whether a key of `info` or `arrays` holds what was computed."""
    if name in (*ASE_NAMES, "total_charge", "magmom", "magmoms", "stresses"):
        return True
    return isinstance(name, str) and name.startswith(PREFIX) and name not in _OF_GEOMETRY


def _is_atomic(name: str, target: Property | None) -> bool:
    return name in _ATOMIC or (target is not None and target.per_atom)
