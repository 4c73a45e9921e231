"""Kernels that numba compiles at their first call and keeps on disk.

The modules are imported when they are first used: numba itself costs a second, which the plain path
does without.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from molequi.kernels.compiled import (
        contraction,
        contraction_tangents,
        convolution,
        edge_geometry,
        equilibration,
        pair_setup,
        pair_tangents,
        pairs,
        products,
        row_maps,
        scalar_messages,
    )

__all__ = [
    "contraction",
    "contraction_tangents",
    "convolution",
    "edge_geometry",
    "equilibration",
    "pair_setup",
    "pair_tangents",
    "pairs",
    "products",
    "row_maps",
    "scalar_messages",
]


def __getattr__(name: str) -> ModuleType:
    for find in (_of_edges, _of_nodes, _of_pairs):
        module = find(name)
        if module is not None:
            return module
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _of_edges(name: str) -> ModuleType | None:
    if name == "convolution":
        import molequi.kernels.compiled.convolution as convolution_kernels

        return convolution_kernels
    if name == "edge_geometry":
        import molequi.kernels.compiled.edge_geometry as geometry_kernels

        return geometry_kernels
    if name == "scalar_messages":
        import molequi.kernels.compiled.scalar_messages as scalar_kernels

        return scalar_kernels
    return None


def _of_nodes(name: str) -> ModuleType | None:
    if name == "contraction":
        import molequi.kernels.compiled.contraction as contraction_kernels

        return contraction_kernels
    if name == "contraction_tangents":
        import molequi.kernels.compiled.contraction_tangents as contraction_tangents_kernels

        return contraction_tangents_kernels
    if name == "products":
        import molequi.kernels.compiled.products as product_kernels

        return product_kernels
    if name == "row_maps":
        import molequi.kernels.compiled.row_maps as row_kernels

        return row_kernels
    return None


def _of_pairs(name: str) -> ModuleType | None:
    if name == "equilibration":
        import molequi.kernels.compiled.equilibration as equilibration_kernels

        return equilibration_kernels
    if name == "pairs":
        import molequi.kernels.compiled.pairs as pair_kernels

        return pair_kernels
    if name == "pair_tangents":
        import molequi.kernels.compiled.pair_tangents as tangent_kernels

        return tangent_kernels
    if name == "pair_setup":
        import molequi.kernels.compiled.pair_setup as setup_kernels

        return setup_kernels
    return None
