"""Alignment: which orientation lays one molecule best upon another, from one run of the network for each.

score(R) = (1 - w) C_shape(R) + w C_charge(R), with Carbo's index C = <A turned by R, B> / (|A| |B|)
of the overlap integrals of both fields (R. Carbo, L. Leyda, M. Arnau, Int. J. Quantum Chem. 17,
1185 (1980)): 1 for a molecule on itself. The molecules lie with their centres on each other. The
fields are features: a turned molecule has the turned ones, `symmetry.irreps.rotate`, so that no
orientation needs the network.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import torch
from ase import Atoms
from torch import Tensor

from molequi.alignment.fields import (
    L_MAX,
    Fields,
    Multipoles,
    exact_overlaps,
    fields_of,
    multipoles,
    shells_for,
)
from molequi.alignment.orientations import (
    N_ORIENTATIONS,
    climb,
    correlations,
    distinct_best,
    grid_rotations,
    scan,
)
from molequi.errors import UserError
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import frozen_model
from molequi.o3.irreps import Irreps
from molequi.o3.wigner import rotate
from molequi.prediction.records import size_labels
from molequi.structures.atoms import graph_from_atoms
from molequi.structures.inputs import Input, Structure, one_structure
from molequi.structures.writers import check_writable, write_results

N_STARTS = 8
# Poses whose scores differ by less are equal: symmetric molecules have many.
_SAME_SCORE = 1e-9
_NO_CHARGE = 1e-8  # e Å^(-3/2), of the charge field's norm


class Pose(NamedTuple):
    """An orientation of A and what it scores: x -> rotation (x - centre of A) + centre of B."""

    rotation: Tensor
    score: float


class Pair(NamedTuple):
    """Two molecules ready to be compared.

    Unit features of each, ((l_max + 1)^2, 2 K), shape and charge shells side by side.
    """

    a: Tensor
    b: Tensor


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
    shape has the rest. n_poses: of the scan, best first, in `top`. charge: e, of both molecules,
    overrides what the inputs say. output: .xyz with A as it was laid, then B. The record holds
    score, shape and electrostatic (Carbo indices) after local refinement, rotation (3, 3), centre_a
    and centre_b (Å), mirror_score, the best of A's mirror image, and resolved, the parts of the
    fields that the expansion holds.
    """
    _check(charge_weight, n_poses, output, overwrite=overwrite)
    named = isinstance(model, str | os.PathLike)
    network = frozen_model(model, dtype="float64" if named else None)
    structures = [one_structure(item, charge=charge) for item in (a, b)]
    parts = [describe(structure, network) for structure in structures]
    shells = shells_for(*parts)
    fields = [fields_of(part, shells) for part in parts]
    if charge_weight > 0:
        _require_charges(structures, fields)
    pair = Pair(*(unit_features(field, charge_weight) for field in fields))
    scores, rotations, best = scan_orientations(pair), grid_rotations(), best_pose(pair)
    mirrored = best_pose(pair._replace(a=rotate(pair.a, -torch.eye(3), Irreps.natural(L_MAX))))
    indices = [
        carbo(rotate(x[0], best.rotation, Irreps.natural(L_MAX)), y[0])
        for x, y in zip(*fields, strict=True)
    ]
    record = {
        **_labels(structures, network), "charge_weight": charge_weight, "score": best.score, "shape": indices[0], "electrostatic": indices[1],
        "rotation": best.rotation.numpy(), "centre_a": parts[0].centre[0].numpy(), "centre_b": parts[1].centre[0].numpy(),
        "mirror_score": mirrored.score, "resolved": resolved(parts, fields), "n_poses": N_ORIENTATIONS,
        "top": [{"pose": int(k), "score": float(scores[k]), "rotation": rotations[k].numpy()} for k in ranking(scores)[:n_poses]],
    }  # fmt: skip
    if output is not None:
        write_results(
            output,
            [record],
            [_laid(structures[0].atoms, parts, record), _plain(structures[1].atoms)],
        )
    return record


def describe(structure: Structure, model: FrozenModel) -> Multipoles:
    """Run the network once on a molecule.

    Raises UserError that names a structure which is periodic, empty or outside the model.
    """
    atoms = structure.atoms
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


def unit_features(fields: Fields, charge_weight: float, pose: int = 0) -> Tensor:
    """Return features whose inner product is the score.

    ((l_max + 1)^2, 2 K), shape shells, then charge shells, each normalised and weighted.
    """
    weights = (1 - charge_weight, charge_weight)
    return torch.cat(
        [
            (w**0.5 / float(x[pose].norm()) if w else 0.0) * x[pose]
            for w, x in zip(weights, fields, strict=True)
        ],
        dim=1,
    )


def scan_orientations(pair: Pair) -> Tensor:
    """Return the scores of all orientations of `grid_rotations`: (10,000,)."""
    return scan(correlations(pair.a, pair.b, L_MAX))


def ranking(scores: Tensor) -> Tensor:
    """Return the poses, best first; those of one score (to 1e-9) in the order of the grid."""
    return torch.argsort(torch.round(-scores / _SAME_SCORE), stable=True)


def best_pose(pair: Pair) -> Pose:
    """Scan all orientations and climb from the best distinct ones to the highest maximum."""
    table, rotations = correlations(pair.a, pair.b, L_MAX), grid_rotations()
    starts = rotations[distinct_best(scan(table), rotations, N_STARTS)]
    refined, scores = climb(table, starts)
    best = int(scores.argmax())
    return Pose(refined[best], float(scores[best]))


def carbo(a: Tensor, b: Tensor) -> float | None:
    """Return Carbo's index of two fields as they lie; None where one of them vanishes."""
    norm = float(a.norm() * b.norm())
    return float((a * b).sum()) / norm if norm > _NO_CHARGE**2 else None


def resolved(parts: list[Multipoles], fields: list[Fields]) -> dict[str, float]:
    """Return the least part of |shape|² and |charge|² of both molecules that the expansion up to l = 12 holds: 1 is all."""
    shares = [
        [
            float(x[0].square().sum()) / exact if exact > _NO_CHARGE**2 else 1.0
            for x, exact in zip(field, exact_overlaps(part, part), strict=True)
        ]
        for part, field in zip(parts, fields, strict=True)
    ]
    return {
        "shape": min(share[0] for share in shares),
        "electrostatic": min(share[1] for share in shares),
    }


def _labels(structures: list[Structure], model: FrozenModel) -> dict[str, Any]:
    labels: dict[str, Any] = {}
    for name, structure in zip("ab", structures, strict=True):
        labels[name] = {**structure.labels(), **size_labels(structure.atoms)}
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
    if not 0 <= n_poses <= N_ORIENTATIONS:
        raise UserError(
            f"the number of poses to list is {n_poses}; it must lie between 0 and {N_ORIENTATIONS}"
        )
    if output is not None:
        _check_output(output, overwrite=overwrite)


def _require_charges(structures: list[Structure], fields: list[Fields]) -> None:
    for structure, field in zip(structures, fields, strict=True):
        if float(field.charge.norm()) < _NO_CHARGE:
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
