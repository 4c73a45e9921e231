"""Settings of the optimisation of a model of molecules: the group `training` of a config."""

from __future__ import annotations

from typing import ClassVar, Literal

import pydantic
from pydantic import Field

from molequi.kernels import BACKENDS
from molequi.settings import Count, DeviceName, Positive, Seed, Settings, one_of


class StageSettings(Settings):
    """The second stage of a run: from the fraction `start` on, the loss weights are `weights`."""

    start: float = Field(0.8, gt=0, lt=1)
    weights: dict[str, float]


class TrainingSettings(Settings):
    """The optimisation.

    max_minutes: time budget; the schedule then follows the clock. optimizer: adamw, muon or soap,
    see `training.optimizers`; all take learning rates of one size. ema: decay of the averaged
    weights, 0 switches them off. warmup_steps: batches.
    gradient_clip: largest norm of the gradient. patience: epochs without improvement before the run
    ends; null never stops early. schedule plateau halves the rate after a third of the patience.
    weights: loss weight by target, 1 where unnamed, shared equally by its irrep parts; or by part,
    such as `rosenfeld[0o]`. huber: error beyond which the loss grows linearly, in units of the
    target's scale; null is plain MSE. force_loss: components of the force error, or norm, its
    length for each atom, which null leaves as it is. reference_energies: least_squares, or element
    -> eV, or a file with such a mapping (YAML, JSON). kernels: who computes the convolutions, see
    `SphericalBackbone.use_kernels`: reference, generic, specialized, triton, or auto, which
    compiles where a run is long.
    checkpoint_minutes, checkpoint_steps: write last.ckpt so often within an epoch. devices:
    processes; nodes: machines.
    """

    changeable: ClassVar = frozenset(
        {
            *("epochs", "max_minutes", "patience", "device", "devices", "nodes", "workers"),
            *("logger", "checkpoint_minutes", "checkpoint_steps"),
        }
    )
    paths: ClassVar = frozenset({"reference_energies"})

    epochs: Count = 100
    max_minutes: Positive | None = None
    batch_size: Count = 16
    optimizer: Literal["adamw", "muon", "soap"] = "soap"
    learning_rate: Positive = 1e-2
    weight_decay: float = Field(0.0, ge=0)
    ema: float = Field(0.99, ge=0, lt=1)
    warmup_steps: int = Field(100, ge=0)
    schedule: Literal["cosine", "plateau"] = "cosine"
    gradient_clip: Positive = 10.0
    patience: Count | None = None
    weights: dict[str, float] = {}
    huber: Positive | None = 0.1
    force_loss: Literal["components", "norm"] = "components"
    second_stage: StageSettings | None = None
    reference_energies: dict[str, float] | str = "least_squares"
    dtype: Literal["float32", "float64"] = "float32"
    seed: Seed = 0
    device: DeviceName = "auto"
    kernels: str = "auto"
    devices: Count = 1
    nodes: Count = 1
    workers: int = Field(0, ge=0)
    logger: Literal["csv", "tensorboard"] = "csv"
    checkpoint_minutes: Positive = 10.0
    checkpoint_steps: Count | None = None

    @pydantic.field_validator("kernels")
    @classmethod
    def _known_kernels(cls, value: str) -> str:
        return one_of(value, ("auto", *BACKENDS))
