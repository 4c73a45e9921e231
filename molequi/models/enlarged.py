"""A model that knows more elements, and gives for the old ones what it gave before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from molequi.models.checkpoint import build, describe
from molequi.models.molecular import MolecularModel

# Atomic numbers of the noble gases, which end the periods.
_ENDS = (2, 10, 18, 36, 54, 86, 118)


def with_elements(model: MolecularModel, added: Iterable[int]) -> MolecularModel:
    """Return a copy of a model that knows the atomic numbers `added` too.

    A new element begins with the weights of its `relative`, from which training will part it: a
    better guess than random ones, of which a network makes energies of any size. Its reference
    energies are zero.
    """
    elements = tuple(sorted({*model.elements, *added}))
    grown = build({**describe(model), "elements": list(elements)})
    places = [model.elements.index(relative(number, model.elements)) for number in elements]
    is_new = torch.tensor([number not in model.elements for number in elements])
    weights, new = {name for name, _ in model.named_parameters()}, grown.state_dict()
    state = {}
    for name, old in model.state_dict().items():
        state[name] = old
        if old.shape != new[name].shape:
            state[name] = _rows(old, len(model.elements))[places]
            if name not in weights:  # a constant of each element, such as its radius
                state[name][is_new] = _rows(new[name], len(elements))[is_new]
            state[name] = state[name].reshape(new[name].shape)
    grown.load_state_dict(state)
    grown.use_kernels(model.backbone.kernels)
    return grown.train(model.training)


def relative(number: int, known: Sequence[int]) -> int:
    """Return the nearest of the `known` elements in the same group, itself where it is known.

    Where none is, that with the nearest atomic number.
    """
    of_group = [other for other in known if _group(other) == _group(number)]
    return min(of_group or known, key=lambda other: (abs(other - number), other))


def _group(number: int) -> int:
    """Number the groups: those of the s block from 1, the others from 0, noble gases, down."""
    end = next(end for end in _ENDS if number <= end)
    start = max((other for other in _ENDS if other < number), default=0)
    return number - start if number - start <= 2 and number != end else number - end


def _rows(values: Tensor, n_elements: int) -> Tensor:
    """Part a tensor by element, which its first dimension counts before all else."""
    return values.unflatten(0, (n_elements, -1))
