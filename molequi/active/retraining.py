"""Training between the rounds: from the last model, on everything that is labelled so far."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from molequi.active.folder import RoundFolder
from molequi.experiments import prepare
from molequi.runtime.files import write_text
from molequi.training.config import load_config

# Every fifth structure, by the order in which they were labelled, chooses the best epoch and tells
# how large doubts are; it never trains in a later round either, or they would seem too small.
_VALID = 5
# Epochs that a training has at least.
_FEWEST = 10


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How models are trained.

    config: a file or a bundled config, of structures in a file. overrides: settings that differ
    from it, such as `model.preset=light`. level: whose labels they are, for the model's record.
    seed: of round 0, the others count up from it. steps: of each training, whatever the number of
    structures: few would otherwise be seen too seldom and many longer than a new start from the
    last model needs. They become epochs, unless the overrides say how many.
    """

    config: str = "extxyz"
    overrides: tuple[str, ...] = ()
    level: str = ""
    seed: int = 0
    steps: int = 1000

    def check(self) -> None:
        """Raise UserError for settings that no training could have."""
        load_config(self.config, self._settings("some.xyz", "split.json"))

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
            parts = divided(n_labelled)
            write_text(place.split, json.dumps(parts))
            settings = self._settings(labelled, place.split, f"training.seed={self.seed + number}")
            if init is not None:
                settings.append(f"init={_quoted(init)}")
            settings += self._epochs(settings, len(parts["train"]))
            resume = run.config.is_file()
            prepare(self.config, settings, run.path, resume=resume, overwrite=not resume).run()
        return run.model

    def _settings(self, labelled: object, split: object, *more: str) -> list[str]:
        targets = ["energy", "forces", *([] if self._is_ensemble else ["forces_std"])]
        return [
            f"data.path={_quoted(labelled)}",
            f"data.targets={','.join(targets)}",
            "data.split.kind=file",
            f"data.split.path={_quoted(split)}",
            f"level={_quoted(self.level)}",
            *more,
            *self.overrides,
        ]

    @property
    def _is_ensemble(self) -> bool:
        """Whether members say what is doubted; a single model has a head for that."""
        said = [text for text in self.overrides if text.startswith("ensemble=")]
        return bool(said) and said[-1].partition("=")[2].lower() not in {"null", "none"}

    def _epochs(self, settings: Sequence[str], n_train: int) -> list[str]:
        """Return the setting of the number of epochs, where the overrides leave it open."""
        if any(text.startswith("training.epochs=") for text in self.overrides):
            return []
        batch_size = load_config(self.config, settings).training.batch_size
        return [f"training.epochs={max(_FEWEST, round(self.steps * batch_size / n_train))}"]


def divided(n_labelled: int) -> dict[str, list[int]]:
    """Return which structures train and which validate; from five on none ever changes sides."""
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
