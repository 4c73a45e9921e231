"""Settings of the optimisation of a model of molecules: the group `training` of a config."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import pydantic
from pydantic import Field

from molequi.kernels import BACKENDS
from molequi.keys import Unit
from molequi.settings import Count, DeviceName, Positive, Seed, Settings, one_of

# A negative weight would make an error as large as it can be.
Weights = dict[str, Annotated[float, Field(ge=0)]]


class StageSettings(Settings):
    """The second stage of a run, with loss weights of its own."""

    start: float = Field(0.8, gt=0, lt=1)
    """The part of the run after which it begins, 0 to 1."""
    weights: Weights
    """Loss weight by target from then on."""


class TrainingSettings(Settings):
    """The optimisation.

    The kernels are those of `SphericalBackbone.use_kernels`; auto compiles where a run is long. The
    parts of a target share its loss weight.
    """

    changeable: ClassVar = frozenset(
        {
            *("epochs", "max_minutes", "patience", "device", "devices", "nodes", "workers"),
            *("logger", "checkpoint_minutes", "checkpoint_steps"),
        }
    )
    paths: ClassVar = frozenset({"reference_energies"})

    epochs: Count = 100
    """How often the training structures are seen at most."""
    max_minutes: Annotated[Positive, Unit("min")] | None = None
    """Time budget, which the schedule then follows; none by default."""
    batch_size: Count = 16
    """Structures a step."""
    optimizer: Literal["adamw", "muon", "soap"] = "soap"
    """soap, muon or adamw; learning rates of one size suit all."""
    learning_rate: Positive = 1e-2
    """The highest one of the run."""
    weight_decay: float = Field(0.0, ge=0)
    """Pull of the weights towards zero, beside the learning rate."""
    ema: float = Field(0.99, ge=0, lt=1)
    """Decay of the averaged weights, which are tested and kept; 0 averages nothing."""
    warmup_steps: Annotated[int, Unit("steps")] = Field(100, ge=0)
    """Steps over which the learning rate rises."""
    schedule: Literal["cosine", "plateau"] = "cosine"
    """cosine, or plateau: half the rate after a third of the patience."""
    gradient_clip: Positive = 10.0
    """The largest norm of a gradient."""
    patience: Count | None = None
    """Epochs without improvement before the run ends, those of a second stage alone; or null."""
    weights: Weights = {}
    """Loss weight by target, 1 where unnamed, or by part, such as `rosenfeld[0o]`."""
    huber: Positive | None = 0.1
    """Error, in scales of the target, beyond which the loss is linear; null: squares."""
    force_loss: Literal["components", "norm"] = "components"
    """components of the force error, or norm, its length at each atom."""
    second_stage: StageSettings | None = None
    """Loss weights of the last part of a run; null is one stage."""
    reference_energies: Annotated[dict[str, float], Unit("eV")] | str = "least_squares"
    """least_squares, element -> value, or a YAML or JSON file with such."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of the network, float32 or float64."""
    seed: Seed = 0
    """Of the weights and of the order of the structures."""
    folds: int | None = Field(None, ge=2)
    """Runs, each tested on another part of the data (`data.split.folds`); null is one run."""
    repeats: Count = 1
    """Runs with the seeds seed, seed + 1, ...; the result is their mean and spread."""
    device: DeviceName = "auto"
    """auto, cpu, cuda or cuda:N."""
    kernels: str = "auto"
    """Who computes convolutions: auto, reference, generic, specialized, triton."""
    devices: Count = 1
    """Processes on a machine."""
    nodes: Count = 1
    """Machines."""
    workers: int = Field(0, ge=0)
    """Processes that prepare batches."""
    logger: Literal["csv", "tensorboard"] = "csv"
    """csv, or tensorboard beside it."""
    checkpoint_minutes: Annotated[Positive, Unit("min")] = 10.0
    """How often last.ckpt is written within an epoch."""
    checkpoint_steps: Annotated[Count, Unit("steps")] | None = None
    """Steps after which it is written too; null leaves it to the clock."""

    @pydantic.field_validator("kernels")
    @classmethod
    def _known_kernels(cls, value: str) -> str:
        return one_of(value, ("auto", *BACKENDS))
