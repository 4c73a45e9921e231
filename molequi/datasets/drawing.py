"""The parts of a split that is drawn: at random, by molecule, scaffold, size or time, or a fold."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch
from ase.data import chemical_symbols
from torch import Tensor

from molequi.datasets.chosen_splits import fold_split, ordered_split, scaffold_groups, times
from molequi.datasets.contacts import are_isolated_atoms
from molequi.datasets.duplicates import molecules_of
from molequi.datasets.in_memory import Frames
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.settings import SplitSettings
from molequi.datasets.splits import choose, grouped_split, random_split, shrink
from molequi.errors import UserError

_LOG = logging.getLogger(__name__)


def drawn(split: SplitSettings, loaded: LabelledSet) -> dict[str, Tensor]:
    """Draw the parts of a split with its seed.

    Isolated atoms train, and are no error of a test. So do structures with elements that would
    stand in valid or test alone: no model answers for an element that it has never seen.
    Raises UserError as `all_elements_train`; of folds the one that is tested is needed too.
    """
    needed = ("valid",) if split.folds is None else ("valid", "test")
    return all_elements_train(loaded, _without_atoms(split, loaded), needed)


def limited(loaded: LabelledSet, limit: int, seed: int) -> Tensor:
    """Return a seeded choice of `limit` rows, ascending, and behind it the other isolated atoms.

    Of whole groups, as `splits.choose`. Runs of before this kept no atoms beside the choice: where
    these stand last, the rows that such a run has written down are still what they were.
    """
    chosen = choose(len(loaded), limit, seed, loaded.groups)
    atoms = _atoms_and_others(loaded.frames)[0]
    return torch.cat([chosen, atoms[~torch.isin(atoms, chosen)]])


def shrunk(
    split: SplitSettings, loaded: LabelledSet, parts: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Keep as many rows of each part as the settings say, and isolated atoms of train beside them.

    Raises UserError for a part that has fewer.
    """
    sizes, train = part_sizes(split), parts["train"]
    if split.train < 1:
        return shrink(parts, sizes, split.seed)
    is_atom = torch.zeros(len(loaded), dtype=torch.bool)
    is_atom[_atoms_and_others(loaded.frames)[0]] = True
    others = shrink({**parts, "train": train[~is_atom[train]]}, sizes, split.seed)
    return {**others, "train": torch.cat([others["train"], train[is_atom[train]]])}


def part_sizes(split: SplitSettings) -> dict[str, float]:
    """Return the sizes of the parts, as `splits.random_split` takes them."""
    return {"train": split.train, "valid": split.valid, "test": split.test}


def all_elements_train(
    loaded: LabelledSet, parts: Mapping[str, Tensor], needed: Sequence[str] = ("valid",)
) -> dict[str, Tensor]:
    """Move structures to train with elements that would stand in valid or test alone.

    Raises UserError where nothing is left of a part that is needed.
    """
    frames = loaded.frames
    known = torch.tensor(frames.subset(parts["train"]).elements())
    owner = torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)
    is_new = torch.zeros(len(frames), dtype=torch.bool)
    is_new[owner[~torch.isin(frames.atomic_numbers, known)]] = True
    moved = torch.cat([parts[name][is_new[parts[name]]] for name in ("valid", "test")])
    if not len(moved):
        return dict(parts)
    numbers = set(frames.subset(moved).elements()) - set(known.tolist())
    symbols = " ".join(chemical_symbols[number] for number in sorted(numbers))
    rest = {name: rows[~is_new[rows]] for name, rows in parts.items() if name != "train"}
    for name in needed:
        if len(parts[name]) and not len(rest[name]):
            raise UserError(
                f"all {len(parts[name])} structures of {name} hold elements that none of train "
                f"does, of {symbols}, and no model answers for these; take "
                "data.split.kind=random or another data.split.seed"
            )
    _LOG.warning(
        "%d structures with %s move to train, which would not know these elements (first %s)",
        len(moved), symbols, frames.label(int(moved[0])),
    )  # fmt: skip
    return {"train": torch.cat([parts["train"], moved]), **rest}


def _without_atoms(split: SplitSettings, loaded: LabelledSet) -> dict[str, Tensor]:
    """Draw the parts of all but isolated atoms, which train."""
    atoms, others = _atoms_and_others(loaded.frames)
    if not len(atoms):
        return _drawn_of(split, loaded)
    parts = {name: others[rows] for name, rows in _drawn_of(split, loaded.subset(others)).items()}
    _LOG.info("%d isolated atoms train, beside the split", len(atoms))
    return {**parts, "train": torch.cat([parts["train"], atoms])}


def _atoms_and_others(frames: Frames) -> tuple[Tensor, Tensor]:
    """Return the rows of isolated atoms and of all others; none are isolated if all are."""
    alone = are_isolated_atoms(frames)
    if alone.all():
        alone = torch.zeros_like(alone)
    return alone.nonzero()[:, 0], (~alone).nonzero()[:, 0]


def _drawn_of(split: SplitSettings, loaded: LabelledSet) -> dict[str, Tensor]:
    if split.kind in {"size", "time"}:
        return _ordered(split, loaded)
    groups = loaded.groups
    if split.kind == "scaffold":
        _refuse_groups(split, groups)
        groups = scaffold_groups(loaded.cells)
    elif split.kind == "molecules" and not groups:
        groups = molecules_of(loaded.frames)
    if split.folds is not None:
        _say_what_folds_decide(split)
        names = groups or [str(row) for row in range(len(loaded))]
        return fold_split(names, split.folds, split.fold, split.valid, split.seed)
    if groups:
        return grouped_split(groups, part_sizes(split), split.seed)
    return random_split(len(loaded), part_sizes(split), split.seed)


def _ordered(split: SplitSettings, loaded: LabelledSet) -> dict[str, Tensor]:
    """Draw the parts of a split by size or by time."""
    _refuse_groups(split, loaded.groups)
    if split.folds is not None:
        raise UserError(
            f"data.split.kind={split.kind} has an order and no folds; take random, molecules or "
            "scaffold"
        )
    values = times(loaded.cells, split.column) if split.kind == "time" else _heavy(loaded.frames)
    return ordered_split(values, part_sizes(split), split.seed)


def _say_what_folds_decide(split: SplitSettings) -> None:
    """Warn of sizes of train and test that are set beside folds, which give them."""
    for name, size in part_sizes(split).items():
        if name != "valid" and size != SplitSettings.model_fields[name].default:
            _LOG.warning(
                "data.split.%s=%g has no meaning beside folds: one fold is tested, and all others "
                "train but for data.split.valid", name, size,
            )  # fmt: skip


def _heavy(frames: Frames) -> list[float]:
    """Return the number of atoms of each structure, hydrogen left out."""
    owner = torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)
    counts = torch.bincount(owner[frames.atomic_numbers > 1], minlength=len(frames))
    return counts.to(torch.float64).tolist()


def _refuse_groups(split: SplitSettings, groups: Sequence[str]) -> None:
    if groups:
        raise UserError(
            f"data.split.kind={split.kind} would part mirror images or conformers, which stay "
            "together in these data; take data.split.kind=random"
        )
