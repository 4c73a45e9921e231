"""Linear maps on irreps."""

from __future__ import annotations

import pytest
import torch

from molequi.nn.linear import PathLinear
from molequi.o3.irreps import irreps_name


@pytest.mark.parametrize(
    "outputs",
    [((0, 1), (1, -1), (1, -1)), ((0, 1), (1, -1), (1, -1), (1, 1))],
    ids=["natural", "full"],
)
def test_path_linear_mixes_each_irrep_by_its_own_weights(
    outputs: tuple[tuple[int, int], ...],
) -> None:
    n_channels = 3
    torch.manual_seed(0)
    mix = PathLinear(outputs, n_channels)
    features = torch.randn(5, sum(2 * l + 1 for l, _ in outputs), n_channels)
    start, expected = 0, []
    for irrep in dict.fromkeys(outputs):
        count, size = outputs.count(irrep), 2 * irrep[0] + 1
        weight = mix.weights[irreps_name([irrep])].reshape(count, n_channels, n_channels)
        paths = features[:, start : start + count * size].reshape(5, size, count, n_channels)
        expected.append(torch.einsum("nrpc,pcd->nrd", paths, weight) * (count * n_channels) ** -0.5)
        start += count * size
    torch.testing.assert_close(mix(features), torch.cat(expected, dim=1))
