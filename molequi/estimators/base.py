"""What the estimators share: their settings, training on SMILES, and predictions by row.

It is the way of `molequi train property` and `molequi predict`, without files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from molequi import training
from molequi.datasets.conversion import frames_from_atoms
from molequi.datasets.fingerprints import KnownMolecules, fingerprints
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.load import divide
from molequi.datasets.report import describe_frames
from molequi.errors import UserError
from molequi.estimators.foreign import BaseEstimator, check_is_fitted, pandas
from molequi.estimators.rows import conformers_of, refuse_rows
from molequi.models.checkpoint import load_model
from molequi.overrides import apply_overrides, read_overrides
from molequi.prediction.applicability import SIMILARITY, UNLIKE
from molequi.prediction.predict import iter_predictions
from molequi.runtime.plain import read_json
from molequi.settings import read_settings
from molequi.structures.molecules import smiles_in_one_form
from molequi.training.completion import pooled
from molequi.training.config import Config, make_config
from molequi.training.evaluation import Beside
from molequi.training.run_directory import RunDirectory

# Settings of several models or runs.
_OF_SEVERAL = {"ensemble", "members", "training.folds", "training.repeats"}

Labels = Mapping[str, np.ndarray]  # by property name, (n_rows,)


class MoleculeEstimator(BaseEstimator):
    """A model of properties, trained on SMILES.

    preset: size of the network, light, small, medium or large. epochs, max_minutes: when training
    ends at the latest. conformers: geometries of each molecule (ETKDGv3, then MMFF94) to train on,
    and over which predictions are averaged. valid: the part of the rows, below 1, that chooses the
    best epoch and is not trained on. seed: of weights, order, conformers and that draw. device:
    auto, cpu, cuda or cuda:N. overrides: whatever else the config `property` has of one model and
    its training, such as `("model.cutoff=6", "training.batch_size=32")`.

    model_: the trained `MolecularModel`. validation_: its errors on the validation rows, by
    property as `molequi.evaluate` gives them.
    """

    def __init__(
        self,
        *,
        preset: str = "light",
        epochs: int = 100,
        max_minutes: float | None = None,
        conformers: int = 1,
        valid: float = 0.1,
        seed: int = 0,
        device: str = "auto",
        overrides: Sequence[str] = (),
    ) -> None:
        self.preset = preset
        self.epochs = epochs
        self.max_minutes = max_minutes
        self.conformers = conformers
        self.valid = valid
        self.seed = seed
        self.device = device
        self.overrides = overrides

    def __sklearn_tags__(self) -> Any:
        """Say that rows are texts, which are checked here."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        tags.target_tags.required = True
        tags.no_validation = True
        return tags

    def _train(self, smiles: list[str], labels: Labels, *, binary: bool) -> None:
        """Train on labels; raises UserError for rows and settings that cannot be used."""
        config = self._config(list(labels), len(smiles), binary=binary)
        structures = conformers_of(smiles, config.data.conformers, config.data.seed)
        owner = np.repeat(np.arange(len(smiles)), config.data.conformers)
        frames = frames_from_atoms(
            [one.require_atoms() for found in structures for one in found],
            targets={name: torch.from_numpy(values[owner]) for name, values in labels.items()},
            properties={row.name: row for row in config.targets()},
            source=[f"row {row}" for row in owner],
        )
        molecules = [
            smiles_in_one_form(found[0].require_atoms().info["smiles"]) for found in structures
        ]
        groups = tuple(molecules[row] for row in owner)
        told = divide(config.data, LabelledSet(frames, describe_frames(frames, "y"), groups=groups))
        trained = {told.groups[row] for row in told.splits["train"].tolist()}
        known = KnownMolecules.of(fingerprints(sorted(trained)))
        with tempfile.TemporaryDirectory() as folder:
            run = RunDirectory(folder)
            beside = Beside(molecules=known.to_json())
            training.fit_frames(
                config, told.frames, told.splits, run.path, beside=beside, plots=False
            )
            self.model_ = load_model(run.model)
            self.validation_ = read_json(run.result)

    def _config(self, names: Sequence[str], n_rows: int, *, binary: bool) -> Config:
        """Return the config `property` with the settings of this estimator."""
        where = f"settings of {type(self).__name__}"
        if not 0 < self.valid < 1:
            raise UserError(f"{where}: valid={self.valid}; give the part of the rows, below 1")
        if n_rows < 2:
            raise UserError(f"{where}: one row; give two or more, one of which chooses the epoch")
        n_valid = self.conformers * max(1, round(self.valid * n_rows))
        split = {"train": self.conformers * n_rows - n_valid, "valid": n_valid, "test": 0}
        settings = read_settings("property")
        settings |= {
            "name": type(self).__name__,
            "level": {},
            "properties": pooled({name: {"unit": "1", "binary": binary} for name in names}),
            "data": {
                "kind": "table", "targets": list(names), "conformers": self.conformers,
                "seed": self.seed, "split": {**split, "seed": self.seed},
            },
        }  # fmt: skip
        settings["model"] |= {"preset": self.preset}
        settings["training"] |= {
            "epochs": self.epochs, "max_minutes": self.max_minutes, "seed": self.seed,
            "device": self.device,
        }  # fmt: skip
        _refuse_idle(self.overrides, names, where)
        apply_overrides(settings, self.overrides)
        return make_config(settings, where)

    def _records(self, smiles: list[str]) -> list[dict[str, float]]:
        """Return the mean over the conformers of each molecule of whatever the model gives of it.

        Raises UserError for rows that cannot be read, or that the model does not know.
        """
        check_is_fitted(self, "model_")
        structures = conformers_of(smiles, self.conformers, self.seed)
        predictions = iter_predictions([one for each in structures for one in each], self.model_)
        told = [[next(predictions).record for _ in found] for found in structures]
        problems = {
            row: str(record["error"])
            for row, records in enumerate(told)
            for record in records
            if "error" in record
        }
        refuse_rows(problems, len(smiles))
        names = [*self.model_.outputs, SIMILARITY, UNLIKE]
        return [
            {name: float(np.mean([record[name] for record in records])) for name in names}
            for records in told
        ]


def _refuse_idle(overrides: Sequence[str], names: Sequence[str], where: str) -> None:
    """Refuse settings that would do nothing. Raises UserError that says what decides instead."""
    for group, given in read_overrides(overrides).items():
        for name in given if isinstance(given, dict) else [""]:
            key = f"{group}.{name}".rstrip(".")
            if group == "data":
                why = "fit is given the data, and conformers, valid and seed as arguments"
            elif key in _OF_SEVERAL:
                why = "one model is trained"
            elif group == "properties" and name not in names:
                why = f"y is called {', '.join(names)} here"
            else:
                continue
            raise UserError(f"{where}: {key} has no effect, as {why}; leave it out")


def table_of(
    X: Any, smiles: list[str], columns: Mapping[str, Any], records: list[dict[str, float]]
) -> Any:
    """Return a pandas DataFrame: SMILES, predictions, and how like the training set a row is.

    The index is that of X where it has one. Raises UserError without pandas.
    """
    if pandas is None:
        raise UserError('as_frame=True needs pandas; pip install "molequi[sklearn]"')
    beside = {
        SIMILARITY: [record[SIMILARITY] for record in records],
        UNLIKE: [bool(record[UNLIKE]) for record in records],
    }
    index = X.index if isinstance(X, pandas.Series | pandas.DataFrame) else None
    return pandas.DataFrame({"smiles": smiles, **columns, **beside}, index=index)
