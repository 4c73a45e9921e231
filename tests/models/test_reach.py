"""Outputs of which symmetry keeps a part at zero are refused before anything is trained."""

import pytest
import torch

from molequi.errors import UserError
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.reach import check_reach
from molequi.nn.backbones.spherical import SphericalBackbone
from molequi.properties import declare

ELEMENTS = (1, 6, 7, 8)


def test_outputs_that_the_network_cannot_reach_are_refused() -> None:
    axial = declare("axial", irreps="1e", unit="1")
    with pytest.raises(UserError, match="1e"):
        make_model(ELEMENTS, [axial])
    handed = declare("handed", irreps="0o", unit="1", extensive=True)
    with pytest.raises(UserError, match="0o"):
        make_model(ELEMENTS, [handed], parity="full", n_layers=2, n_channels=8)
    assert (
        "handed" in make_model(ELEMENTS, [handed], parity="full", n_layers=3, n_channels=8).outputs
    )


def test_every_part_of_an_output_must_be_reached() -> None:
    """One layer of pair products reaches 0e and 2e but no 1e.

    A tensor of all three would stay symmetric for ever.
    """
    tensor = declare("tensor", irreps="0e+1e+2e", unit="1", extensive=True)
    with pytest.raises(
        UserError,
        match=r"tensor \(0e\+1e\+2e\) cannot be reached by this network: its 1e part stays zero",
    ):
        make_model(ELEMENTS, [tensor], parity="full", n_layers=1, correlation=2, n_channels=8)
    assert (
        "tensor" in make_model(ELEMENTS, [tensor], parity="full", n_layers=2, n_channels=8).outputs
    )


@pytest.mark.parametrize(("size", "n_layers", "is_reached"), [(1e-12, 3, True), (1e8, 1, False)])
def test_reach_is_judged_relative_to_the_size_of_the_features(
    size: float, n_layers: int, is_reached: bool
) -> None:
    """Small features are no zeros, and rounding of large ones, 1e-16 of them, is nothing.

    One layer of pair products has no 1e.
    """
    axial = declare("axial", irreps="1e", unit="1", extensive=True)
    model = MolecularModel(
        SphericalBackbone(
            ELEMENTS,
            parity="full",
            n_layers=n_layers,
            n_channels=8,
            correlation=2 if n_layers == 1 else 1,
        ),
        [axial],
    )
    with torch.no_grad():
        model.backbone.embedding.mul_(size)
    if is_reached:
        check_reach(model)
    else:
        with pytest.raises(UserError, match="1e part stays zero"):
            check_reach(model)
