"""A list of modules of one class is torch's list in everything but its types."""

import torch
from torch import nn

from molequi.nn.module_list import ModuleListOf


def test_it_is_saved_and_cut_like_a_list_of_torch() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(2, 2) for _ in range(3)]
    ours, theirs = ModuleListOf(layers), nn.ModuleList(layers)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert list(ours) == layers
    assert ours[-1] is layers[-1]
    assert list(ours[1:]) == layers[1:]
    assert len(ModuleListOf()) == 0
