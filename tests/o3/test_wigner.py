"""Turning features: Wigner matrices against e3nn, and hidden features of models.

Those of the bundled model are compared with the model on the turned molecule.
"""

import numpy as np
import pytest
import torch
from e3nn import o3
from torch import Tensor

from molequi.graphs.graph import AtomGraph
from molequi.models.making import make_model
from molequi.models.probes import built_in_probes
from molequi.models.structure import Structure, random_rotation
from molequi.models.zoo import load
from molequi.nn.backbones.spherical import SphericalBackbone
from molequi.o3.irreps import Irreps
from molequi.o3.wigner import rotate, wigner_matrices


@pytest.fixture(scope="module")
def rotations() -> Tensor:
    rng = np.random.default_rng(3)
    return torch.tensor(np.stack([random_rotation(rng) for _ in range(4)]))


@pytest.fixture(scope="module")
def molecule() -> Structure:
    return built_in_probes([1, 6, 7, 8])[1]


def test_wigner_matrices_are_those_of_e3nn(rotations: Tensor) -> None:
    for l, matrix in enumerate(wigner_matrices(rotations, 12)):
        torch.testing.assert_close(
            matrix, o3.Irrep(l, 1).D_from_matrix(rotations), atol=1e-12, rtol=0.0
        )


def test_wigner_matrices_multiply_as_rotations_do(rotations: Tensor) -> None:
    both = wigner_matrices(rotations[0] @ rotations[1], 6)
    for product, first, second in zip(
        both, wigner_matrices(rotations[0], 6), wigner_matrices(rotations[1], 6), strict=True
    ):
        torch.testing.assert_close(product, first @ second, atol=1e-12, rtol=0.0)


@pytest.mark.parametrize("irreps", [Irreps.natural(3), Irreps.full(2), Irreps("2o+0e")], ids=str)
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["rotation", "with inversion"])
def test_rotate_is_that_of_e3nn(irreps: Irreps, sign: float, rotations: Tensor) -> None:
    features = torch.randn(
        5, irreps.dim, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    matrix = sign * rotations[0]
    expected = o3.Irreps(str(irreps)).D_from_matrix(matrix) @ features
    torch.testing.assert_close(rotate(features, matrix, irreps), expected, atol=1e-12, rtol=0.0)


def test_rotate_keeps_the_dtype(rotations: Tensor) -> None:
    assert (
        rotate(torch.ones(2, 4, 1, dtype=torch.float32), rotations[0], Irreps.natural(1)).dtype
        == torch.float32
    )


@pytest.mark.parametrize(
    "matrix", [torch.eye(2), 2 * torch.eye(3), torch.ones(3, 3), torch.full((3, 3), torch.nan)]
)
def test_what_is_no_rotation_is_refused(matrix: Tensor) -> None:
    with pytest.raises(ValueError, match="orthogonal 3x3"):
        rotate(torch.ones(1, 4, 1), matrix, Irreps.natural(1))


@pytest.mark.parametrize("shape", [(1, 5, 1), (4,)])
def test_rows_of_other_irreps_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"0e\+1o have the shape \(\.\.\., 4, channels\)"):
        rotate(torch.ones(shape), torch.eye(3), Irreps.natural(1))


def hidden_features(backbone: SphericalBackbone, graph: AtomGraph) -> list[Tensor]:
    """What every layer passes on, as the layers themselves give it."""
    found: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, output: found.append(output))
        for layer in backbone.layers
    ]
    with torch.no_grad():
        backbone(graph)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("name", ["organic", "both parities"])
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["rotation", "with inversion"])
def test_hidden_features_of_a_turned_molecule_are_the_turned_ones(
    name: str, molecule: Structure, sign: float, rotations: Tensor
) -> None:
    """network(R x) = D(R) network(x), in every layer.

    Of the bundled model, and of a random one with even and odd features of each l. What is
    passed on ends at `l_hidden`, where that is set.
    """
    handed = {"n_layers": 3, "n_channels": 6, "l_max": 2, "parity": "full"}
    model = (
        load("organic", dtype="float64")
        if name == "organic"
        else make_model([1, 6, 7, 8], ["rosenfeld"], **handed).to(torch.float64)
    )
    matrix = sign * rotations[1]
    before = hidden_features(model.backbone, molecule.graph(model.cutoff))
    after = hidden_features(model.backbone, molecule.mapped(matrix.numpy()).graph(model.cutoff))
    assert len(before) == model.backbone.n_layers
    seen = set()
    for layer, old, new in zip(model.backbone.layers, before, after, strict=True):
        seen |= set(layer.irreps_out)
        for part, rows in zip(layer.irreps_out, layer.irreps_out.slices(), strict=True):
            scale = float(old[:, rows].abs().max())
            turned = rotate(old[:, rows], matrix, (part,))
            torch.testing.assert_close(new[:, rows], turned, atol=1e-11 * scale, rtol=0.0)
            assert scale > 1e-6
            if part[0] > 0:  # turning does something to them
                assert float((new[:, rows] - old[:, rows]).abs().max()) > 1e-2 * scale
    hidden = model.backbone.settings["l_hidden"]
    l_hidden = model.backbone.settings["l_max"] if hidden is None else hidden
    parities = Irreps.natural if name == "organic" else Irreps.full
    assert seen == set(parities(l_hidden))
