"""Equivariant networks of several groups, and every wrong combination refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from grids import image_representation, wallpaper_representation
from torch.nn import functional

from molequi.errors import UserError
from molequi.groups.finite import dihedral_group, point_group
from molequi.groups.named_representations import (
    lorentz_vector,
    matrix_representation,
    o3_irrep,
    regular_representation,
    symmetric_points,
)
from molequi.groups.networks import (
    EquivariantLinear,
    EquivariantNetwork,
    GatedActivation,
    NormActivation,
    PointwiseActivation,
)
from molequi.groups.representations import (
    Representation,
    direct_sum,
    multiple,
    tensor_product,
    trivial,
)


def motions(
    rho_in: Representation, rho_out: Representation
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Matrices of group elements.

    The finite generators, and exponentials of combinations of the algebra's.
    """
    pairs = [(a.toarray(), b.toarray()) for a, b in zip(rho_in.finite, rho_out.finite, strict=True)]
    found = [(torch.as_tensor(a), torch.as_tensor(b)) for a, b in pairs]
    if rho_in.algebra:
        weights = np.random.default_rng(3).standard_normal(len(rho_in.algebra))
        lie = [
            sum(w * m.toarray() for w, m in zip(weights, rho.algebra, strict=True))
            for rho in (rho_in, rho_out)
        ]
        found.append(tuple(torch.matrix_exp(torch.as_tensor(m)) for m in lie))
    return found


def defect(network: torch.nn.Module, rho_in: Representation, rho_out: Representation) -> float:
    v = torch.as_tensor(np.random.default_rng(1).standard_normal((5, rho_in.dim)))
    with torch.no_grad():
        still = network(v)
        return max(
            float((network(v @ a.T) - still @ b.T).abs().max() / still.abs().max())
            for a, b in motions(rho_in, rho_out)
        )


def doubled(module: torch.nn.Module) -> torch.nn.Module:
    """Float64, and biases that are not zero."""
    module = module.double()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "bias" in name:
                parameter.copy_(0.3 + torch.rand_like(parameter))
    return module


def o3_case():
    rho = direct_sum(multiple(4, o3_irrep(0, 1)), multiple(3, o3_irrep(1, -1)), o3_irrep(2, 1))
    rho_in = direct_sum(
        o3_irrep(0, 1), tensor_product(o3_irrep(1, -1), o3_irrep(1, -1)), o3_irrep(1, -1)
    )
    return (
        rho_in,
        [GatedActivation(rho), NormActivation(rho)],
        direct_sum(o3_irrep(0, 1), o3_irrep(1, -1), o3_irrep(2, 1)),
    )


def lorentz_case():
    vector = lorentz_vector()
    pair = tensor_product(vector, vector)
    hidden = direct_sum(multiple(3, trivial(vector.group)), multiple(2, pair))
    return pair, [GatedActivation(hidden)], direct_sum(trivial(vector.group), pair)


def image_case():
    image = wallpaper_representation("p4m", 6)
    scalar = trivial(image.group)
    return (
        image,
        [PointwiseActivation(multiple(2, image), functional.silu)],
        direct_sum(scalar, image),
    )


def cloud_case():
    points = symmetric_points(6)
    return (
        multiple(3, points),
        [PointwiseActivation(multiple(4, points), torch.relu)],
        direct_sum(points, trivial(points.group)),
    )


def point_group_case():
    """O_h changes signs of coordinates and exchanges them: odd functions may act on components."""
    group = point_group("Oh")
    vector, regular = matrix_representation(group), regular_representation(group)
    hidden = PointwiseActivation(direct_sum(multiple(2, vector), regular), torch.tanh)
    return (
        direct_sum(vector, trivial(vector.group)),
        [hidden],
        direct_sum(vector, trivial(vector.group)),
    )


@pytest.mark.parametrize("case", [o3_case, lorentz_case, image_case, cloud_case, point_group_case])
def test_network_is_equivariant(case) -> None:
    torch.manual_seed(0)
    rho_in, activations, rho_out = case()
    network = doubled(EquivariantNetwork(rho_in, activations, rho_out))
    assert defect(network, rho_in, rho_out) < 1e-10
    assert defect(network.float().double(), rho_in, rho_out) < 1e-10
    # It is no constant and not linear.
    v = torch.randn(3, rho_in.dim, dtype=torch.float64)
    assert (network(2 * v) - 2 * network(v)).abs().max() > 1e-3


def test_biases_of_permutations_are_used() -> None:
    """A bias that the group leaves alone may be added.

    One of the orbits of D4 on 3 x 3 pixels has no other.
    """
    rho = image_representation(dihedral_group(4), 3)
    activation = PointwiseActivation(rho, torch.relu).double()
    assert activation.bias.coefficients.shape == (3,)  # centre, edges, corners
    with torch.no_grad():
        activation.bias.coefficients.copy_(torch.tensor([1.0, 2.0, 3.0]))
    assert defect(activation, rho, rho) < 1e-15
    assert len(set(activation(torch.zeros(9, dtype=torch.float64)).round(decimals=6).tolist())) == 3


def test_output_variance_is_one_at_the_start() -> None:
    torch.manual_seed(0)
    rho = direct_sum(multiple(32, o3_irrep(0, 1)), multiple(32, o3_irrep(2, 1)))
    out = EquivariantLinear(rho, rho)(torch.randn(200, rho.dim))
    assert 0.7 < out[:, :32].var() < 1.4
    assert 0.7 < out[:, 32:].var() < 1.4


def test_weights_are_as_many_as_maps() -> None:
    rho = direct_sum(multiple(5, o3_irrep(0, 1)), multiple(7, o3_irrep(1, -1)))
    linear = EquivariantLinear(rho, rho)
    assert sum(p.numel() for p in linear.parameters()) == 25 + 49
    assert linear.matrix().shape == (26, 26)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: PointwiseActivation(o3_irrep(1, -1), torch.tanh),
            "use GatedActivation, or NormActivation",
        ),
        (lambda: PointwiseActivation(o3_irrep(0, -1), torch.relu), "signs need an odd function"),
        (
            lambda: PointwiseActivation(lorentz_vector(), torch.relu),
            "does not permute the components of four-vector",
        ),
        (
            lambda: PointwiseActivation(matrix_representation(point_group("C3")), torch.tanh),
            "use GatedActivation",
        ),
        (lambda: NormActivation(lorentz_vector()), "changes lengths of four-vector"),
        (
            lambda: EquivariantLinear(o3_irrep(0, 1), o3_irrep(1, -1)),
            r"no equivariant linear map leads from 0e to 1o \(summand 0",
        ),
        (
            lambda: EquivariantLinear(o3_irrep(1, 1), direct_sum(o3_irrep(1, 1), o3_irrep(1, -1))),
            r"summand 1 of the output",
        ),
        (
            lambda: EquivariantNetwork(
                o3_irrep(0, 1),
                [NormActivation(matrix_representation(point_group("Oh")))],
                o3_irrep(0, 1),
            ),
            "different groups",
        ),
        (lambda: direct_sum(o3_irrep(0, 1), lorentz_vector()), "different groups"),
    ],
)
def test_wrong_combination_is_refused(make, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_what_is_refused_would_break_the_symmetry() -> None:
    """The refusals are needed: each forbidden function moves the output by hundredths or more."""
    vector, lorentz = o3_irrep(1, -1), lorentz_vector()
    assert defect(torch.tanh, vector, vector) > 0.05
    assert defect(torch.relu, o3_irrep(0, -1), o3_irrep(0, -1)) > 0.05
    assert (
        defect(lambda v: v * torch.sigmoid(v.norm(dim=-1, keepdim=True)), lorentz, lorentz) > 0.05
    )
    image = image_representation(dihedral_group(4), 3)
    assert defect(lambda v: torch.relu(v + torch.arange(9)), image, image) > 0.05
