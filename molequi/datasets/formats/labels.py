"""Finds the labels of structures wherever ASE has put them, and reports what was found."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import ase
import numpy as np
import torch
from torch import Tensor

from molequi.datasets.formats.label_checks import (
    Source,
    ambiguities,
    gaps,
    holes,
    missing_label,
    refuse_impossible,
    unlabel_constrained,
    unreadable,
)
from molequi.datasets.formats.stress_checks import doubtful_stress
from molequi.datasets.formats.units import conversion_factor
from molequi.datasets.formats.values import PLACES, contents, parse_value, present_keys
from molequi.datasets.report import Label, LabelReport, make_label
from molequi.errors import UserError
from molequi.properties import Property
from molequi.runtime.wording import counted

# Read as stresses where there are none, with a unit of energy.
VIRIALS = frozenset({"virial", "virials", "ref_virial", "ref_virials", "dft_virial", "dft_virials"})


class FoundLabels(NamedTuple):
    """values: target -> (B, *shape) or (A, *shape) in its unit, NaN where a frame lacks it."""

    values: dict[str, Tensor]
    report: LabelReport


def find_labels(
    structures: Sequence[ase.Atoms],
    targets: Sequence[Property],
    *,
    keys: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    where: str = "the data",
    is_whole: bool = True,
) -> FoundLabels:
    """Find each target under the names it may have, and convert it to its unit.

    keys: target -> its name in the file, in place of the known aliases. units: target -> the unit
    it has in the file. where: names the file in messages. is_whole: whether there is no other file
    that may have what this one lacks. Spreads may be missing altogether.
    Raises UserError for any other target that no frame has, naming the keys that are there; where
    there are other files, the report says so as `unusable`.
    """
    keys, units = keys or {}, units or {}
    _check_names(targets, {"keys": keys, "units": units})
    present = present_keys(structures)
    found, rows, warnings, unusable = {}, [], [], {}
    for row in targets:
        sources = _sources(structures, row, keys.get(row.name), present)
        if not sources:
            why = missing_label(row, keys.get(row.name), structures, present, where)
            if is_whole and not row.spread_of:
                raise UserError(why)
            found[row.name], unusable[row.name] = _stacked(structures, row, {}), why
            continue
        refuse_impossible(row, sources[0].values, where)
        factor = _factor(row, sources[0], units)
        values = {index: value * factor for index, value in sources[0].values.items()}
        warnings += _warnings(structures, row, sources, units, present, values)
        warnings += gaps(row, values, len(structures), where)
        found[row.name] = _stacked(structures, row, values)
        rows.append(_described(row, sources[0], units, found[row.name]))
    report = LabelReport(tuple(rows), tuple(warnings), len(structures), present, unusable)
    return FoundLabels(found, report)


def _warnings(
    structures: Sequence[ase.Atoms],
    row: Property,
    sources: Sequence[Source],
    units: Mapping[str, str],
    present: Mapping[str, Mapping[str, int]],
    values: dict[int, np.ndarray],
) -> list[str]:
    """Doubt the labels of the first source; of `values` forces of constrained atoms are removed."""
    chosen, *others = sources
    lines = ambiguities(row, chosen, others) + _free_energies(structures, row, chosen)
    lines += holes(row, values)
    if row.name == "stress":
        lines += _doubts(structures, row, chosen, units, present)
    elif row.name == "forces":
        lines += unlabel_constrained(structures, values)
    return lines + unreadable(structures, row, chosen)


def _unit(row: Property, chosen: Source) -> str:
    """Return what the numbers of a key are in by default; virials are energies."""
    is_virial = row.name == "stress" and chosen.key.lower() in VIRIALS
    return "eV" if is_virial else row.unit


def _factor(row: Property, chosen: Source, units: Mapping[str, str]) -> float:
    unit = _unit(row, chosen)
    return conversion_factor(units.get(row.name, unit), unit)


def _doubts(
    structures: Sequence[ase.Atoms],
    row: Property,
    chosen: Source,
    units: Mapping[str, str],
    present: Mapping[str, Mapping[str, int]],
) -> list[str]:
    """Doubt the unit and sign of stresses, or of the virials that they are made of."""
    own, factor = _unit(row, chosen), _factor(row, chosen, units)
    doubts = doubtful_stress(
        structures,
        chosen.values,
        units.get(row.name, own),
        factor,
        is_virial=own != row.unit,
    )
    return doubts + _other_virials(structures, row, chosen, factor, present)


def _free_energies(structures: Sequence[ase.Atoms], row: Property, chosen: Source) -> list[str]:
    """Warn of free energies, as of electrons that are smeared, beside another energy."""
    if row.name != "energy" or chosen.key.lower() == "free_energy":
        return []
    free = _source(structures, row, "calculator", "free_energy")
    lines = ambiguities(row, chosen, [free])
    return [f"{line}; forces are gradients of the free energy" for line in lines]


def _described(row: Property, chosen: Source, units: Mapping[str, str], values: Tensor) -> Label:
    unit = units.get(row.name, _unit(row, chosen))
    return make_label(row.name, chosen.key, chosen.where, len(chosen.values), unit, values)


def _check_names(targets: Sequence[Property], settings: Mapping[str, Mapping[str, str]]) -> None:
    names = [row.name for row in targets]
    for setting, mapping in settings.items():
        for name in mapping:
            if name not in names:
                raise UserError(
                    f"data.{setting} names {name!r}, which is no target; the targets are "
                    f"{', '.join(names)}"
                )


def _sources(
    structures: Sequence[ase.Atoms],
    row: Property,
    wanted: str | None,
    present: Mapping[str, Mapping[str, int]],
) -> list[Source]:
    """All keys that may mean the row and have its shape somewhere, the best first."""
    if row.name == "stress" and wanted is not None and wanted.lower() in VIRIALS:
        return _virials(structures, row, wanted, present)
    sources = [
        source
        for name in _names(row, wanted)
        for place in PLACES
        for key in _keys(name, place, structures, present)
        if (source := _source(structures, row, place, key)).values
    ]
    if wanted is not None:
        sources.sort(key=lambda source: source.key != wanted)
    return sources or (_virials(structures, row, wanted, present) if row.name == "stress" else [])


def _virials(
    structures: Sequence[ase.Atoms],
    row: Property,
    wanted: str | None,
    present: Mapping[str, Mapping[str, int]],
) -> list[Source]:
    """Return virials as stresses: W = -V stress, as QUIP, DeePMD and MACE have it."""
    names = VIRIALS if wanted is None else VIRIALS & {wanted.lower()}
    found = [
        _source(structures, row, place, key)
        for place in PLACES
        for key in present[place]
        if str(key).lower() in names
    ]
    volumes = {index: structures[index].cell.volume for source in found for index in source.values}
    return [
        dataclasses.replace(
            source,
            values={i: -v / volumes[i] for i, v in source.values.items() if volumes[i] > 0.0},
        )
        for source in found
        if source.values
    ]


def _other_virials(
    structures: Sequence[ase.Atoms],
    row: Property,
    chosen: Source,
    factor: float,
    present: Mapping[str, Mapping[str, int]],
) -> list[str]:
    """Warn of virials that are not -V times the stresses beside them, or have none beside them.

    factor: of the stresses.
    """
    if chosen.key.lower() in VIRIALS:
        return []
    lines = []
    for other in _virials(structures, row, None, present):
        alone = other.values.keys() - chosen.values.keys()
        if alone:
            lines.append(
                f"stress: taken from {chosen.key!r} ({chosen.where}), and the virials of "
                f"{other.key!r} ({other.where}) in {counted(len(alone), 'frame')} without it, "
                f"first in frame {min(alone)}, are left out; write one of the two in all frames"
            )
        shared = sorted(chosen.values.keys() & other.values.keys())
        unlike = [
            index
            for index in shared
            if not np.allclose(
                chosen.values[index] * factor, other.values[index], rtol=0.05, atol=1e-4
            )
        ]
        if unlike:
            lines.append(
                f"stress: taken from {chosen.key!r} ({chosen.where}), but the virials in eV of "
                f"{other.key!r} ({other.where}), as -W/V, differ in {len(unlike)} of "
                f"{len(shared)} frames, first in frame {unlike[0]}; to take these set "
                f"data.keys.stress={other.key}"
            )
    return lines


def _names(row: Property, wanted: str | None) -> list[str]:
    if wanted is not None:
        return [wanted.lower()]
    # A name with REF_ is given on purpose; what stands beside it may come from another calculator.
    aliases = dict.fromkeys((row.name.lower(), *row.aliases))
    return sorted(aliases, key=lambda alias: not alias.startswith("ref_"))


def _keys(
    name: str, place: str, structures: Sequence[ase.Atoms], present: Mapping[str, Mapping[str, int]]
) -> list[str]:
    found = [key for key in present[place] if str(key).lower() == name]
    if not found and (name, place) == ("initial_charges", "arrays"):
        return [name] if any(atoms.has(name) for atoms in structures) else []
    return found


def _source(structures: Sequence[ase.Atoms], row: Property, place: str, key: str) -> Source:
    values = {}
    for index, atoms in enumerate(structures):
        found = contents(atoms, place)
        value = parse_value(found[key], row, len(atoms)) if key in found else None
        if value is not None and not np.isnan(value).all():
            values[index] = value
    return Source(place, key, values)


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
