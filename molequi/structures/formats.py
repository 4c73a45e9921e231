"""Which format a file has by its name: the one place that knows the suffixes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Literal, cast

from molequi.errors import UserError

Format = Literal[
    "xyz",
    "sdf",
    "smiles",
    "pdb",
    "mol2",
    "gaussian",
    "orca",
    "table",
    "npz",
    "json",
    "database",
    "archive",
    "folder",
    "other",
]

_FORMATS: dict[str, Format] = {
    ".xyz": "xyz",
    ".extxyz": "xyz",
    ".sdf": "sdf",
    ".sd": "sdf",
    ".mol": "sdf",
    ".mdl": "sdf",
    ".smi": "smiles",
    ".smiles": "smiles",
    ".inchi": "smiles",
    ".pdb": "pdb",
    ".ent": "pdb",
    ".mol2": "mol2",
    ".gjf": "gaussian",
    ".com": "gaussian",
    ".gau": "gaussian",
    ".csv": "table",
    ".tsv": "table",
    ".xlsx": "table",
    ".xlsm": "table",
    ".parquet": "table",
    ".xls": "table",  # refused by name, as .xlsb and .ods are
    ".xlsb": "table",
    ".ods": "table",
    ".npz": "npz",
    ".json": "json",
    ".db": "database",
    ".tar": "archive",
    ".tar.gz": "archive",
    ".tar.bz2": "archive",
    ".tar.xz": "archive",
}
# What `open_binary` undoes, by suffix, and the bytes a file of that kind begins with.
_COMPRESSED: dict[str, tuple[Callable[..., object], bytes]] = {
    ".gz": (gzip.open, b"\x1f\x8b"),
    ".bz2": (bz2.open, b"BZh"),
    ".xz": (lzma.open, b"\xfd7zXZ\x00"),
}
_USE = "use .xyz, .sdf, .mol2, .smi, .pdb, .cif, .traj or .db"
_HDF5 = f"is HDF5, which has no layout of its own for structures; {_USE}"
_NO_STRUCTURES = {
    ".zip": "is an archive; unpack it first",
    ".npz": "holds arrays: `train`, `evaluate` and `label` read those that they know as a data set",
    ".h5": _HDF5,
    ".hdf5": _HDF5,
}
# What reading a damaged file raises, compressed ones among them.
UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)
# Bytes; and how many times as large as its file what it holds may be beyond. Coordinates become
# four times as small, and hardly a structure or a table has so many.
_LARGEST, _DENSEST = 1 << 28, 100


def suffix_of(path: Path) -> str:
    """Return the suffix in lower case, that before `.gz`, `.bz2` or `.xz` for a compressed file."""
    return (path.with_suffix("") if path.suffix.lower() in _COMPRESSED else path).suffix.lower()


def format_of(path: Path) -> Format:
    """Tell the format by the name, compressed or not; `other` is left to ASE's own guess."""
    if os.path.isdir(path):  # which takes names of any length: it may be a list of files
        return "folder"
    both = "".join(path.suffixes[-2:]).lower()
    return _FORMATS.get(both) or _FORMATS.get(suffix_of(path), "other")


def open_binary(path: Path) -> IO[bytes]:
    """Open a file for reading, compressed or not: by its name, or by how it begins."""
    with path.open("rb") as file:
        start = file.read(8)
    for suffix, (opener, magic) in _COMPRESSED.items():
        if path.suffix.lower() == suffix or start.startswith(magic):
            most = max(_LARGEST, _DENSEST * path.stat().st_size)
            return io.BufferedReader(_Unpacked(cast(IO[bytes], opener(path)), most))
    return path.open("rb")


def unknown_format(path: Path, found: str) -> str:
    """Say of a file that holds no structures for ASE (`found`: its words) what it is."""
    usual = f"has a format that ASE does not know ({found}); {_USE}"
    return _NO_STRUCTURES.get(suffix_of(path), usual)


def refuse_packed(path: Path) -> None:
    """Raise UserError for a compressed file of a kind that is read from the disk as it is."""
    if path.suffix.lower() in _COMPRESSED:
        raise UserError(
            f"{path} is compressed; this kind of file is read as it is: unpack it first"
        )


class _Unpacked(io.RawIOBase):
    """What a compressed file holds, up to so many bytes: a small one may hold terabytes."""

    def __init__(self, handle: IO[bytes], most: int) -> None:
        self._handle, self._left = handle, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._handle.read(len(buffer))
        buffer[: len(data)] = data
        self._left -= len(data)
        if self._left < 0:
            raise OSError("it unpacks to far more than its size, as no structures do")
        return len(data)

    def close(self) -> None:
        self._handle.close()
        super().close()


def decompressed(data: bytes) -> bytes:
    """Undo the compression of bytes, where they begin like a compressed file."""
    for opener, magic in _COMPRESSED.values():
        if data.startswith(magic):
            most = max(_LARGEST, _DENSEST * len(data))
            handle = cast(IO[bytes], opener(io.BytesIO(data)))
            with io.BufferedReader(_Unpacked(handle, most)) as unpacked:
                return unpacked.read()
    return data
