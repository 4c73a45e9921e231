"""Active learning: dynamics with the model of the moment, labels where it doubts, training, again.

Everything that a round makes stands in a folder before the next step begins, so that the same call
goes on after whatever ended it; dynamics and training continue bit for bit, and no label is
computed twice.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ase import Atoms

from molequi.active.beginning import (
    Start,
    fingerprint,
    fingerprint_of_labels,
    require_enough,
    require_known,
    require_like,
)
from molequi.active.exploring import (
    doubt_limit,
    errors,
    explore,
    place_of,
    require_doubt,
    summary,
)
from molequi.active.folder import ActiveFolder, RoundFolder, read_frames
from molequi.active.picking import Doubted, Picker, Pool, evenly
from molequi.active.retraining import Recipe
from molequi.active.settings import ActiveSettings
from molequi.active.teachers import Teacher
from molequi.errors import RunInterruptedError
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import load
from molequi.runtime.files import write_text, written_by_rename
from molequi.runtime.plain import read_json
from molequi.runtime.signals import SignalWatch
from molequi.runtime.wording import all_of, counted
from molequi.simulation.calculator import Calculator
from molequi.structures.inputs import Input, read_inputs
from molequi.structures.structure import Structure
from molequi.structures.writers import write_results

logger = logging.getLogger(__name__)

# Where no more than this part of the frames is doubted, the goal is reached.
_RARE = 0.01


class Learned(NamedTuple):
    """What came of it. reason: why it ended. rows: of rounds.csv. n_labels: computed in all."""

    model: Path
    labelled: Path
    rows: list[dict[str, Any]]
    n_labels: int
    reason: str


def learn_actively(
    inputs: Input | Iterable[Input],
    teacher: Teacher,
    output: str | os.PathLike[str],
    settings: ActiveSettings | None = None,
    *,
    start: Start | None = None,
    recipe: Recipe | None = None,
    picker: Picker | None = None,
    overwrite: bool = False,
    device: str = "cpu",
    progress: Callable[[str], None] | None = None,
) -> Learned:
    """Go on in the folder `output` until labels or rounds are used up, or hardly any is doubted.

    picker: who chooses, `picking.Doubted` by default. Where there are no data, frames of the first
    round are picked evenly: a model that has seen no label of this teacher cannot tell where it is
    wrong. progress: called with a line at every step of a round.
    Raises UserError where anything does not fit, and RunInterruptedError where a signal asked to
    stop.
    """
    structures = list(read_inputs(inputs))
    settings, start = settings or ActiveSettings(), start or Start()
    recipe = dataclasses.replace(recipe or Recipe(), level=teacher.name)
    folder = ActiveFolder(Path(output))
    picker = picker or Doubted(settings.doubt)
    learning = _Learning(folder, structures, teacher, settings, start, recipe, picker)
    learning.device, learning.tell = device, progress or logger.info
    recipe.check()
    learning.check(overwrite=overwrite)
    with folder.held(learning.identity(), overwrite=overwrite), SignalWatch() as learning.watch:
        try:
            return learning.run()
        except RunInterruptedError as error:
            raise RunInterruptedError(
                f"stopped by {signal.Signals(error.signal_number).name} in round "
                f"{len(folder.rows()) + 1}; what there is stays in {folder.path}, and the same "
                "command goes on",
                error.signal_number,
            ) from error


@dataclasses.dataclass
class _Learning:
    """Active learning as it goes on. labelled: all structures with labels, those given first."""

    folder: ActiveFolder
    structures: list[Structure]
    teacher: Teacher
    settings: ActiveSettings
    start: Start
    recipe: Recipe
    picker: Picker
    device: str = "cpu"
    tell: Callable[[str], None] = logger.info
    watch: SignalWatch = dataclasses.field(default_factory=SignalWatch)

    def __post_init__(self) -> None:
        self.labelled = self.start.labelled()
        self.n_given = len(self.labelled)
        self.model = self.start.model_file()

    @property
    def n_labels(self) -> int:
        """Number of labels that were computed."""
        return len(self.labelled) - self.n_given

    def check(self, *, overwrite: bool) -> None:
        """Raise UserError for what no round could begin with, before anything is written."""
        numbers = {int(z) for one in self.structures for z in one.require_atoms().numbers}
        self.teacher.check(sorted(numbers))
        if self.folder.settings.is_file() and not overwrite:
            return  # begun already, with what must agree
        model = None if self.model is None else load(str(self.model), device=self.device)
        if self.labelled:  # what is trained first
            require_enough(self.labelled)
            require_like(self.structures, self.labelled, model)
        elif model is not None:
            require_doubt(model)
            require_known(self.structures, model)

    def identity(self) -> dict[str, Any]:
        """Return what must agree for the same folder to be gone on with."""
        settings = dataclasses.asdict(self.settings)
        return {
            "format": 1,
            "structures": fingerprint([one.require_atoms() for one in self.structures]),
            "data": fingerprint(self.labelled),
            "labels": fingerprint_of_labels(self.labelled),
            "model": None if self.start.model is None else str(self.start.model),
            "teacher": self.teacher.identity,
            "settings": {n: v for n, v in settings.items() if n not in {"rounds", "labels"}},
            "picks": repr(self.picker),
            "training": dataclasses.asdict(self.recipe),
        }

    def run(self) -> Learned:
        """Go on to the end."""
        if self.folder.round(1).path.is_dir():
            # What was trained before it is done, and later structures and models may be in place.
            self.model = self.folder.round(0).training.model if self.labelled else self.model
        elif self.labelled:
            self._train(0)
        for number in range(1, len(self.folder.rows()) + 1):
            self._recall(number)
        while (reason := self._reason_to_end()) is None:
            self._stop_if_asked()
            self._round(len(self.folder.rows()) + 1)
        return Learned(
            self.folder.model, self.folder.labelled, self.folder.rows(), self.n_labels, reason
        )

    def _reason_to_end(self) -> str | None:
        rows, settings = self.folder.rows(), self.settings
        if rows and rows[-1]["picked"] == "0":
            return self._why_none(rows[-1])
        if self.n_labels >= settings.labels:
            return f"{all_of(settings.labels, 'label')} used"
        return f"{all_of(settings.rounds, 'round')} done" if len(rows) >= settings.rounds else None

    def _why_none(self, row: Mapping[str, str]) -> str:
        """Say why no frame of the last round was picked, which is the goal or a dead end."""
        if not int(row["frames"]):
            return "no frame of the last round has a reasonable geometry"
        if not self.labelled:
            return (
                "no frame could be picked: where they moved, none has a reasonable geometry; give "
                "a shorter timestep or interval, or another model"
            )
        share = float(row["doubted"])
        said = (
            f"{100 * share:.1f} % of the frames of the last round are doubted by more than "
            f"{self.settings.doubt:g} eV/Å"
        )
        if share <= _RARE:
            return f"the goal is reached: {said}"
        return f"no frame could be picked: {said}, all nearly the same as what is labelled"

    def _recall(self, number: int) -> None:
        """Take a finished round for done."""
        place = self.folder.round(number)
        if place.labels.is_file():
            self.labelled += read_frames(place.labels)
            self.model = place.training.model

    def _round(self, number: int) -> None:
        """Move, pick, label, compare, train; then the row is written."""
        began, place = time.monotonic(), self.folder.round(number)
        place.path.mkdir(exist_ok=True)
        model = load(str(self.model), device=self.device)
        require_doubt(model)
        self.tell(f"round {number}: dynamics")
        limit = self._limit(place, model)
        explored = explore(
            self.structures, Calculator(model), self.settings, number, place.dynamics, limit
        )
        if explored.stopped:
            self.tell(f"round {number}: trajectories ended early, {explored.told}")
        row = {"round": number, **summary(explored, self.settings.doubt)}
        self._stop_if_asked()
        picked = self._picked(place, number, explored.pool)
        row |= {"picked": len(picked), "labelled": 0, **errors([], [])}
        if picked:
            self.tell(f"round {number}: {counted(len(picked), 'label')} by {self.teacher.name}")
            found = self.teacher.label(place.picked, place.labels)
            row |= {"labelled": len(found), **errors(picked, found)}
            self._stop_if_asked()
            self.labelled += found
            self.tell(f"round {number}: training on {counted(len(self.labelled), 'structure')}")
            self._train(number)
        self.folder.add_row({**row, "labels": self.n_labels, "seconds": time.monotonic() - began})

    def _limit(self, place: RoundFolder, model: MolecularModel) -> float | None:
        """Return the doubt that ends a trajectory of a round, eV/Å.

        It is kept: another machine, on which the round may go on, would round it otherwise, and
        dynamics go on with the same settings alone.
        """
        if not place.limit.is_file():
            limit = doubt_limit(model, self.labelled, self.settings)
            write_text(place.limit, json.dumps(limit))
        kept: float | None = read_json(place.limit)
        return kept

    def _stop_if_asked(self) -> None:
        """Stop between two steps, where a signal came too late for the one before."""
        if self.watch.number:
            raise RunInterruptedError(f"stopped by {self.watch.name}", self.watch.number)

    def _picked(self, place: RoundFolder, number: int, pool: Pool) -> list[Atoms]:
        """Return the frames to label; those of a round that was interrupted stay as they are."""
        if not place.picked.is_file():
            frames = [pool.frames[k] for k in self._choose(pool)]
            for frame in frames:
                frame.info["name"] = place_of(frame, number)
            if not frames:
                return []
            write_results(place.picked, [{} for _ in frames], frames)
        return read_frames(place.picked)

    def _choose(self, pool: Pool) -> list[int]:
        n = min(self.settings.per_round, self.settings.labels - self.n_labels)
        if not self.labelled:
            return evenly(pool, [], n)
        is_rare = not len(pool.doubts) or (pool.doubts > self.settings.doubt).mean() <= _RARE
        return [] if is_rare else self.picker(pool, self.labelled, n)

    def _train(self, number: int) -> None:
        """Train on all that is labelled, and put structures and model where they are looked for."""
        require_enough(self.labelled)
        folder = self.folder
        write_results(folder.labelled, [{} for _ in self.labelled], self.labelled)
        place = folder.round(number)
        place.path.mkdir(exist_ok=True)
        n_labelled = len(self.labelled)
        self.model = self.recipe.train(place, number, folder.labelled, n_labelled, self.model)
        with written_by_rename(folder.model) as temporary:
            shutil.copyfile(self.model, temporary)
