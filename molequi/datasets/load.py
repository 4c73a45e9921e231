"""From the settings of an experiment, or a file, to structures, labels and splits.

The one entry for training, evaluation and labelling.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from molequi.datasets.base import DatasetSpec, Request
from molequi.datasets.contacts import are_isolated_atoms, refuse_coincident
from molequi.datasets.drawing import all_elements_train, drawn, limited, shrunk
from molequi.datasets.duplicates import shared_with_training
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.outliers import constants, outliers
from molequi.datasets.registry import all_datasets, detect, find_source, get_dataset
from molequi.datasets.report import report_lines
from molequi.datasets.settings import DataSettings
from molequi.datasets.splits import (
    check_groups,
    check_split,
    cormorant_split,
    file_split,
    official_split,
    restrict,
)
from molequi.errors import UserError
from molequi.properties import Property, get_property
from molequi.structures.formats import format_of

_LOG = logging.getLogger(__name__)


def load_dataset(
    settings: DataSettings, declared: Mapping[str, Property] | None = None
) -> LabelledSet:
    """Return the structures with their targets, divided into train, valid and test.

    declared: the config's own properties. The report of the labels is logged. Raises UserError for
    whatever in the settings or the files does not fit.
    """
    spec = _spec(settings)
    loaded = spec.load(_request(settings, [get_property(n, declared) for n in settings.targets]))
    if spec.is_own:
        refuse_coincident(loaded.frames)
    for line in report_lines(loaded.report):
        _LOG.info("%s", line)
    loaded = divide(settings, loaded)
    if spec.is_own:
        _doubt(loaded)
    sizes = ", ".join(f"{name} {len(rows)}" for name, rows in loaded.splits.items())
    _LOG.info("%d structures: %s", len(loaded), sizes)
    return loaded


def _doubt(loaded: LabelledSet) -> None:
    """Warn of labels and splits that spoil a training or its test."""
    shared = shared_with_training(loaded.frames, loaded.splits)
    for line in (*outliers(loaded.frames), *constants(loaded.frames), *shared.structures):
        _LOG.warning("%s", line)
    for line in shared.molecules:
        _LOG.info("%s", line)
    alone = are_isolated_atoms(loaded.frames)
    n_lost = sum(int(alone[rows].sum()) for name, rows in loaded.splits.items() if name != "train")
    if n_lost:
        _LOG.warning(
            "%d isolated atoms stand in valid or test: no references come from them", n_lost
        )


def load_labelled(
    source: str | Path,
    candidates: Iterable[Property],
    like: DataSettings | None = None,
) -> LabelledSet:
    """Return those of the `candidates` that a file, or a set by its name, has as targets.

    The parts are those that the source stores. like: settings of data that the file may resemble:
    their names and units are for files that have these names; where names are fixed, the units are
    for arrays alone, if theirs are arrays too. Geometries are made in the same way, and an SDF is
    the table that theirs is. Raises UserError where it has none of the candidates.
    """
    spec, path = find_source(source)
    rows = tuple(candidates)
    request = Request(path, rows, is_strict=False)
    if like is not None:
        spec = _kind_beside(spec, path, like)
        request = _beside(request, spec, like)
    loaded = spec.load(request)
    if spec.is_own:
        refuse_coincident(loaded.frames)
    if not loaded.properties:
        wanted = ", ".join(row.name for row in rows)
        raise UserError(f"{source} has no label of {wanted}; it is taken for data.kind={spec.name}")
    return loaded


def _kind_beside(spec: DatasetSpec, path: str | None, like: DataSettings) -> DatasetSpec:
    """Return a table for an SDF beside a table, else what the file is by itself."""
    is_sdf = path is not None and format_of(Path(path)) == "sdf"
    return get_dataset("table") if is_sdf and like.kind == "table" else spec


def _beside(request: Request, spec: DatasetSpec, like: DataSettings) -> Request:
    """Return a request with what the settings of other data say that holds here too."""
    request = dataclasses.replace(request, seed=like.seed, add_hydrogens=like.add_hydrogens)
    if spec.has_free_names:
        keys, units = dict(like.keys), dict(like.units)
        return dataclasses.replace(request, keys=keys, units=units, smiles=like.smiles)
    if spec.has_free_units and _is_arrays(like.path):
        return dataclasses.replace(request, units=dict(like.units))
    return request


def _spec(settings: DataSettings) -> DatasetSpec:
    # Arrays are no structure file, but a kind of their own.
    if settings.kind is not None and not (settings.kind == "frames" and _is_arrays(settings.path)):
        return get_dataset(settings.kind)
    if settings.path is None:
        raise UserError("data has neither kind nor path; name the file with data.path=FILE")
    return get_dataset(detect(settings.path))


def _is_arrays(path: str | None) -> bool:
    return path is not None and path.endswith(".npz")


def _request(settings: DataSettings, targets: Iterable[Property]) -> Request:
    return Request(
        settings.path,
        tuple(targets),
        keys=settings.keys,
        units=settings.units,
        smiles=settings.smiles,
        structures=settings.structures,
        conformers=settings.conformers,
        add_hydrogens=settings.add_hydrogens,
        seed=settings.seed,
        published_split=settings.split.index if settings.split.kind == "official" else None,
    )


def divide(settings: DataSettings, loaded: LabelledSet) -> LabelledSet:
    """Give a set the split of its settings, and leave as many structures as they allow.

    Raises UserError where the split asks for what these data do not have.
    """
    spec = _spec(settings)
    split, limit = settings.split, settings.limit
    is_drawn = split.kind in {"random", "molecules", "scaffold", "size", "time"}
    fixed = None if is_drawn else _fixed_split(settings, spec, loaded)
    if limit is not None and limit < len(loaded):
        chosen = limited(loaded, limit, settings.seed)
        fixed = None if fixed is None else restrict(fixed, chosen, len(loaded))
        loaded = loaded.subset(chosen)
    if fixed is None:
        return dataclasses.replace(loaded, splits=drawn(split, loaded))
    parts = shrunk(split, loaded, fixed)
    for name in ("train", "valid"):
        if not len(parts[name]):
            raise UserError(_nothing_left(name, settings))
    if split.kind in {"file", "stored"}:  # those that are published stay as they are
        parts = all_elements_train(loaded, parts)
    if loaded.groups:
        check_groups(parts, loaded.groups, f"data.split.kind={split.kind}")
    return dataclasses.replace(loaded, splits=parts)


def _nothing_left(part: str, settings: DataSettings) -> str:
    if settings.limit is None:
        return (
            f"data.split.kind={settings.split.kind} has no structure for {part} in these data; "
            "take data.split.kind=random"
        )
    return f"no structure is left for {part} after data.limit={settings.limit}; raise the limit"


def _fixed_split(
    settings: DataSettings, spec: DatasetSpec, loaded: LabelledSet
) -> dict[str, Tensor]:
    split = settings.split
    if split.folds is not None:
        raise UserError(
            f"data.split.kind={split.kind} is fixed and has no folds; take random, molecules or "
            "scaffold"
        )
    if split.kind == "cormorant":
        return cormorant_split(len(loaded))
    if split.kind == "file":
        if split.path is None:
            raise UserError(
                "data.split.kind=file needs data.split.path=FILE (npz or JSON with the rows of "
                "train, valid and test)"
            )
        return file_split(split.path, len(loaded))
    if split.kind == "official":
        if not spec.has_official_split:
            kinds = ", ".join(
                name for name, one in all_datasets().items() if one.has_official_split
            )
            raise UserError(
                f"data.split.kind=official belongs to data.kind={kinds}, not {spec.name}; take "
                "random, file or stored"
            )
        if set(loaded.splits) == {"train", "test"}:
            parts = check_split(loaded.splits, len(loaded), str(settings.path))
            return official_split(parts["train"], parts["test"], valid=split.valid, seed=split.seed)
    return _stored_split(settings, loaded)


def _stored_split(settings: DataSettings, loaded: LabelledSet) -> dict[str, Tensor]:
    missing = [name for name in ("train", "valid", "test") if name not in loaded.splits]
    if missing:
        raise UserError(
            f"{settings.path} has no stored split (part {missing[0]!r} is missing); take "
            "data.split.kind=random"
        )
    return check_split(loaded.splits, len(loaded), str(settings.path))
