"""Which format a file has by its name: the one place that knows the suffixes."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import IO, Literal, cast

Format = Literal[
    "xyz", "sdf", "smiles", "table", "npz", "json", "database", "archive", "folder", "other"
]

_FORMATS: dict[str, Format] = {
    ".xyz": "xyz",
    ".extxyz": "xyz",
    ".sdf": "sdf",
    ".mol": "sdf",
    ".smi": "smiles",
    ".smiles": "smiles",
    ".csv": "table",
    ".tsv": "table",
    ".npz": "npz",
    ".json": "json",
    ".db": "database",
    ".tar": "archive",
    ".tar.gz": "archive",
    ".tar.bz2": "archive",
}


def suffix_of(path: Path) -> str:
    """Return the suffix in lower case, that before `.gz` for a compressed file."""
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


def format_of(path: Path) -> Format:
    """Tell the format by the name, compressed or not; `other` is left to ASE's own guess."""
    if path.is_dir():
        return "folder"
    both = "".join(path.suffixes[-2:]).lower()
    return _FORMATS.get(both) or _FORMATS.get(suffix_of(path), "other")


def open_binary(path: Path) -> IO[bytes]:
    """Open a file for reading, compressed or not."""
    return cast(IO[bytes], gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")
