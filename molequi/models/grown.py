"""A model of more weights that gives what it gave before: the start of a larger one.

Weights that are new begin so that what they make is multiplied by zero, not that they are zero
themselves: a training moves them from its first step on. That networks may grow between trainings
and keep their function is from T. Chen, I. Goodfellow, J. Shlens, Net2Net, ICLR 2016; the maps of
the equivariant layers are derived here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import nn

from molequi.errors import UserError
from molequi.graphs.graph import collate
from molequi.models.checkpoint import build, describe
from molequi.models.molecular import MolecularModel
from molequi.models.probes import calibration_structures
from molequi.nn.backbones.spherical import SphericalBackbone
from molequi.nn.interaction import Gate, Interaction, SelfConnection
from molequi.nn.linear import IrrepsLinear, PathLinear, Perceptron, gate
from molequi.nn.product import ManyBodyProduct
from molequi.nn.radial import RadialNetwork
from molequi.o3.coupling import CouplingTable

# Numbers that may grow to any size: widths of networks of numbers, and layers.
_SIZES = ("n_hidden", "n_readout", "n_layers")


def can_grow(settings: Mapping[str, Any], name: str, value: object) -> bool:
    """Whether a backbone of these settings may get another `value` of one of them.

    settings: those of `SphericalBackbone`, with `architecture`.
    """
    if settings["architecture"] != SphericalBackbone.architecture or name not in settings:
        return False
    if name in _SIZES:
        # A norm of features is no identity, which a new layer must be at first.
        is_free = name != "n_layers" or settings.get("normalization", "none") == "none"
        return is_free and isinstance(value, int) and value > settings[name]
    if name == "mixing":
        return (settings[name], value) == ("merged", "separate")
    is_chained = settings.get("product", "chained") == "chained"  # older files do not say
    return name == "correlation" and is_chained and (settings[name], value) == (2, 3)


def grown(model: MolecularModel, *, seed: int = 0, **settings: int | str) -> MolecularModel:
    """Return a copy of a model with larger settings of its backbone: the same function.

    What the new weights begin with is a function of `seed` alone.
    n_layers, n_hidden and n_readout may rise, correlation from 2 to 3, mixing change from merged to
    separate. Raises UserError for other settings, for heads whose networks do not grow with
    `n_readout`, and for layers that could not pass on what the last one gives.
    """
    old = {"architecture": describe(model)["architecture"], **model.backbone.settings}
    for name, value in settings.items():
        if old.get(name) != value and not can_grow(old, name, value):
            raise UserError(f"model.{name} cannot grow from {old.get(name)!r} to {value!r}")
    description = describe(model)
    description["backbone"].update(settings)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        new = build(description)
        _pass_on(model, new)
    new.use_kernels(model.backbone.kernels)
    return new.train(model.training)


@functools.singledispatch
def _pass_on(old: nn.Module, new: Any) -> None:
    """Write weights into a larger module of the class, so that it gives what the old one does."""
    _pass_on_all(old, new)


def _pass_on_all(old: nn.Module, new: nn.Module, *, but: tuple[str, ...] = ()) -> None:
    """Write what a module holds itself, but for the names in `but`, then each of its parts."""
    constants = {name for name, _ in new.named_buffers(recurse=False)} - set(new.state_dict())
    own = {**dict(old.named_parameters(recurse=False)), **dict(old.named_buffers(recurse=False))}
    for name in own.keys() - constants - set(but):
        value, target = own[name], getattr(new, name)
        if target.shape != value.shape:
            raise UserError(
                f"the network cannot grow: {type(old).__name__} has weights of its width that no "
                "larger ones stand for; leave model.n_readout and model.n_layers as they are"
            )
        target.copy_(value)
    parts = dict(new.named_children())
    for name, part in old.named_children():
        if name in parts:
            _pass_on(part, parts[name])


@_pass_on.register
def _pass_on_layers(old: SphericalBackbone, new: SphericalBackbone) -> None:
    """Write a backbone that may have more layers, whose new scalars are read by nobody yet."""
    for before, after in zip(old.layers, new.layers, strict=False):
        lost = [str(irrep) for irrep in before.irreps_out if irrep not in after.irreps_out]
        if lost:
            raise UserError(
                f"model.n_layers cannot grow: outputs read {' '.join(lost)} of the last layer, "
                f"and with l_hidden={new.settings['l_hidden']} a layer before it has none"
            )
    _pass_on_all(old, new)
    if new.n_layers > old.n_layers:
        structures = calibration_structures(new.elements)
        graph = collate([structure.graph(new.cutoff) for structure in structures])
        new.calibrate(graph, first=old.n_layers)
    for layer in list(new.layers)[old.n_layers :]:
        _begin_layer(layer)


def _begin_layer(layer: Interaction) -> None:
    """Let a layer give new scalars and pass on all other rows: heads read these of the last alone.

    h' = gate(L A + S h) is h where L is zero, the gate the same for all atoms, and S undoes it.
    """
    layer.gate.weight.zero_()
    factor = 2**-0.5 * float(gate(torch.zeros((), dtype=torch.float64)))
    last = layer.linear_paths if isinstance(layer.linear_down, nn.Identity) else layer.linear_down
    connection, messages = layer.self_connection, cast(IrrepsLinear | PathLinear, last)
    for place, irrep in enumerate(connection.shared.irreps):
        if irrep.is_scalar:
            continue
        messages.weights[str(irrep)].zero_()
        weight = connection.linear.weights[str(irrep)]
        eye = torch.eye(weight.shape[1], dtype=weight.dtype).repeat(connection.linear.n_sources, 1)
        weight.copy_(eye * (weight.shape[1] ** 0.5 / factor))
        if not connection.matrices:
            connection.factors[:, place] = 1.0


@_pass_on.register
def _pass_on_paths(old: Interaction, new: Interaction) -> None:
    """Write an interaction whose paths may be mixed by a matrix each instead of summed.

    Sums are such maps with one matrix for all paths of an irrep: that which follows the sum.
    """
    _pass_on_all(old, new, but=("product_scale",))
    if old.product is not None:
        new.product_scale.fill_(old.product_scale.mean())
        new.product_scale[_places(old.irreps_out, new.irreps_out)] = old.product_scale
    places = _places(_path_names(old.table), _path_names(new.table))
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


@_pass_on.register
def _pass_on_product(old: ManyBodyProduct, new: ManyBodyProduct) -> None:
    """Write a product whose third order, where it is new, is mapped to zero."""
    for order, table in enumerate(old.couplings):
        places = _places(_path_names(table), _path_names(new.couplings[order]))
        scales = [part.get_buffer(f"path_scale_{order}") for part in (old, new)]
        scale = scales[0] / scales[1][places]
        new.species_weights[order][:, places] = old.species_weights[order] * scale
    for order, linear in enumerate(new.linears):
        for name, weight in linear.linear.weights.items():
            if order >= len(old.linears):
                weight.zero_()
            elif name in old.linears[order].linear.weights:
                before = old.linears[order].linear.weights[name]
                weight.copy_(before * (old.scale / new.scale))


@_pass_on.register
def _pass_on_connection(old: SelfConnection, new: SelfConnection) -> None:
    """Write a self-connection, which may have more irreps."""
    _pass_on_all(old, new, but=("factors",))
    if not old.matrices:
        new.factors[:, _places(old.shared.irreps, new.shared.irreps)] = old.factors


@_pass_on.register
def _pass_on_gate(old: Gate, new: Gate) -> None:
    """Write a gate, which may have more irreps."""
    places, shape = _places(old.others, new.others), (len(old.weight), -1, len(old.weight))
    new.weight.view(shape)[:, places] = old.weight.view(shape)


@_pass_on.register
def _pass_on_radial(old: RadialNetwork, new: RadialNetwork) -> None:
    """Write the hidden layers of a radial network, the last of which is read by every path."""
    _widen(old.hidden, new.hidden, also_last=True)


@_pass_on.register
def _pass_on_perceptron(old: Perceptron, new: Perceptron) -> None:
    """Write a network of numbers."""
    _widen(old, new)


def _widen(old: Perceptron, new: Perceptron, *, also_last: bool = False) -> None:
    """Write a network with more inputs or wider hidden layers; what is new leads nowhere at first.

    also_last: its last layer is one of the hidden features, and may be wider too.
    """
    is_wider = old.weights[-1].shape[1] != new.weights[-1].shape[1]
    if is_wider and not also_last:
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


def _places(names: Iterable[object], among: Iterable[object]) -> list[int]:
    """Return where each of the names stands among others."""
    found = list(among)
    return [found.index(name) for name in names]
