"""The irrep parts of a property's values: what losses, scales and errors are counted by.

A value of several irreps, such as the Rosenfeld tensor (0o+1o+2o), splits into parts that symmetry
keeps apart and whose sizes may differ by orders of magnitude. They are taken in the orthonormal
basis, so that the squares of all parts add up to the square of the value.
"""

from __future__ import annotations

from torch import Tensor

from molequi.o3.cartesian import from_cartesian
from molequi.o3.irreps import Irreps
from molequi.properties import Property, part_names


def split_parts(row: Property, values: Tensor) -> dict[str, Tensor]:
    """Split values (..., *row.shape) by part name.

    The values as they are where there is one part, else rows (..., 2l + 1).
    """
    names, irreps = part_names(row), Irreps(row.irreps)
    if len(names) == 1:
        return {row.name: values}
    rows = from_cartesian(values, irreps.degrees)
    return {name: rows[..., part] for name, part in zip(names, irreps.slices(), strict=True)}
