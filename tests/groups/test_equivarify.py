"""Lifts of ordinary networks against the definitions, and their numbers of weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from molequi.diagnostics.check import check_model
from molequi.errors import UserError
from molequi.graphs.graph import collate
from molequi.groups.equivarify import (
    EachCopy,
    LayerwiseLift,
    Lift,
    StackedCopies,
    joint_classes,
    project,
    turn_images,
    turn_positions,
    unnoticed,
)
from molequi.groups.finite import cyclic_group, dihedral_group, point_group
from molequi.models.molecular import MolecularModel
from molequi.models.probes import built_in_probes
from molequi.models.structure import random_rotation
from molequi.nn.backbones.coordinates import CoordinateBackbone, CoordinateNetwork
from molequi.properties import get_property

C4 = cyclic_group(4)


def network(n_out: int = 10, channels: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, n_out)
    ).double()


def images(channels: int = 1) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(0).standard_normal((5, channels, 8, 8)))


def n_weights(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    "group", [C4, dihedral_group(4), dihedral_group(2)], ids=lambda group: group.name
)
def test_lift_is_exactly_equivariant(group) -> None:
    lift, x = Lift(network(), group, turn_images), images()
    copies = lift(x)
    assert torch.equal(project(copies), lift.network(x))
    for g in range(group.order):
        assert torch.equal(lift(turn_images(group.matrices[g], x)), lift.move(g, copies))
    assert n_weights(lift) == n_weights(lift.network)


def test_images_refuse_turns_that_are_no_quarters() -> None:
    with pytest.raises(UserError, match="square grid"):
        Lift(network(), cyclic_group(3), turn_images)(images())


def test_quarter_turn_cycles_four_copies_as_the_paper_writes_it() -> None:
    lift, x = Lift(network(), C4, turn_images), images()
    z0, z1, z2, z3 = lift(x)
    assert torch.equal(lift(turn_images(C4.matrices[1], x)), torch.stack([z3, z0, z1, z2]))
    # On arrays a turn is NumPy's: F^(x)(g) = F(g^-1 x).
    assert torch.equal(z1, lift.network(torch.rot90(x, -1, dims=(2, 3))))


def test_probabilities_shift_by_ten_slots() -> None:
    lift, x = Lift(network(), C4, turn_images), images()
    logits = joint_classes(lift(x), C4)
    assert logits.shape == (5, 40)
    turned = joint_classes(lift(turn_images(C4.matrices[1], x)), C4)
    assert torch.equal(turned, torch.roll(logits, 10, dims=1))
    torch.testing.assert_close(
        turned.softmax(1), torch.roll(logits.softmax(1), 10, dims=1), atol=1e-15, rtol=0
    )
    with pytest.raises(UserError, match="lift over the whole group"):
        joint_classes(lift(x)[:2], C4)


@pytest.mark.parametrize("stacked", [False, True])
def test_training_does_not_notice_whether_images_are_turned(*, stacked: bool) -> None:
    """Images turned by k quarters, labels in block k, have loss and gradients of upright ones."""
    lift, _ = layered(stacked=stacked)
    x, numbers, quarters = images(), torch.tensor([3, 1, 4, 1, 5]), torch.tensor([0, 1, 2, 3, 1])
    turned = torch.stack(
        [turn_images(C4.matrices[int(k)], image) for k, image in zip(quarters, x, strict=True)]
    )
    found = []
    for inputs, labels in ((x, numbers), (turned, 10 * quarters + numbers)):
        loss = nn.functional.cross_entropy(joint_classes(lift(inputs), C4), labels)
        found.append([loss.detach(), *torch.autograd.grad(loss, list(lift.parameters()))])
    for upright, other in zip(*found, strict=True):
        torch.testing.assert_close(other, upright, atol=1e-14, rtol=1e-12)


def layered(*, stacked: bool) -> tuple[LayerwiseLift, list[nn.Module]]:
    """Three convolutions and a linear layer; the later ones act on each copy, or on all."""
    torch.manual_seed(0)
    factor = 4 if stacked else 1
    layers = [
        nn.Conv2d(1, 3, 3),
        nn.Conv2d(factor * 3, 5, 3),
        nn.Conv2d(factor * 5, 6, 3),
        nn.Linear(6 * 4, 10),
    ]
    wrap = (lambda layer: StackedCopies(layer, C4)) if stacked else EachCopy
    later = [
        wrap(layers[1]),
        nn.ReLU(),
        wrap(layers[2]),
        EachCopy(nn.Flatten()),
        EachCopy(layers[3]),
    ]
    return LayerwiseLift(
        Lift(nn.Sequential(layers[0], nn.ReLU()), C4, turn_images), later
    ).double(), layers


@pytest.mark.parametrize("stacked", [False, True])
def test_layer_by_layer_form_is_equivariant(*, stacked: bool) -> None:
    lift, layers = layered(stacked=stacked)
    x = images()
    copies = lift(x)
    for g in range(4):
        torch.testing.assert_close(
            lift(turn_images(C4.matrices[g], x)), lift.first.move(g, copies), atol=1e-14, rtol=0
        )
    plain = [nn.Conv2d(1, 3, 3), nn.Conv2d(3, 5, 3), nn.Conv2d(5, 6, 3), nn.Linear(24, 10)]
    weights = [layer.weight.numel() for layer in layers]
    factors = [1, 4, 4, 1] if stacked else [1, 1, 1, 1]
    assert weights == [
        factor * layer.weight.numel() for factor, layer in zip(factors, plain, strict=True)
    ]
    assert n_weights(lift) == n_weights(nn.ModuleList(layers))


def test_pure_lift_layer_by_layer_is_the_lift_of_the_whole() -> None:
    lift, layers = layered(stacked=False)
    whole = Lift(
        nn.Sequential(
            layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2], nn.Flatten(), layers[3]
        ),
        C4,
        turn_images,
    )
    torch.testing.assert_close(lift(images()), whole(images()), atol=1e-14, rtol=0)


def test_minimal_lift_keeps_one_copy_of_equal_ones() -> None:
    """A network that sees an image and its half turn alike needs two copies instead of four."""
    plain, half = network(), C4.matrices[2]

    class Blind(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return plain(x) + plain(turn_images(half, x))

    x = images()
    found = unnoticed(Blind(), C4, turn_images, x)
    assert found == [0, 2]
    assert unnoticed(plain, C4, turn_images, x) == [0]
    full, minimal = (
        Lift(Blind(), C4, turn_images),
        Lift(Blind(), C4, turn_images, invariant_under=found),
    )
    copies = minimal(x)
    assert copies.shape == (2, 5, 10)
    torch.testing.assert_close(copies, full(x)[:2], atol=1e-14, rtol=0)
    for g in range(4):
        torch.testing.assert_close(
            minimal(turn_images(C4.matrices[g], x)), minimal.move(g, copies), atol=1e-14, rtol=0
        )
    with pytest.raises(UserError, match="form no subgroup"):
        Lift(Blind(), C4, turn_images, invariant_under=[0, 1])
    mirror = dihedral_group(4).generators[1]
    wrong = Lift(
        nn.Sequential(Blind(), nn.Dropout()),
        dihedral_group(4),
        turn_images,
        invariant_under=[0, mirror],
    )
    with pytest.raises(UserError, match="notices elements .* invariant_under=.* is wrong"):
        wrong(x)
    assert wrong.network.training


def test_a_lift_that_is_checked_leaves_frozen_layers_frozen() -> None:
    """The moments of a layer that stays in evaluation are not those of the first input."""
    half = C4.matrices[2]

    class Blind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3).double().eval()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(x + turn_images(half, x))

    blind, x = Blind(), 1.0 + torch.rand(5, 3, 6, 6, dtype=torch.float64)
    blind.train()
    blind.norm.eval()
    before = blind(x)
    Lift(blind, C4, turn_images, invariant_under=[0, 2])(x)
    assert blind.training
    assert not blind.norm.training
    assert torch.equal(blind(x), before)
    with pytest.raises(UserError, match="square, to be turned"):
        turn_images(half, x[..., :5])


def test_minimal_lift_over_a_subgroup_that_is_not_normal() -> None:
    group = dihedral_group(4)
    mirror = group.generators[1]
    plain = network()

    class Blind(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return plain(x) + plain(turn_images(group.matrices[mirror], x))

    lift, x = Lift(Blind(), group, turn_images, invariant_under=[0, mirror]), images()
    assert len(lift(x)) == 4
    for g in range(group.order):
        torch.testing.assert_close(
            lift(turn_images(group.matrices[g], x)), lift.move(g, lift(x)), atol=1e-14, rtol=0
        )


def test_positions_and_all_copies_at_once() -> None:
    group, cluster = point_group("Oh"), built_in_probes((1, 6, 7, 8))[0].graph(4.0)
    torch.manual_seed(0)
    coordinates = CoordinateNetwork(119, 4.0, 4, 2).double()
    vectors = cluster.positions[cluster.edge_index[0]] - cluster.positions[cluster.edge_index[1]]
    context = cluster.atomic_numbers, cluster.edge_index
    with pytest.raises(UserError, match="2 x 2 matrix cannot turn 3 coordinates"):
        Lift(coordinates, C4, turn_positions)(vectors, *context)
    one, many = (
        Lift(coordinates, group, turn_positions, at_once=at_once)(vectors, *context)
        for at_once in (False, True)
    )
    assert one.shape == (48, cluster.n_atoms, 4, 4)
    torch.testing.assert_close(one, many, atol=1e-12, rtol=0)


def molecular(name: str) -> MolecularModel:
    torch.manual_seed(0)
    backbone = CoordinateBackbone((1, 6, 7, 8), 4.0, n_channels=6, average=name)
    return MolecularModel(backbone, [get_property("energy"), get_property("dipole")]).double()


def test_molecular_network_is_exact_under_the_point_group_and_no_further() -> None:
    plain, lifted = molecular("C1"), molecular("Oh")
    assert n_weights(plain) == n_weights(lifted)
    probe = built_in_probes((1, 6, 7, 8))[0]

    def errors(model: MolecularModel, matrix: np.ndarray) -> dict[str, float]:
        still, moved = (
            model.compute(structure.graph(4.0)) for structure in (probe, probe.mapped(matrix))
        )
        turn = torch.as_tensor(matrix)
        expected = {
            "energy": still["energy"],
            "forces": still["forces"] @ turn.T,
            "dipole": still["dipole"] @ turn.T,
        }
        return {
            name: float((moved[name] - value).abs().max() / value.abs().max())
            for name, value in expected.items()
        }

    group = point_group("Oh")
    for element in (1, 7, 20, 47):
        assert max(errors(lifted, group.matrices[element]).values()) < 1e-12
        assert min(errors(plain, group.matrices[element]).values()) > 1e-3
    assert min(errors(lifted, random_rotation(np.random.default_rng(0))).values()) > 1e-6


def test_diagnostics_find_what_the_point_group_does_not_cover() -> None:
    """Inversion is in O_h, a rotation by any angle is not; forces are a gradient in both."""
    probes = [probe.graph(4.0) for probe in built_in_probes((1, 6, 7, 8))[:2]]
    found = check_model(molecular("Oh"), [collate(probes)], with_probes=False)
    failed = {name for name, one in found.items() if not one.ok}
    assert {"rotation.energy", "rotation.forces", "rotation.dipole"} <= failed
    assert found["inversion.dipole.1o"].ok
    assert found["inversion.energy.0e"].ok
    assert found["force_consistency"].ok
    assert not check_model(molecular("C1"), probes, with_probes=False)["inversion.energy.0e"].ok
