"""What stands around a training: the run directory while it lasts, and the end of it.

There the model is calibrated, evaluated and written, and the plots are drawn.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.models.checkpoint import load_model, save_model
from molequi.prediction.evaluated_table import write_evaluated
from molequi.runtime.device import as_device
from molequi.training.calibration import Held, calibrate, without_calibration
from molequi.training.config import Config
from molequi.training.doubt import compared_rows, spread_heads
from molequi.training.evaluation import (
    Beside,
    Evaluation,
    evaluate_frames,
    save_predictions,
    tested_part,
)
from molequi.training.figures import draw_run
from molequi.training.judged import judged, misjudged_lines, write_calibration
from molequi.training.log import RunLog, beaten_lines, final_table
from molequi.training.processes import is_first_process
from molequi.training.run_directory import RunDirectory
from molequi.training.symmetry import add_violations

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def started(
    config: Config,
    splits: Mapping[str, Tensor],
    directory: RunDirectory,
    messages: Sequence[str],
    *,
    goes_on: bool = False,
) -> Iterator[None]:
    """Keep the run directory and its log open for a while, in the first process.

    goes_on: whether a run is there that this one continues, with its config and its split.
    """
    if not is_first_process():
        yield
        return
    if not goes_on:
        directory.start(config)
        directory.write_split(rows_of(splits))
    with RunLog(directory.log) as log:
        for message in messages:
            log.note(message)
        yield


def finish(
    config: Config,
    frames: Frames,
    splits: Mapping[str, Tensor],
    directory: RunDirectory,
    beside: Beside,
    *,
    plots: bool,
) -> None:
    """Evaluate the model in the run directory and write all that a run ends with."""
    evaluation = _evaluated(config, frames, splits, directory, beside)
    drawn = config.data.targets if plots else ()
    _write_result(evaluation, tested_part(splits), directory, drawn)


def _evaluated(
    config: Config,
    frames: Frames,
    splits: Mapping[str, Tensor],
    directory: RunDirectory,
    beside: Beside,
) -> Evaluation:
    """Calibrate and evaluate the model of a run, and write it and its predictions, with `beside`.

    On the test structures, or the validation ones where there are none.
    """
    split = tested_part(splits)
    model = load_model(directory.model, device=as_device(config.training.device))
    compared = compared_rows(config.targets())
    compare = functools.partial(
        evaluate_frames,
        names=[row.name for row in compared],
        batch_size=config.training.batch_size,
    )
    if not all(head.is_calibrated for head in spread_heads(model).values()):
        held_out = compare(without_calibration(model), frames.subset(splits["valid"]))
        calibrate(model, held_out.doubted, Held("valid", len(splits["valid"])))
    evaluation = compare(model, frames.subset(splits[split]))
    add_violations(evaluation.result, model, evaluation.frames, compared)
    for name, errors in beside.errors.items():
        evaluation.result[name] |= errors
    training = dataclasses.replace(
        model.metadata.training,
        evaluated_on=split,
        errors=evaluation.result,
        molecules=dict(beside.molecules),
    )
    model.metadata = dataclasses.replace(model.metadata, training=training)
    save_model(model, directory.model)
    save_predictions(evaluation, directory.predictions(split))
    cells = [beside.cells[index] for index in splits[split].tolist()] if beside.cells else []
    _write_table(directory.prediction_table(split), evaluation, cells)
    return evaluation


def _write_table(path: Path, evaluation: Evaluation, cells: Sequence[Mapping[str, str]]) -> None:
    """Write labels and predictions beside the cells of a table, where none are of atoms."""
    if not any(row.per_atom for row in evaluation.frames.properties.values()):
        write_evaluated(path, evaluation.frames, evaluation.predictions, cells=cells)


def _write_result(
    evaluation: Evaluation, split: str, directory: RunDirectory, drawn: Sequence[str]
) -> None:
    """Draw the run, if its targets are to be drawn, and write and log the errors, last of all."""
    if drawn:
        draw_run(directory, evaluation, drawn)
    if judged(evaluation.result):
        write_calibration(directory.calibration, evaluation.result)
    directory.write_result(evaluation.result)
    _report(evaluation, split)


def _report(evaluation: Evaluation, split: str) -> None:
    """Log the errors, and what is suspicious about them."""
    n_structures = len(evaluation.frames)
    if not any(row["count"] for row in evaluation.result.values()):
        logger.warning(
            "none of the %d %s structures has a label, so nothing is known of the model's errors "
            "there",
            n_structures,
            split,
        )
    for text in beaten_lines(evaluation.result):
        logger.warning("worse than the baseline: %s", text)
    for text in misjudged_lines(evaluation.result):
        logger.warning("wrong about its errors: %s", text)
    table = final_table(evaluation.result)
    logger.info("errors on the %d %s structures:\n%s", n_structures, split, table)


def rows_of(splits: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """Return the rows of each part as lists."""
    return {name: indices.tolist() for name, indices in splits.items()}
