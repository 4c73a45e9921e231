"""Measure single layers: how far they are from commuting with rotations, mirrors and shifts.

Layers on irreps or on images. `diagnostics.check.check_model` measures whole models; these are for
whoever builds a layer. Every value is an error relative to the root mean square of the layer's
output.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from molequi.diagnostics.limits import LIMITS, Measurement
from molequi.diagnostics.model_runner import rotation_of_rows
from molequi.groups.equivarify import turn_images
from molequi.groups.finite import dihedral_group
from molequi.models.structure import random_rotation
from molequi.o3.irreps import Irreps

Layer = Callable[[Tensor], Tensor]


def check_irreps_layer(
    layer: Layer,
    irreps: Irreps,
    n_channels: int,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> dict[str, Measurement]:
    """Measure a layer (N, M, C) -> (N', M, C) under `rotation` and `inversion`, on random features.

    The random numbers that the layer draws are the same in every call, so that dropout can be
    measured while training.
    """
    rng = np.random.default_rng(seed)
    features = torch.as_tensor(rng.standard_normal((12, irreps.dim, n_channels))).to(dtype)
    rotation = random_rotation(rng)
    motions = {
        "rotation": torch.block_diag(
            *[torch.as_tensor(rotation_of_rows(l, rotation)) for l in irreps.degrees]
        ).to(dtype),
        "inversion": torch.diag(
            torch.tensor([float(irreps[k].p) for k in irreps.of_components()], dtype=dtype)
        ),
    }
    still = _seeded(layer, features, seed)
    found = {
        name: _error(_seeded(layer, matrix @ features, seed), matrix @ still)
        for name, matrix in motions.items()
    }
    return {name: _measured(name, value, dtype, str(irreps)) for name, value in found.items()}


def check_grid_layer(layer: Layer, images: Tensor, *, stride: int = 1) -> dict[str, Measurement]:
    """Measure a periodic layer on images (B, C, n, n).

    It takes one pixel of stride x stride. `quarter_turn` and `mirror` are exact symmetries of a
    square grid, `shift`, by `stride` pixels, that of a periodic one. `fine_shift`, by one pixel,
    has an exact counterpart behind the stride only for images without fine structure: it is
    compared with the output moved by a fraction of a pixel in Fourier space, and has no limit of
    rounding.
    """
    turn, mirror = (dihedral_group(4).matrices[g] for g in dihedral_group(4).generators)
    with torch.no_grad():
        still = layer(images)
        found = {
            "quarter_turn": _error(layer(turn_images(turn, images)), turn_images(turn, still)),
            "mirror": _error(layer(turn_images(mirror, images)), turn_images(mirror, still)),
            "shift": _error(
                layer(torch.roll(images, stride, dims=-1)), torch.roll(still, 1, dims=-1)
            ),
            "fine_shift": _error(
                layer(torch.roll(images, 1, dims=-1)), _moved(still, 1.0 / stride)
            ),
        }
    return {
        name: _measured(
            name, value, images.dtype, f"{images.shape[-2]} x {images.shape[-1]} pixels"
        )
        for name, value in found.items()
    }


_DESCRIPTIONS = {
    "rotation": LIMITS["rotation"].description,
    "inversion": LIMITS["inversion"].description,
    "quarter_turn": "output of the turned image - turned output",
    "mirror": "output of the mirrored image - mirrored output",
    "shift": "output of the image moved by the stride - output moved by a pixel",
    "fine_shift": "output of the image moved by a pixel - output moved by a fraction of one",
}
# A layer that aliases at all has an error of this order for a shift finer than its stride; ordinary
# striding of noise has 1.
_FINE_SHIFT_LIMIT = 0.25


def _measured(name: str, value: float, dtype: torch.dtype, where: str) -> Measurement:
    limit = _FINE_SHIFT_LIMIT if name == "fine_shift" else LIMITS["rotation"].of(dtype)
    return Measurement(value, limit, "1", _DESCRIPTIONS[name], where)


def _seeded(layer: Layer, features: Tensor, seed: int) -> Tensor:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        return layer(features)


def _error(found: Tensor, expected: Tensor) -> float:
    size = expected.square().mean().sqrt()
    return (
        float((found - expected).square().mean().sqrt() / size)
        if size > 0
        else float((found - expected).abs().max())
    )


def _moved(images: Tensor, distance: float) -> Tensor:
    """Move periodic images along the last axis by a fraction of a pixel."""
    frequencies = torch.fft.rfftfreq(images.shape[-1], dtype=images.dtype, device=images.device)
    return torch.fft.irfft(
        torch.fft.rfft(images) * torch.exp(-2j * torch.pi * frequencies * distance),
        n=images.shape[-1],
    )
