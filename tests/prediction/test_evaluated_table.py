"""Predictions beside the lines of a file: of tables, records, and structures without either."""

from __future__ import annotations

import csv
from pathlib import Path

import torch

from molequi.datasets.in_memory import Frames
from molequi.datasets.making import make_frames
from molequi.prediction.evaluated_table import write_evaluated
from molequi.properties import PROPERTIES, declare


def frames(*sources: str) -> Frames:
    n_frames = len(sources) or 2
    return make_frames(
        torch.zeros(n_frames, 3),
        torch.ones(n_frames, dtype=torch.int64),
        torch.ones(n_frames, dtype=torch.int64),
        targets={
            "gap": torch.arange(n_frames) + 0.5,
            "toxic": torch.zeros(n_frames),
            "dipole": torch.zeros(n_frames, 3),
            "forces": torch.zeros(n_frames, 3),
        },
        properties={
            "toxic": declare("toxic", unit="1", binary=True),
            **{name: PROPERTIES[name] for name in ("gap", "dipole", "forces")},
        },
        source=sources,
    )


PREDICTIONS = {
    "gap": torch.tensor([1.0, 2.0], dtype=torch.float64),
    "toxic": torch.tensor([0.0, 100.0], dtype=torch.float64),
    "dipole": torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=torch.float64),
    "forces": torch.zeros(2, 3),
}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_lines_of_a_table_keep_their_columns(tmp_path: Path) -> None:
    table, output = tmp_path / "a.csv", tmp_path / "out.csv"
    table.write_text("smiles,gap,note\nC,0.5,\nC(,1,-2.5\nO,1.5,=1+1\nN,9,in another part\n")
    write_evaluated(
        output, frames("a.csv:2", "a.csv:4"), PREDICTIONS, table, ["a.csv:3: no molecule: odd"]
    )
    first, failed, second = read(output)
    assert (first["smiles"], first["gap"], first["gap_predicted [eV]"]) == ("C", "0.5", "1.0")
    assert (first["toxic_predicted"], second["toxic_predicted"]) == ("0.5", "1.0")
    assert second["dipole_predicted_y [e·Å]"] == "5.0"
    assert not any("forces" in column for column in first)
    assert (failed["gap_predicted [eV]"], failed["error"]) == ("", "no molecule: odd")
    assert (failed["note"], second["note"]) == ("-2.5", "'=1+1")


def test_other_structures_have_their_name_and_labels(tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    write_evaluated(output, frames(), PREDICTIONS)
    first, second = read(output)
    assert (first["structure"], first["gap [eV]"], first["gap_predicted [eV]"]) == (
        "structure 0",
        "0.5",
        "1.0",
    )
    assert second["toxic"] == "0.0"
    cells = [{"pKa": "4"}, {"pKa": "5"}]
    sdf = tmp_path / "a.sdf"
    write_evaluated(output, frames("a.sdf:0", "a.sdf:2"), PREDICTIONS, sdf, ["a.sdf:1: why"], cells)
    first, second, failed = read(output)
    assert (first["structure"], first["pKa"], second["pKa"]) == ("a.sdf:0", "4", "5")
    assert (failed["structure"], failed["error"]) == ("a.sdf:1", "why")
