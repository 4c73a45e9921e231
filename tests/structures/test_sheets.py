"""XLSX and Parquet: the same lines as the CSV of the same table."""

from __future__ import annotations

import datetime
import io
import logging
import zipfile
from pathlib import Path

import pytest

from molequi.errors import UserError
from molequi.structures import sheets
from molequi.structures.csv_files import Line, table_lines
from molequi.structures.inputs import read_inputs

HEADING = ["name", "SMILES", "logP", "active", "n", "day"]
ROWS = [
    ["ethanol; 96 %", "CCO", -0.31, True, 3, datetime.date(2024, 2, 1)],
    ['the "second"', "CC(=O)O", 1e-07, False, 4.0, None],
    [None, "c1ccccc1", None, None, 12_345_678, None],
]
CELLS = [
    ["ethanol; 96 %", "CCO", "-0.31", "True", "3", "2024-02-01"],
    ['the "second"', "CC(=O)O", "1e-07", "False", "4", ""],
    ["", "c1ccccc1", "", "", "12345678", ""],
]


def workbook(path: Path, rows: list[list[object]], *others: str) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for title in others:
        book.create_sheet(title).append(["notes"])
    book.save(path)
    return path


def parquet(path: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    write = pytest.importorskip("pyarrow.parquet").write_table
    columns = dict(zip(HEADING, map(list, zip(*ROWS, strict=True)), strict=True))
    write(pyarrow.table(columns), path)
    return path


def cells_of(lines: list[Line]) -> list[list[str]]:
    return [list(line.cells.values()) for line in lines]


def test_a_workbook_is_the_table_that_it_shows(tmp_path: Path) -> None:
    lines = list(table_lines(workbook(tmp_path / "a.xlsx", [HEADING, *ROWS])))
    # Dates in a workbook have a time of day.
    dated = [[*CELLS[0][:-1], "2024-02-01 00:00:00"], *CELLS[1:]]
    assert cells_of(lines) == dated
    assert [line.number for line in lines] == [2, 3, 4]
    assert [line.smiles for line in lines] == ["CCO", "CC(=O)O", "c1ccccc1"]


def test_parquet_is_the_same_table(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet")
    assert cells_of(list(table_lines(path))) == CELLS
    first, *_ = read_inputs(path)
    assert first.require_atoms().info["name"] == "ethanol; 96 %"
    assert first.columns is not None
    assert first.columns["n"] == "3"


def test_empty_rows_keep_the_numbers_of_lines(tmp_path: Path) -> None:
    rows = [["smiles", "x"], ["CCO", 1], [None, None], ["CO", "two\nlines"]]
    lines = list(table_lines(workbook(tmp_path / "a.xlsx", rows)))
    assert [(line.number, line.smiles) for line in lines] == [(2, "CCO"), (4, "CO")]
    assert lines[1].cells["x"] == "two lines"


def test_other_sheets_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = workbook(tmp_path / "a.xlsx", [["smiles"], ["CCO"]], "legend", "old")
    with caplog.at_level(logging.WARNING):
        assert [line.smiles for line in table_lines(path)] == ["CCO"]
    assert "the sheet 'Sheet' is read; not read: 'legend', 'old'" in caplog.text


def test_formulas_without_values_are_refused(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", [["smiles", "x"], ["CCO", "=1+1"]])
    with pytest.raises(UserError, match=r"row 2: the formula '=1\+1' has no value; open and save"):
        list(table_lines(path))


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    with pytest.raises(UserError, match="its sheets are empty"):
        list(table_lines(workbook(tmp_path / "empty.xlsx", [])))
    for name, data in (("a.xlsx", b"smiles\nCCO\n"), ("b.xlsx", _zip({"a": b"b"}))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match="is damaged or holds no table"):
            list(table_lines(tmp_path / name))
    (tmp_path / "a.xls").write_bytes(b"\xd0\xcf\x11\xe0")
    with pytest.raises(UserError, match=r"save it as \.xlsx or \.csv"):
        list(table_lines(tmp_path / "a.xls"))


def test_a_small_file_may_not_unpack_to_gigabytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workbook(tmp_path / "a.xlsx", [["smiles"], ["CCO"]])
    monkeypatch.setattr(sheets, "_LARGEST", 1000)
    with pytest.raises(UserError, match="unpacks to over"):
        list(table_lines(path))


def test_without_the_library_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "openpyxl", None)
    monkeypatch.setattr(sheets, "ParquetFile", None)
    for name, library in (("a.xlsx", "openpyxl"), ("a.parquet", "pyarrow")):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(UserError, match=rf'needs {library}: pip install "molequi\[tables\]"$'):
            list(table_lines(tmp_path / name))


@pytest.mark.parametrize("kind", ["csv", "tsv", "xlsx", "parquet"])
def test_tables_on_standard_input(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "xlsx":
        data = workbook(tmp_path / "a.xlsx", [HEADING, *ROWS]).read_bytes()
    elif kind == "parquet":
        data = parquet(tmp_path / "a.parquet").read_bytes()
    else:
        separator = {"csv": ",", "tsv": "\t"}[kind]
        lines = [separator.join(row) for row in (HEADING, *CELLS)]
        data = "\n".join(lines).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    ethanol, _, benzene = read_inputs("-")
    assert ethanol.require_atoms().get_chemical_formula() == "C2H6O"
    assert benzene.columns is not None
    assert benzene.columns["n"] == "12345678"


def test_structures_on_standard_input_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.BytesIO(b"3\nwater\nO 0 0 0\nH 0 0 1\nH 0 1 0\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(pipe))
    (water,) = read_inputs("-")
    assert water.require_atoms().get_chemical_formula() == "H2O"


def _zip(parts: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return buffer.getvalue()
