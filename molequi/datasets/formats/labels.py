"""Finds the labels of a file, wherever ASE has put them, and reports what was found under which key and in which unit."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import ase
import numpy as np
import torch
from ase.constraints import FixAtoms
from ase.stress import voigt_6_to_full_3x3_stress
from torch import Tensor

from molequi.datasets.formats.units import conversion_factor
from molequi.errors import UserError
from molequi.properties import Property

# Where a label may stand: extended XYZ keys land in the first two, unless ASE knows them and hides
# them in a calculator.
PLACES = ("info", "arrays", "calculator")
_NO_LABELS = {
    "numbers",
    "positions",
    "initial_charges",
    "initial_magmoms",
    "tags",
    "momenta",
    "masses",
    "free_energy",
}
_YES = {"yes", "true", "y", "t", "1"}
_NO = {"no", "false", "n", "f", "0"}


@dataclasses.dataclass(frozen=True)
class Label:
    """One row of the report. frames: structures that have it. unit.

    Of the numbers in the file. minimum, mean, maximum: in `property.unit`.
    """

    name: str
    key: str
    where: str
    frames: int
    unit: str
    minimum: float
    mean: float
    maximum: float


@dataclasses.dataclass(frozen=True)
class LabelReport:
    """What was found. rows: one per label. warnings: one line each. keys.

    The keys present, by place, with the number of frames.
    """

    rows: tuple[Label, ...]
    warnings: tuple[str, ...]
    n_frames: int
    keys: dict[str, dict[str, int]]


@dataclasses.dataclass(frozen=True)
class _Source:
    """A key at one place, and the values of the frames that have it in the right shape."""

    where: str
    key: str
    values: dict[int, np.ndarray]


def report_lines(report: LabelReport) -> list[str]:
    """Write the report as lines of a table: label, key, where, frames, unit, min/mean/max."""
    head = ("label", "key", "where", "frames", "unit in file", "min / mean / max")
    cells = [
        head,
        *(
            (row.name, row.key, row.where, str(row.frames), row.unit, _range(row))
            for row in report.rows
        ),
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def _range(row: Label) -> str:
    return f"{row.minimum:.6g} / {row.mean:.6g} / {row.maximum:.6g}"


def find_labels(
    structures: Sequence[ase.Atoms],
    targets: Sequence[Property],
    *,
    keys: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    where: str = "the data",
) -> tuple[dict[str, Tensor], LabelReport]:
    """Return each target as (B, *shape) or (A, *shape) in its unit, NaN where a frame lacks it, and the report.

    keys: target -> its name in the file, in place of the known aliases. units: target -> the unit
    it has in the file.
    where: names the file in messages. Raises UserError for a target that no frame has, naming the
    keys that are there.
    """
    keys, units = keys or {}, units or {}
    _check_names(targets, {"keys": keys, "units": units})
    present = present_keys(structures)
    found, rows, warnings = {}, [], []
    for row in targets:
        factor = conversion_factor(units.get(row.name, row.unit), row.unit)
        sources = _sources(structures, row, keys.get(row.name), present)
        if not sources:
            raise UserError(_missing(row, keys.get(row.name), structures, present, where))
        chosen, *others = sources
        warnings += _ambiguities(row, chosen, others)
        values = {index: value * factor for index, value in chosen.values.items()}
        if row.name == "forces":
            warnings += _unlabel_constrained(structures, values)
        warnings += _gaps(row, values, len(structures))
        found[row.name] = _stacked(structures, row, values)
        rows.append(_describe(row, chosen, units.get(row.name, row.unit), found[row.name]))
    return found, LabelReport(tuple(rows), tuple(warnings), len(structures), present)


def present_keys(structures: Sequence[ase.Atoms]) -> dict[str, dict[str, int]]:
    """Count, by place, the frames in which each key stands; coordinates and the like left out."""
    counts: dict[str, Counter[str]] = {place: Counter() for place in PLACES}
    for atoms in structures:
        for place in PLACES:
            counts[place].update(
                key for key, value in _contents(atoms, place).items() if value is not None
            )
    return {
        place: {key: n for key, n in counter.items() if key not in _NO_LABELS or place == "info"}
        for place, counter in counts.items()
    }


def parse_value(value: Any, row: Property, n_atoms: int) -> np.ndarray | None:
    """Read one label as an array of the row's shape, (n_atoms, *shape) for a per-atom row.

    None where it cannot be one.

    Text holds numbers apart by spaces, commas or semicolons, with or without brackets; a yes/no
    label also takes these words.
    """
    if row.binary and isinstance(value, str | bool | np.bool_):
        word = str(value).strip().lower()
        value = 1.0 if word in _YES else 0.0 if word in _NO else value
    if isinstance(value, str):
        value = [word for word in re.split(r"[\s,;\[\]()]+", value) if word] or None
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if row.name == "stress" and numbers.shape == (6,):
        return voigt_6_to_full_3x3_stress(numbers)
    shape = (n_atoms, *row.shape) if row.per_atom else row.shape
    return numbers.reshape(shape) if numbers.size == np.prod(shape, dtype=int) else None


def _check_names(targets: Sequence[Property], settings: Mapping[str, Mapping[str, str]]) -> None:
    names = [row.name for row in targets]
    for setting, mapping in settings.items():
        for name in mapping:
            if name not in names:
                raise UserError(
                    f"data.{setting} names {name!r}, which is no target; the targets are "
                    f"{', '.join(names)}"
                )


def _contents(atoms: ase.Atoms, place: str) -> Mapping[str, Any]:
    if place == "calculator":
        # The stored results, not get_forces(), which would zero the forces of constrained atoms.
        return atoms.calc.results if atoms.calc is not None else {}
    return atoms.info if place == "info" else atoms.arrays


def _sources(
    structures: Sequence[ase.Atoms],
    row: Property,
    wanted: str | None,
    present: Mapping[str, Mapping[str, int]],
) -> list[_Source]:
    """All keys that may mean the row and have its shape somewhere, the best first."""
    if wanted is not None:
        names = [wanted.lower()]
    else:
        # A name with REF_ is given on purpose; what stands beside it may come from another
        # calculator.
        aliases = dict.fromkeys((row.name.lower(), *row.aliases))
        names = sorted(aliases, key=lambda alias: not alias.startswith("ref_"))
    sources = []
    for name in names:
        for place in PLACES:
            for key in [
                key for key in present[place] if str(key).lower() == name
            ] or _initial_charges(name, place, structures):
                source = _Source(place, key, {})
                for index, atoms in enumerate(structures):
                    value = (
                        parse_value(_contents(atoms, place).get(key), row, len(atoms))
                        if key in _contents(atoms, place)
                        else None
                    )
                    if value is not None and not np.isnan(value).all():
                        source.values[index] = value
                if source.values:
                    sources.append(source)
    if wanted is not None:
        sources.sort(key=lambda source: source.key != wanted)
    return sources


def _initial_charges(name: str, place: str, structures: Sequence[ase.Atoms]) -> list[str]:
    return (
        ["initial_charges"]
        if name == "initial_charges"
        and place == "arrays"
        and any(atoms.has(name) for atoms in structures)
        else []
    )


def _missing(
    row: Property,
    wanted: str | None,
    structures: Sequence[ase.Atoms],
    present: Mapping[str, Mapping[str, int]],
    where: str,
) -> str:
    listed = (
        "; ".join(f"{place}: {', '.join(sorted(keys))}" for place, keys in present.items() if keys)
        or "none"
    )
    names = {wanted.lower()} if wanted else {row.name, *row.aliases}
    shape = f"{'per atom ' if row.per_atom else ''}{int(np.prod(row.shape, dtype=int))} number(s)"
    for place in PLACES:
        for key in present[place]:
            if str(key).lower() in names:
                value = next(
                    _contents(atoms, place)[key]
                    for atoms in structures
                    if key in _contents(atoms, place)
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


def _brief(value: Any) -> str:
    if isinstance(value, str):
        return f"the text {value[:30]!r}"
    shape = np.shape(value)
    return f"an array of shape {shape}" if shape else "1 number"


def _ambiguities(row: Property, chosen: _Source, others: Sequence[_Source]) -> list[str]:
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


def _unlabel_constrained(
    structures: Sequence[ase.Atoms], values: dict[int, np.ndarray]
) -> list[str]:
    """Mark as missing the forces that a constraint has set to zero before the file was written."""
    n_atoms = n_frames = 0
    for index, forces in values.items():
        constraints = [
            constraint
            for constraint in structures[index].constraints
            if isinstance(constraint, FixAtoms)
        ]
        fixed = np.unique(
            np.concatenate(
                [constraint.get_indices() for constraint in constraints] or [np.zeros(0, dtype=int)]
            )
        )
        fixed = fixed[(forces[fixed] == 0.0).all(axis=1)] if len(fixed) else fixed
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


def _gaps(row: Property, values: Mapping[int, np.ndarray], n_frames: int) -> list[str]:
    for index, value in values.items():
        if np.isinf(value).any():
            raise UserError(
                f"{row.name} of frame {index} is infinite; remove the frame or mend its label"
            )
        if row.binary and not np.isin(value[~np.isnan(value)], (0.0, 1.0)).all():
            raise UserError(
                f"{row.name} of frame {index} is {float(np.ravel(value)[0]):g}; a yes/no label is "
                "0 or 1 (or yes, no, true, false)"
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


def _stacked(
    structures: Sequence[ase.Atoms], row: Property, values: Mapping[int, np.ndarray]
) -> Tensor:
    if not row.per_atom:
        missing = np.full(row.shape, np.nan)
        return torch.from_numpy(
            np.stack([values.get(index, missing) for index in range(len(structures))])
        )
    parts = [
        values[index] if index in values else np.full((len(atoms), *row.shape), np.nan)
        for index, atoms in enumerate(structures)
    ]
    return torch.from_numpy(np.concatenate(parts))


def _describe(row: Property, source: _Source, unit: str, values: Tensor) -> Label:
    known = values[~torch.isnan(values)]
    return Label(
        row.name,
        source.key,
        source.where,
        len(source.values),
        unit,
        float(known.min()),
        float(known.mean()),
        float(known.max()),
    )
