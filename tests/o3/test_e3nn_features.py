"""Our features in e3nn's layout, by e3nn's own matrices and layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from e3nn import o3

from molequi.errors import UserError
from molequi.models.making import make_model
from molequi.models.probes import built_in_probes
from molequi.models.structure import random_rotation
from molequi.o3.e3nn_features import features_from_e3nn, features_to_e3nn
from molequi.o3.irreps import Irreps
from molequi.o3.wigner import rotate

IRREPS = Irreps("0e+0o+1o+1e+2e+3o")


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("sign", [1, -1])
def test_e3nn_turns_what_we_hand_over_as_we_turn_it_ourselves(sign: int) -> None:
    features = drawn(5, IRREPS.dim, 7)
    theirs, irreps = features_to_e3nn(features, IRREPS)
    assert str(irreps) == "7x0e+7x0o+7x1o+7x1e+7x2e+7x3o"
    matrix = sign * torch.as_tensor(random_rotation(np.random.default_rng(1)))
    turned, _ = features_to_e3nn(rotate(features, matrix, IRREPS), IRREPS)
    matrices = irreps.D_from_matrix(matrix)
    # Its angles lose digits where the default dtype is single.
    torch.testing.assert_close(theirs @ matrices.to(theirs).mT, turned, rtol=0, atol=1e-4)


def test_there_and_back_is_where_one_was() -> None:
    features = drawn(2, 3, IRREPS.dim, 4)
    back, irreps = features_from_e3nn(*features_to_e3nn(features, IRREPS))
    assert torch.equal(back, features)
    assert irreps == IRREPS


def test_a_layer_of_e3nn_goes_on_with_features_of_a_network() -> None:
    torch.manual_seed(0)
    model = make_model((1, 6, 7, 8), ["dipole"], n_layers=2, n_channels=8).to(torch.float64)
    graph = built_in_probes((1, 6, 7, 8))[1].graph(model.backbone.cutoff)
    features = model.backbone(graph).equivariant.detach()
    theirs, irreps = features_to_e3nn(features, model.backbone.irreps_out)
    layer = o3.Linear(irreps, "4x0e+4x1o").to(torch.float64)
    found, left = features_from_e3nn(layer(theirs), "4x0e+4x1o")
    assert left == Irreps("0e+1o")
    assert found.shape == (len(features), 4, 4)
    matrix = torch.as_tensor(random_rotation(np.random.default_rng(2)))
    turned = features_to_e3nn(
        rotate(features, matrix, model.backbone.irreps_out), model.backbone.irreps_out
    )[0]
    again, _ = features_from_e3nn(layer(turned), "4x0e+4x1o")
    torch.testing.assert_close(again, rotate(found, matrix, "0e+1o"), rtol=1e-10, atol=1e-10)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(UserError, match=r"have the shape \(..., 4, channels\), got \(2, 3\)"):
        features_to_e3nn(torch.zeros(2, 3), "0e+1o")
    with pytest.raises(UserError, match=r"have the shape \(..., 8\), got \(2, 7\)"):
        features_from_e3nn(torch.zeros(2, 7), "2x0e+2x1o")
    with pytest.raises(UserError, match="same number of channels"):
        features_from_e3nn(torch.zeros(2, 5), "2x0e+1x1o")
