"""A frozen model is the model as it was: no way of writing weights mixes old and new ones."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from ase.build import molecule
from torch import Tensor, nn

from molequi.errors import UserError
from molequi.graphs.neighbors import build_graph
from molequi.kernels import policy
from molequi.models.freeze import FrozenModel
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import frozen_model
from molequi.prediction.predict import predict
from molequi.simulation.calculator import Calculator
from molequi.training.ema import EMA

WATER = molecule("H2O")
SETTINGS = {"n_channels": 4, "l_max": 1, "correlation": 2, "mixing": "separate"}


def fresh(dtype: torch.dtype = torch.float64, **settings: object) -> MolecularModel:
    return make_model((1, 8), ["energy", "dipole"], **{**SETTINGS, **settings}).to(dtype)


def graph_of(cutoff: float = 5.0):
    return build_graph(WATER.positions, WATER.numbers, cutoff)


def outputs_of(model: MolecularModel | FrozenModel) -> dict[str, Tensor]:
    return model.compute(graph_of(model.cutoff))


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name


def drawn(model: MolecularModel) -> list[Tensor]:
    """New values for all parameters."""
    generator = torch.Generator().manual_seed(5)
    return [
        weight.detach() + 0.3 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
        for weight in model.parameters()
    ]


def in_place(model: MolecularModel) -> None:
    with torch.no_grad():
        for weight, new in zip(model.parameters(), drawn(model), strict=True):
            weight.copy_(new)


def in_data(model: MolecularModel) -> None:
    for weight, new in zip(model.parameters(), drawn(model), strict=True):
        weight.data.copy_(new)


def through_numpy(model: MolecularModel) -> None:
    for weight, new in zip(model.parameters(), drawn(model), strict=True):
        weight.detach().numpy()[...] = new.numpy()


def through_a_view(model: MolecularModel) -> None:
    views = [weight.detach().view(-1) for weight in model.parameters()]
    for view, new in zip(views, drawn(model), strict=True):
        view.add_(1.0).copy_(new.flatten())


def replaced_data(model: MolecularModel) -> None:
    for weight, new in zip(model.parameters(), drawn(model), strict=True):
        weight.data = new


def replaced_storage(model: MolecularModel) -> None:
    for weight, new in zip(model.parameters(), drawn(model), strict=True):
        with torch.no_grad():
            weight.set_(new)


def replaced_parameters(model: MolecularModel) -> None:
    for (name, _), new in zip(list(model.named_parameters()), drawn(model), strict=True):
        owner, _, last = name.rpartition(".")
        setattr(model.get_submodule(owner), last, nn.Parameter(new))


def loaded_state(model: MolecularModel) -> None:
    names = [name for name, _ in model.named_parameters()]
    model.load_state_dict(dict(zip(names, drawn(model), strict=True)), strict=False)


def assigned_state(model: MolecularModel) -> None:
    names = [name for name, _ in model.named_parameters()]
    state = dict(zip(names, drawn(model), strict=True))
    model.load_state_dict(state, strict=False, assign=True)


def from_a_vector(model: MolecularModel) -> None:
    vector = nn.utils.parameters_to_vector(drawn(model))
    nn.utils.vector_to_parameters(vector, model.parameters())


def stepped(model: MolecularModel, optimizer: torch.optim.Optimizer) -> None:
    outputs = model.compute(graph_of(), create_graph=True)
    (outputs["energy"].sum() + outputs["forces"].square().sum()).backward()
    optimizer.step()


def adamw(model: MolecularModel) -> None:
    stepped(model, torch.optim.AdamW(model.parameters(), lr=0.1))


def fused_adamw(model: MolecularModel) -> None:
    stepped(model, torch.optim.AdamW(model.parameters(), lr=0.1, fused=True))


def foreach_adamw(model: MolecularModel) -> None:
    stepped(model, torch.optim.AdamW(model.parameters(), lr=0.1, foreach=True))


def moving_average(model: MolecularModel) -> None:
    average = EMA(model, 0.5)
    in_place(model)
    average.update()
    average.swap()


def rounded_to_half(model: MolecularModel) -> None:
    model.half().double()


def changed_constants(model: MolecularModel) -> None:
    model.backbone.set_neighbor_count(3.0)
    model.heads["energy"].set_statistics(scale=2.0, shift=1.0)


WAYS = (
    in_place,
    in_data,
    through_numpy,
    through_a_view,
    replaced_data,
    replaced_storage,
    replaced_parameters,
    loaded_state,
    assigned_state,
    from_a_vector,
    adamw,
    fused_adamw,
    foreach_adamw,
    moving_average,
    rounded_to_half,
    changed_constants,
)


@pytest.mark.parametrize("kernels", ["reference", "generic"])
@pytest.mark.parametrize("write", WAYS, ids=lambda way: way.__name__)
def test_written_weights_reach_the_model_and_never_what_was_frozen(
    write: Callable[[MolecularModel], None], kernels: str
) -> None:
    model = fresh()
    model.backbone.use_kernels(kernels)
    frozen, calculator = model.freeze(), Calculator(model)
    old_model, old_frozen = outputs_of(model), outputs_of(frozen)
    hessian = frozen.hessian(graph_of())
    old_energy = calculator.get_potential_energy(WATER)
    write(model)

    # The model is what a new model with these weights is, to the last bit.
    other = fresh()
    if write is rounded_to_half:  # constants that no state dict holds are rounded too
        write(other)
    other.load_state_dict(model.state_dict())
    other.backbone.use_kernels(kernels)
    new = outputs_of(model)
    assert_same(new, outputs_of(other))
    assert_same(outputs_of(model.freeze()), outputs_of(other.freeze()))
    assert not torch.equal(new["energy"], old_model["energy"])

    # What was frozen stays what it was.
    assert_same(outputs_of(frozen), old_frozen)
    assert torch.equal(frozen.hessian(graph_of()), hessian)
    calculator.reset()
    assert calculator.get_potential_energy(WATER) == old_energy


@pytest.mark.parametrize("kernels", ["reference", "generic", "specialized"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_frozen_outputs_are_those_of_the_model(kernels: str, dtype: torch.dtype) -> None:
    model = fresh(dtype)
    frozen, expected = model.freeze(kernels=kernels), outputs_of(model)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    for name, value in outputs_of(frozen).items():
        torch.testing.assert_close(value, expected[name], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(
        frozen.embed(graph_of()), model.embed(graph_of()), rtol=tolerance, atol=tolerance
    )
    hessian = model.hessian(graph_of())
    size = 20 * tolerance * float(hessian.abs().max())  # second derivatives round more
    torch.testing.assert_close(frozen.hessian(graph_of()), hessian, rtol=0.0, atol=size)
    for value, other in zip(
        frozen.multipoles(graph_of()), model.multipoles(graph_of()), strict=True
    ):
        torch.testing.assert_close(value, other, rtol=tolerance, atol=tolerance)


def test_every_weight_of_the_backbone_has_a_part_in_the_outputs() -> None:
    """Otherwise the tests above would say nothing of it."""
    model = fresh()
    for name, weight in model.backbone.named_parameters():
        if weight.numel() == 0:
            continue
        before = outputs_of(model)
        with torch.no_grad():
            weight.add_(0.3)
        changed = outputs_of(model)
        same = all(torch.equal(changed[key], before[key]) for key in before)
        assert not same or "self_connection" in name, name


def test_training_sees_gradients_of_all_weights_after_freezing() -> None:
    model = fresh()
    outputs_of(model.freeze())
    outputs = model.compute(graph_of(), create_graph=True)
    loss = outputs["energy"].sum() + outputs["forces"].square().sum() + outputs["dipole"].sum()
    loss.backward()
    weights = dict(model.backbone.named_parameters())
    assert not [name for name, w in weights.items() if w.grad is None and w.numel()]


def test_frozen_models_have_kernels_dtype_and_work_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = fresh()
    monkeypatch.setattr(policy, "GENERIC_FROM", 1)
    monkeypatch.setattr(policy, "SPECIALIZED_FROM", float("inf"))
    first, second = Calculator(model), Calculator(model)
    single = Calculator(model, dtype="float32", kernels="reference")
    expected = outputs_of(model)["forces"]
    for _ in range(2):
        outputs_of(first.model)
    assert [layer.kernels for layer in first.model._network.backbone.layers] == ["generic"] * 2
    for other in (second.model, single.model):
        assert {layer.kernels for layer in other._network.backbone.layers} == {"reference"}
    assert {layer.kernels for layer in model.backbone.layers} == {"reference"}
    assert single.model.dtype == torch.float32
    assert first.model.dtype == model.dtype == torch.float64
    torch.testing.assert_close(outputs_of(first.model)["forces"], expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("ask", ["compute", "multipoles", "embed"])
def test_kernels_come_before_a_structure_that_needs_them(
    ask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, graph = fresh().freeze(), graph_of()
    size = frozen.operations(graph.edge_index.shape[1])
    seen: list[str] = []
    layer = frozen._network.backbone.layers[0]
    inner = getattr(frozen._network, ask)
    monkeypatch.setattr(
        frozen._network, ask, lambda *a, **k: (seen.append(layer.kernels), inner(*a, **k))[1]
    )
    for largest in (1.01 * size, 0.99 * size):
        monkeypatch.setattr(policy, "LARGEST_PLAIN_PASS", largest)
        getattr(frozen, ask)(graph)
    assert seen == ["reference", "generic"]


def test_copies_pickles_and_threads_of_a_frozen_model_agree() -> None:
    frozen = fresh().freeze(kernels="generic")
    expected = outputs_of(frozen)
    for other in (copy.deepcopy(frozen), pickle.loads(pickle.dumps(frozen))):
        assert_same(outputs_of(other), expected)
        assert other.kernels == "generic"
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(outputs_of, [frozen] * 8):
            assert_same(found, expected)


@pytest.mark.parametrize("architecture", ["invariants", "lieconv"])
def test_other_backbones_freeze_too(architecture: str) -> None:
    model = make_model((1, 8), ["energy"], architecture=architecture, n_channels=4).to(
        torch.float64
    )
    frozen, expected = model.freeze(), outputs_of(model)
    in_place(model)
    assert_same(outputs_of(frozen), expected)


def test_a_model_in_training_mode_is_frozen_for_evaluation() -> None:
    model = make_model((1, 8), ["energy"], architecture="lieconv", n_channels=4).train()
    frozen = model.freeze()
    assert model.training
    assert torch.equal(outputs_of(frozen)["energy"], outputs_of(frozen)["energy"])
    assert not any(weight.requires_grad for weight in frozen._network.parameters())


def test_predict_takes_both() -> None:
    model = fresh()
    frozen = model.freeze()
    assert frozen_model(frozen) is frozen
    mine, other = predict(WATER, model), predict(WATER, frozen)
    assert mine[0]["energy"] == other[0]["energy"]
    np.testing.assert_array_equal(mine[0]["forces"], other[0]["forces"])
    with pytest.raises(UserError, match="of a frozen model are its own; give them to `freeze`"):
        Calculator(frozen, kernels="generic")
