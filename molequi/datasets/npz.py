"""The flat npz: Frames and their stored splits in one file of plain arrays.

Arrays: n_atoms, z, pos (Å), cell (Å), pbc, charge (e), multiplicity; one array per property under
its name, in the units of its row (beside `NAME_structures`, where only the structures numbered
there have it, one after the other); `split_NAME` with the row numbers of a split; `source` and
`group` as UTF-8 lines; `meta`, a JSON text with the format number and the rows of the properties.
Cells, charges and multiplicities that are all zero, zero and one are left out. A file whose `meta`
names no properties is read too: arrays named as rows of the property table are taken in the table's
units, and `split` holds 0, 1 or 2 (train, valid, test) for each structure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molequi.datasets.array_files import (
    array_names,
    open_arrays,
    row_numbers,
    whole_numbers,
    write_arrays,
)
from molequi.datasets.in_memory import Frames
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.making import Electrons, Periodicity, make_frames
from molequi.datasets.report import describe_frames
from molequi.datasets.sparse_targets import compact, expand
from molequi.errors import UserError
from molequi.properties import PROPERTIES, Property, from_dict, to_dict
from molequi.runtime.gate import reading
from molequi.runtime.plain import parse_json

FORMATS = (1, 2)  # 2 has targets of some structures alone
_OPTIONAL = ("cell", "pbc", "charge", "multiplicity")
_RESERVED = {"n_atoms", "z", "pos", *_OPTIONAL, "source", "group", "meta"}


def save_npz(
    frames: Frames,
    path: str | Path,
    *,
    splits: Mapping[str, Tensor] | None = None,
    notes: Mapping[str, object] | None = None,
    groups: Sequence[str] = (),
    compress: bool = True,
    position_dtype: str = "float64",
) -> None:
    """Write the flat npz by rename, so that a reader never sees half a file."""
    clash = {name for name in frames.targets if name in _RESERVED or name.startswith("split_")}
    if clash:
        raise UserError(
            f"property {sorted(clash)[0]!r} cannot be stored in an npz file: the name is taken; "
            "declare it under another one"
        )
    targets: dict[str, np.ndarray] = {}
    for name in frames.targets:
        targets |= compact(frames, name)
    arrays = _arrays(
        frames, notes or {}, position_dtype, FORMATS[len(targets) > len(frames.targets)]
    )
    texts = {"source": frames.source, "group": groups}
    arrays |= {
        name: np.frombuffer("\n".join(lines).encode(errors="backslashreplace"), dtype=np.uint8)
        for name, lines in texts.items()
        if lines
    }
    arrays |= targets
    arrays |= {
        f"split_{name}": rows.numpy().astype(np.int64) for name, rows in (splits or {}).items()
    }
    write_arrays(path, arrays, compress=compress)


def _arrays(
    frames: Frames, notes: Mapping[str, object], position_dtype: str, file_format: int
) -> dict[str, np.ndarray]:
    """Return the structures and the notes as arrays, without targets, texts and splits."""
    meta = {
        "format": file_format,
        "properties": [to_dict(row) for row in frames.properties.values()],
        "notes": dict(notes),
    }
    arrays: dict[str, np.ndarray] = {
        "n_atoms": frames.n_atoms.numpy().astype(np.int32),
        "z": frames.atomic_numbers.numpy().astype(np.uint8),
        "pos": frames.positions.numpy().astype(position_dtype),
        "meta": np.array(json.dumps(meta)),
    }
    if frames.cell.any() or frames.pbc.any():
        arrays |= {"cell": frames.cell.numpy(), "pbc": frames.pbc.numpy()}
    if frames.total_charge.any() or (frames.spin_multiplicity != 1).any():
        arrays |= {
            "charge": frames.total_charge.numpy(),
            "multiplicity": frames.spin_multiplicity.numpy(),
        }
    return arrays


def is_flat(path: Path) -> bool:
    """Tell whether a file is a flat npz of this package."""
    return path.suffix == ".npz" and "meta" in array_names(path)


def load_npz(path: str | Path, declared: Sequence[Property] = ()) -> LabelledSet:
    """Read a flat npz as the module describes it.

    `declared` are rows beside the table that a file without rows of its own may hold.

    Raises UserError for any other file.
    """
    arrays = open_arrays(path)
    with reading(path, "structures as this package stores them"):
        return _labelled_set(arrays, declared, path)


def _labelled_set(
    arrays: Mapping[str, np.ndarray], declared: Sequence[Property], path: str | Path
) -> LabelledSet:
    if "meta" not in arrays:
        raise UserError(
            f"{path} is not a flat npz of this package: it has no `meta`, only "
            f"{', '.join(sorted(arrays))}"
        )
    meta = _meta(arrays, path)
    is_complete = "properties" in meta
    properties = _stored_rows(meta, path) if is_complete else _known_rows(arrays, declared)
    missing = [name for name in ("n_atoms", "z", "pos", *properties) if name not in arrays]
    if missing:
        raise UserError(f"{path}: array {missing[0]!r} is missing; the file is damaged")
    frames = _frames(arrays, properties, _lines(arrays, "source") if is_complete else (), path)
    groups = _lines(arrays, "group") if is_complete else ()
    if groups and len(groups) != len(frames):
        raise UserError(
            f"{path} names {len(groups)} groups for {len(frames)} structures; the file is damaged"
        )
    notes = meta["notes"] if is_complete else _plain_notes(meta)
    report = describe_frames(frames, "npz")
    return LabelledSet(frames, report, _splits(arrays, frames, path), groups, notes=notes)


def _frames(
    arrays: Mapping[str, np.ndarray],
    properties: Mapping[str, Property],
    source: Sequence[str],
    path: str | Path,
) -> Frames:
    names = ("pos", "z", "n_atoms", *_OPTIONAL)
    tensors = {name: torch.from_numpy(arrays[name]) for name in names if name in arrays}
    if ("cell" in tensors) != ("pbc" in tensors):
        given, lacking = ("cell", "pbc") if "cell" in tensors else ("pbc", "cell")
        raise UserError(f"{path} has {given} but no {lacking}; write cell (B, 3, 3) and pbc (B, 3)")
    n_frames = len(tensors["n_atoms"])
    return make_frames(
        tensors["pos"],
        tensors["z"],
        tensors["n_atoms"],
        periodic=Periodicity(tensors["cell"], tensors["pbc"]) if "cell" in tensors else None,
        electrons=Electrons(
            tensors.get("charge", torch.zeros(n_frames)),
            tensors.get("multiplicity", torch.ones(n_frames)),
        ),
        targets={name: expand(arrays, name, arrays["n_atoms"], path) for name in properties},
        properties=properties,
        source=source,
    )


def _lines(arrays: Mapping[str, np.ndarray], name: str) -> tuple[str, ...]:
    return tuple(arrays[name].tobytes().decode().split("\n")) if name in arrays else ()


def _plain_notes(meta: Mapping[str, Any]) -> dict[str, object]:
    return {name: value for name, value in meta.items() if isinstance(value, str | int | float)}


def _meta(arrays: Mapping[str, np.ndarray], path: str | Path) -> dict[str, Any]:
    meta = parse_json(str(arrays["meta"]))
    return meta if isinstance(meta, dict) else {}


def _stored_rows(meta: Mapping[str, Any], path: str | Path) -> dict[str, Property]:
    if meta.get("format") not in FORMATS:
        raise UserError(
            f"{path} has format {meta.get('format')}; this version reads format "
            f"{' and '.join(map(str, FORMATS))}"
        )
    return {row.name: row for row in map(from_dict, meta["properties"])}


def _known_rows(
    arrays: Mapping[str, np.ndarray], declared: Sequence[Property]
) -> dict[str, Property]:
    rows = {**PROPERTIES, **{row.name: row for row in declared}}
    return {name: row for name, row in rows.items() if name in arrays}


def _splits(
    arrays: Mapping[str, np.ndarray], frames: Frames, path: str | Path
) -> dict[str, Tensor]:
    splits = {
        name.removeprefix("split_"): row_numbers(rows, name)
        for name, rows in arrays.items()
        if name.startswith("split_")
    }
    # A property may be called so.
    if not splits and "split" in arrays and "split" not in frames.properties:
        part = torch.from_numpy(whole_numbers(arrays, "split")).reshape(-1)
        largest = int(part.max()) if len(part) else 0
        if len(part) != len(frames) or largest > 2:
            raise UserError(
                f"{path}: split has {len(part)} numbers up to {largest}; write 0, 1 or 2 (train, "
                f"valid, test) for each of the {len(frames)} structures, or -1 for none"
            )
        splits = {
            name: torch.nonzero(part == number)[:, 0]
            for number, name in enumerate(("train", "valid", "test"))
        }
    return splits
