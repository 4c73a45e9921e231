"""Molecular dynamics with guards, statistics and exact restarts.

The drift is the slope of a straight line through the total energy of every step.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from ase import Atoms

from molequi.errors import RunInterruptedError
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.runtime.signals import SignalWatch
from molequi.simulation.calculator import Calculator
from molequi.simulation.motion import MDSettings, Motion
from molequi.simulation.movers import as_calculator
from molequi.simulation.trajectory import Trajectory
from molequi.structures.inputs import Input, first_atoms

logger = logging.getLogger(__name__)
Progress = Callable[[int, int, Atoms], None]


def run_md(
    structure: Input,
    model: str | os.PathLike[str] | MolecularModel | FrozenModel | Calculator = "organic",
    settings: MDSettings | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    restart: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run molecular dynamics of the first structure of an input, and return what came of it.

    output: an extended XYZ file of every `interval`-th frame with energy, forces, dipole and
    momenta; beside it lies the state for `restart`. progress: called with (step, steps, atoms).
    Returns steps, time_ps, drift_mev_atom_ps (None for nvt), temperature_mean (K), stopped (None,
    or the guard's reason), frames and labels. Raises RunInterruptedError where SIGINT or SIGTERM
    asked to stop: after the step that is being made, with its state saved.
    """
    settings = settings or MDSettings()
    atoms = first_atoms(structure)
    calculator = as_calculator(model)
    motion = Motion(atoms, calculator, settings)
    with (
        Trajectory(output, motion.identity()) as trajectory,
        _settled_kernels(calculator, atoms, settings.steps),
    ):
        if restart:
            motion.restore(trajectory.resume())
            atoms.get_forces()  # step 0 has not been measured yet, where the run ended so early
        else:
            # The model may refuse the structure: then no empty file is left behind.
            atoms.get_forces()
            motion.begin()
            trajectory.start(motion.present(), overwrite=overwrite)
        with SignalWatch() as signals:
            # A run that ended before it measured anything has a state too.
            is_new = not motion.state.statistics.n
            stopped = _run(motion, trajectory, progress, signals, is_new=is_new)
    return {
        **motion.summary(),
        "stopped": stopped,
        "output": None if output is None else str(output),
    }


@contextlib.contextmanager
def _settled_kernels(calculator: Calculator, atoms: Atoms, steps: int) -> Iterator[None]:
    """Choose `auto` kernels by the work of the whole run, before it begins.

    A run that was interrupted must go on to the last bit.
    """
    model = calculator.model
    if model.kernels != "auto":
        yield
        return
    n_edges = calculator.graph(atoms).edge_index.shape[1]
    work = model.operations(n_edges)
    model.use_kernels(model.kernels_for(steps * work, in_one_pass=work))
    try:
        yield
    finally:
        model.use_kernels("auto")


def _run(
    motion: Motion,
    trajectory: Trajectory,
    progress: Progress | None,
    signals: SignalWatch,
    *,
    is_new: bool,
) -> str | None:
    """Go on to the last step, or to where a guard objects; return its objection.

    is_new: whether the state is to be measured; a restored one has been.
    """
    state, settings = motion.state, motion.settings
    while True:
        if is_new:
            problem = motion.measure()
            if problem is not None:
                return _stop(motion, trajectory, problem)
            if state.step % settings.interval == 0:
                trajectory.write(motion.frame(), motion.present())
                if progress is not None:
                    progress(state.step, settings.steps, motion.atoms)
        if state.step >= settings.steps:
            trajectory.save(motion.present())
            return None
        if signals.number:
            trajectory.save(motion.present())
            raise RunInterruptedError(
                _interruption(state.step, trajectory, signals.number), signals.number
            )
        motion.advance()
        is_new = True


def _interruption(step: int, trajectory: Trajectory, number: int) -> str:
    kept = (
        "nothing is kept, for there is no output"
        if trajectory.path is None
        else f"it is saved in {trajectory.path}, go on with --restart"
    )
    return f"dynamics stopped by {signal.Signals(number).name} at step {step}; {kept}"


def _stop(motion: Motion, trajectory: Trajectory, problem: str) -> str:
    step, model = motion.state.step, motion.calculator.model.metadata.name
    time = step * motion.settings.timestep
    text = f"stopped at step {step} ({time:g} fs): {problem}; the model {model} is no guide here"
    logger.warning("%s", text)
    if np.isfinite(motion.calculator.results["forces"]).all():
        trajectory.write(motion.frame(text), motion.present())
    return text
