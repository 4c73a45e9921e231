"""What follows from weights alone is kept between predictions, and not a moment longer than the weights."""

import torch
from ase.build import molecule

from molequi.graphs.neighbors import build_graph
from molequi.models.molecular import MolecularModel, make_model


def energy(model: MolecularModel) -> torch.Tensor:
    water = molecule("H2O")
    return model.compute(build_graph(water.positions, water.numbers, model.cutoff))["energy"]


def test_every_changed_weight_is_seen() -> None:
    model = make_model((1, 8), ["energy"], n_channels=4, l_max=1, correlation=2).to(torch.float64)
    weights = {name: tensor for name, tensor in model.backbone.named_parameters() if tensor.numel()}
    for name, tensor in weights.items():
        before = energy(model)
        with torch.no_grad():
            tensor.add_(0.3)
        changed = energy(model)
        torch.testing.assert_close(changed, energy_afresh(model), rtol=0.0, atol=0.0)
        assert before != changed or "self_connection" in name, name


def energy_afresh(model: MolecularModel) -> torch.Tensor:
    """The energy of a copy that has never predicted anything."""
    copy = make_model((1, 8), ["energy"], n_channels=4, l_max=1, correlation=2).to(torch.float64)
    copy.load_state_dict(model.state_dict())
    return energy(copy)


def test_constants_and_dtypes_are_seen() -> None:
    model = make_model((1, 8), ["energy"], n_channels=4, l_max=1, correlation=2).to(torch.float64)
    double = energy(model)
    single = energy(model.to(torch.float32))
    assert 0.0 < float((single - double).abs()) < 1e-4 * float(double.abs())
    model.to(torch.float64)
    model.backbone.set_neighbor_count(3.0)
    torch.testing.assert_close(energy(model), energy_afresh(model), rtol=0.0, atol=0.0)


def test_training_sees_gradients_of_all_weights_after_a_prediction() -> None:
    model = make_model((1, 8), ["energy"], n_channels=4, l_max=1)
    energy(model)
    water = molecule("H2O")
    outputs = model.compute(
        build_graph(water.positions, water.numbers, model.cutoff), create_graph=True
    )
    (outputs["energy"].sum() + outputs["forces"].square().sum()).backward()
    assert all(
        parameter.grad is not None for parameter in model.backbone.parameters() if parameter.numel()
    )
