"""Training between the rounds: from the last model, on everything that is labelled so far."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from molequi.active.folder import RoundFolder
from molequi.experiments import prepare
from molequi.runtime.files import write_text

# Every fifth structure, by the order in which they were labelled, chooses the best epoch and tells
# how large doubts are; it never trains in a later round either, or they would seem too small.
_VALID = 5


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How models are trained.

    config: a file or a bundled config, of structures in a file. overrides: settings that differ
    from it, such as `training.epochs=50`. level: whose labels they are, for the model's record.
    seed: of round 0, the others count up from it.
    """

    config: str = "extxyz"
    overrides: tuple[str, ...] = ()
    level: str = ""
    seed: int = 0

    def train(
        self,
        place: RoundFolder,
        number: int,
        labelled: Path,
        n_labelled: int,
        init: Path | str | None,
    ) -> Path:
        """Train the model of a round, or what is left of that, and return its file.

        labelled: the structures with their labels, of which the first `n_labelled` are meant.
        init: the model to begin with; None begins with a new one.
        """
        run = place.training
        if not (run.result.is_file() and run.page.is_file()):
            write_text(place.split, json.dumps(divided(n_labelled)))
            settings = [
                f"data.path={_quoted(labelled)}",
                "data.targets=energy,forces,forces_std",
                "data.split.kind=file",
                f"data.split.path={_quoted(place.split)}",
                f"level={_quoted(self.level)}",
                f"training.seed={self.seed + number}",
                *([] if init is None else [f"init={_quoted(init)}"]),
                *self.overrides,
            ]
            resume = run.config.is_file()
            prepare(self.config, settings, run.path, resume=resume, overwrite=not resume).run()
        return run.model


def divided(n_labelled: int) -> dict[str, list[int]]:
    """Return which structures train and which validate; a structure never changes sides."""
    valid = [row for row in range(n_labelled) if row % _VALID == _VALID - 1]
    if not valid:
        valid = [n_labelled - 1]
    return {
        "train": [row for row in range(n_labelled) if row not in valid],
        "valid": valid,
        "test": [],
    }


def _quoted(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False)
