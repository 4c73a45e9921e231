"""A number of each molecule, learned from SMILES."""

from __future__ import annotations

from typing import Any

import numpy as np

from molequi.errors import UserError
from molequi.estimators.base import MoleculeEstimator, table_of
from molequi.estimators.foreign import RegressorMixin
from molequi.estimators.rows import labels_of, smiles_of

_TARGET = "target"


class MoleculeRegressor(RegressorMixin, MoleculeEstimator):
    """Learns a number of each molecule; settings and attributes are those of `MoleculeEstimator`.

    `score` is R², as of every regressor of scikit-learn.
    """

    def fit(self, X: Any, y: Any) -> MoleculeRegressor:
        """Train on SMILES X, (B,), and their numbers y, (B,).

        Raises UserError that names the rows which cannot be used, before anything is trained.
        """
        smiles = smiles_of(X)
        self._train(smiles, {_TARGET: _numbers(labels_of(y, len(smiles)))}, binary=False)
        return self

    def predict(self, X: Any, *, as_frame: bool = False) -> Any:
        """Return the numbers of SMILES, (Q,).

        as_frame: as a pandas DataFrame of `smiles`, `prediction`, `training_similarity` (Tanimoto,
        to the nearest molecule of the training) and `unlike_training`.
        Raises UserError that names the rows which cannot be read, or that the model does not know.
        """
        smiles = smiles_of(X)
        records = self._records(smiles)
        values = np.array([record[_TARGET] for record in records])
        return table_of(X, smiles, {"prediction": values}, records) if as_frame else values


def _numbers(labels: np.ndarray) -> np.ndarray:
    try:
        numbers = labels.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"y are no numbers ({error}); for classes take MoleculeClassifier"
        ) from error
    if not np.isfinite(numbers).all():
        raise UserError(f"the label of row {int(np.argmin(np.isfinite(numbers)))} is not finite")
    return numbers
