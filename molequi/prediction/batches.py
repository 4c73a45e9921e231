"""Structures in batches, and what a model gives for each: one bad structure costs only itself."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

from ase import Atoms

from molequi.errors import NotComputableError, NotFiniteError, UserError
from molequi.graphs.graph import AtomGraph, collate
from molequi.models.freeze import FrozenModel
from molequi.prediction.applicability import likeness
from molequi.prediction.journaled import Prediction
from molequi.prediction.optical_rotation import (
    MARKS,
    gives_rotation,
    mirrored_values,
    rotation_notes,
)
from molequi.prediction.records import (
    Values,
    labelled_atoms,
    make_record,
    refuse_not_finite,
    split_outputs,
)
from molequi.runtime.device import is_out_of_memory
from molequi.structures.atoms import graph_from_atoms
from molequi.structures.batching import in_batches
from molequi.structures.structure import Structure

logger = logging.getLogger(__name__)

# Enough atoms to fill the vector units, few enough that a batch of a crystal's many edges stays
# small.
_ATOMS_PER_BATCH = 1024
_PER_BATCH = 1024  # as many structures at most: those that cannot be read have no atoms
# What a structure in an output file carries of its record, beside the values.
_MARKS = ("model", "level", "unsafe", *MARKS)


def batches_of(
    structures: Iterable[Structure], batch_size: int | None
) -> Iterator[list[Structure]]:
    """Part structures by their number, or by their atoms where none is given."""
    by_atoms = {"atoms": _ATOMS_PER_BATCH, "count": _PER_BATCH}
    limits = by_atoms if batch_size is None else {"count": batch_size}
    return in_batches(structures, lambda one: one.n_atoms, **limits)


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
        if not unsafe or isinstance(error, NotComputableError):
            return _failed(structure, error)
        logger.warning("%s is outside the model: %s", structure, error)
        return _Ready(structure, structure.atoms, graph, doubt=str(error))
    return _Ready(structure, structure.atoms, graph)


def _failed(structure: Structure, error: object) -> Prediction:
    return Prediction({**structure.labels(), "error": str(error)}, None)


def predict_batch(
    structures: list[Structure], model: FrozenModel, *, unsafe: bool
) -> Iterator[Prediction]:
    """Predict the structures of a batch; one that cannot be costs only itself."""
    cases = [_prepare(structure, model, unsafe=unsafe) for structure in structures]
    found = iter(_compute([case for case in cases if isinstance(case, _Ready)], model))
    for case in cases:
        yield _prediction(case, model, next(found)) if isinstance(case, _Ready) else case


class _Found(NamedTuple):
    """What a model gave for one structure, and for its mirror image where that is asked for."""

    values: Values
    image: Values | None


def _compute(ready: Sequence[_Ready], model: FrozenModel) -> list[_Found | str]:
    """Compute structures together; where the memory is too small one by one, and say which fail."""
    if not ready:
        return []
    try:
        graph = collate([case.graph for case in ready]).to(model.device)
        outputs = model.compute(graph, forces=True, stress=bool(graph.pbc.all(dim=1).any()))
        values = split_outputs(model, graph, outputs)
        images = mirrored_values(model, graph) if gives_rotation(model) else repeat(None)
        return [_Found(*pair) for pair in zip(values, images, strict=False)]
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    if len(ready) == 1:
        return ["the memory is too small for this structure; compute it elsewhere"]
    return [found for case in ready for found in _compute([case], model)]


def pass_over(structures: list[Structure], model: FrozenModel, *, unsafe: bool) -> None:
    """Count the work of a batch that another process computes; see `predict_batch`."""
    if model.is_settled:
        return
    cases = [_prepare(structure, model, unsafe=unsafe) for structure in structures]
    edges = [case.graph.edge_index.shape[1] for case in cases if isinstance(case, _Ready)]
    for _ in range((2 if gives_rotation(model) else 1) if edges else 0):
        model.pass_over(sum(edges))


def _prediction(case: _Ready, model: FrozenModel, found: _Found | str) -> Prediction:
    structure, atoms, graph, doubt = case
    if isinstance(found, str):
        return _failed(structure, found)
    values, image = found
    try:
        refuse_not_finite(model, values)
    except NotFiniteError as error:
        return _failed(structure, error)
    charge = int(graph.total_charge[0])
    record = {**structure.labels(), **make_record(model, atoms, values, total_charge=charge)}
    if image is not None:
        record |= rotation_notes(model, atoms, values, image, charge=charge)
    record |= likeness(model, atoms)
    if doubt is not None:
        record["unsafe"] = doubt
    marks = {name: record.get(name) for name in _MARKS}
    return Prediction(record, labelled_atoms(model, atoms, values, marks, total_charge=charge))
