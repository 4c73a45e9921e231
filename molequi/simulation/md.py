"""Molecular dynamics of one or many structures with guards, statistics and exact restarts.

The drift is the slope of a straight line through the total energy of every step, or through what a
thermostat keeps constant instead.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from molequi.errors import RunInterruptedError, UserError
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.runtime.signals import SignalWatch
from molequi.simulation.calculator import Calculator
from molequi.simulation.forces import admitted
from molequi.simulation.md_settings import MDSettings
from molequi.simulation.moments import frame, rows, summary
from molequi.simulation.motion import Motion
from molequi.simulation.movers import as_calculator, first_computable
from molequi.simulation.trajectory import Trajectory
from molequi.structures.inputs import Input, read_inputs
from molequi.structures.structure import Structure

logger = logging.getLogger(__name__)
Progress = Callable[[int, int, Atoms], None]
Model = str | os.PathLike[str] | MolecularModel | FrozenModel | Calculator


def run_md(
    structure: Input,
    model: Model = "organic",
    settings: MDSettings | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    restart: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run molecular dynamics of the first structure of an input, and return what came of it.

    output: an extended XYZ or .traj file of every `interval`-th frame with energy, forces, dipole
    and momenta; beside it lie a log, `OUTPUT.csv`, and the state for `restart`. progress: called
    with (step, steps, atoms).
    Returns steps, time_ps, drift_mev_atom_ps (None where nothing is conserved: Langevin, ramps),
    temperature_mean, its standard deviation temperature_std beside that of the canonical ensemble
    (K), max_doubt_ev_a (the largest of a step, eV/Å; None of a model that knows no doubt), momentum
    (g/mol Å/fs) and angular_momentum of the whole, stopped (None, or the guard's reason), frames
    and labels. Raises RunInterruptedError where SIGINT or SIGTERM asked to stop:
    after the step that is being made, with its state saved.
    """
    calculator = as_calculator(model)
    (result,) = _simulate(
        [first_computable(structure, calculator)], calculator, settings or MDSettings(), output,
        progress, restart=restart, overwrite=overwrite,
    )  # fmt: skip
    return result


def run_many(
    inputs: Input | Iterable[Input],
    model: Model = "organic",
    settings: MDSettings | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    restart: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Run dynamics of every structure of the inputs at once: one call of the model for a step.

    Each has its own thermostat, random numbers (seed + number) and guard, and moves as it would
    alone; one that stops leaves the others to go on. The frames of all stand in one output,
    with their number under `molequi_index`. Returns what `run_md` does for each, or its error;
    other arguments as there.
    """
    calculator, settings = as_calculator(model), settings or MDSettings()
    structures = list(read_inputs(inputs))
    errors = [_error(structure, calculator) for structure in structures]
    good = [one for one, error in zip(structures, errors, strict=True) if error is None]
    if not good:
        structures[0].require_atoms()
        raise UserError(f"{structures[0]}: {errors[0]}")
    results = iter(
        _simulate(
            [structure.require_atoms() for structure in good], calculator, settings, output,
            progress, restart=restart, overwrite=overwrite,
        )
    )  # fmt: skip
    return [
        {**one.labels(), **(next(results) if error is None else {"error": str(error)})}
        for one, error in zip(structures, errors, strict=True)
    ]


def _error(structure: Structure, calculator: Calculator) -> ValueError | None:
    """Return why a structure cannot be run, None where it can."""
    try:
        admitted(calculator, structure.require_atoms())
    except ValueError as error:
        return error
    return None


def _simulate(
    structures: Sequence[Atoms],
    calculator: Calculator,
    settings: MDSettings,
    output: str | os.PathLike[str] | None,
    progress: Progress | None,
    *,
    restart: bool,
    overwrite: bool,
) -> list[dict[str, Any]]:
    motion = Motion(structures, calculator, settings)
    with (
        Trajectory(output, motion.identity()) as trajectory,
        _settled_kernels(calculator, motion, settings.steps),
    ):
        if restart:
            motion.restore(trajectory.resume())
        else:
            # The model may refuse the structure: then no empty file is left behind.
            motion.begin()
            trajectory.start(motion.present(), overwrite=overwrite)
        with SignalWatch() as signals:
            _run(motion, trajectory, progress, signals)
    place = None if output is None else str(output)
    return [{**summary(motion, number), "output": place} for number in range(len(structures))]


@contextlib.contextmanager
def _settled_kernels(calculator: Calculator, motion: Motion, steps: int) -> Iterator[None]:
    """Choose `auto` kernels by the work of the whole run, before it begins.

    A run that was interrupted must go on to the last bit.
    """
    model = calculator.model
    if model.kernels != "auto":
        yield
        return
    work = model.operations(motion.n_edges())
    model.use_kernels(model.kernels_for(steps * work, in_one_pass=work))
    try:
        yield
    finally:
        model.use_kernels("auto")


def _run(
    motion: Motion, trajectory: Trajectory, progress: Progress | None, signals: SignalWatch
) -> None:
    """Go on to the last step, or to where a guard has objected to every structure."""
    state, settings = motion.state, motion.settings
    # A restored moment has been measured, unless the run ended before it measured anything.
    is_new = not any(one.statistics.n for one in state.each)
    while motion.moving:
        if is_new:
            _look(motion, trajectory)
            if progress is not None and state.step % settings.interval == 0:
                progress(state.step, settings.steps, motion.one)
        if state.step >= settings.steps:
            break
        if motion.moving and signals.number:
            trajectory.save(motion.present())
            raise RunInterruptedError(
                _interruption(state.step, trajectory, signals.number), signals.number
            )
        if motion.moving:
            motion.advance()
        is_new = True
    trajectory.save(motion.present())


def _look(motion: Motion, trajectory: Trajectory) -> None:
    """Measure a moment, write it where that is due, and go on without what has left physics."""
    stopped = {place: _told(motion, place, why) for place, why in motion.measure().items()}
    is_due = motion.state.step % motion.settings.interval == 0
    if not is_due and not stopped:
        return
    told = range(len(motion.moving)) if is_due else sorted(stopped)
    finite = motion.joined.sums(~np.isfinite(motion.calculator.forces)).sum(axis=1) == 0
    shown = [place for place in told if finite[place]]
    frames, log = _shown(motion, shown, stopped) if trajectory.is_kept else ([], [])
    motion.count(shown, stopped)
    trajectory.write(frames, log, motion.state)


def _shown(
    motion: Motion, shown: Sequence[int], stopped: Mapping[int, str]
) -> tuple[list[Atoms], list[dict[str, Any]]]:
    """Return the frames and the rows of the log of structures at this moment."""
    table = rows(motion)
    frames = [frame(motion, place, stopped.get(place)) for place in shown]
    return frames, [table[place] for place in shown]


def _told(motion: Motion, place: int, problem: str) -> str:
    """Say, in the log and for the result, that a structure stopped and why."""
    step = motion.state.step
    text = f"stopped at step {step} ({motion.time:g} fs): {problem}"
    which = f"structure {motion.moving[place]} " if len(motion.structures) > 1 else ""
    logger.warning("%s%s", which, text)
    return text


def _interruption(step: int, trajectory: Trajectory, number: int) -> str:
    kept = (
        "nothing is kept, for there is no output"
        if trajectory.path is None
        else f"it is saved in {trajectory.path}, go on with --restart"
    )
    return f"dynamics stopped by {signal.Signals(number).name} at step {step}; {kept}"
