"""A property of 1e for tests of axial outputs: the table has none."""

from __future__ import annotations

from molequi.properties import declare

AXIAL = declare(
    "axial_vector",
    irreps="1e",
    unit="1",
    extensive=True,
    depends_on_origin=True,
    periodicity="open",
)
