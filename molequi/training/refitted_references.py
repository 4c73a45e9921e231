"""The zero of a trained model's energies, moved to other data, which may hold new elements."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.models.molecular import MolecularModel
from molequi.training.normalization import heads_of
from molequi.training.predictions import predict_frames
from molequi.training.reference_energies import (
    ReferenceEnergies,
    composition,
    fit_references,
    nearest_prior,
)

logger = logging.getLogger(__name__)
# What the energies of a network that does not know an element yet may leave, eV per atom; another
# level of theory leaves more.
_OTHER_LEVEL = 0.1
# So many structures tell the references better than the network knows energies; predicting hundreds
# of thousands would take minutes. The second is of each element.
_ENOUGH, _ENOUGH_OF_ELEMENT = 20_000, 1_000


def refit_references(
    model: MolecularModel,
    frames: Frames,
    names: Sequence[str],
    given: Mapping[str, Mapping[int, float]],
    added: Sequence[int] = (),
) -> None:
    """Move the reference energies of the named totals to the level of theory of `frames`.

    There the trained network fits them best, of a large set in a random part; those of elements
    that do not occur stay. given: by name and atomic number, what is not fitted. added: elements
    that are new to the model, see `_with_added`.
    """
    whole = frames
    for name in names:
        frames = whole.subset(_enough(whole, whole.targets[name]))
        head = heads_of(model)[name]
        old = head.reference.to("cpu", torch.float64)
        counts, elements = composition(frames)
        learned = predict_frames(model, frames, [name])[name] - counts @ old[elements]
        totals = frames.targets[name] - learned
        known = given.get(name, {})
        if added:
            start, table = old.clone(), nearest_prior(frames, totals, head.target.unit)
            start[list(added)] = table[list(added)]
            fitted = _with_added(frames, totals, start, known, added)
        else:
            fitted = fit_references(frames, totals, around=old, given=known)
        head.reference[elements] = fitted.values[elements].to(head.reference.device)
        logger.info(
            "%s: reference energies refitted (rank %d of %d elements)",
            name,
            fitted.rank,
            fitted.n_elements,
        )


def _enough(frames: Frames, totals: Tensor) -> Tensor:
    """Return the rows that references are fitted to, in order: all, or a random part of many.

    Labelled ones first, some of each element, and no fewer elements told apart than in all.
    """
    if len(frames) <= _ENOUGH:
        return torch.arange(len(frames))
    order = torch.randperm(len(frames), generator=torch.Generator().manual_seed(0))
    order = order[(~torch.isfinite(totals[order])).to(torch.int8).argsort(stable=True)]
    counts, _ = composition(frames)
    has = counts[order] > 0
    is_taken = (has & (has.cumsum(dim=0) <= _ENOUGH_OF_ELEMENT)).any(dim=1)
    is_taken |= torch.arange(len(order)) < _ENOUGH
    rows = order[is_taken].sort().values
    labelled = torch.isfinite(totals)
    ranks = [
        int(torch.linalg.matrix_rank(counts[chosen])) for chosen in (labelled, rows[labelled[rows]])
    ]
    return rows if ranks[0] == ranks[1] else torch.arange(len(frames))


def _with_added(
    frames: Frames, totals: Tensor, start: Tensor, given: Mapping[int, float], added: Sequence[int]
) -> ReferenceEnergies:
    """Fit the references of new elements to what those of the old ones leave of the totals (B,).

    The old ones are fitted to the structures without new elements; where there are none they stay,
    and with them all that the model gives for such structures. Where that leaves much, the data
    are of another level of theory, and all are fitted together.
    """
    values, owner = start.clone(), torch.repeat_interleave(frames.n_atoms)
    is_old = torch.isfinite(totals)
    is_old[owner[torch.isin(frames.atomic_numbers, torch.tensor(list(added)))]] = False
    if is_old.any():
        before = frames.subset(is_old)
        occurring = list(before.elements())
        fitted = fit_references(before, totals[is_old], around=start, given=given)
        values[occurring] = fitted.values[occurring]
    kept = {number: float(values[number]) for number in frames.elements() if number not in added}
    fitted = fit_references(frames, totals, around=values, given={**kept, **given})
    counts, elements = composition(frames)
    left = ((totals - counts @ fitted.values[elements]) / frames.n_atoms).square().nanmean().sqrt()
    if left < _OTHER_LEVEL:
        return fitted
    logger.info("the old reference energies leave %.2f eV per atom: all are fitted", float(left))
    return fit_references(frames, totals, around=values, given=given)
