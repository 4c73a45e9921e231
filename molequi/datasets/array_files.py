"""Files of named arrays (npz): written by rename, read without unpickling anything."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from molequi.datasets.large_arrays import map_member, write_member
from molequi.errors import UserError
from molequi.runtime.files import no_file, written_by_rename
from molequi.runtime.gate import DAMAGE, reading
from molequi.structures.formats import refuse_packed

# Bytes; and how many times as large as its file what it holds may be beyond.
_LARGEST, _DENSEST = 1 << 30, 100
_SIZES = ("file_size", "compress_size")
# Of numpy: yes and no, numbers of three kinds, text of two. Complex numbers are a mistake, whose
# imaginary parts would be dropped.
_KINDS = "biufUS"
_EXACT = 1 << 53  # beyond it float64 leaves whole numbers out


def write_arrays(
    path: str | Path, arrays: Mapping[str, np.ndarray], *, compress: bool = True
) -> None:
    """Write an npz by rename. The same arrays give the same bytes: the entries carry no date."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with written_by_rename(path) as partial, zipfile.ZipFile(partial, "w", method) as archive:
        for name, values in arrays.items():
            write_member(archive, name, values)


def open_arrays(path: str | Path, only: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Read the arrays of an npz (of the names in `only`, those that are there), never unpickling.

    Large ones that are not compressed stay on the disk until they are looked at.
    Raises UserError for a file that is missing, not an npz, or holds Python objects.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{no_file(path)}; give the path of an npz file")
    refuse_packed(path)
    with reading(path, "plain arrays (Python objects are refused)"):
        return load_arrays(path, only)


def load_arrays(path: Path, only: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Read arrays as `open_arrays`, but raise whatever a damaged file makes NumPy stumble over."""
    # Opened here, for NumPy leaves the file of a damaged archive open.
    with path.open("rb") as handle:
        archive = np.load(handle, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile) or archive.zip is None:
            raise UserError(f"{path} holds one array; expected an npz file with several")
        members = archive.zip
        _refuse_bomb(members)
        names = [name for name in archive.files if only is None or name in only]
        mapped = {name: map_member(path, members, name) for name in names}
        arrays = {n: archive[n] if array is None else array for n, array in mapped.items()}
    for name, values in arrays.items():
        if values.dtype.kind not in _KINDS:
            raise ValueError(f"{name} is of type {values.dtype}, no numbers or text")
    return arrays


def _refuse_bomb(archive: zipfile.ZipFile) -> None:
    """Refuse a small file of arrays so large that only a file made for that has them."""
    members = archive.infolist()
    size, packed = (sum(getattr(one, name) for one in members) for name in _SIZES)
    if size > max(_LARGEST, _DENSEST * packed):
        raise ValueError(f"its arrays take {size / 2**30:.0f} GiB, unpacked from {packed} bytes")


def real_numbers(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Return an array as float64. Raises ValueError for one of text or of yes and no."""
    return _numbers(arrays[name], name).astype(np.float64)


def whole_numbers(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Return an array as int64. Raises ValueError for one that holds anything but whole numbers."""
    values = _numbers(arrays[name], name)
    if (
        values.dtype.kind == "f"
        and not ((np.rint(values) == values) & (abs(values) < _EXACT)).all()
    ):
        raise ValueError(f"{name} holds numbers that are not whole")
    return values.astype(np.int64)


def _numbers(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype.kind not in "iuf":
        raise ValueError(f"{name} is of type {values.dtype}, no numbers")
    return values


def row_numbers(values: object, where: str) -> Tensor:
    """Return row numbers, (n,), int64.

    Raises UserError, naming `where`, for what is no list of whole numbers.
    """
    rows = np.asarray(values)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise UserError(f"{where} is no list of row numbers, from 0")
    return torch.from_numpy(rows.astype(np.int64))


def check_rows(rows: Tensor, n_rows: int, where: str, *, twice: str) -> None:
    """Refuse numbers of rows, (n,), that do not exist or stand there twice.

    Raises UserError, naming `where`; `twice` says why a row may stand there once only.
    """
    outside = rows[(rows < 0) | (rows >= n_rows)]
    if len(outside):
        raise UserError(
            f"{where} names row {int(outside[0])}, but the data has rows 0 to {n_rows - 1}"
        )
    numbers, counts = torch.unique(rows, return_counts=True)
    if len(numbers) < len(rows):
        raise UserError(f"{where} names row {int(numbers[counts > 1][0])} more than once; {twice}")


def array_names(path: Path) -> frozenset[str]:
    """Return the names of the arrays of an npz file without reading them; none of another file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return frozenset(name.removesuffix(".npy") for name in archive.namelist())
    except DAMAGE:
        return frozenset()
