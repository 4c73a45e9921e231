"""Replace the model of a run by the mean of its weights and those that it began from.

    python data/recipes/mean_weights.py RUN teacher.npz START [--share 0.5]

RUN is the run directory of a training with `init=START`, of the same network; --share is that of
RUN's weights, START has the rest. Fine-tuning on a few kinds of structures takes a little from all
others; the mean keeps most of both (M. Wortsman and others, arXiv 2109.01903). Its doubt is
calibrated anew on the validation structures of teacher.npz, the set that RUN saw. What the training
ended with stays as `trained.safetensors`.
"""

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from molequi.datasets.npz import load_npz
from molequi.errors import UserError
from molequi.models.checkpoint import save_model
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import load
from molequi.training.calibration import Held, calibrate, without_calibration
from molequi.training.doubt import compared_rows
from molequi.training.evaluation import evaluate_frames
from molequi.training.log import final_table
from molequi.training.run_directory import RunDirectory


def mean_of(
    trained: Mapping[str, Tensor], start: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Return share * trained + (1 - share) * start. Raises UserError for other networks."""
    if {k: v.shape for k, v in trained.items()} != {k: v.shape for k, v in start.items()}:
        raise UserError("the two models have different networks; give what the run began from")
    return {
        name: torch.lerp(start[name].double(), value.double(), share).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in trained.items()
    }


def averaged(trained: MolecularModel, start: MolecularModel, share: float) -> MolecularModel:
    """Return the mean of two models, with the record of the first and no calibration."""
    model = without_calibration(trained)
    start = without_calibration(start)
    model.load_state_dict(mean_of(model.state_dict(), start.state_dict(), share))
    return model


def main() -> None:
    """Average, calibrate, write, and print the errors on the validation structures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("start")
    parser.add_argument("--share", type=float, default=0.5)
    arguments = parser.parse_args()
    run = RunDirectory(arguments.run)
    kept = run.path / "trained.safetensors"
    try:
        trained = load(kept if kept.exists() else run.model)
        model = averaged(trained, load(arguments.start), arguments.share)
        loaded = load_npz(arguments.data)
        if len(loaded.splits["train"]) != trained.metadata.training.n_structures:
            raise UserError("the run saw another set; give the one that it was trained on")
        valid = loaded.frames.subset(loaded.splits["valid"])
        found = [row for name, row in model.properties.items() if name in valid.targets]
        names = [row.name for row in compared_rows(found)]
        calibrate(
            model, evaluate_frames(model, valid, names=names).doubted, Held("valid", len(valid))
        )
    except UserError as error:
        parser.error(str(error))
    if not kept.exists():
        shutil.copyfile(run.model, kept)
    save_model(model, run.model)
    print(final_table(evaluate_frames(model, valid, names=names).result))


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
