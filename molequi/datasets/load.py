"""From the settings of an experiment to structures, labels and splits.

The one entry for training and evaluation.
"""

from __future__ import annotations

import dataclasses
import glob
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from molequi.config import DataSettings, SplitSettings
from molequi.datasets.chirality.enantiomers import read_chiral
from molequi.datasets.formats.extxyz import read_frames
from molequi.datasets.formats.labels import Label, LabelReport, report_lines
from molequi.datasets.formats.tables import read_table
from molequi.datasets.in_memory import Frames
from molequi.datasets.npz import load_npz
from molequi.datasets.qm9.qm9 import load_qm9
from molequi.datasets.registry import SETS, find_data, load_set
from molequi.datasets.rmd17 import load_rmd17
from molequi.datasets.splits import (
    check_groups,
    check_split,
    choose,
    cormorant_split,
    file_split,
    grouped_split,
    official_split,
    random_split,
    restrict,
    shrink,
)
from molequi.errors import UserError
from molequi.properties import Property, get_property

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A loaded set.

    splits: train, valid, test -> rows. report: where the labels came from. failures: lines that
    could not be used. notes: plain data.
    groups: of each structure, or none; a group never stands in two parts.
    """

    frames: Frames
    splits: dict[str, Tensor]
    report: LabelReport
    failures: tuple[str, ...] = ()
    notes: dict[str, object] = dataclasses.field(default_factory=dict)
    groups: tuple[str, ...] = ()


def load_dataset(
    settings: DataSettings, declared: Mapping[str, Property] | None = None
) -> tuple[Frames, dict[str, Tensor]]:
    """Return the structures with their targets, and the rows of train, valid and test.

    `declared` are the config's own properties.

    Raises UserError for whatever in the settings or the files does not fit.
    """
    loaded = open_dataset(settings, declared)
    return loaded.frames, loaded.splits


def open_dataset(settings: DataSettings, declared: Mapping[str, Property] | None = None) -> Dataset:
    """Load as `load_dataset`, with the report of the labels; the report is logged too."""
    targets = [get_property(name, declared) for name in settings.targets]
    loaded = _READERS[settings.kind](settings, targets)
    for line in report_lines(loaded.report):
        _LOG.info("%s", line)
    loaded = _divide(settings, loaded)
    _LOG.info(
        "%d structures: %s",
        len(loaded.frames),
        ", ".join(f"{name} {len(rows)}" for name, rows in loaded.splits.items()),
    )
    return loaded


def _divide(settings: DataSettings, loaded: Dataset) -> Dataset:
    frames, groups, limit, sizes, seed = (
        loaded.frames,
        loaded.groups,
        settings.limit,
        _sizes(settings.split),
        settings.split.seed,
    )
    chosen = (
        None
        if limit is None or limit >= len(frames)
        else choose(len(frames), limit, settings.seed, groups)
    )
    splits = None if settings.split.kind == "random" else _fixed_split(settings, loaded)
    if chosen is not None:
        splits = None if splits is None else restrict(splits, chosen, len(frames))
        frames, groups = (
            frames.subset(chosen),
            tuple(groups[row] for row in chosen.tolist()) if groups else (),
        )
    if splits is None:
        splits = (
            grouped_split(groups, sizes, seed) if groups else random_split(len(frames), sizes, seed)
        )
        return dataclasses.replace(loaded, frames=frames, splits=splits, groups=groups)
    splits = shrink(splits, sizes, seed)
    for name in ("train", "valid"):
        if not len(splits[name]):
            if limit is None:
                raise UserError(
                    f"data.split.kind={settings.split.kind} has no structure for {name} in these "
                    "data; take split.kind=random"
                )
            raise UserError(
                f"no structure is left for {name} after data.limit={limit}; raise the limit"
            )
    if groups:
        check_groups(splits, groups, f"data.split.kind={settings.split.kind}")
    return dataclasses.replace(loaded, frames=frames, splits=splits, groups=groups)


def _fixed_split(settings: DataSettings, loaded: Dataset) -> dict[str, Tensor]:
    split = settings.split
    if split.kind == "cormorant":
        return cormorant_split(len(loaded.frames))
    if split.kind == "file":
        if split.path is None:
            raise UserError(
                "split.kind=file needs data.split.path=FILE (npz or JSON with the rows of train, "
                "valid and test)"
            )
        return file_split(split.path, len(loaded.frames))
    if split.kind == "official":
        if settings.kind in SETS:
            return _stored_split(settings, loaded)
        if settings.kind != "rmd17":
            kinds = ", ".join(("rmd17", *SETS))
            raise UserError(
                f"split.kind=official belongs to data.kind={kinds}, not {settings.kind}; take "
                "random, file or stored"
            )
        return official_split(
            loaded.splits["train"], loaded.splits["test"], valid=split.valid, seed=split.seed
        )
    return _stored_split(settings, loaded)


def _stored_split(settings: DataSettings, loaded: Dataset) -> dict[str, Tensor]:
    missing = [name for name in ("train", "valid", "test") if name not in loaded.splits]
    if missing:
        raise UserError(
            f"{settings.path} has no stored split (part {missing[0]!r} is missing); take "
            "split.kind=random"
        )
    return check_split(loaded.splits, len(loaded.frames), str(settings.path))


def _sizes(split: SplitSettings) -> dict[str, float]:
    return {"train": split.train, "valid": split.valid, "test": split.test}


def _from_frames(settings: DataSettings, targets: Sequence[Property]) -> Dataset:
    path = _path(settings)
    files = (
        sorted(glob.glob(str(path)))
        if not path.exists() and glob.has_magic(str(path))
        else [str(path)]
    )
    if not files:
        raise UserError(f"data.path={settings.path} matches no file")
    parts = [
        read_frames(file, targets=targets, keys=settings.keys, units=settings.units)
        for file in files
    ]
    frames = Frames.concatenate([part for part, _ in parts])
    return Dataset(
        frames,
        {},
        parts[0][1] if len(parts) == 1 else describe_frames(frames, f"{len(parts)} files"),
    )


def _from_qm9(settings: DataSettings, targets: Sequence[Property]) -> Dataset:
    _refuse_names(settings)
    loaded = load_qm9(None if settings.path is None else find_data(settings.path))
    frames = loaded.frames.with_targets([row.name for row in targets])
    return Dataset(frames, loaded.splits, describe_frames(frames, "QM9"), notes=loaded.notes)


def _from_rmd17(settings: DataSettings, targets: Sequence[Property]) -> Dataset:
    _refuse_names(settings)
    frames, splits = load_rmd17(
        _path(settings), split=settings.split.index if settings.split.kind == "official" else None
    )
    frames = frames.with_targets([row.name for row in targets])
    return Dataset(frames, splits, describe_frames(frames, "rMD17"))


def _from_table(settings: DataSettings, targets: Sequence[Property]) -> Dataset:
    table = read_table(
        _path(settings),
        targets,
        keys=settings.keys,
        units=settings.units,
        smiles=settings.smiles,
        seed=settings.seed,
    )
    return Dataset(
        table.frames,
        {},
        table.report,
        table.failures,
        {"geometry": table.geometry} if table.geometry else {},
    )


def _from_npz(settings: DataSettings, targets: Sequence[Property]) -> Dataset:
    _refuse_names(settings)
    loaded = load_npz(_path(settings), targets)
    frames = loaded.frames.with_targets([row.name for row in targets])
    for row in targets:
        stored = frames.properties[row.name]
        if (stored.irreps, stored.unit, stored.per_atom) != (row.irreps, row.unit, row.per_atom):
            expected = f"declared as {row.irreps} in {row.unit}"
            raise UserError(
                f"{settings.path}: {row.name!r} is stored as {stored.irreps} in {stored.unit}, but "
                f"{expected}"
            )
    frames = dataclasses.replace(frames, properties={row.name: row for row in targets})
    return Dataset(
        frames,
        loaded.splits,
        describe_frames(frames, "npz"),
        notes=loaded.notes,
        groups=loaded.groups,
    )


def _from_chiral(settings: DataSettings, targets: Sequence[Property]) -> Dataset:
    _refuse_names(settings)
    made = read_chiral(
        _path(settings),
        smiles=settings.smiles,
        n_conformers=settings.conformers,
        seed=settings.seed,
    )
    frames = made.frames.with_targets([row.name for row in targets])
    return Dataset(
        frames, {}, describe_frames(frames, "CIP label"), made.failures, made.notes, made.groups
    )


def _from_set(settings: DataSettings, targets: Sequence[Property]) -> Dataset:
    _refuse_names(settings)
    loaded, failures = load_set(
        settings.kind, None if settings.path is None else _files(settings.path), settings.structures
    )
    frames = loaded.frames.with_targets([row.name for row in targets])
    return Dataset(
        frames,
        loaded.splits,
        describe_frames(frames, settings.kind),
        failures,
        loaded.notes,
        loaded.groups,
    )


_READERS = {
    "frames": _from_frames,
    "qm9": _from_qm9,
    "rmd17": _from_rmd17,
    "table": _from_table,
    "npz": _from_npz,
    "chiral": _from_chiral,
    **dict.fromkeys(SETS, _from_set),
}


def _files(text: str) -> list[Path]:
    """Resolve one path, several between commas, or patterns with *."""
    whole = find_data(text)
    if whole.exists():
        return [whole]
    files = []
    for part in (part.strip() for part in text.split(",")):
        found = sorted(glob.glob(part)) if glob.has_magic(part) else [part]
        if not found:
            raise UserError(f"data.path={part} matches no file")
        files += [find_data(name) for name in found]
    return files


def _path(settings: DataSettings) -> Path:
    if settings.path is None:
        raise UserError(
            "data.path is not set; name the file with data.path=FILE (data.kind is "
            f"{settings.kind})"
        )
    return find_data(settings.path)


def _refuse_names(settings: DataSettings) -> None:
    for name, given in (("keys", settings.keys), ("units", settings.units)):
        if given:
            raise UserError(
                f"data.{name} has no meaning for data.kind={settings.kind}, whose names and units "
                "are known; remove it"
            )


def describe_frames(frames: Frames, where: str) -> LabelReport:
    """Report the targets that frames carry; `where` is what they came from.

    Raises UserError for a target without any number.
    """
    rows = []
    for name, values in frames.targets.items():
        known = values[~torch.isnan(values)]
        if not len(known):
            raise UserError(f"target {name!r} has no label in any of {len(frames)} structures")
        with_label = frames_with_label(frames, name)
        rows.append(
            Label(
                name,
                name,
                where,
                with_label,
                frames.properties[name].unit,
                float(known.min()),
                float(known.mean()),
                float(known.max()),
            )
        )
    return LabelReport(tuple(rows), (), len(frames), {})


def frames_with_label(frames: Frames, name: str) -> int:
    """Count the structures that have at least one number of the target `name`."""
    known = ~torch.isnan(frames.targets[name].reshape(len(frames.targets[name]), -1)).all(dim=1)
    if frames.properties[name].per_atom:
        owners = torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)
        return int(torch.unique(owners[known]).numel())
    return int(known.sum())
