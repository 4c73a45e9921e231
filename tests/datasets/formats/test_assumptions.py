"""What a column is taken for where nobody has declared it."""

from __future__ import annotations

from pathlib import Path

import pytest

from molequi.datasets.formats.assumptions import assume, has_columns
from molequi.errors import UserError

TABLE = """SMILES,logP,active,Tm [K],Solubility (mg/L),assay (human cells),toxic,mixed,kind,empty
CCO,-0.3,1,159,1000,0.1,Yes,1.5,alcohol,
CCC,1.8,0.0,85,n/a,0.2,no,>50,alkane,
O,-1.4,1,273.15,10,,no,2,oxide,
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "a.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("wanted", "name", "declaration"),
    [
        ("logP", "logP", {"unit": "1", "binary": False}),
        ("LOGP", "LOGP", {"unit": "1", "binary": False}),
        ("active", "active", {"unit": "1", "binary": True}),
        ("toxic", "toxic", {"unit": "1", "binary": True}),
        ("mixed", "mixed", {"unit": "1", "binary": False}),
        ("Tm", "Tm", {"unit": "K", "binary": False, "aliases": ["tm [k]"]}),
        ("Tm [K]", "Tm", {"unit": "K", "binary": False, "aliases": ["tm [k]"]}),
        (
            "solubility",
            "solubility",
            {"unit": "mg/L", "binary": False, "aliases": ["solubility (mg/l)"]},
        ),
        (
            "assay (human cells)",
            "assay_human_cells",
            {"unit": "1", "binary": False, "aliases": ["assay (human cells)"]},
        ),
    ],
)
def test_columns_are_numbers_or_yes_and_no(
    table: Path, wanted: str, name: str, declaration: dict[str, object]
) -> None:
    (found,) = assume(table, [wanted])
    assert (found.name, found.declaration) == (name, declaration)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("logD", ["no column 'logD'", "data.targets=COLUMN", "SMILES, logP, active"]),
        ("kind", ["holds text ('alcohol', 'alkane', 'oxide')", "0 and 1"]),
        ("empty", ["'empty' is empty"]),
    ],
)
def test_what_cannot_be_a_target_is_one_line(table: Path, wanted: str, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        assume(table, [wanted])
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_decimal_commas_are_called_by_their_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('smiles;logP\nCCO;"-0,31"\nCCC;"1,8e-1"\nCC;2\n')
    with pytest.raises(UserError, match=r"has decimal commas .*; write points, as in -0\.31"):
        assume(tmp_path / "a.csv", ["logP"])


def test_fields_of_an_sdf_are_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.sdf"
    record = "x\n\n\n  0  0  0  0  0  0            999 V2000\nM  END\n>  <{}> (1)\n{}\n\n$$$$\n"
    path.write_text(record.format("pKa", "4.7") + record.format("pKa", "9.2"))
    assert has_columns(path)
    assert assume(path, ["pKa"])[0].declaration == {"unit": "1", "binary": False}
    assert not has_columns(tmp_path / "a.xyz")
