"""`MoleculeClassifier`: classes of any kind, two or more, with probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from dozen import OXYGEN, QUICK, SMILES
from sklearn.model_selection import cross_val_score

from molequi.errors import UserError
from molequi.estimators import MoleculeClassifier


@pytest.fixture(scope="module")
def fitted() -> MoleculeClassifier:
    return MoleculeClassifier(**QUICK).fit(SMILES, OXYGEN)


def test_two_classes(fitted: MoleculeClassifier) -> None:
    assert list(fitted.classes_) == ["no", "yes"]
    given = fitted.predict_proba(SMILES)
    assert given.shape == (12, 2)
    assert ((given > 0) & (given < 1)).all()
    assert np.allclose(given.sum(axis=1), 1.0)
    found = fitted.predict(SMILES)
    assert list(found) == ["yes" if row[1] > 0.5 else "no" for row in given]
    assert fitted.score(SMILES, OXYGEN) == np.mean(found == np.array(OXYGEN))
    assert list(fitted.model_.outputs) == ["class_1"]


def test_more_classes_share_one_network() -> None:
    y = [len(text) % 3 for text in SMILES]
    model = MoleculeClassifier(**QUICK).fit(SMILES, y)
    assert list(model.classes_) == [0, 1, 2]
    assert list(model.model_.outputs) == ["class_0", "class_1", "class_2"]
    given = model.predict_proba(SMILES)
    assert given.shape == (12, 3)
    assert np.allclose(given.sum(axis=1), 1.0)
    assert np.array_equal(model.predict(SMILES), given.argmax(axis=1))


def test_it_learns() -> None:
    """Whether there is an oxygen, of molecules that it has not seen."""
    overrides = ("training.learning_rate=0.02", "training.batch_size=4", "training.patience=null")
    model = MoleculeClassifier(epochs=30, overrides=overrides).fit(SMILES, OXYGEN)
    assert list(model.predict(["CCCCO", "CCCCC", "COC", "C=CC=C"])) == ["yes", "no", "yes", "no"]


def test_scores_of_probabilities_in_a_cross_validation() -> None:
    found = cross_val_score(
        MoleculeClassifier(**QUICK), SMILES, OXYGEN, cv=2, scoring="neg_log_loss"
    )
    assert np.isfinite(found).all()


def test_a_frame_has_each_probability(fitted: MoleculeClassifier) -> None:
    pytest.importorskip("pandas")
    frame = fitted.predict(["CCO", "OO"], as_frame=True)
    assert list(frame.columns) == [
        "smiles", "prediction", "probability_no", "probability_yes", "training_similarity",
        "unlike_training",
    ]  # fmt: skip
    given = fitted.predict_proba(["CCO", "OO"])
    assert np.array_equal(frame[["probability_no", "probability_yes"]].to_numpy(), given)


def test_one_class_is_refused() -> None:
    with pytest.raises(UserError, match="y has one class only, 'a'; give two or more"):
        MoleculeClassifier().fit(["C", "CC"], ["a", "a"])


def test_classes_of_several_types_are_refused() -> None:
    for y in ([1, "a"], np.array([1, "a"], dtype=object)):
        with pytest.raises(UserError, match="row 0 is a number .*, row 1 is a text"):
            MoleculeClassifier().fit(["C", "CC"], y)
