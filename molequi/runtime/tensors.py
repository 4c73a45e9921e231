"""Tensors in a safetensors file with a checksum, so that a flipped bit is no good model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from molequi.errors import UserError
from molequi.runtime.files import written_by_rename
from molequi.runtime.gate import DAMAGE, reading

_KEY = "checksum"


class TensorFile(NamedTuple):
    """What a file holds: tensors by name, and texts by name that describe them."""

    tensors: dict[str, Tensor]
    texts: dict[str, str]


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], texts: Mapping[str, str]
) -> None:
    """Write a file by rename, so that a reader never sees half of it."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with written_by_rename(path) as temporary:
        data = save(plain, metadata={**texts, _KEY: _checksum(plain, texts)})
        temporary.write_bytes(_with_sorted_texts(data))
        # The writer makes private files; these are for everybody who may read their folder.
        temporary.chmod(0o644)


def _with_sorted_texts(data: bytes) -> bytes:
    """Return a safetensors file with its texts in order; the writer's is another each time.

    The head is JSON after its length in eight bytes, filled up with spaces to a multiple of eight.
    """
    size = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + size])
    head["__metadata__"] = dict(sorted(head["__metadata__"].items()))
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def read_texts(path: str | Path) -> dict[str, str]:
    """Read what a file says of its tensors, without them.

    Raises UserError where it is no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, *DAMAGE) as error:
        raise UserError(
            f"{path} is not a model file: {error}; molequi writes .safetensors files"
        ) from error


def read_tensors(path: str | Path) -> TensorFile:
    """Read a file. Raises UserError as `read_texts`, and where the checksum is another.

    Files of molequi 0.1.0 have none.
    """
    texts = read_texts(path)
    with reading(path, "tensors", "copy the file again"), safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    written = texts.pop(_KEY, None)
    if written is not None and written != _checksum(tensors, texts):
        raise UserError(
            f"{path} is damaged: its checksum is not that of its content; copy the file again"
        )
    return TensorFile(tensors, texts)


def _checksum(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> str:
    """Return the BLAKE2 digest (RFC 7693) of names, types, shapes, numbers and texts."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    for name, text in sorted(texts.items()):
        digest.update(f"{name} {text}\n".encode())
    return digest.hexdigest()
