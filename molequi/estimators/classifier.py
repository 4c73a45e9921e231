"""Classes of molecules, learned from SMILES."""

from __future__ import annotations

from typing import Any

import numpy as np

from molequi.errors import UserError
from molequi.estimators.base import MoleculeEstimator, table_of
from molequi.estimators.foreign import ClassifierMixin
from molequi.estimators.rows import classes_of, smiles_of


class MoleculeClassifier(ClassifierMixin, MoleculeEstimator):
    """Learns classes of molecules; settings and attributes are those of `MoleculeEstimator`.

    Of two classes it learns whether a molecule is of the second. Of more it learns that of each
    class against the others, in one network, and probabilities are scaled to a sum of 1.
    `score` is the accuracy, as of every classifier of scikit-learn.

    classes_: the classes in their order, (K,).
    """

    def fit(self, X: Any, y: Any) -> MoleculeClassifier:
        """Train on SMILES X, (B,), and their classes y, (B,): numbers, texts or booleans.

        Raises UserError that names the rows which cannot be used, before anything is trained.
        """
        smiles = smiles_of(X)
        labels = classes_of(y, len(smiles))
        self.classes_, number = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            only = self.classes_.tolist()[0]
            raise UserError(f"y has one class only, {only!r}; give two or more")
        targets = {
            f"class_{index}": (number == index).astype(np.float64) for index in self._asked()
        }
        self._train(smiles, targets, binary=True)
        return self

    def predict(self, X: Any, *, as_frame: bool = False) -> Any:
        """Return the most probable classes of SMILES, (Q,).

        as_frame: as a pandas DataFrame of `smiles`, `prediction`, `probability_CLASS` of each,
        `training_similarity` (Tanimoto, to the nearest molecule of the training) and
        `unlike_training`.
        Raises UserError as `MoleculeRegressor.predict`.
        """
        smiles = smiles_of(X)
        records = self._records(smiles)
        probabilities = self._probabilities(records)
        found = self.classes_[probabilities.argmax(axis=1)]
        if not as_frame:
            return found
        each = {
            f"probability_{name}": column
            for name, column in zip(self.classes_, probabilities.T, strict=True)
        }
        return table_of(X, smiles, {"prediction": found, **each}, records)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, (Q, K), in the order of `classes_`."""
        return self._probabilities(self._records(smiles_of(X)))

    def _asked(self) -> range:
        """Return the numbers of the classes that the model gives probabilities of."""
        n_classes = len(self.classes_)
        return range(1, 2) if n_classes == 2 else range(n_classes)

    def _probabilities(self, records: list[dict[str, float]]) -> np.ndarray:
        given = np.array(
            [[record[f"class_{index}"] for index in self._asked()] for record in records]
        )
        if len(self.classes_) == 2:
            return np.concatenate([1.0 - given, given], axis=1)
        return given / given.sum(axis=1, keepdims=True)
