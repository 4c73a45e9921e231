"""The invariant features of every atom, for models and analyses of one's own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from molequi.errors import UserError
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import frozen_model
from molequi.prediction.records import result_labels
from molequi.structures.atoms import graph_from_atoms
from molequi.structures.inputs import Input, read_inputs
from molequi.structures.structure import Structure


class Embedding(NamedTuple):
    """What a record says first of a structure, and the features of its N atoms, (N, F).

    Without features the record has an `error`.
    """

    record: dict[str, Any]
    features: np.ndarray | None


def embed(
    inputs: Input | Iterable[Input] = (),
    model: str | os.PathLike[str] | MolecularModel | FrozenModel = "organic",
    *,
    smiles: str | Sequence[str] = (),
    charge: int | None = None,
    seed: int = 0,
) -> list[np.ndarray]:
    """Return invariant features of every atom of every structure: (N, F) each.

    Arguments as `predict`. Raises UserError that names a structure which cannot be read or is
    outside the model.
    """
    structures = read_inputs(inputs, smiles=smiles, charge=charge, seed=seed)
    frozen = frozen_model(model)
    return [_features(structure, frozen)[1] for structure in structures]


def iter_embeddings(
    structures: Iterable[Structure],
    model: str | os.PathLike[str] | MolecularModel | FrozenModel = "organic",
) -> Iterator[Embedding]:
    """Yield the features of structures from `inputs.read_inputs` as they come; see `embed`.

    One that has none, as it cannot be read or is outside the model, comes with its error.
    """
    frozen = frozen_model(model)
    for structure in structures:
        try:
            yield Embedding(*_features(structure, frozen))
        except UserError as error:
            text = str(error).removeprefix(f"{structure}: ")
            yield Embedding({**structure.labels(), "error": text}, None)


def _features(structure: Structure, frozen: FrozenModel) -> tuple[dict[str, Any], np.ndarray]:
    """Return record and features. Raises UserError that names the structure."""
    atoms = structure.require_atoms()
    try:
        graph = graph_from_atoms(atoms, frozen.cutoff)
        frozen.check_features(graph)
    except ValueError as error:  # a UserError among them
        raise UserError(f"{structure}: {error}") from error
    labels = result_labels(frozen, atoms, total_charge=int(graph.total_charge[0]))
    features = frozen.embed(graph.to(frozen.device)).cpu().numpy()
    return {**structure.labels(), **labels}, features
