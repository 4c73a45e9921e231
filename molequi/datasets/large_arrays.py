"""Large arrays of an uncompressed npz: written in pieces, and left on the disk until looked at.

A mapped array takes memory only where it is read, and what has been read can be dropped again. Its
bytes begin at a multiple of 64 in the file, which `write_member` sees to.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

# Bytes: smaller arrays are read at once.
LARGE = 1 << 25
_ALIGNMENT = 64
_BLOCK = 1 << 20
# Of the header before a member (PKWARE, APPNOTE.TXT 4.3.7): what goes before the lengths of its
# name and its extra field, and the size of all that has a fixed size.
_BEFORE_LENGTHS, _FIXED = 26, 30
# An extra field begins with a number and a length. The number is one that others use to align.
_PADDING, _FIELD_HEAD, _SIZES = 0xD935, 4, 20
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def write_member(archive: zipfile.ZipFile, name: str, values: np.ndarray) -> None:
    """Add an array to an npz. The same array gives the same bytes: the entry carries no date."""
    values = np.ascontiguousarray(values).reshape(np.shape(values))
    entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
    entry.compress_type = archive.compression
    entry.file_size = values.nbytes + _header_size(values)
    if entry.compress_type == zipfile.ZIP_STORED and values.nbytes >= LARGE:
        entry.extra = _padding(archive, entry)
    with archive.open(entry, "w") as stream:
        np.lib.format.write_array(stream, values, allow_pickle=False)


def map_member(path: Path, archive: zipfile.ZipFile, name: str) -> np.ndarray | None:
    """Return an array of an npz that stays on the disk; None for one that is to be read as usual.

    Its checksum has been compared: a damaged array raises zipfile.BadZipFile. Changes of the array
    stay in memory.
    """
    entry = archive.NameToInfo.get(f"{name}.npy")
    if entry is None or entry.compress_type != zipfile.ZIP_STORED or entry.file_size < LARGE:
        return None
    with archive.open(entry) as stream:
        read_header = _HEADERS.get(np.lib.format.read_magic(stream))
        if read_header is None:
            return None
        shape, is_fortran, dtype = read_header(stream)
        n_before = stream.tell()
        while stream.read(_BLOCK):  # the end of the stream compares the checksum
            pass
    with path.open("rb") as file:
        start = _start_of(file, entry) + n_before
    n_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if dtype.hasobject or start % _ALIGNMENT or n_bytes != entry.file_size - n_before:
        return None
    return np.memmap(path, dtype, "c", start, shape, "F" if is_fortran else "C")


def _header_size(values: np.ndarray) -> int:
    """Return the size of what goes before the numbers in an npy file."""
    empty = np.lib.format.header_data_from_array_1_0(values)
    sink = _Counter()
    np.lib.format.write_array_header_1_0(sink, empty)
    return sink.n_bytes


class _Counter:
    """Counts the bytes that are written to it."""

    n_bytes = 0

    def write(self, data: bytes) -> int:
        """Count, and forget."""
        self.n_bytes += len(data)
        return len(data)


def _padding(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return an extra field after which the member's bytes begin at a multiple of the alignment."""
    file = archive.fp
    if file is None:
        raise ValueError("the archive is closed")
    needs_sizes = entry.file_size * 1.05 > zipfile.ZIP64_LIMIT
    end = file.tell() + _FIXED + len(entry.filename) + _SIZES * needs_sizes + _FIELD_HEAD
    n_zeros = -end % _ALIGNMENT
    return struct.pack("<HH", _PADDING, n_zeros) + bytes(n_zeros)


def _start_of(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """Return where the bytes of a member begin in the file."""
    file.seek(entry.header_offset + _BEFORE_LENGTHS)
    return entry.header_offset + _FIXED + sum(struct.unpack("<HH", file.read(4)))
