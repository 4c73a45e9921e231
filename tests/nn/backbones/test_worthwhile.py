"""Kernels follow the device: those of a CPU, Triton's on a GPU, plain torch where none serve."""

import pytest
import torch

from molequi.kernels import cuda, policy
from molequi.nn.backbones.base import BackboneBase
from molequi.nn.backbones.invariant import InvariantBackbone
from molequi.nn.backbones.mace import MaceBackbone
from molequi.nn.backbones.spherical import SphericalBackbone
from molequi.nn.backbones.worthwhile import worthwhile_kernels

MUCH = 1e15


@pytest.fixture
def small() -> BackboneBase:
    return SphericalBackbone([1, 8], n_channels=4, l_max=1)


@pytest.mark.parametrize("has_triton", [True, False])
def test_a_gpu_gets_triton_where_it_is_installed(small, monkeypatch, has_triton) -> None:
    monkeypatch.setattr(cuda, "_has_triton", lambda: has_triton)
    expected = "triton" if has_triton else "reference"
    assert worthwhile_kernels(small, MUCH, device="cuda") == expected
    assert worthwhile_kernels(small, 0.99 * policy.TRITON_FROM, device="cuda:0") == "reference"
    assert worthwhile_kernels(small, MUCH) == "specialized"


def test_types_tables_and_devices_that_are_not_served_get_plain_torch(monkeypatch) -> None:
    monkeypatch.setattr(cuda, "_has_triton", lambda: True)
    backbone = SphericalBackbone([1, 8], n_channels=4, l_max=1)
    assert worthwhile_kernels(backbone, MUCH, device="mps") == "reference"
    assert worthwhile_kernels(backbone.to(torch.bfloat16), MUCH, device="cuda") == "reference"
    large = SphericalBackbone([1, 8], n_channels=4, l_max=3)
    assert large.n_terms == max(len(layer.table.value) for layer in large.layers)
    assert large.n_terms > policy.MOST_TERMS
    assert worthwhile_kernels(large, MUCH, device="cuda") == "reference"


def test_each_backbone_tells_the_terms_of_its_largest_table() -> None:
    mace = MaceBackbone([1, 8], n_channels=4)
    assert mace.n_terms == max(len(layer.table.value) for layer in mace.layers) > 0
    assert InvariantBackbone([1, 8]).n_terms == 0
