"""Alignment: which orientation lays one molecule best upon another, from one network run for each.

The molecules lie with their centres on each other. The fields are features: a turned molecule has
the turned ones, `o3.wigner.rotate`, so that no orientation needs the network.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from ase import Atoms

from molequi.alignment.fields import (
    L_MAX,
    Fields,
    Multipoles,
    fields_of,
    multipoles,
    shells_for,
)
from molequi.alignment.orientations import (
    N_ORIENTATIONS,
    grid_rotations,
)
from molequi.alignment.scoring import (
    NO_CHARGE,
    Pair,
    best_pose,
    carbo,
    ranking,
    resolved,
    scan_orientations,
    unit_features,
)
from molequi.errors import UserError
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import frozen_model
from molequi.o3.irreps import Irreps
from molequi.o3.wigner import rotate
from molequi.prediction.records import size_labels
from molequi.structures.atoms import graph_from_atoms
from molequi.structures.inputs import Input, one_structure
from molequi.structures.structure import Structure
from molequi.structures.writers import check_writable, write_results


def align(
    a: Input,
    b: Input,
    model: str | os.PathLike[str] | MolecularModel | FrozenModel = "organic",
    *,
    charge_weight: float = 0.5,
    n_poses: int = 10,
    charge: int | None = None,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Turn the first structure of `a` onto that of `b`.

    model: a name is loaded in float64. charge_weight: of the charge overlap in the score, 0 to 1;
    shape has the rest. n_poses: of the scan, in `top`. charge: e, of both. output: .xyz with A as
    it was laid, then B. The record holds score, shape and electrostatic (Carbo indices) after
    refinement, rotation (3, 3), centre_a and centre_b (Å), mirror_score, the best of A's mirror
    image, and resolved, the parts of the fields that the expansion holds.
    """
    _check(charge_weight, n_poses, output, overwrite=overwrite)
    network = frozen_model(model, dtype="float64" if isinstance(model, str | os.PathLike) else None)
    structures = [one_structure(item, charge=charge) for item in (a, b)]
    parts = [describe(structure, network) for structure in structures]
    shells = shells_for(*parts)
    fields = [fields_of(part, shells) for part in parts]
    if charge_weight > 0:
        _require_charges(structures, fields)
    pair = Pair(*(unit_features(field, charge_weight) for field in fields))
    record = {
        **_labels(structures, network),
        "charge_weight": charge_weight,
        **_compared(pair, parts, fields),
        "resolved": resolved(parts, fields),
        "n_poses": N_ORIENTATIONS,
        "top": _top(pair, n_poses),
    }
    if output is not None:
        _write(output, structures, parts, record, overwrite=overwrite)
    return record


def _write(
    output: str | os.PathLike[str],
    structures: list[Structure],
    parts: list[Multipoles],
    record: dict[str, Any],
    *,
    overwrite: bool,
) -> None:
    """Write A as it was laid onto B, then B."""
    first, second = (structure.require_atoms() for structure in structures)
    laid = [_laid(first, parts, record), _plain(second)]
    write_results(output, [{} for _ in laid], laid, overwrite=overwrite)


def _compared(pair: Pair, parts: list[Multipoles], fields: list[Fields]) -> dict[str, Any]:
    """Return the best pose of A, its scores, and the score of A's mirror image."""
    irreps = Irreps.natural(L_MAX)
    best = best_pose(pair)
    mirrored = best_pose(pair._replace(a=rotate(pair.a, -torch.eye(3), irreps)))
    shape, electrostatic = (
        carbo(rotate(x[0], best.rotation, irreps), y[0]) for x, y in zip(*fields, strict=True)
    )
    return {
        "score": best.score,
        "shape": shape,
        "electrostatic": electrostatic,
        "rotation": best.rotation.numpy(),
        "centre_a": parts[0].centre[0].numpy(),
        "centre_b": parts[1].centre[0].numpy(),
        "mirror_score": mirrored.score,
    }


def _top(pair: Pair, count: int) -> list[dict[str, Any]]:
    """Return the best poses of the scan, best first."""
    scores, rotations = scan_orientations(pair), grid_rotations()
    return [
        {"pose": int(k), "score": float(scores[k]), "rotation": rotations[k].numpy()}
        for k in ranking(scores)[:count]
    ]


def describe(structure: Structure, model: FrozenModel) -> Multipoles:
    """Run the network once on a molecule.

    Raises UserError that names a structure which is periodic, empty or outside the model.
    """
    atoms = structure.require_atoms()
    if len(atoms) == 0 or atoms.pbc.any():
        raise UserError(
            f"{structure} is {'periodic' if len(atoms) else 'empty'}; align compares molecules"
        )
    graph = graph_from_atoms(atoms, model.cutoff)
    try:
        model.check_input(graph)
        return multipoles(model, graph.to(model.device))
    except UserError as error:
        raise UserError(f"{structure}: {error}") from error


def _labels(structures: list[Structure], model: FrozenModel) -> dict[str, Any]:
    labels: dict[str, Any] = {}
    for name, structure in zip("ab", structures, strict=True):
        labels[name] = {
            **structure.labels(),
            **structure.electron_sources(),
            **size_labels(structure.require_atoms()),
        }
    return {
        **labels,
        "model": model.metadata.name,
        "level": model.metadata.level_of("dipole", "charges"),
    }


def _laid(atoms: Atoms, parts: list[Multipoles], record: dict[str, Any]) -> Atoms:
    laid = _plain(atoms)
    laid.positions = (
        parts[0].positions[0] @ torch.as_tensor(record["rotation"]).T + parts[1].centre[0]
    ).numpy()
    for name in ("score", "shape", "electrostatic"):
        if record[name] is not None:
            laid.info[f"molequi_{name}"] = record[name]
    laid.info["molequi_model"] = record["model"]
    return laid


def _plain(atoms: Atoms) -> Atoms:
    """Elements and positions only: other arrays of the input would not turn."""
    return Atoms(atoms.numbers, atoms.positions, info={"charge": atoms.info["charge"]})


def _check(
    charge_weight: float, n_poses: int, output: str | os.PathLike[str] | None, *, overwrite: bool
) -> None:
    if not 0 <= charge_weight <= 1:
        raise UserError(
            f"the charge weight is {charge_weight}; it must lie between 0 (shape alone) and 1 "
            "(electrostatics alone)"
        )
    if n_poses not in range(N_ORIENTATIONS + 1):
        raise UserError(
            f"the number of poses to list is {n_poses}; it must be a whole number from 0 to "
            f"{N_ORIENTATIONS}"
        )
    if output is not None:
        _check_output(output, overwrite=overwrite)


def _require_charges(structures: list[Structure], fields: list[Fields]) -> None:
    for structure, field in zip(structures, fields, strict=True):
        if float(field.charge.norm()) < NO_CHARGE:
            raise UserError(
                f"{structure}: the model finds no charges in it, so there is no electrostatic "
                "overlap; use a charge weight of 0"
            )


def _check_output(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    if not str(path).lower().removesuffix(".gz").endswith(("xyz",)):
        raise UserError(
            f"the output {path} holds two molecules; use .xyz or .extxyz, also with .gz, and "
            "--json for the numbers"
        )
    check_writable(path, overwrite=overwrite)
