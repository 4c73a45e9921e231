"""Parts of tensors: names, and values that symmetry keeps apart."""

from __future__ import annotations

import pytest
import torch

from molequi.properties import PROPERTIES, declare, part_names
from molequi.training.parts import split_parts


def test_names_of_parts():
    assert part_names(PROPERTIES["energy"]) == ("energy",)
    assert part_names(PROPERTIES["rosenfeld"]) == (
        "rosenfeld[0o]",
        "rosenfeld[1o]",
        "rosenfeld[2o]",
    )
    assert part_names(declare("pair", irreps="1x0e + 0e+1o", unit="1")) == (
        "pair[0e.1]",
        "pair[0e.2]",
        "pair[1o]",
    )


def test_a_tensor_splits_into_trace_axial_vector_and_the_rest():
    tensor = torch.randn(5, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parts = split_parts(PROPERTIES["rosenfeld"], tensor)
    trace = torch.einsum("bii->b", tensor)
    torch.testing.assert_close(parts["rosenfeld[0o]"][:, 0], trace / 3**0.5)
    antisymmetric = (tensor - tensor.mT) / 2
    vector = (
        torch.stack([antisymmetric[:, 1, 2], antisymmetric[:, 2, 0], antisymmetric[:, 0, 1]], dim=1)
        * 2**0.5
    )
    torch.testing.assert_close(parts["rosenfeld[1o]"].abs(), vector.abs())
    rest = (tensor + tensor.mT) / 2 - trace[:, None, None] / 3 * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(
        parts["rosenfeld[2o]"].square().sum(dim=1), rest.square().sum(dim=(1, 2))
    )


@pytest.mark.parametrize("shape", [(4,), (4, 3)])
def test_a_single_part_is_the_value_itself(shape):
    row = PROPERTIES["energy"] if len(shape) == 1 else PROPERTIES["dipole"]
    values = torch.ones(shape)
    assert split_parts(row, values) == {row.name: values}


def test_rows_without_a_cartesian_form_split_by_their_components():
    row = declare("pair", irreps="0e+1o", unit="1")
    parts = split_parts(row, torch.arange(8.0).reshape(2, 4))
    assert parts["pair[0e]"].tolist() == [[0.0], [4.0]]
    assert parts["pair[1o]"].tolist() == [[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]]
