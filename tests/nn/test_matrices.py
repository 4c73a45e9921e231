"""Which weights are matrices, and that their blocks are the maps that the layers apply."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from molequi.models.making import make_model
from molequi.nn.interaction import Gate
from molequi.nn.linear import IrrepsLinear, PathLinear, Perceptron
from molequi.nn.matrices import Blocks, MatrixWeights, matrix_weights
from molequi.nn.radial import RadialNetwork
from molequi.o3.irreps import Irreps


def only_block(layer: MatrixWeights, which: int, block: int) -> torch.Tensor:
    """Set all blocks of the weight `which` to zero but one, which is returned: (m, n)."""
    weight, blocks = list(layer.matrices())[which]
    matrices = blocks.cut(weight.detach()).clone()
    kept = matrices[block].clone()
    matrices.zero_()[block] = kept
    with torch.no_grad():
        weight.copy_(blocks.join(matrices, weight))
    return kept


@pytest.mark.parametrize("shape", [(6, 10), (6, 5, 2), (2, 10)])
@pytest.mark.parametrize("blocks", [Blocks(), Blocks(2, 1), Blocks(1, 5), Blocks(2, 5)], ids=str)
def test_join_undoes_cut(shape: tuple[int, ...], blocks: Blocks) -> None:
    weight = torch.randn(shape)
    matrices = blocks.cut(weight)
    assert matrices.shape[0] == blocks.rows * blocks.columns
    assert torch.equal(blocks.join(matrices, weight), weight)


def test_blocks_of_a_path_are_its_map() -> None:
    layer, features = PathLinear(Irreps("0e+1o+1o"), 4), torch.randn(3, 7, 4)
    block = only_block(layer, which=1, block=1)
    # The components of the two paths into 1o alternate.
    expected = features[:, 2::2] @ block * 8**-0.5
    assert torch.allclose(layer(features)[:, 1:], expected, atol=1e-6)


def test_blocks_of_a_source_are_its_map() -> None:
    layer, features = IrrepsLinear(Irreps("0e+1o"), 12, 4, n_sources=3), torch.randn(3, 4, 12)
    block = only_block(layer, which=1, block=2)
    expected = features[:, 1:, 8:] @ block * 12**-0.5
    assert torch.allclose(layer(features)[:, 1:], expected, atol=1e-6)


def test_blocks_of_a_gate_are_its_irreps() -> None:
    layer, features = Gate(Irreps("0e+1o+2e"), 4).double(), torch.randn(3, 9, 4).double()
    closed = layer(features)
    block = only_block(layer, which=0, block=1)
    opened = layer(features)
    gates = torch.sigmoid(features[:, 0] @ block * 4**-0.5)
    ratio = opened[:, 4:] / features[:, 4:]
    assert torch.allclose(ratio / ratio[:1, :1, :1], (gates / gates[0, 0])[:, None], rtol=1e-9)
    assert torch.allclose(opened[:, :1], closed[:, :1])


def test_blocks_of_a_radial_network_are_its_paths() -> None:
    layer, distances = RadialNetwork(4.0, 8, 3, 5, n_hidden=6), torch.linspace(0.5, 3.5, 7)
    before = layer.evaluate(distances, torch.ones(3, 1))
    only_block(layer, which=0, block=1)
    after = layer.evaluate(distances, torch.ones(3, 1)).detach()
    assert torch.allclose(after[:, 1], before[:, 1])
    assert float(after[:, [0, 2]].abs().max()) == 0.0


def test_the_matrices_of_a_network_are_its_maps_between_channels() -> None:
    model = make_model([1, 6], ["energy", "dipole"], n_channels=4, correlation=2, mixing="separate")
    found = {id(weight) for weight, _ in matrix_weights(model)}
    others = {
        name.removeprefix("backbone.").removesuffix(".0")
        for name, weight in model.named_parameters()
        if id(weight) not in found and name.startswith("backbone.")
    }
    # Numbers by species, path or channel: nothing that maps channels.
    kinds = {"embedding", "factors", "species_weights", "biases"}
    assert {name.rpartition(".")[2] for name in others} == kinds
    assert sum(weight.numel() for weight, _ in matrix_weights(model)) > 0.8 * sum(
        weight.numel() for weight in model.parameters()
    )


def test_columns_and_frozen_weights_are_no_matrices_and_torch_layers_are() -> None:
    network = nn.ModuleList([Perceptron((4, 3, 1)), nn.Linear(3, 5), Perceptron((2, 2))])
    network[2].requires_grad_(False)
    shapes = [tuple(weight.shape) for weight, _ in matrix_weights(network)]
    assert shapes == [(4, 3), (5, 3)]
