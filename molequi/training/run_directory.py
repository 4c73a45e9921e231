"""The run directory: who may write there, what a resumed run may change, and its files."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from molequi.errors import UserError
from molequi.runtime.files import is_temporary, write_text
from molequi.runtime.folders import refuse_file_name, refuse_lost_link
from molequi.runtime.gate import reading
from molequi.runtime.locks import locked, refuse_locked
from molequi.settings import (
    Settings,
    SettingsT,
    dump_settings,
    first_difference,
    read_settings,
    validate,
    with_absolute_paths,
)
from molequi.training.older_runs import present_settings
from molequi.training.processes import is_first_process


class RunDirectory:
    """The folder of one run, whatever it trains.

    Where result.json is, the run is complete: it is written last.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.split = self.path / "split.json"
        self.model = self.path / "model.safetensors"
        self.state = self.path / "last.ckpt"
        self.metrics = self.path / "metrics.csv"
        self.log = self.path / "log.txt"
        self.result = self.path / "result.json"
        self.rollout = self.path / "rollout.npz"
        self.calibration = self.path / "calibration.csv"
        self.plots = self.path / "plots"
        self.page = self.path / "report.html"

    def predictions(self, split: str) -> Path:
        """Return the file of the predictions for the structures of a split."""
        return self.path / f"{split}_predictions.npz"

    def prediction_table(self, split: str) -> Path:
        """Return the CSV with them, where a model gives no values of atoms."""
        return self.path / f"{split}_predictions.csv"

    def claim(self, config: Settings, *, resume: bool, overwrite: bool) -> None:
        """Make sure that a run of this config may write here; changes nothing.

        Raises UserError where something lies already that may not be overwritten, or, to resume,
        where no run is or one of other settings, and where another run is writing now.
        """
        self._refuse_unfit(config, resume=resume, overwrite=overwrite)
        if is_first_process():
            refuse_locked(self.path)

    @contextlib.contextmanager
    def held(self, config: Settings, *, resume: bool, overwrite: bool) -> Iterator[None]:
        """Make the folder and keep other runs out of it for a while; in the first process.

        What `claim` found is looked at again, because loading the data takes its time. With
        `overwrite` the files of the run before are removed.
        """
        if not is_first_process():
            yield
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(exist_ok=True)
        with locked(self.path):  # who does not get the lock leaves the folder to who has it
            try:
                self._refuse_unfit(config, resume=resume, overwrite=overwrite)
                if overwrite and not resume:
                    self.clear()
                yield
            finally:
                with contextlib.suppress(OSError):  # it is not empty, unless the run was refused
                    self.path.rmdir()

    def _refuse_unfit(self, config: Settings, *, resume: bool, overwrite: bool) -> None:
        if resume:
            self._refuse_other_run(config)
        elif is_first_process():
            self._refuse_occupied(config, overwrite=overwrite)

    def has_just_begun(self, config: Settings) -> bool:
        """Tell whether nothing is lost where a run of a config of that kind begins here.

        The folder is empty, or another run ended there before its first checkpoint. A config.yaml
        alone may be somebody's own, with notes.
        """
        early, found = {self.config, self.split, self.log, self.metrics}, self._files()
        if not found:
            return True
        is_of_run = self.split in found or self._has_written_config(config)
        return found <= early and self.config in found and is_of_run

    def has_only_config(self) -> bool:
        """Tell whether config.yaml lies here and nothing else."""
        return self.path.is_dir() and self._files() == {self.config}

    def _files(self) -> set[Path]:
        return {path for path in self.path.iterdir() if not is_temporary(path)}

    def _has_written_config(self, config: Settings) -> bool:
        """Tell whether config.yaml, of the kind of `config`, is as `start` writes it."""
        try:
            saved = validate(type(config), read_settings(self.config), str(self.config))
        except UserError:
            return False
        return self.config.read_text(encoding="utf-8") == dump_settings(saved)

    def clear(self) -> None:
        """Remove the files that a run makes, and nothing else; in the first process."""
        if not is_first_process():
            return
        files = [
            *(self.config, self.split, self.model, self.state, self.metrics, self.log),
            *(self.result, self.page, self.rollout, self.calibration),
            *(self.predictions("test"), self.predictions("valid")),
            *(self.prediction_table("test"), self.prediction_table("valid")),
            *self.plots.glob("*.png"),
        ]
        for path in files:
            path.unlink(missing_ok=True)

    def clear_runs(self, names: Iterable[str]) -> None:
        """Remove what runs left in folders of those names, so that none is taken for a new one.

        Raises UserError where another run is writing there.
        """
        for one in (RunDirectory(self.path / name) for name in names):
            if one.path.is_dir():
                with locked(one.path):
                    one.clear()

    def start(self, config: Settings) -> None:
        """Make the folder and write the config, every setting of it."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.config, dump_settings(config))

    def go_on(self, config: Settings, *, is_over: bool) -> None:
        """Write the settings of a run, changed where it was resumed; complete it is if it is over.

        In the first process.
        """
        if not is_first_process():
            return
        if not is_over:
            self.result.unlink(missing_ok=True)
            self.page.unlink(missing_ok=True)
        self.start(config)

    def has_ended(self, config: Settings) -> bool:
        """Tell whether a run of exactly this config is complete here."""
        return self.result.is_file() and self._saved_as(type(config)) == config

    def read_settings(self, overrides: Sequence[str] = ()) -> dict[str, Any]:
        """Return what `start` wrote, in this version or an older one, as plain data.

        overrides: such as `training.epochs=20`. Raises UserError where there is no run.
        """
        if not self.config.is_file():
            raise UserError(f"{self.path} holds no run: config.yaml is missing")
        return present_settings(read_settings(self.config, overrides))

    def write_split(self, rows: Mapping[str, list[int]]) -> None:
        """Write which structures each part of the data has."""
        write_text(self.split, json.dumps(dict(rows)))

    def read_split(self) -> dict[str, list[int]]:
        """Return what `write_split` wrote. Raises UserError for a missing or damaged file."""
        with reading(self.split, "split of the run", "start again with --overwrite"):
            return json.loads(self.split.read_text(encoding="utf-8"))

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write result.json, after everything else."""
        write_text(self.result, json.dumps(result, indent=1, ensure_ascii=False))

    def _refuse_occupied(self, config: Settings, *, overwrite: bool) -> None:
        if self.path.is_file():
            raise UserError(f"the output {self.path} is a file; give the name of a folder")
        refuse_file_name(self.path)
        refuse_lost_link(self.path)
        if self.path.is_dir() and not overwrite and not self.has_just_begun(config):
            raise UserError(
                f"the output {self.path} is not empty; --resume goes on with the run there, "
                "--overwrite replaces it, --output names another place"
            )

    def _refuse_other_run(self, config: Settings) -> None:
        if not self.config.is_file():
            raise UserError(
                f"{self.path} holds no run to resume (config.yaml is missing); start without "
                "--resume"
            )
        difference = first_difference(self._saved_as(type(config)), config)
        if difference is not None:
            raise UserError(
                f"--resume: {difference.key} was {difference.old!r} and is now "
                f"{difference.new!r}; resume with the same settings, or start a new run with "
                "--overwrite or another --output"
            )
        if self.has_only_config() and not self._has_written_config(config):
            raise UserError(
                f"{self.path} holds no run to resume, and no run wrote its config.yaml; start with "
                "another --output"
            )

    def _saved_as(self, kind: type[SettingsT]) -> SettingsT:
        # Older runs kept some paths as they were given.
        return with_absolute_paths(validate(kind, self.read_settings(), str(self.config)))
