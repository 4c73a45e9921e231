"""An ensemble: its members are trained one after the other, and end in one model."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.models.checkpoint import load_model, save_model
from molequi.models.ensemble import Ensemble
from molequi.models.molecular import MolecularModel
from molequi.training.config import Config
from molequi.training.evaluation import NOTHING, Beside
from molequi.training.finish import finish, started
from molequi.training.labels import choose_labels
from molequi.training.run_directory import RunDirectory
from molequi.training.total_charge import with_total_charge

logger = logging.getLogger(__name__)


def join_members(
    config: Config,
    frames: Frames,
    splits: Mapping[str, Tensor],
    output: Path,
    members: Sequence[Path],
    *,
    messages: Sequence[str] = (),
    beside: Beside = NOTHING,
    plots: bool = True,
) -> Path:
    """Make one model of trained members and fill the run directory `output`; returns it.

    The spreads are calibrated on the structures that chose the members' best epochs, and the whole
    is tested as a single model is. members: the files of the models. The other arguments are those
    of `fit.fit_frames`. Raises UserError for members that are no members of one ensemble.
    """
    directory = RunDirectory(output)
    frames = choose_labels(frames, splits, config.data.targets)
    with started(config, splits, directory, messages):
        config, frames = with_total_charge(config, frames)
        directory.result.unlink(missing_ok=True)  # of the members as they were
        save_model(joined([load_model(path) for path in members], config.name), directory.model)
        logger.info("%d members are one model now: %s", len(members), directory.model)
        finish(config, frames, splits, directory, beside, plots=plots)
    return output


def joined(models: Sequence[MolecularModel], name: str) -> Ensemble:
    """Make an ensemble of models, called `name`; the errors of its first member are not its own."""
    first = models[0].metadata
    training = dataclasses.replace(first.training, config=name, evaluated_on=None, errors={})
    return Ensemble(models, metadata=dataclasses.replace(first, name=name, training=training))
