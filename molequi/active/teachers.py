"""Who labels: a level of theory or an ASE calculator. What is labelled stays, whatever happens."""

from __future__ import annotations

import abc
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.singlepoint import SinglePointCalculator

from molequi.active.folder import read_frames
from molequi.errors import RunInterruptedError, UserError
from molequi.labeling.journal import Journal, name_of
from molequi.labeling.levels import Molecule, choose_properties, parse_level, require_package
from molequi.labeling.run import RunSettings, label
from molequi.labeling.workers import Worker
from molequi.prediction.energies import CalculatorEnergies, Factory, Refusal
from molequi.runtime.journal import Entry, journal_path
from molequi.runtime.signals import SignalWatch
from molequi.structures.atoms import charge_of, multiplicity_of
from molequi.structures.writers import write_results

logger = logging.getLogger(__name__)

LABELS = ("energy", "forces")


class Teacher(abc.ABC):
    """What gives energies and forces.

    name: as a paper or a command line would have it. identity: plain values that tell it from
    others.
    """

    name: str
    identity: dict[str, Any]

    def check(self, elements: Sequence[int]) -> None:  # noqa: B027 - a calculator cannot
        """Raise UserError where atoms of these elements can have no label; before any dynamics."""

    def label(self, frames: Path, output: Path) -> list[Atoms]:
        """Label the frames of a file and return those that could be, as they stand in `output`.

        What is labelled is in a journal beside the output at once, and the output is not computed
        again where it is there. Raises UserError where none could be labelled, and
        RunInterruptedError where a signal asked to stop.
        """
        if not output.is_file() or journal_path(output).exists():
            failures = self._label(frames, output)
            for failure in failures:
                logger.warning("no label for %s", failure)
            if not output.is_file():
                raise UserError(f"{self.name} gives no label for any frame: {failures[0]}")
        return read_frames(output)

    @abc.abstractmethod
    def _label(self, frames: Path, output: Path) -> Sequence[str]:
        """Write the labels, or the rest of them; return which frames have none, and why."""


class LevelTeacher(Teacher):
    """A level of theory of `molequi label`.

    n_processes: of one thread each; one per core by default. Raises UserError for a level without
    forces, or whose program is not installed.
    """

    def __init__(self, level: str, n_processes: int | None = None) -> None:
        parsed = parse_level(level)
        choose_properties(parsed, LABELS)
        require_package(parsed)
        self.name, self.identity = parsed.text, {"level": str(parsed)}
        self._level, self._parsed, self._n_processes = level, parsed, n_processes

    def check(self, elements: Sequence[int]) -> None:
        """Ask the level's program for functional and basis."""
        Worker(self._parsed, LABELS, elements).close()

    def _label(self, frames: Path, output: Path) -> Sequence[str]:
        run = RunSettings(self._n_processes, resume=journal_path(output).exists(), as_is=True)
        found = label(frames, self._level, output, properties=LABELS, run=run)
        return [f"{failure.structure}: {failure.reason}" for failure in found.failures]


class CalculatorTeacher(Teacher):
    """An ASE calculator, or what makes one. more: of its identity, beside the name."""

    def __init__(
        self, name: str, make: BaseCalculator | Factory, more: dict[str, Any] | None = None
    ) -> None:
        self.name, self.identity = name, {"calculator": name, **(more or {})}
        self._source = CalculatorEnergies(make)

    def _label(self, frames: Path, output: Path) -> Sequence[str]:
        asked = read_frames(frames)
        with Journal(journal_path(output), self.identity) as journal, SignalWatch() as watch:
            for done, frame in enumerate(asked):
                if watch.number:
                    raise RunInterruptedError(
                        f"labels stopped by {watch.name}, {done} of {len(asked)} are kept",
                        watch.number,
                    )
                if (name := _name(frame)) not in journal.answers:
                    journal.add(name, self._answer(frame))
            answers = [journal.answers[_name(frame)] for frame in asked]
            good = [
                self._labelled(frame, answer["values"])
                for frame, answer in zip(asked, answers, strict=True)
                if "values" in answer
            ]
            if good:
                write_results(output, [{} for _ in good], good)
            journal.path.unlink()
        return [
            f"{frame.info['name']}: {answer['error']}"
            for frame, answer in zip(asked, answers, strict=True)
            if "error" in answer
        ]

    def _answer(self, frame: Atoms) -> Entry:
        found = self._source.compute(frame, LABELS)
        return (
            {"error": found.reason}
            if isinstance(found, Refusal)
            else {"values": {name: np.asarray(value).tolist() for name, value in found.items()}}
        )

    def _labelled(self, frame: Atoms, values: dict[str, Any]) -> Atoms:
        """Return the frame with these labels alone."""
        atoms = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
        atoms.info |= {"name": frame.info["name"], "level": self.name, **_electrons(frame)}
        atoms.calc = SinglePointCalculator(
            atoms, energy=values["energy"], forces=np.array(values["forces"])
        )
        return atoms


def _electrons(frame: Atoms) -> dict[str, int]:
    charge = charge_of(frame)
    return {"charge": charge, "spin_multiplicity": multiplicity_of(frame, charge)}


def _name(frame: Atoms) -> str:
    electrons = _electrons(frame)
    return name_of(Molecule(frame.numbers, frame.positions, *electrons.values()))
