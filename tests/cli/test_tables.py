"""A chemist's table: trained on in one line, evaluated, and predicted beside its own columns."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import Crippen

from molequi.cli.main import run

SMILES = [
    *("C" * n + end for end in ("O", "N", "C", "F") for n in range(1, 5)),
    *("c1ccccc1", "Oc1ccccc1", "C1CCCCC1", "NC1CCCCC1", "C1CCOC1", "O=C1CCCO1", "c1ccoc1", "C#N"),
]
SMALL = ("training.epochs=1", "training.batch_size=8", "training.warmup_steps=0",
         "model={n_channels:4,l_max:1,n_layers:1}")  # fmt: skip


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """logP and whether it is positive, of 24 molecules; two lines cannot be used."""
    path = tmp_path_factory.mktemp("tables") / "logp.csv"
    lines = []
    for number, text in enumerate(SMILES):
        logp = Crippen.MolLogP(Chem.MolFromSmiles(text))
        lines.append(f"m{number},{text},{logp:.3f},{'yes' if logp > 0.5 else 'no'}")
    lines += ["ring,C1CC,1,no", "heavy,CBr,-1.5,no"]
    path.write_text("id,SMILES,logP,active\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def trained(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-validation of two folds, in one line."""
    source = table.with_name("good.csv")
    source.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    folder = tmp_path_factory.mktemp("runs") / "folds"
    command = ["train", "property", f"data.path={source}", "data.targets=logP,active"]
    assert run([*command, *SMALL, "training.folds=2", "--output", str(folder)]) == 0
    return folder


def test_folds_are_runs_of_their_own_with_a_mean_and_a_spread(molequi, trained: Path) -> None:
    result = json.loads((trained / "result.json").read_text())
    folds = [
        json.loads((trained / f"fold_{number}" / "result.json").read_text()) for number in (1, 2)
    ]
    for number in (1, 2):
        rows = read(trained / f"fold_{number}" / "test_predictions.csv")
        assert len(rows) == folds[number - 1]["logP"]["count"]
        errors = [abs(float(row["logP_predicted"]) - float(row["logP"])) for row in rows]
        assert np.mean(errors) == pytest.approx(folds[number - 1]["logP"]["mae"], rel=1e-5)
        for row in rows:
            assert float(row["logP"]) == pytest.approx(
                Crippen.MolLogP(Chem.MolFromSmiles(row["smiles"])), abs=6e-4
            )
        assert {"mae", "ridge_mae"} <= set(folds[number - 1]["logP"])
    for name in ("logP", "active"):
        maes = [fold[name]["mae"] for fold in folds]
        assert result[name]["mae"] == pytest.approx(sum(maes) / 2)
        assert result[name]["mae_std"] == pytest.approx(abs(maes[0] - maes[1]) / 2**0.5)
        assert (result[name]["runs"], result[name]["count"]) == (2, 24)
    tested = [
        row
        for number in (1, 2)
        for row in json.loads((trained / f"fold_{number}" / "split.json").read_text())["test"]
    ]
    assert sorted(tested) == list(range(24))
    assert "spearman" in folds[0]["logP"]
    assert {"roc_auc", "pr_auc", "mcc", "balanced_accuracy"} <= set(folds[0]["active"])


def test_resumed_folds_are_not_run_again(molequi, trained: Path) -> None:
    source, before = trained / "config.yaml", (trained / "fold_1" / "model.safetensors").stat()
    (trained / "result.json").unlink()
    again = molequi("train", source, "--output", trained, "--resume")
    assert again.code == 0, again.err
    assert "±" in again.out
    assert (trained / "result.json").is_file()
    assert (trained / "fold_1" / "model.safetensors").stat().st_mtime_ns == before.st_mtime_ns


def test_predictions_stand_beside_the_columns(
    molequi, table: Path, trained: Path, tmp_path: Path
) -> None:
    output, model = tmp_path / "out.csv", trained / "fold_1"
    result = molequi("predict", table, "--model", model, "--output", output)
    assert result.code == 1  # two lines failed
    given, rows = read(table), read(output)
    assert [{name: row[name] for name in given[0]} for row in rows] == given
    assert list(rows[0])[:6] == [*given[0], "logP_predicted", "active_predicted"]
    assert all(0 < float(row["active_predicted"]) < 1 for row in rows[:-2])
    assert {row["logP_predicted"] for row in rows[-2:]} == {""}
    assert "cannot be read" in rows[-2]["error"]
    assert "Br" in rows[-1]["error"]
    assert {row["error"] for row in rows[:-2]} == {""}
    assert "unlike all" in result.err or {row["unlike_training"] for row in rows[:-2]} == {"False"}
    similar = [float(row["training_similarity"]) for row in rows[:-2]]
    assert sum(value == 1.0 for value in similar) >= 9  # the training part of this fold
    assert min(similar) < 1.0
    tabs = tmp_path / "b.tsv"
    tabs.write_text(table.read_text().replace(",", "\t"))
    assert molequi("predict", tabs, "--model", model, "--output", tmp_path / "b.csv").code == 1
    again = read(tmp_path / "b.csv")
    assert [row["logP_predicted"] for row in again] == [row["logP_predicted"] for row in rows]


def test_evaluation_writes_the_same_predictions(
    molequi, trained: Path, table: Path, tmp_path: Path
) -> None:
    source, model = table.with_name("good.csv"), trained / "fold_1"
    result = molequi("evaluate", model, source, "--output", tmp_path / "report")
    assert result.code == 0, result.err
    assert all(word in result.out for word in ("Spearman", "ROC-AUC", "PR-AUC", "MCC"))
    rows = read(tmp_path / "report" / "predictions.csv")
    assert [row["id"] for row in rows] == [row["id"] for row in read(source)]
    assert "cannot be read" in rows[-1]["error"]
    molequi("predict", source, "--model", model, "--output", tmp_path / "out.csv")
    for mine, theirs in zip(rows[:-1], read(tmp_path / "out.csv"), strict=False):
        for name in ("logP_predicted", "active_predicted"):
            assert float(mine[name]) == pytest.approx(float(theirs[name]), abs=1e-5)
