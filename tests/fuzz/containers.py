"""Changes inside containers, which a change of their bytes would only make unreadable."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import yaml
from mutations import NUMBERS, WORDS, hostile_value, mutated, mutated_tree

_DTYPES = (
    "float32",
    "float16",
    "int64",
    "int8",
    "uint8",
    "bool",
    "complex128",
    "U4",
    "S3",
    "M8[s]",
)
_FILL = (np.nan, np.inf, -np.inf, -1, 0, 1, 10**9, 1e300, 5e-324, -(2**63), 0.5)


def json_text(data: bytes, random: Random) -> bytes:
    """Change the tree of a JSON, or of every line of several."""
    lines = data.splitlines()
    try:
        if len(lines) > 1 and all(line.startswith(b"{") for line in lines):
            place = random.randrange(len(lines))
            lines[place] = json.dumps(mutated_tree(json.loads(lines[place]), random)).encode()
            return b"\n".join(lines) + b"\n"
        return json.dumps(mutated_tree(json.loads(data), random)).encode()
    except ValueError:
        return mutated(data, random)


def yaml_text(data: bytes, random: Random) -> bytes:
    """Change the tree of a YAML."""
    return yaml.dump(mutated_tree(yaml.safe_load(data), random)).encode("utf-8", "replace")


def npz(data: bytes, random: Random) -> bytes:
    """Change one array: its values, type, shape or name; or the JSON that it holds."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        arrays = dict(archive)
    name = random.choice(list(arrays))
    values = arrays[name]
    kind = random.randrange(8)
    if values.dtype.kind == "U" and values.ndim == 0 and random.random() < 0.8:
        arrays[name] = np.array(json_text(str(values).encode(), random).decode("utf-8", "replace"))
    elif kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[random.choice((*arrays, "split_train", "x/../y", "A" * 300))] = arrays.pop(name)
    elif kind == 2:
        arrays[name] = np.array([hostile_value(random), {}], dtype=object)  # is pickled
    else:
        arrays[name] = _changed_array(values, random)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _changed_array(values: np.ndarray, random: Random) -> np.ndarray:
    """Give an array another value somewhere, another type, or another shape."""
    kind = random.randrange(5)
    try:
        if kind == 0:
            return values.astype(random.choice(_DTYPES))
        if kind == 1:
            return random.choice((values[:-1], values[None], values.reshape(-1), values[:0]))
        if kind == 2:
            return np.concatenate([values, values[:1]])
        if kind == 3:
            return np.full_like(values, random.choice(_FILL))
        changed = values.copy().reshape(-1)
        changed[random.randrange(len(changed))] = random.choice(_FILL)
        return changed.reshape(values.shape)
    except (ValueError, TypeError, IndexError, OverflowError):
        return np.array(random.choice((0, -1, np.nan, "x", [], [[1, 2], [3, 4]])))


def safetensors(data: bytes, random: Random) -> bytes:
    """Change the header, the description in it, or the numbers behind it."""
    (size,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    if random.random() < 0.8:  # as in older files: the changed bytes are not noticed by it
        header["__metadata__"].pop("checksum", None)
    kind = random.randrange(5)
    if kind == 0:
        return struct.pack("<Q", random.choice((0, 1, size - 1, 10**9, 2**63))) + data[8:]
    if kind == 1:
        header = mutated_tree(header, random)
    elif kind == 2:
        place = 4 * random.randrange(len(body) // 4)
        body = body[:place] + struct.pack("<f", random.choice(_FILL[:7])) + body[place + 4 :]
    else:
        description = mutated_tree(json.loads(header["__metadata__"]["molequi"]), random)
        header["__metadata__"]["molequi"] = json.dumps(description)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def checkpoint(data: bytes, random: Random) -> bytes:
    """Change the tree of a file of torch, or the zip that holds it."""
    if random.random() < 0.2:
        return _rezipped(data, random)
    state = torch.load(io.BytesIO(data), weights_only=True)
    buffer = io.BytesIO()
    torch.save(_tensors_changed(mutated_tree(state, random), random), buffer)
    return buffer.getvalue()


def _tensors_changed(node: Any, random: Random) -> Any:
    if isinstance(node, dict):
        return {key: _tensors_changed(value, random) for key, value in node.items()}
    if isinstance(node, torch.Tensor) and random.random() < 0.05:
        return torch.from_numpy(
            np.ascontiguousarray(np.real(_changed_array(node.numpy(), random))).astype(float)
        )
    return node


def _rezipped(data: bytes, random: Random) -> bytes:
    """Pack the members of a zip anew: one named otherwise, damaged, or missing."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        chosen = random.choice(old.namelist())
        for name in old.namelist():
            content, others = old.read(name), ("../../x", "/etc/x", "archive/data.pkl")
            packed = random.choice((name, name, *others)) if name == chosen else name
            if name == chosen:
                content = mutated(content, random)
            # A ZipInfo is of 1980, so that the bytes do not depend on the time.
            new.writestr(zipfile.ZipInfo(packed), content)
    return buffer.getvalue()


def tar(data: bytes, random: Random) -> bytes:
    """Pack the members of an archive anew: one damaged, elsewhere, or a link."""
    buffer = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as old,
        tarfile.open(fileobj=buffer, mode="w") as new,
    ):
        members = old.getmembers()
        chosen = random.randrange(len(members))
        for place, member in enumerate(members):
            handle = old.extractfile(member)
            content = b"" if handle is None else handle.read()
            if place == chosen:
                kind = random.randrange(4)
                if kind == 0:
                    member.name = random.choice(("../../x.xyz", "/tmp/x.xyz", "\x1b[31m.xyz"))
                elif kind == 1:
                    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
                else:
                    content = mutated(content, random)
            member.size = len(content) if member.isfile() else 0
            new.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def sqlite(data: bytes, random: Random) -> bytes:
    """Change a cell of an ASE database."""
    connection = sqlite3.connect(":memory:")
    connection.deserialize(data)
    table = random.choice(("systems", "systems", "systems", "keys", "information"))
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    value = random.choice((*NUMBERS, *WORDS, *_FILL[:9], b"\x00" * 7, b"", None))
    if random.random() < 0.1:
        connection.execute(f"DROP TABLE {table}")
    else:
        change = f'UPDATE OR IGNORE {table} SET "{random.choice(columns)}" = ?'
        with contextlib.suppress(sqlite3.IntegrityError):  # the number of a row takes only numbers
            connection.execute(change, (value,))
    connection.commit()
    return connection.serialize()


def of_file(path: Path) -> Callable[[bytes, Random], bytes]:
    """Return the change inside that goes with a file, by its name."""
    for suffix, change in _BY_SUFFIX.items():
        if path.name.endswith(suffix):
            return _silent(change)
    return mutated


def _silent(change: Callable[[bytes, Random], bytes]) -> Callable[[bytes, Random], bytes]:
    """Let a change make numbers that their type cannot hold, without a warning."""

    def silently(data: bytes, random: Random) -> bytes:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return change(data, random)

    return silently


_BY_SUFFIX: dict[str, Callable[[bytes, Random], bytes]] = {
    ".npz": npz,
    ".restart": npz,
    ".safetensors": safetensors,
    ".ckpt": checkpoint,
    ".tar": tar,
    ".db": sqlite,
    ".json": json_text,
    ".journal": json_text,
    ".yaml": yaml_text,
}
