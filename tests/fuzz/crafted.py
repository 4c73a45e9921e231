"""Files made to do harm: to run code, to take all memory, to write elsewhere."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

MARK = "harm-was-done"
_ZEROS = bytes(24 << 20)
_CALL = f"open({MARK!r}, 'w')"


class Harm:
    """Leaves a mark in the current folder where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        """Say how it is made again: by writing."""
        return open, (MARK, "w")


def make_crafted(folder: Path, seeds: Path) -> list[Path]:
    """Write the files and return them; sound ones to change are in `seeds`."""
    made = {
        **_pickles(),
        **_bombs(),
        **_heads(),
        "split-harm.npz": _npz({name: np.array([Harm()]) for name in ("train", "valid", "test")}),
        "harm.yaml": f"name: !!python/object/apply:builtins.eval [\"{_CALL}\"]\n".encode(),
        "harm.traj": (seeds / "w.traj").read_bytes().replace(b'"ase_version"', b'"__ase_objtype"'),
        "harm.json": (seeds / "w.json").read_bytes().replace(
            b'"gap": 1.5', b'"gap": {"__ase_objtype__": "os.system", "command": "touch harm"}'),
        "harm.db": _database((seeds / "w.db").read_bytes()),
        "harm.tar": _archive(),
        "split.json": b"[" * 100_000,
        "suite-harm.json": b'{"systems": ' * 50_000,
    }  # fmt: skip
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in made]


def _pickles() -> dict[str, bytes]:
    """Pickles where others stand: alone, in a zip as torch has it, in an array of objects."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(
            "archive/data.pkl", pickle.dumps({"format": 2, "model": Harm()}, protocol=2)
        )
        archive.writestr("archive/version", "3\n")
    objects = _npz({"meta": np.array([Harm()], dtype=object)})
    return {
        "alone.ckpt": pickle.dumps(Harm()),
        "zipped.ckpt": buffer.getvalue(),
        "objects.npz": objects,
        "md.xyz.restart": _npz({"json": np.array([Harm()], dtype=object)}),
        "harm.safetensors": pickle.dumps(Harm()),
    }


def _npz(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _bombs() -> dict[str, bytes]:
    """Small files that unpack to far more; the limits are lowered for them."""
    head = np.lib.format.magic(1, 0) + struct.pack("<H", 118)
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({10**15},), }}"
    claimed = head + text.ljust(117).encode() + b"\n" + bytes(64)
    bombs = {}
    for name, data in (
        ("claim.npz", claimed),
        ("zeros.npz", head + _ZEROS),
        ("zeros.ckpt", _ZEROS),
    ):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl" if name.endswith("ckpt") else "meta.npy", data)
        bombs[name] = buffer.getvalue()
    return {
        **bombs,
        "bomb.xyz.gz": gzip.compress(_ZEROS),
        "bomb.sdf.xz": lzma.compress(_ZEROS, preset=0),
        "bomb.pdb.bz2": bz2.compress(_ZEROS),
        "bomb.csv": gzip.compress(_ZEROS),
        "suite-bomb.json.gz": gzip.compress(b"[" + _ZEROS),
    }


def _heads() -> dict[str, bytes]:
    """Heads of safetensors files that lie about sizes, places, kinds and names."""
    tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    heads: dict[str, Any] = {
        "negative": {"x": {**tensor, "shape": [-1]}},
        "large": {"x": {**tensor, "shape": [2**40, 2**40]}},
        "beyond": {"x": {**tensor, "data_offsets": [0, 2**62]}},
        "overlap": {"x": tensor, "y": tensor},
        "kind": {"x": {**tensor, "dtype": "OBJECT"}},
        "path": {"../../x": tensor, "__metadata__": {"molequi": "\x1b[31m"}},
        "format": {"x": tensor, "__metadata__": {"molequi": json.dumps({"format": 2})}},
    }
    files = {f"{name}.safetensors": _with_head(head) for name, head in heads.items()}
    return {**files, "long.safetensors": struct.pack("<Q", 2**63) + b"{}"}


def _with_head(head: dict[str, Any]) -> bytes:
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + bytes(8)


def _database(data: bytes) -> bytes:
    """An ASE database whose constraints and data name what is not to be called."""
    connection = sqlite3.connect(":memory:")
    connection.deserialize(data)
    harm = json.dumps([{"name": "__import__", "kwargs": {"name": "antigravity"}}])
    connection.execute("UPDATE systems SET constraints = ?", (harm,))
    connection.commit()
    return connection.serialize()


def _archive() -> bytes:
    """Members elsewhere, links, and one that claims to be as large as a disk."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind in (("../../x.xyz", tarfile.REGTYPE), ("link.xyz", tarfile.SYMTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member, io.BytesIO())
        large = tarfile.TarInfo("large.xyz")
        large.size = 1 << 40
        buffer.write(large.tobuf())
    return buffer.getvalue()
