"""What PointConv's order of the sums saves.

A LieConv layer against the same sum over kernel matrices, in processor time and memory.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import torch
from torch import Tensor

from molequi.groups.clouds import Cloud, make_cloud
from molequi.groups.lie_groups import group_named
from molequi.groups.lieconv import LieConv

# Molecules in a batch, atoms of each (QM9's mean), channels in and out of the convolution.
SHAPES = ((16, 18, 16), (16, 18, 64), (16, 18, 128))
REPEATS = 5


def direct(convolution: LieConv, cloud: Cloud, features: Tensor) -> Tensor:
    """Return the same features by the definition: a matrix (C_out, C_in) for every pair."""
    n_out, n_in = convolution.mix.out_features, features.shape[2]
    s = convolution.kernel(cloud.coordinates.flatten(0, 2))
    kernels = torch.einsum(
        "omc,pm->poc", convolution.mix.weight.reshape(n_out, convolution.n_middle, n_in), s
    )
    sums = torch.einsum(
        "bijoc,bjc->bio", kernels.reshape(*cloud.distances.shape, n_out, n_in), features
    )
    return sums / features.shape[1] + convolution.mix.bias


def rows() -> list[dict[str, object]]:
    """Return times of forward and backward, bytes held, and ratios for each shape.

    Times are ms of processor time, bytes the most that were held (MiB)."""
    torch.manual_seed(0)
    return [_row(*shape) for shape in SHAPES]


def _row(n_molecules: int, n_atoms: int, n_channels: int) -> dict[str, object]:
    group = group_named("T(3)", 3)
    points, mask = (
        torch.randn(n_molecules, n_atoms, 3),
        torch.ones(n_molecules, n_atoms, dtype=torch.bool),
    )
    cloud = make_cloud(group, group.section(points), group.orbit(points), mask, torch.float32)
    features = torch.randn(n_molecules, n_atoms, n_channels, requires_grad=True)
    convolution = LieConv(n_channels, n_channels, 3).eval()
    with torch.no_grad():
        difference = (
            (convolution(cloud, features) - direct(convolution, cloud, features)).abs().max()
        )
    seconds = [
        _processor_seconds(lambda f=form: f().sum().backward())
        for form in _forms(convolution, cloud, features)
    ]
    held = [_bytes_held(form) / 2**20 for form in _forms(convolution, cloud, features)]
    return {
        "molecules": n_molecules,
        "atoms": n_atoms,
        "channels": n_channels,
        "difference": float(difference),
        "direct_ms": 1e3 * seconds[0],
        "reordered_ms": 1e3 * seconds[1],
        "time_ratio": seconds[0] / seconds[1],
        "direct_mib": held[0],
        "reordered_mib": held[1],
        "memory_ratio": held[0] / held[1],
    }


def _forms(
    convolution: LieConv, cloud: Cloud, features: Tensor
) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    return lambda: direct(convolution, cloud, features), lambda: convolution(cloud, features)


def _processor_seconds(call: Callable[[], object]) -> float:
    """Return the least of several processor times: other processes do not count."""
    call()
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def _bytes_held(call: Callable[[], Tensor]) -> int:
    """Return the bytes that autograd keeps between forward and backward, each storage once.

    What limits the batch in training.
    """
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    gc.collect()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = call()
    del result
    return sum(storages.values())
