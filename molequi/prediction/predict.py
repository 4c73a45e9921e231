"""Files or SMILES in, named properties with units out."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from molequi.errors import UserError
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import frozen_model
from molequi.prediction.batches import batches_of, pass_over, predict_batch
from molequi.prediction.journaled import Prediction, written
from molequi.prediction.shared import Task, written_together
from molequi.runtime.journal import may_replace
from molequi.runtime.ranks import ALONE, Rank
from molequi.structures.inputs import Input, read_inputs
from molequi.structures.structure import Structure
from molequi.structures.writers import check_writable


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
        check_writable(output, overwrite=may_replace(Path(output), overwrite=overwrite))
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
    rank: Rank = ALONE,
    progress: Callable[[int], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Predict as `predict` does, a record at a time: memory does not grow with their number.

    structures: from `inputs.read_inputs`. The output appears when the last record has been taken;
    until then its results stand in the journal `OUTPUT.journal`, with which the same call goes on
    after an interruption. Raises UserError at once where nothing can be computed at all, and
    RunInterruptedError where a signal stopped a run with an output.
    rank: of processes that a launcher started (`runtime.ranks.launched_rank`) and that share the
    job: the first one yields all records, at the end, the others none. progress: called there with
    the number of structures that have passed.
    """
    if output is not None:
        overwrite = may_replace(Path(output), overwrite=overwrite)
        check_writable(output, overwrite=overwrite)
    frozen = frozen_model(model)
    batches = batches_of(structures, batch_size)
    compute = functools.partial(predict_batch, model=frozen, unsafe=unsafe)
    if output is None:
        if rank.of > 1:
            raise UserError(f"{rank.of} processes share a job through its output: give --output")
        return (item.record for batch in batches for item in compute(batch))
    _require_place(output, frozen)
    settings = {"unsafe": unsafe, "batch_size": batch_size}
    if rank.of > 1:
        task = Task(compute, functools.partial(pass_over, model=frozen, unsafe=unsafe))
        return written_together(batches, task, frozen, Path(output), settings, rank, progress)
    return written(batches, compute, frozen, Path(output), settings, overwrite=overwrite)


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
    for batch in batches_of(structures, batch_size):
        yield from predict_batch(batch, frozen, unsafe=unsafe)


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
