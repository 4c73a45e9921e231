"""Tables of spreadsheets (XLSX) and data frames (Parquet), as the text of a CSV.

openpyxl and pyarrow read them (`pip install "molequi[tables]"`).
"""

from __future__ import annotations

import csv
import io
import logging
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from molequi.errors import UserError
from molequi.runtime.gate import reading
from molequi.structures.formats import suffix_of

try:
    import openpyxl
except ImportError:
    openpyxl = None
try:
    from pyarrow.parquet import ParquetFile
except ImportError:
    ParquetFile = None

_LOG = logging.getLogger(__name__)
_READ = {".xlsx", ".xlsm", ".parquet"}
_OTHERS = {".xls", ".xlsb", ".ods"}
# By how they begin, for standard input: any zip archive is taken for a workbook.
_MAGIC = {b"PK\x03\x04": ".xlsx", b"PAR1": ".parquet"}
_LARGEST = 1 << 30  # bytes that the parts of a workbook may unpack to
_ROWS = 65_536  # of a Parquet file at a time


def is_sheet(path: Path) -> bool:
    """Tell by the name whether a table is no text."""
    return suffix_of(path) in _READ | _OTHERS


def sheet_suffix(data: bytes) -> str:
    """Return the suffix that bytes without a name would have; nothing for a text."""
    return _MAGIC.get(data[:4], "")


def sheet_text(data: bytes, path: Path, suffix: str = "") -> str:
    """Return a table as the text of a CSV with commas, its line numbers those of the sheet.

    suffix: that of `path` by default. Of a workbook the first sheet that holds something is read.
    Raises UserError where the library that reads it is missing, for formulas without values, and
    for a damaged file.
    """
    suffix = suffix or suffix_of(path)
    if suffix in _OTHERS:
        raise UserError(f"{path} is no table that is read; save it as .xlsx or .csv")
    with reading(path, "table"):
        rows = _parquet(data, path) if suffix == ".parquet" else _workbook(data, path)
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        for row in rows:
            cells = [_cell(value) for value in row]
            writer.writerow(cells if any(cells) else [])
    return text.getvalue()


def _missing(library: str, path: Path) -> UserError:
    return UserError(f'{path} needs {library}: pip install "molequi[tables]"')


def _cell(value: object) -> str:
    """Write a value on one line: whole numbers without a point, dates as ISO 8601 has them."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return " ".join(str(value).split())


def _parquet(data: bytes, path: Path) -> Iterator[Sequence[object]]:
    if ParquetFile is None:
        raise _missing("pyarrow", path)
    table = ParquetFile(io.BytesIO(data))
    yield table.schema_arrow.names
    for batch in table.iter_batches(batch_size=_ROWS):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _workbook(data: bytes, path: Path) -> Iterator[Sequence[object]]:
    if openpyxl is None:
        raise _missing("openpyxl", path)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(part.file_size for part in archive.infolist()) > _LARGEST:
            raise UserError(f"{path} unpacks to over {_LARGEST >> 30} GB; save it as .csv")
    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    filled = [sheet for sheet in book.worksheets if any(map(any, _values(sheet)))]
    if not filled:
        raise UserError(f"{path} holds no table: its sheets are empty")
    first = filled[0]
    if len(filled) > 1:
        others = ", ".join(repr(sheet.title) for sheet in filled[1:])
        _LOG.warning("%s: the sheet %r is read; not read: %s", path, first.title, others)
    if any(None in row for row in _values(first)):
        written = openpyxl.load_workbook(io.BytesIO(data), read_only=True)[first.title]
        _refuse_uncomputed(_values(first), _values(written), path)
    return _values(first)


def _values(sheet: Any) -> Iterator[tuple[object, ...]]:
    # The size that a workbook states of its sheets is often that of its writer's making.
    sheet.reset_dimensions()
    return iter(sheet.iter_rows(values_only=True))


def _refuse_uncomputed(
    values: Iterable[tuple[object, ...]], written: Iterable[tuple[object, ...]], path: Path
) -> None:
    """Refuse formulas that no spreadsheet program has computed: their cells look empty."""
    for number, (row, formulas) in enumerate(zip(values, written, strict=True), start=1):
        for value, formula in zip(row, formulas, strict=False):
            if value is None and formula is not None:
                raise UserError(
                    f"{path}, row {number}: the formula {str(formula)[:40]!r} has no value; open "
                    "and save the file in a spreadsheet program, or save it as .csv"
                )
