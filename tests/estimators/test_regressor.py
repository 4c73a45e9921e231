"""`MoleculeRegressor` is a regressor of scikit-learn: its conventions hold over SMILES.

Of scikit-learn's own checks those run that need no data: the others hand over matrices of numbers,
so that scikit-learn itself leaves them out for rows of texts. What they ask beside, that `fit` may
be repeated, that rows are independent of each other and that `fit` changes no setting, is tested
here with molecules.
"""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
import sklearn
import sklearn.utils.estimator_checks as checks
from dozen import HEAVY, OXYGEN, QUICK, SMILES
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.load import divide
from molequi.datasets.settings import DataSettings
from molequi.errors import UserError
from molequi.estimators import MoleculeClassifier, MoleculeRegressor
from molequi.models.checkpoint import save_model
from molequi.prediction.predict import predict

CHECKS = (
    "check_estimator_cloneable", "check_estimator_repr", "check_estimator_tags_renamed",
    "check_valid_tag_types", "check_mixin_order",
    "check_no_attributes_set_in_init", "check_parameters_default_constructible",
    "check_do_not_raise_errors_in_init_or_set_params", "check_get_params_invariance",
    "check_set_params",
)  # fmt: skip
PRESENT = [name for name in CHECKS if name in vars(checks)]  # old releases lack some


@pytest.mark.parametrize("kind", [MoleculeRegressor, MoleculeClassifier])
@pytest.mark.parametrize("name", PRESENT)
def test_checks_of_scikit_learn(name: str, kind: type) -> None:
    vars(checks)[name](kind.__name__, kind())


def test_most_checks_are_there() -> None:
    version = tuple(map(int, sklearn.__version__.split(".")[:2]))
    assert len(PRESENT) >= (len(CHECKS) if version >= (1, 6) else 5)


@pytest.fixture(scope="module")
def fitted() -> MoleculeRegressor:
    return MoleculeRegressor(**QUICK).fit(SMILES, HEAVY)


def test_what_fit_gives(fitted: MoleculeRegressor) -> None:
    assert fitted.get_params() == MoleculeRegressor(**QUICK).get_params()
    values = fitted.predict(SMILES)
    assert values.shape == (12,)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()
    assert fitted.validation_["target"]["count"] == 1
    assert np.isclose(
        fitted.score(SMILES, HEAVY),
        1 - np.square(values - HEAVY).sum() / np.square(HEAVY - np.mean(HEAVY)).sum(),
    )


def test_rows_of_one_molecule_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """However they are written; and the model knows them by their bonds, of an InChI too."""
    parts: dict[str, list[int]] = {}

    def divided(settings: DataSettings, loaded: LabelledSet) -> LabelledSet:
        told = divide(settings, loaded)
        parts.update({name: sorted(rows.tolist()) for name, rows in told.splits.items()})
        return told

    monkeypatch.setattr("molequi.estimators.base.divide", divided)
    ethanol, ethane = "InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3", "InChI=1S/C2H6/c1-2/h1-2H3"
    rows = [("CCO", "OCC", ethanol)[k % 3] for k in range(6)] + [ethane] * 6
    for seed in range(3):
        model = MoleculeRegressor(**QUICK, seed=seed).fit(rows, [3.0] * 6 + [2.0] * 6)
        trained, valid = parts["train"], parts["valid"]
        assert [*trained, *valid] in ([*range(12)], [*range(6, 12), *range(6)])
        records = model._records([rows[trained[0]], rows[valid[0]]])
        assert [record["training_similarity"] == 1.0 for record in records] == [True, False]


def test_settings_of_training_go_into_overrides() -> None:
    overrides = (*QUICK["overrides"], "properties.target.unit=K", "training.batch_size=3")
    model = MoleculeRegressor(epochs=1, overrides=overrides).fit(SMILES, HEAVY)
    assert model.model_.properties["target"].unit == "K"


def test_rows_do_not_see_each_other(fitted: MoleculeRegressor) -> None:
    order = [5, 0, 11, 7]
    some = fitted.predict([SMILES[row] for row in order])
    assert np.abs(some - fitted.predict(SMILES)[order]).max() < 1e-5
    assert np.abs(fitted.predict(SMILES[:1]) - fitted.predict(SMILES)[:1]).max() < 1e-5


def test_a_clone_learns_the_same(fitted: MoleculeRegressor) -> None:
    twin = clone(fitted)
    with pytest.raises(NotFittedError):
        twin.predict(SMILES)
    again = twin.fit(np.array(SMILES), np.array(HEAVY)[:, None])
    assert again is twin
    assert np.array_equal(twin.predict(SMILES), fitted.predict(SMILES))
    twin.set_params(seed=1).fit(SMILES, HEAVY)
    assert not np.array_equal(twin.predict(SMILES), fitted.predict(SMILES))


def test_it_is_pickled_whole(fitted: MoleculeRegressor) -> None:
    copy = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(copy.predict(SMILES), fitted.predict(SMILES))


def test_its_model_is_one_of_the_command_line(fitted: MoleculeRegressor, tmp_path) -> None:
    save_model(fitted.model_, tmp_path / "heavy.safetensors")
    records = predict(smiles=SMILES[:3], model=tmp_path / "heavy.safetensors")
    values = fitted.predict(SMILES[:3])
    assert np.abs([record["target"] for record in records] - values).max() < 1e-6


def test_conformers_are_averaged(fitted: MoleculeRegressor) -> None:
    several = MoleculeRegressor(**QUICK, conformers=2).fit(SMILES[:6], HEAVY[:6])
    values = several.predict(["CCCO"])
    several.set_params(conformers=1)
    singly = [several.set_params(seed=seed).predict(["CCCO"]) for seed in (0, 1)]
    assert abs(singly[0] - singly[1]) > 1e-9  # two geometries
    assert np.abs(values - np.mean(singly, axis=0)).max() < 1e-5


def test_cross_validation_and_search_in_a_pipeline() -> None:
    stripped = FunctionTransformer(lambda X: [text.strip() for text in X])
    pipeline = make_pipeline(stripped, MoleculeRegressor(**QUICK))
    X = [f" {text} " for text in SMILES]
    found = cross_val_score(pipeline, X, HEAVY, cv=3, scoring="neg_mean_absolute_error")
    assert found.shape == (3,)
    assert np.isfinite(found).all()
    search = GridSearchCV(pipeline, {"moleculeregressor__epochs": [1, 2]}, cv=2)
    assert np.isfinite(search.fit(X, HEAVY).predict(X)).all()


def test_it_learns() -> None:
    """Whether there is an oxygen, of molecules that it has not seen; which takes some epochs."""
    overrides = ("training.learning_rate=0.02", "training.batch_size=4", "training.patience=null")
    model = MoleculeRegressor(epochs=25, valid=0.2, overrides=overrides)
    model.fit(SMILES, [float(label == "yes") for label in OXYGEN])
    values = model.predict(["CCCCO", "COC", "CCCCC", "C=CC=C"])
    assert values[:2].min() - values[2:].max() > 0.4


def test_a_frame_keeps_the_index(fitted: MoleculeRegressor) -> None:
    pandas = pytest.importorskip("pandas")
    X = pandas.Series(["CCC", "c1ccncc1"], index=["a", "b"])
    with pytest.raises(UserError, match="row 1: .* N"):
        fitted.predict(X, as_frame=True)  # nitrogen was not among the molecules
    X["b"] = "OO"
    frame = fitted.predict(X, as_frame=True)
    assert list(frame.index) == ["a", "b"]
    assert list(frame.columns) == [
        "smiles", "prediction", "training_similarity", "unlike_training",
    ]  # fmt: skip
    assert np.array_equal(frame["prediction"], fitted.predict(X))
    assert list(frame["training_similarity"] == 1.0) == [True, False]
    assert not frame["unlike_training"]["a"]


def test_without_pandas_a_frame_is_refused(fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molequi.estimators.base.pandas", None)
    with pytest.raises(UserError, match=r'as_frame=True needs pandas; pip install "molequi\[skl'):
        fitted.predict(["C"], as_frame=True)


def test_without_scikit_learn_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("molequi.estimators")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn.base", None)  # as where it is not installed
    with pytest.raises(ImportError, match=r'needs scikit-learn; pip install "molequi\[sklearn\]"'):
        import molequi.estimators  # noqa: F401


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"valid": 1.0}, "settings of MoleculeRegressor: valid=1.0; give the part of the rows"),
        ({"preset": "tiny"}, "preset"),
        ({"epochs": 0}, "epochs"),
        ({"overrides": ("training.lr=1",)}, "learning_rate"),
        ({"overrides": ("data.path=a.csv",)}, "data.path has no effect, as fit is given the data"),
        ({"overrides": ("data.targets=gap",)}, "data.targets has no effect"),
        ({"overrides": ("data.units.target=eV",)}, "data.units has no effect"),
        ({"overrides": ("data.smiles=foo",)}, "data.smiles has no effect"),
        ({"overrides": ("data.conformers=2",)}, "conformers, valid and seed as arguments; leave"),
        ({"overrides": ("data.limit=6",), "conformers": 3}, "data.limit has no effect"),
        ({"overrides": ("data.split=molecules",)}, "data.split has no effect"),
        ({"overrides": ("data=5",)}, "data has no effect"),
        ({"overrides": ("ensemble=3",)}, "ensemble has no effect, as one model is trained"),
        ({"overrides": ("training.folds=3", "training.repeats=2")}, "training.folds has no effe"),
        ({"overrides": ("training={repeats: 2}",)}, "training.repeats has no effect"),
        ({"overrides": ("properties.y.unit=K",)}, "has no effect, as y is called target here"),
    ],
)
def test_settings_that_cannot_be(settings: dict, text: str) -> None:
    with pytest.raises(UserError, match=text):
        MoleculeRegressor(**settings).fit(SMILES, HEAVY)


@pytest.mark.parametrize(
    ("X", "y", "text"),
    [
        (["C", "C(", "CC"], [1, 2, 3], r"1 of 3 rows cannot be used: row 1: SMILES 'C\('"),
        (["C", "CC"], ["a", "b"], "y are no numbers .* MoleculeClassifier"),
        (["C", "CC"], [1.0, np.inf], "the label of row 1 is not finite"),
        (["C"], [1.0], "one row; give two or more"),
    ],
)
def test_rows_that_cannot_be(X: list, y: list, text: str) -> None:
    with pytest.raises(UserError, match=text):
        MoleculeRegressor(**QUICK).fit(X, y)
