"""Linear maps on irreps."""

from __future__ import annotations

import pytest
import torch

from molequi.nn.linear import PathLinear
from molequi.o3.irreps import Irreps


@pytest.mark.parametrize(
    "outputs",
    [Irreps("0e+1o+1o"), Irreps("0e+1o+1o+1e")],
    ids=["natural", "full"],
)
def test_path_linear_mixes_each_irrep_by_its_own_weights(
    outputs: Irreps,
) -> None:
    n_channels = 3
    torch.manual_seed(0)
    mix = PathLinear(outputs, n_channels)
    features = torch.randn(5, outputs.dim, n_channels)
    start, expected = 0, []
    for irrep in dict.fromkeys(outputs):
        count, size = outputs.count(irrep), irrep.dim
        weight = mix.weights[str(irrep)].reshape(count, n_channels, n_channels)
        paths = features[:, start : start + count * size].reshape(5, size, count, n_channels)
        expected.append(torch.einsum("nrpc,pcd->nrd", paths, weight) * (count * n_channels) ** -0.5)
        start += count * size
    torch.testing.assert_close(mix(features), torch.cat(expected, dim=1))
