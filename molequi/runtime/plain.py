"""Results as JSON: arrays become lists, and a number that is not finite becomes null.

And what JSON files of others hold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from molequi.runtime.gate import escaped_in_json, reading


def json_text(document: object) -> str:
    """Return a document as indented JSON with a line end, safe to print."""
    text = json.dumps(plain(document), indent=1, ensure_ascii=False, allow_nan=False)
    return escaped_in_json(text) + "\n"


def read_json(path: Path) -> Any:
    """Return what a JSON file holds. Raises UserError where it is none."""
    with reading(path, "JSON"):
        return parse_json(path.read_bytes())


def parse_json(text: str | bytes) -> Any:
    """Return what a JSON text says.

    Raises ValueError where it is none, as for NaN and Infinity, or RecursionError.
    """
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def json_list(documents: Iterable[object]) -> Iterator[str]:
    """Yield the text that `json_text` gives of a list, a document at a time."""
    opening = "[\n "
    for document in documents:
        text = json.dumps(plain(document), indent=1, ensure_ascii=False, allow_nan=False)
        yield opening + escaped_in_json(text.replace("\n", "\n "))
        opening = ",\n "
    yield "[]\n" if opening.startswith("[") else "\n]\n"


def plain(value: Any) -> Any:
    """Return arrays and tensors as lists, other numbers and texts as they are.

    Anything unknown becomes its text.
    """
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value)
