"""A model of more weights that gives what it gave before: the start of a larger one.

Weights that are new begin so that what they make is multiplied by zero, not that they are zero
themselves: a training moves them from its first step on. That networks may grow between trainings
and keep their function is from T. Chen, I. Goodfellow, J. Shlens, Net2Net, ICLR 2016; the maps of
the equivariant layers are derived here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from molequi.errors import UserError
from molequi.models.checkpoint import build, describe
from molequi.models.molecular import MolecularModel
from molequi.nn.backbones.spherical import SphericalBackbone
from molequi.nn.interaction import Interaction
from molequi.nn.linear import IrrepsLinear, PathLinear, Perceptron
from molequi.nn.product import ManyBodyProduct
from molequi.nn.radial import RadialNetwork
from molequi.o3.coupling import CouplingTable

# Widths of networks of numbers, which may grow to any size.
_WIDTHS = ("n_hidden", "n_readout")


def can_grow(settings: Mapping[str, Any], name: str, value: object) -> bool:
    """Whether a backbone of these settings may get another `value` of one of them.

    settings: those of `SphericalBackbone`, with `architecture`.
    """
    if settings["architecture"] != SphericalBackbone.architecture or name not in settings:
        return False
    if name in _WIDTHS:
        return isinstance(value, int) and value > settings[name]
    if name == "mixing":
        return (settings[name], value) == ("merged", "separate")
    is_chained = settings.get("product", "chained") == "chained"  # older files do not say
    return name == "correlation" and is_chained and (settings[name], value) == (2, 3)


def grown(model: MolecularModel, *, seed: int = 0, **settings: int | str) -> MolecularModel:
    """Return a copy of a model with larger settings of its backbone: the same function.

    What the new weights begin with is a function of `seed` alone.
    n_hidden and n_readout may rise, correlation from 2 to 3, mixing change from merged to separate.
    Raises UserError for other settings, and for heads whose networks do not grow with `n_readout`.
    """
    description = describe(model)
    old = {"architecture": description["architecture"], **description["backbone"]}
    for name, value in settings.items():
        if old.get(name) != value and not can_grow(old, name, value):
            raise UserError(f"model.{name} cannot grow from {old.get(name)!r} to {value!r}")
    description["backbone"].update(settings)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        new = build(description)
        _pass_on(model, new)
    new.use_kernels(model.backbone.kernels)
    return new.train(model.training)


def _pass_on(old: nn.Module, new: nn.Module) -> None:
    """Write weights into a larger module, so that it gives what the old one gives."""
    if isinstance(old, Interaction) and isinstance(new, Interaction):
        _pass_on_paths(old, new)
    elif isinstance(old, ManyBodyProduct) and isinstance(new, ManyBodyProduct):
        _pass_on_product(old, new)
    elif isinstance(old, RadialNetwork) and isinstance(new, RadialNetwork):
        _widen(old.hidden, new.hidden, also_last=True)
    elif isinstance(old, Perceptron) and isinstance(new, Perceptron):
        _widen(old, new)
    else:
        _pass_on_all(old, new)


def _pass_on_all(old: nn.Module, new: nn.Module) -> None:
    """Write what a module holds itself, then each of its parts."""
    constants = {name for name, _ in new.named_buffers(recurse=False)} - set(new.state_dict())
    own = {**dict(old.named_parameters(recurse=False)), **dict(old.named_buffers(recurse=False))}
    for name in own.keys() - constants:
        value, target = own[name], getattr(new, name)
        if target.shape != value.shape:
            raise UserError(
                f"model.n_readout cannot grow: {type(old).__name__} has weights of its width that "
                "no larger ones stand for"
            )
        target.copy_(value)
    parts = dict(new.named_children())
    for name, part in old.named_children():
        if name in parts:
            _pass_on(part, parts[name])


def _pass_on_paths(old: Interaction, new: Interaction) -> None:
    """Write an interaction whose paths may be mixed by a matrix each instead of summed.

    Sums are such maps with one matrix for all paths of an irrep: that which follows the sum.
    """
    _pass_on_all(old, new)
    places = [_path_names(new.table).index(name) for name in _path_names(old.table)]
    scale = (old.path_scale / new.path_scale[places]) * _fan_in(old.radial, new.radial)
    n_hidden = old.radial.weight.shape[0]
    new.radial.weight[n_hidden:] = 0.0
    new.radial.weight[:n_hidden, places] = old.radial.weight * scale
    if not isinstance(new.linear_paths, PathLinear) or isinstance(old.linear_paths, PathLinear):
        return
    for irrep, count in zip(new.linear_paths.irreps, new.linear_paths.counts, strict=True):
        weight = new.linear_paths.weights[str(irrep)]
        after = math.sqrt(weight.shape[1]) * torch.eye(weight.shape[1], dtype=weight.dtype)
        if isinstance(new.linear_down, nn.Identity) and isinstance(old.linear_down, IrrepsLinear):
            after = old.linear_down.weights[str(irrep)]
        weight.copy_(math.sqrt(count) * after.repeat(count, 1))


def _pass_on_product(old: ManyBodyProduct, new: ManyBodyProduct) -> None:
    """Write a product whose third order, where it is new, is mapped to zero."""
    names = _path_names(new.couplings[0])
    places = [names.index(name) for name in _path_names(old.couplings[0])]
    scale = old.get_buffer("path_scale_0") / new.get_buffer("path_scale_0")[places]
    new.species_weights[0][:, places] = old.species_weights[0] * scale
    for order in range(1, len(old.couplings)):
        new.species_weights[order].copy_(old.species_weights[order])
    for order, linear in enumerate(new.linears):
        for name, weight in linear.linear.weights.items():
            if order < len(old.linears):
                weight.copy_(old.linears[order].linear.weights[name] * (old.scale / new.scale))
            else:
                weight.zero_()


def _widen(old: Perceptron, new: Perceptron, *, also_last: bool = False) -> None:
    """Write a network with wider hidden layers, whose new features lead nowhere at first.

    also_last: its last layer is one of the hidden features, and may be wider too.
    """
    last = len(old.weights) - 1
    if old.weights[0].shape[0] != new.weights[0].shape[0] or (
        not also_last and old.weights[last].shape[1] != new.weights[last].shape[1]
    ):
        raise UserError("model.n_readout cannot grow: a head passes features of its width on")
    for before, after in zip(old.weights, new.weights, strict=True):
        n_in, n_out = before.shape
        after[n_in:, :n_out] = 0.0
        after[:n_in, :n_out] = before * math.sqrt(after.shape[0] / n_in)
    for before, after in zip(old.biases, new.biases, strict=True):
        after[: len(before)] = before


def _fan_in(old: RadialNetwork, new: RadialNetwork) -> float:
    """Return what undoes the division by the root of a larger fan-in."""
    return math.sqrt(new.weight.shape[0] / old.weight.shape[0])


def _path_names(table: CouplingTable) -> list[tuple[object, ...]]:
    """Name each path of a table by its three irreps."""
    return [
        (table.first[path.first], table.second[path.second], table.output[path.output])
        for path in table.paths
    ]
