"""Averaged weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from molequi.training.ema import EMA


def test_average_follows_the_equation_and_leaves_frozen_weights_alone():
    module = nn.Linear(1, 1)
    module.bias.requires_grad_(False)
    nn.init.zeros_(module.weight)
    average = EMA(module, 0.5)
    expected = 0.0
    for step in range(1, 6):
        module.weight.data.fill_(float(step))
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert float(average.values["weight"]) == pytest.approx(expected, rel=1e-6)
    assert list(average.values) == ["weight"]
    with average.applied():
        assert float(module.weight.detach()) == pytest.approx(expected, rel=1e-6)
    assert float(module.weight.detach()) == 5.0


def test_no_averaging_is_the_weights_themselves():
    module = nn.Linear(2, 1)
    average = EMA(module, 0.0)
    module.weight.data += 3.0
    average.update()
    assert torch.equal(average.values["weight"], module.weight.data)


def test_average_is_restored_exactly():
    module = nn.Linear(3, 2)
    average = EMA(module, 0.9)
    for _ in range(4):
        module.weight.data += 0.1
        average.update()
    copy = EMA(module, 0.9)
    copy.load_state_dict(average.state_dict())
    assert copy.n_steps == 4
    assert all(torch.equal(copy.values[name], value) for name, value in average.values.items())


def test_every_write_to_the_weights_can_be_seen_by_their_version():
    """Tables made from weights know by `_version` that they are out of date."""
    module = nn.Linear(2, 1)
    average = EMA(module, 0.5)
    with torch.no_grad():
        module.weight.add_(1.0)
    average.update()
    before = [parameter._version for parameter in module.parameters()]
    average.swap()
    swapped = [parameter._version for parameter in module.parameters()]
    assert all(new > old for new, old in zip(swapped, before, strict=True))
    with average.applied():
        pass
    after = [parameter._version for parameter in module.parameters()]
    assert all(new > old for new, old in zip(after, swapped, strict=True))
    assert all(parameter.is_leaf and parameter.grad_fn is None for parameter in module.parameters())
