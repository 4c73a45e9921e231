"""Larger networks: the same function to rounding at first, which training can then change."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph, collate
from molequi.graphs.neighbors import build_graph
from molequi.models.checkpoint import load_model, save_model
from molequi.models.grown import can_grow, grown
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.physics import Physics
from molequi.models.probes import calibration_structures
from molequi.properties import get_property

BEFORE = {"n_channels": 4, "l_max": 2, "correlation": 2, "l_hidden": 1}
LARGER = [
    {"n_hidden": 40},
    {"n_readout": 50},
    {"correlation": 3},
    {"mixing": "separate"},
    {"n_hidden": 40, "n_readout": 50, "correlation": 3, "mixing": "separate"},
]
OUTPUTS = ("energy", "dipole", "polarizability", "energy_std")
PHYSICS = Physics(charges="equilibrated", coulomb="damped")


def small(outputs: tuple[str, ...] = OUTPUTS, **settings: object) -> MolecularModel:
    physics = PHYSICS if "dipole" in outputs else Physics()
    return make_model([1, 6, 8], outputs, seed=2, physics=physics, **{**BEFORE, **settings})


def molecules(cutoff: float) -> AtomGraph:
    random = np.random.default_rng(5)
    numbers = [np.array([6, 8, 1, 1, 6]), np.array([8, 1, 1])]
    return collate(
        [
            build_graph(random.normal(size=(len(z), 3)) + np.arange(len(z))[:, None], z, cutoff)
            for z in numbers
        ]
    )


@pytest.mark.parametrize("settings", LARGER, ids="-".join)
def test_a_grown_model_gives_what_it_gave(tmp_path, settings: dict) -> None:
    model = small().double()
    larger = grown(model, **settings)
    assert {**model.backbone.settings, **settings} == larger.backbone.settings
    assert _n_weights(larger) > _n_weights(model)
    graph = molecules(model.cutoff)
    old, new = model.compute(graph, stress=False), larger.compute(graph, stress=False)
    assert old.keys() == new.keys()
    for name, value in old.items():
        assert torch.allclose(value, new[name], rtol=1e-10, atol=1e-10), name
    # What is no weight, such as the scales of paths, is that of the larger network too.
    save_model(larger, tmp_path / "larger.safetensors")
    again = load_model(tmp_path / "larger.safetensors").compute(graph)
    assert torch.allclose(again["energy"], old["energy"], rtol=1e-12)


DEEPER = {
    "after rows of the same irreps": (("energy", "dipole", "energy_std"), {}),
    "after scalars alone": (("energy",), {}),
    "three-fold products": (("energy",), {"correlation": 3}),
    "no products": (("energy", "dipole"), {"correlation": 1}),
    "paths mixed one by one": (("energy",), {"correlation": 1, "mixing": "separate"}),
    "maps of species": (("energy", "dipole"), {"self_connection": "matrices"}),
    "symmetric products": (("energy", "dipole"), {"product": "symmetric"}),
    "vectors and tensors": (OUTPUTS, {"l_hidden": 2}),
}


@pytest.mark.parametrize("case", DEEPER)
def test_a_deeper_model_gives_what_it_gave(case: str) -> None:
    outputs, settings = DEEPER[case]
    model = small(outputs, **settings).double()
    deeper = grown(model, n_layers=4)
    assert deeper.backbone.settings == {**model.backbone.settings, "n_layers": 4}
    graph = molecules(model.cutoff)
    old, new = model.compute(graph, stress=False), deeper.compute(graph, stress=False)
    assert old.keys() == new.keys()
    for name, value in old.items():
        assert torch.allclose(value, new[name], rtol=1e-10, atol=1e-10), name
    # What is new is of order one, and learned from at once.
    probes = collate([one.graph(model.cutoff) for one in calibration_structures(model.elements)])
    scalars = deeper.backbone(probes).invariant[:, 2 * 4 :]
    assert 0.1 < float(scalars.detach().square().mean().sqrt()) < 3.0
    deeper.train().requires_grad_(True)
    outputs = deeper.compute(graph, create_graph=True)
    sum(value.square().sum() for value in outputs.values() if value.requires_grad).backward()
    readout = deeper.heads["energy"].readout.networks[0].weights[0]
    assert float(readout.detach()[8:].abs().max()) == 0.0
    assert float(readout.grad[8:].abs().min()) > 0.0
    if "dipole" in outputs:
        assert float(deeper.backbone.layers[3].gate.weight.grad.abs().max()) > 0.0


def test_a_layer_that_would_lose_rows_is_refused() -> None:
    with pytest.raises(UserError, match="read 2e of the last layer, and with l_hidden=1"):
        grown(small(), n_layers=3)


def test_a_norm_of_features_does_not_grow_deeper() -> None:
    settings = {"architecture": "spherical", **small(normalization="irreps").backbone.settings}
    assert can_grow(settings, "n_hidden", 64)
    assert not can_grow(settings, "n_layers", 3)


def test_new_weights_are_a_function_of_the_seed_alone() -> None:
    model, sizes = small(), LARGER[-1]
    one, again, other = (grown(model, seed=seed, **sizes).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    torch.manual_seed(0)
    before = torch.rand(3)
    torch.manual_seed(0)
    grown(model, **sizes)
    assert torch.equal(torch.rand(3), before)


def _n_weights(model: MolecularModel) -> int:
    return sum(weight.numel() for weight in model.parameters())


def test_paths_without_a_product_may_be_mixed_as_well() -> None:
    model = small(correlation=1).double()
    graph = molecules(model.cutoff)
    larger = grown(model, mixing="separate")
    assert torch.allclose(model.compute(graph)["forces"], larger.compute(graph)["forces"])


def test_new_weights_that_are_zero_have_gradients() -> None:
    larger = grown(small().double(), **LARGER[-1]).train().requires_grad_(True)
    outputs = larger.compute(molecules(larger.cutoff), create_graph=True)
    sum(outputs[name].square().sum() for name in ("energy", "forces", "dipole")).backward()
    last = larger.backbone.layers[1]
    zero = {
        "third order": last.product.linears[2].linear.weights["0e"],
        "radial": last.radial.weight[32:],
        "readout": larger.heads["energy"].readout.networks[0].weights[1][32:],
    }
    gradients = {
        "third order": last.product.linears[2].linear.weights["0e"].grad,
        "radial": last.radial.weight.grad[32:],
        "readout": larger.heads["energy"].readout.networks[0].weights[1].grad[32:],
    }
    for name, weights in zero.items():
        assert float(weights.detach().abs().max()) == 0.0, name
        assert float(gradients[name].abs().min()) > 0.0, name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_hidden", 16), ("n_channels", 8), ("correlation", 1), ("mixing", "merged"),
        ("l_max", 3), ("architecture", "mace"), ("n_readout", None),
    ],
)  # fmt: skip
def test_what_cannot_grow_is_refused(name: str, value: object) -> None:
    model = small()
    settings = {"architecture": "spherical", **model.backbone.settings}
    assert not can_grow({**settings, "mixing": "separate"}, name, value)
    if name not in {"mixing", "architecture"}:
        with pytest.raises(UserError, match=f"model.{name} cannot grow from"):
            grown(model, **{name: value})


def test_products_of_one_weight_a_polynomial_do_not_grow() -> None:
    settings = {"architecture": "spherical", **small(product="symmetric").backbone.settings}
    assert not can_grow(settings, "correlation", 3)


def test_heads_that_pass_their_width_on_are_refused() -> None:
    model = make_model([1, 6], [dataclasses.replace(get_property("homo"), head="pooled")], **BEFORE)
    with pytest.raises(UserError, match="model.n_readout cannot grow"):
        grown(model, n_readout=64)
