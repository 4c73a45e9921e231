"""Features in the layout of e3nn, for networks that go on there, or come from there.

Ours are (..., M, C): the M components of all irreps, each with the same C channels. e3nn's are
(..., M C): irrep after irrep, for each its channels, for each channel its components. The basis of
an irrep and its size are the same, so that nothing but the order changes.
"""

from __future__ import annotations

import torch
from e3nn import o3
from torch import Tensor

from molequi.errors import UserError
from molequi.o3.irreps import Irreps


def features_to_e3nn(features: Tensor, irreps: str | Irreps) -> tuple[Tensor, o3.Irreps]:
    """Return features (..., M, C) as (..., M C), with the `e3nn.o3.Irreps` of what they are now.

    Raises UserError where M is not that of `irreps`.
    """
    irreps = Irreps(irreps)
    if features.ndim < 2 or features.shape[-2] != irreps.dim:
        raise UserError(
            f"features of {irreps} have the shape (..., {irreps.dim}, channels), got "
            f"{tuple(features.shape)}"
        )
    parts = [features[..., part, :].transpose(-1, -2).flatten(-2) for part in irreps.slices()]
    return torch.cat(parts, dim=-1), o3.Irreps(irreps.to_e3nn(features.shape[-1]))


def features_from_e3nn(features: Tensor, irreps: str | o3.Irreps) -> tuple[Tensor, Irreps]:
    """Return features (..., M C) of e3nn as (..., M, C), with their irreps without channels.

    Raises UserError where not all irreps have the same number of channels, and for features of
    another size.
    """
    theirs = o3.Irreps(irreps)
    ours = Irreps.from_e3nn(theirs)
    if features.shape[-1] != theirs.dim:
        raise UserError(
            f"features of {theirs} have the shape (..., {theirs.dim}), got {tuple(features.shape)}"
        )
    parts = [
        features[..., part].unflatten(-1, (block.mul, block.ir.dim)).transpose(-1, -2)
        for part, block in zip(theirs.slices(), theirs, strict=True)
    ]
    return torch.cat(parts, dim=-2), ours
