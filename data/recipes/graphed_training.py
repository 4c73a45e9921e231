"""Train a model of molecules on one GPU with each step captured as one CUDA graph.

    python data/recipes/graphed_training.py CONFIG [key=value ...] --output MODEL.safetensors
        [--device cuda|cpu]

CONFIG is a config of `molequi train`, a file or the name of a bundled one. Its data are read, its
starting point is made and its schedule is followed as there; `training.batch_size` is the mean
number of structures of a step. The result is a model file that `molequi` commands, and `init=` of
another training, take.

A step puts a batch together, runs the network, differentiates energies to forces and the loss to
the gradient, clips it, takes SOAP's step and averages the weights: some thousand kernels, and a GPU
is faster than Python launches them. Captured once, they are launched as one. On a CPU nothing is
captured, and the steps are the same.

It takes energies and what comes with them of open molecules, models of `architecture=spherical`,
equilibrated charges and optimizer=soap, and says so otherwise. It does not go on where it was
stopped; the averaged weights are written after every epoch.
"""

import argparse
import copy
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from graphed_batches import PackedFrames
from graphed_pieces import with_pieces, without_fixed
from graphed_soap import FlatSoap
from graphed_step import (
    Loss,
    StepObjective,
    learned_physics,
    outputs_of,
    refuse_uncapturable,
)
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.datasets.load import load_dataset
from molequi.datasets.sampler import mix_seed
from molequi.errors import NotConvergedError, UserError
from molequi.models.checkpoint import save_model
from molequi.models.molecular import MolecularModel
from molequi.runtime.device import as_device
from molequi.training.calibration import Held, calibrate, without_calibration
from molequi.training.config import Config, load_config
from molequi.training.doubt import compared_rows, doubt_heads
from molequi.training.evaluation import evaluate_frames
from molequi.training.labels import choose_labels
from molequi.training.log import final_table
from molequi.training.optimizers.soap import STEPS_PER_TURN
from molequi.training.schedule import Schedule, make_schedule
from molequi.training.setup import StartingPoint, start_model
from molequi.training.state import Position
from molequi.training.total_charge import with_total_charge

LOG = logging.getLogger("graphed_training")
# Runs before a capture, in which libraries make what they keep.
_WARM_UP = 3
# Seconds between two lines of the log, where Python waits for the GPU.
_SECONDS_PER_LINE = 15.0


class Prepared(NamedTuple):
    """A config, all structures with their labels, their parts, and the model to train."""

    config: Config
    frames: Frames
    splits: Mapping[str, Tensor]
    start: StartingPoint


def prepare(source: str, overrides: Sequence[str]) -> Prepared:
    """Read a config and its data, and make the starting point: the beginning of `fit_frames`."""
    config = load_config(source, overrides)
    dataset = load_dataset(config.data, config.declared())
    frames = choose_labels(dataset.frames, dataset.splits, config.data.targets)
    config, frames = with_total_charge(config, frames)
    if config.training.optimizer != "soap":
        raise UserError("captured training has optimizer=soap")
    start = start_model(config, frames.subset(dataset.splits["train"]))
    refuse_uncapturable(start.model)
    return Prepared(config, frames, dataset.splits, start)


class GraphedTraining:
    """The steps of a training on structures that lie on the device.

    chosen: (B,), the structures of the next step; to be written to, as `soap.rate`. sums: (T,), of
    the losses of the steps since it was last zeroed.
    """

    def __init__(
        self, config: Config, frames: Frames, start: StartingPoint, device: torch.device
    ) -> None:
        settings = config.training
        self.whole = start.model.physics
        frames, back = with_pieces(frames)
        learned = without_fixed(frames, back, start.model)
        self.model = start.model.to(device)
        self.model.set_physics(learned_physics(self.whole))
        self.model.use_kernels("triton" if device.type == "cuda" else "reference")
        rows = compared_rows(frames.properties[name] for name in config.data.targets)
        self.objective = StepObjective(self.model, rows, start.scales, settings, device)
        doubts = doubt_heads(self.model).values()
        self.soap = FlatSoap(
            self.model,
            apart=[weight for head in doubts for weight in head.parameters()],
            clip=settings.gradient_clip,
            ema=settings.ema,
            weight_decay=settings.weight_decay,
        )
        self.data = PackedFrames(learned, self.model.cutoff, device, back)
        self.size = self.data.size_for(settings.batch_size)
        self.chosen = torch.full((self.size.molecules,), self.data.nothing, device=device)
        self.sums = torch.zeros_like(self.objective.weights)

    def gradient(self) -> Loss:
        """Write the gradient of the chosen structures' loss; return the loss."""
        batch = self.data.assemble(self.chosen, self.size)
        loss = self.objective.loss(outputs_of(self.model, batch), batch)
        self.soap.take(
            torch.autograd.grad(
                loss.total, self.soap.weights, allow_unused=True, materialize_grads=True
            )
        )
        self.sums += loss.terms
        return loss._replace(total=loss.total.detach())

    def weigh(self, weights: Mapping[str, float]) -> None:
        """Set the weight of each target's loss for the steps that follow."""
        kept = self.objective.weights
        kept.copy_(self.objective.objective.weights(weights, kept.device))

    def start(self, chosen: Tensor, rate: float) -> None:
        """Take the first step, which lays the bases."""
        self.chosen.copy_(chosen)
        self.soap.rate.fill_(rate)
        self.gradient()
        self.soap.start()

    def step(self) -> None:
        """Take a step; may be captured."""
        self.gradient()
        self.soap.step()

    def captured(self) -> Callable[[], object]:
        """Return what takes a step: on a GPU the replay of a graph, on a CPU `step` itself."""
        if self.chosen.device.type != "cuda":
            return self.step
        changed = [*self.soap.tensors(), self.sums]
        kept = [tensor.clone() for tensor in changed]
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UP):
                self.step()
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        for tensor, before in zip(changed, kept, strict=True):
            tensor.copy_(before)
        return graph.replay

    def result(self) -> MolecularModel:
        """Return a copy with the averaged weights and all physics, on the CPU."""
        with self.soap.averaged():
            model = copy.deepcopy(self.model)
        # The weights were views of one vector.
        for weight in model.parameters():
            weight.data = weight.detach().clone()
        model.set_physics(self.whole)
        model.use_kernels("auto")
        return model.to("cpu").eval()


class Journal:
    """Lines of the log, each with the mean losses since the one before."""

    def __init__(self, training: GraphedTraining) -> None:
        self.training, self.begun = training, time.monotonic()
        self.last, self.n_steps = self.begun, 0

    def seconds(self) -> float:
        """Return the seconds since the first step."""
        return time.monotonic() - self.begun

    def check(self, position: Position) -> None:
        """Raise NotConvergedError where a gradient was not finite."""
        if self.training.soap.not_finite.item():
            raise NotConvergedError(
                f"a gradient before step {position.step} is not finite: look for wrong labels, or "
                "lower training.learning_rate"
            )

    def note(self, position: Position) -> None:
        """Count a step; write a line when it is time."""
        position.batch, position.step = position.batch + 1, position.step + 1
        position.seconds = self.seconds()
        self.n_steps += 1
        since = time.monotonic() - self.last
        if since < _SECONDS_PER_LINE:
            return
        self.check(position)
        names = self.training.objective.objective.names
        means = (self.training.sums / self.n_steps).tolist()
        losses = ", ".join(f"{name} {x:.3g}" for name, x in zip(names, means, strict=True))
        step = f"epoch {position.epoch}, step {position.step}"
        LOG.info("%s: %.2f ms a step; %s", step, 1e3 * since / self.n_steps, losses)
        self.training.sums.zero_()
        self.last, self.n_steps = time.monotonic(), 0


def train(training: GraphedTraining, config: Config, output: Path) -> Position:
    """Follow the config's schedule over the structures; return where it ended."""
    schedule, position = make_schedule(config.training), Position()
    indices = torch.nonzero(training.data.back == 0)[:, 0]
    journal, step = Journal(training), training.step
    while position.epoch < schedule.epochs and not schedule.is_over_budget(position):
        seed = mix_seed(config.training.seed, position.epoch)
        order = torch.randperm(len(indices), generator=torch.Generator().manual_seed(seed))
        plan = training.data.plan(indices[order], training.size)
        for chosen in plan:
            if schedule.second_stage is not None and not position.stage_step:
                enter_stage(training, schedule, position, len(plan))
            rate = schedule.rate(position, len(plan))
            if position.step:
                training.chosen.copy_(chosen)
                training.soap.rate.fill_(rate)
                step()
                if position.step % STEPS_PER_TURN == 0:
                    training.soap.turn()
            else:
                training.start(chosen, rate)
                step = training.captured()
            journal.note(position)
            if schedule.is_over_budget(position):
                break
        position.epoch, position.batch = position.epoch + 1, 0
        journal.check(position)
        save_model(training.result(), output)
    return position


def enter_stage(
    training: GraphedTraining, schedule: Schedule, position: Position, n_batches: int
) -> None:
    """Weigh the losses as the second stage says when it is due."""
    progress = schedule.progress(position, n_batches)
    if schedule.is_last_stage(progress):
        position.stage_step = position.step
        training.weigh(schedule.weights_at(progress))


def finish(model: MolecularModel, prepared: Prepared, output: Path) -> None:
    """Calibrate the doubt of a trained model, write it, and log its errors: as `fit_frames`."""
    config, frames, splits, _ = prepared
    valid = frames.subset(splits["valid"])
    names = [row.name for row in compared_rows(config.targets())]
    if doubt_heads(model):
        held_out = evaluate_frames(without_calibration(model), valid, names=names)
        calibrate(model, held_out.doubted, Held("valid", len(valid)))
    save_model(model, output)
    table = final_table(evaluate_frames(model, valid, names=names).result)
    LOG.info("errors on the %d validation structures:\n%s", len(valid), table)


def run(prepared: Prepared, device: torch.device, output: Path) -> None:
    """Train, and write the model."""
    part = prepared.frames.subset(prepared.splits["train"])
    training = GraphedTraining(prepared.config, part, prepared.start, device)
    LOG.info("%d structures, batches of %s", len(part), training.size)
    position = train(training, prepared.config, output)
    LOG.info("%d steps, %d epochs, %.0f s", position.step, position.epoch, position.seconds)
    finish(training.result().to(device), prepared, output)


def main() -> None:
    """Train as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        device = torch.device(as_device(arguments.device))
        run(prepare(arguments.config, arguments.overrides), device, arguments.output)
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
