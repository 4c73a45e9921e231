"""Splines through the radial networks of all layers."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from molequi.kernels import splines
from molequi.nn.mace.interaction import LayerSplines, MaceInteraction
from molequi.nn.mace.radial import EdgeScalars

# Knot intervals per Å: forces of random networks then differ from those of the networks on every
# edge by less than 4e-6 of the largest, of shapes such as MACE-OFF23's; with 64 by ten times that.
KNOTS_PER_ANGSTROM = 128
# A length instead of zero, Å, at which the radial functions are not defined.
_NEARLY_ZERO = 1e-6


def distances_of_knots(cutoff: float, device: torch.device) -> Tensor:
    """Return the distances of the knots, Å, in float64.

    A model in float32 and its copy in float64 share their knots. A spline is even: its values at
    the knot before zero are those after it.
    """
    n_intervals = math.ceil(KNOTS_PER_ANGSTROM * cutoff)
    return splines.knots(n_intervals, cutoff, device).abs().clamp(min=_NEARLY_ZERO)


def splines_through(
    layers: Iterable[MaceInteraction], at_knots: EdgeScalars, dtype: torch.dtype
) -> list[LayerSplines]:
    """Return the splines of each layer through its networks' values at the knots."""
    rounded = EdgeScalars(*(x.to(dtype) for x in at_knots))
    return [layer.splines(rounded) for layer in layers]
