"""What the timing scripts of this folder share.

Their command line, the clock, and the JSON lines that they print.

Each script runs in the environment of one package, by its own interpreter. A script describes its
model as a `Subject`; `run` times the tasks:

- `energy_forces`: energy and forces of a batch whose neighbour pairs are known, nothing kept for
training.
- `train_step`: energy and forces, the sum of their mean squares as the loss, its gradient with
respect to the weights; no optimizer.
- `md`: velocity Verlet of aspirin through ASE, 0.5 fs at 300 K, all overhead included; ms per step.

Lines: {"subject", "mode", "system", "task", "ms", "repeats"} and once {"subject", "mode",
"parameters": {group: count}}.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))
from systems import aspirin, median_seconds, systems

TASKS = ("energy_forces", "train_step", "md")
# Calls before the clock starts, calls timed; in each process.
REPEATS = {"energy_forces": (3, 7), "train_step": (2, 3)}
MD_WARMUP, MD_STEPS = 20, 100


class Subject(NamedTuple):
    """A model to be timed.

    name, mode: for the table. parameters: how many, by group of modules; empty where they are not
    compared. prepare: structures to a batch.
    energy_forces, train_step: take a batch. calculator: makes one for ASE. None where there is no
    such thing.
    """

    name: str
    mode: str
    parameters: dict[str, int]
    prepare: Callable[[list[Any]], Any]
    energy_forces: Callable[[Any], object]
    train_step: Callable[[Any], object] | None = None
    calculator: Callable[[], Any] | None = None


def options(description: str, modes: tuple[str, ...]) -> argparse.ArgumentParser:
    """Return a parser with the options that all scripts have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--systems", default="aspirin,water192,molecules64", help="names, with commas between"
    )
    parser.add_argument(
        "--tasks", default="energy_forces,train_step", help=f"of {', '.join(TASKS)}"
    )
    parser.add_argument(
        "--elements", default="1,6,7,8,9", help="molecules with others are left out"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument(
        "--repeats", type=int, help="calls of a task; by default more of the quick ones"
    )
    parser.add_argument("--mode", choices=modes, default=modes[0])
    return parser


def start(arguments: argparse.Namespace) -> None:
    """Set what must be set before a model is made."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.threads)
    torch.set_default_dtype(getattr(torch, arguments.dtype))


def counts(model: torch.nn.Module, groups: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """Return the numbers of weights by group.

    The first of `groups` one of whose marks is in the weight's name, else `other`.
    """
    found = dict.fromkeys([*groups, "other"], 0)
    for name, weight in model.named_parameters():
        group = next(
            (group for group, marks in groups.items() if any(mark in name for mark in marks)),
            "other",
        )
        found[group] += weight.numel()
    return {group: count for group, count in found.items() if count}


def squares(energy: torch.Tensor, forces: torch.Tensor) -> torch.Tensor:
    """Return the loss of a training step, the same for all."""
    return energy.square().mean() + forces.square().mean()


def run(subject: Subject, arguments: argparse.Namespace) -> None:
    """Time the tasks and print a line for each."""
    head = {"subject": subject.name, "mode": subject.mode}
    _line(head, parameters=subject.parameters)
    tasks = arguments.tasks.split(",")
    elements = [int(number) for number in arguments.elements.split(",")]
    for name, structures in systems(arguments.systems.split(","), elements).items():
        batch = subject.prepare(structures)
        for task in tasks:
            function = getattr(subject, task, None)
            if function is None or task not in REPEATS:
                continue
            warmup, repeats = REPEATS[task]
            repeats = arguments.repeats or repeats
            seconds = median_seconds(
                lambda call=function, of=batch: call(of), repeats, min(warmup, repeats)
            )
            _line(head, system=name, task=task, ms=1e3 * seconds, repeats=repeats)
    if "md" in tasks and subject.calculator is not None:
        n_steps = arguments.repeats or MD_STEPS
        _line(
            head,
            system="aspirin",
            task="md",
            ms=1e3 * _seconds_per_step(subject.calculator(), n_steps),
            repeats=n_steps,
        )


def _seconds_per_step(calculator: Any, n_steps: int) -> float:
    """Return the median time of a step of velocity Verlet."""
    from ase import units
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
    from ase.md.verlet import VelocityVerlet

    atoms = aspirin()
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=300.0, rng=np.random.default_rng(0))
    dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
    return median_seconds(lambda: dynamics.run(1), n_steps, min(MD_WARMUP, n_steps))


def _line(head: dict[str, str], **values: object) -> None:
    print(json.dumps({**head, **values}), flush=True)
