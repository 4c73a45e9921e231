"""Files or SMILES in, named properties with units out."""

from __future__ import annotations

import functools
import logging
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

from ase import Atoms

from molequi.errors import UnknownElementError, UserError
from molequi.graphs.graph import AtomGraph, collate
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import frozen_model
from molequi.prediction.applicability import likeness
from molequi.prediction.journaled import Prediction, written
from molequi.prediction.optical_rotation import (
    MARKS,
    gives_rotation,
    mirrored_values,
    rotation_notes,
)
from molequi.prediction.records import Values, labelled_atoms, make_record, split_outputs
from molequi.runtime.journal import is_unfinished
from molequi.structures.atoms import graph_from_atoms
from molequi.structures.inputs import Input, read_inputs
from molequi.structures.structure import Structure
from molequi.structures.writers import check_writable

logger = logging.getLogger(__name__)

# Enough atoms to fill the vector units, few enough that a batch of a crystal's many edges stays
# small.
_ATOMS_PER_BATCH = 1024
_PER_BATCH = 1024  # as many structures at most: those that cannot be read have no atoms
# What a structure in an output file carries of its record, beside the values.
_MARKS = ("model", "level", "unsafe", *MARKS)


def predict(
    inputs: Input | Iterable[Input] = (),
    model: str | os.PathLike[str] | MolecularModel | FrozenModel = "organic",
    *,
    smiles: str | Sequence[str] = (),
    charge: int | None = None,
    conformers: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    unsafe: bool = False,
) -> list[dict[str, Any]]:
    """Predict everything a model gives for every structure: one record each, in their order.

    inputs, smiles, charge, conformers, seed: see `inputs.read_inputs`. model: a bundled name, a
    path, or a loaded model.
    output: .xyz, .extxyz (also .gz), .csv or .json; see `iter_records`, which keeps no list.
    unsafe: compute outside the model's charges and
    spins too, and mark the record.
    A record holds source, index, formula, model, level, and the values by their names in the
    property table, in its units; or source, index and error. Beside an optical rotation stands
    `optical_rotation.rotation_notes`. Raises UserError where nothing can be computed at all.
    """
    if output is not None:
        check_writable(output, overwrite=overwrite or is_unfinished(Path(output)))
    structures = read_inputs(inputs, smiles=smiles, charge=charge, conformers=conformers, seed=seed)
    return list(
        iter_records(
            structures,
            model,
            batch_size=batch_size,
            output=output,
            overwrite=overwrite,
            unsafe=unsafe,
        )
    )


def iter_records(
    structures: Iterable[Structure],
    model: str | os.PathLike[str] | MolecularModel | FrozenModel = "organic",
    *,
    batch_size: int | None = None,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    unsafe: bool = False,
) -> Iterator[dict[str, Any]]:
    """Predict as `predict` does, a record at a time: memory does not grow with their number.

    structures: from `inputs.read_inputs`. The output appears when the last record has been taken;
    until then its results stand in the journal `OUTPUT.journal`, with which the same call goes on
    after an interruption. Raises UserError at once where nothing can be computed at all, and
    RunInterruptedError where a signal stopped a run with an output.
    """
    if output is not None:
        check_writable(output, overwrite=overwrite or is_unfinished(Path(output)))
    frozen = frozen_model(model)
    batches = _batches(structures, batch_size)
    compute = functools.partial(_predict_batch, model=frozen, unsafe=unsafe)
    if output is None:
        return (item.record for batch in batches for item in compute(batch))
    _require_place(output, frozen)
    settings = {"unsafe": unsafe, "batch_size": batch_size}
    return written(batches, compute, frozen, Path(output), settings)


def iter_predictions(
    structures: Iterable[Structure],
    model: MolecularModel | FrozenModel,
    *,
    batch_size: int | None = None,
    unsafe: bool = False,
) -> Iterator[Prediction]:
    """Predict structures as they come, in their order.

    In batches of about a thousand atoms, or of `batch_size` structures.
    """
    frozen = frozen_model(model)
    for batch in _batches(structures, batch_size):
        yield from _predict_batch(batch, frozen, unsafe=unsafe)


def _batches(structures: Iterable[Structure], batch_size: int | None) -> Iterator[list[Structure]]:
    """Part structures by their number, or by their atoms where none is given."""
    waiting: list[Structure] = []
    n_atoms = 0
    for structure in structures:
        size = 0 if structure.atoms is None else len(structure.atoms)
        is_full = n_atoms + size > _ATOMS_PER_BATCH or len(waiting) >= _PER_BATCH
        if waiting and (is_full if batch_size is None else len(waiting) >= batch_size):
            yield waiting
            waiting, n_atoms = [], 0
        waiting.append(structure)
        n_atoms += size
    if waiting:
        yield waiting


def _require_place(output: str | os.PathLike[str], model: FrozenModel) -> None:
    """Refuse a table, which has no place for values of atoms, where a model gives only these."""
    if str(output).lower().endswith(".csv") and all(
        target.per_atom for target in model.properties.values()
    ):
        names = ", ".join(model.properties)
        raise UserError(
            f"the output {output} has a row per structure, but the model gives values of atoms "
            f"({names}); use .xyz, .extxyz or .json"
        )


class _Ready(NamedTuple):
    """A structure ready to compute; `doubt` is what the model was not made for."""

    structure: Structure
    atoms: Atoms
    graph: AtomGraph
    doubt: str | None = None


def _prepare(structure: Structure, model: FrozenModel, *, unsafe: bool) -> _Ready | Prediction:
    """Return a structure ready to compute, or the record of its error."""
    if structure.atoms is None:
        return _failed(structure, structure.error)
    try:
        graph = graph_from_atoms(structure.atoms, model.cutoff)
    except ValueError as error:
        return _failed(structure, error)
    try:
        model.check_input(graph)
    except UserError as error:
        if not unsafe or isinstance(error, UnknownElementError):
            return _failed(structure, error)
        logger.warning("%s is outside the model: %s", structure, error)
        return _Ready(structure, structure.atoms, graph, doubt=str(error))
    return _Ready(structure, structure.atoms, graph)


def _failed(structure: Structure, error: object) -> Prediction:
    return Prediction({**structure.labels(), "error": str(error)}, None)


def _predict_batch(
    structures: list[Structure], model: FrozenModel, *, unsafe: bool
) -> Iterator[Prediction]:
    cases = [_prepare(structure, model, unsafe=unsafe) for structure in structures]
    graphs = [case.graph for case in cases if isinstance(case, _Ready)]
    if graphs:
        graph = collate(graphs).to(model.device)
        outputs = model.compute(graph, forces=True, stress=bool(graph.pbc.all(dim=1).any()))
        values = iter(split_outputs(model, graph, outputs))
        images = iter(mirrored_values(model, graph)) if gives_rotation(model) else repeat(None)
    for case in cases:
        if isinstance(case, _Ready):
            yield _prediction(case, model, next(values), next(images))
        else:
            yield case


def _prediction(
    case: _Ready, model: FrozenModel, values: Values, image: Values | None
) -> Prediction:
    structure, atoms, graph, doubt = case
    if not math.isfinite(values.get("energy", 0.0)):
        return _failed(structure, "the model gives no finite energy for this geometry")
    charge = int(graph.total_charge[0])
    record = {**structure.labels(), **make_record(model, atoms, values, total_charge=charge)}
    if image is not None:
        record |= rotation_notes(model, atoms, values, image, charge=charge)
    record |= likeness(model, atoms)
    if doubt is not None:
        record["unsafe"] = doubt
    marks = {name: record.get(name) for name in _MARKS}
    return Prediction(record, labelled_atoms(model, atoms, values, marks, total_charge=charge))
