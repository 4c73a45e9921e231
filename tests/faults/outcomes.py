"""What a run has left in its folder, in a form that can be compared: times and places aside."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from molequi.training.state import read_state

_TIMES = {"seconds", "created", "date"}
_TIME_OF_A_PAGE = re.compile("(<dt>time</dt><dd>)[^<]*")


def outcome(folder: Path) -> dict[str, Any]:
    """Return the content of every file below a folder, by its path there.

    Raises an error for a file that is not whole.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): content(path, folder) for path in paths}


def is_hidden(name: str) -> bool:
    """Tell whether a file, or the folder that it stands in, has a hidden name."""
    return any(part.startswith(".") for part in Path(name).parts)


def content(path: Path, folder: Path) -> Any:
    """Return what can be compared of a file."""
    if is_hidden(str(path.relative_to(folder))):
        return "a temporary file"
    if path.suffix in {".npz", ".restart"}:
        with np.load(path) as arrays:
            return {name: arrays[name].tobytes() for name in arrays.files}
    if path.suffix == ".safetensors":
        with safe_open(path, framework="np") as file:
            tensors = {name: file.get_tensor(name).tobytes() for name in file.keys()}
            return tensors, _without_times(json.loads(file.metadata()["molequi"]))
    if path.suffix == ".ckpt":
        return _whole_state(path)
    if path.suffix == ".png":
        return _whole_image(path.read_bytes())
    if path.name == "log.txt":
        return "a log"
    return _of_text(path, path.read_text(encoding="utf-8").replace(str(folder), "HERE"))


def _of_text(path: Path, text: str) -> Any:
    if path.suffix == ".csv":
        return [_without_times(row) for row in csv.DictReader(io.StringIO(text))]
    if path.suffix == ".json":
        return _without_times(json.loads(text))
    return _TIME_OF_A_PAGE.sub(r"\1", text)


def _whole_state(path: Path) -> dict[str, int]:
    """The weights in it are those of the model beside it; here is how far the run had come."""
    position = read_state(path)["position"]
    return {name: position[name] for name in ("epoch", "batch", "step")}


def _whole_image(data: bytes) -> str:
    if not (data.startswith(b"\x89PNG") and data.endswith(b"IEND\xaeB`\x82")):
        raise EOFError("the image is cut off")
    return "an image"


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in _TIMES}
    return [_without_times(item) for item in value] if isinstance(value, list) else value
