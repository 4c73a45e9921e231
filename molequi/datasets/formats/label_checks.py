"""Labels that contradict each other, are missing, or cannot be meant."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import ase
import numpy as np
from ase.constraints import FixAtoms, FixCartesian

from molequi.datasets.formats.values import PLACES, contents, parse_value
from molequi.datasets.in_memory import LARGEST_LABEL
from molequi.errors import UserError
from molequi.properties import Property
from molequi.runtime.wording import counted
from molequi.structures.text import is_missing

_FEW = 3  # numbers that a message can show
_MOST_NOTES = 10


@dataclasses.dataclass(frozen=True)
class Source:
    """A key at one place, and the values of the frames that have it in the right shape."""

    where: str
    key: str
    values: dict[int, np.ndarray]


def readings(structures: Sequence[ase.Atoms]) -> list[str]:
    """Say what was done in reading structures, and to how many."""
    notes = Counter(str(atoms.info["reading"]) for atoms in structures if "reading" in atoms.info)
    lines = [f"{counted(n, 'structure')}: {note}" for note, n in notes.most_common(_MOST_NOTES)]
    return [*lines, "..."] if len(notes) > _MOST_NOTES else lines


def ambiguities(row: Property, chosen: Source, others: Sequence[Source]) -> list[str]:
    """Warn of other keys that hold other values for the same label."""
    warnings = []
    for other in others:
        shared = chosen.values.keys() & other.values.keys()
        differ = any(
            not np.allclose(chosen.values[i], other.values[i], rtol=1e-6, atol=1e-8, equal_nan=True)
            for i in shared
        )
        if differ or other.values.keys() - chosen.values.keys():
            warnings.append(
                f"{row.name}: taken from {chosen.key!r} ({chosen.where}); {other.key!r} "
                f"({other.where}) holds other values; "
                f"to take that one set data.keys.{row.name}={other.key}"
            )
    return warnings


def unlabel_constrained(
    structures: Sequence[ase.Atoms], values: dict[int, np.ndarray]
) -> list[str]:
    """Mark as missing the forces that a constraint has set to zero before the file was written.

    Of an atom that was held along some axes alone all components are.
    """
    n_atoms = n_frames = 0
    for index, forces in values.items():
        if not structures[index].constraints:
            continue
        held = _held(structures[index])
        zeroed = held.any(axis=1) & ((forces == 0.0) | ~held).all(axis=1)
        fixed = np.flatnonzero(zeroed)
        if len(fixed) and forces.any():
            values[index] = forces.copy()
            values[index][fixed] = np.nan
            n_atoms, n_frames = n_atoms + len(fixed), n_frames + 1
    if not n_frames:
        return []
    return [
        f"forces: {n_atoms} constrained atoms in {n_frames} frames have exactly zero force, set by "
        "the constraint; they count as unlabelled"
    ]


def _held(atoms: ase.Atoms) -> np.ndarray:
    """Return which components of the positions constraints hold, (N, 3)."""
    held = np.zeros((len(atoms), 3), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            held[constraint.index] = True
        elif isinstance(constraint, FixCartesian):
            held[constraint.index] |= constraint.mask
    return held


def refuse_impossible(row: Property, values: Mapping[int, np.ndarray], where: str) -> None:
    """Raise UserError for a label that is infinite, or so large that it can only be damage."""
    for index, value in values.items():
        if (np.abs(value) > LARGEST_LABEL).any():
            size = float(np.nanmax(np.abs(value)))
            found = "infinite" if math.isinf(size) else f"{size:g} in size"
            raise UserError(
                f"{where}: {row.name} of frame {index} is {found}; remove the frame or mend its "
                "label"
            )


def unreadable(structures: Sequence[ase.Atoms], row: Property, chosen: Source) -> list[str]:
    """Warn of frames whose label is there and cannot be read, such as `-12,3` with a comma."""
    lost = {
        index: found[chosen.key]
        for index, atoms in enumerate(structures)
        if index not in chosen.values and chosen.key in (found := contents(atoms, chosen.where))
        if not is_missing(found[chosen.key])
        and parse_value(found[chosen.key], row, len(atoms)) is None
    }
    if not lost:
        return []
    index, value = next(iter(lost.items()))
    return [
        f"{row.name}: frame {index} holds {_brief(value)}, expected {_shape_in_words(row)}; "
        f"{counted(len(lost), 'label')} of this kind cannot be read"
    ]


def gaps(row: Property, values: Mapping[int, np.ndarray], n_frames: int, where: str) -> list[str]:
    """Warn of frames without a label, and of labels that are all zero.

    Raises UserError for a label that is neither yes nor no where it should be.
    """
    for index, value in values.items():
        if row.binary and not np.isin(value[~np.isnan(value)], (0.0, 1.0)).all():
            raise UserError(
                f"{where}: {row.name} of frame {index} is {float(np.ravel(value)[0]):g}; a yes/no "
                "label is 0 or 1 (or yes, no, true, false)"
            )
    warnings = []
    if len(values) < n_frames:
        warnings.append(
            f"{row.name}: {n_frames - len(values)} of {n_frames} frames have no label; they do not "
            "count for this target"
        )
    if len(values) > 1 and not row.binary and all(not value.any() for value in values.values()):
        warnings.append(
            f"{row.name}: all {len(values)} labels are exactly zero; check that the file holds "
            "computed values"
        )
    return warnings


def holes(row: Property, values: Mapping[int, np.ndarray]) -> list[str]:
    """Warn of labels of which some numbers, not all, are missing: NaN in the file."""
    found = [i for i, v in values.items() if np.isnan(v).any() and not np.isnan(v).all()]
    if not found:
        return []
    return [
        f"{row.name}: some numbers of {len(found)} of {len(values)} labels are NaN, the first in "
        f"frame {found[0]}; they do not count"
    ]


def missing_label(
    row: Property,
    wanted: str | None,
    structures: Sequence[ase.Atoms],
    present: Mapping[str, Mapping[str, int]],
    where: str,
) -> str:
    """Say why no frame has the label, and which keys there are."""
    listed = (
        "; ".join(f"{place}: {', '.join(sorted(keys))}" for place, keys in present.items() if keys)
        or "none"
    )
    names = {wanted.lower()} if wanted else {row.name.lower(), *row.aliases}
    shape = _shape_in_words(row)
    for place in PLACES:
        for key in present[place]:
            if str(key).lower() in names:
                value = next(
                    contents(atoms, place)[key]
                    for atoms in structures
                    if key in contents(atoms, place)
                )
                problem = f"it holds {_brief(value)}, expected {shape}; keys present: {listed}"
                return f"{where}: {key!r} ({place}) cannot be the target {row.name!r}: {problem}"
    asked = (
        f"under the key {wanted!r}"
        if wanted
        else f"under any of {', '.join(dict.fromkeys((row.name, *row.aliases)))}"
    )
    return (
        f"{where}: no labels for the target {row.name!r} in {len(structures)} frames {asked}; keys "
        f"present: {listed}; "
        f"name the right one with data.keys.{row.name}=KEY"
    )


def _shape_in_words(row: Property) -> str:
    return f"{'per atom ' if row.per_atom else ''}{int(np.prod(row.shape, dtype=int))} number(s)"


def comma_hint(value: Any) -> str:
    """Say what is wrong with a number like 0,5; nothing of other values."""
    is_comma = re.fullmatch(r"\s*[+-]?\d*,\d+\s*", str(value)) is not None
    return " (write a decimal point, not a comma)" if is_comma else ""


def _brief(value: Any) -> str:
    if isinstance(value, str):
        return f"the text {value[:30]!r}{comma_hint(value)}"
    shape = np.shape(value)
    if 0 < np.size(value) <= _FEW and shape:
        return f"the numbers {np.ravel(value).tolist()}"
    return f"an array of shape {shape}" if shape else "1 number"
