"""The fused sweeps as plain functions, for whoever writes out gradients by hand: no autograd, no dispatch. Float tensors on a CPU."""

from __future__ import annotations

from torch import Tensor

from molequi.kernels import cpu, products
from molequi.kernels.edges import Edges
from molequi.kernels.operators import name_of
from molequi.symmetry.coupling import CouplingTable

__all__ = ["convolve", "convolve_gradient", "couple", "couple_gradient", "name_of", "serves"]


def serves(tensor: Tensor, kernels: str) -> bool:
    """Tell whether there are sweeps for this tensor."""
    return kernels in {"table", "unrolled"} and tensor.device.type == "cpu"


def convolve(h: Tensor, y: Tensor, r: Tensor, s: Tensor, edges: Edges, table: CouplingTable, cutoff: float, kernels: str) -> Tensor:
    """Return A: see `kernels.convolve`."""
    return cpu.forward(h, y, r, s, *edges, f"{kernels} {name_of(table)}", cutoff)


def convolve_gradient(
    h: Tensor, y: Tensor, r: Tensor, s: Tensor, g: Tensor, edges: Edges, table: CouplingTable, cutoff: float, kernels: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dh, dy, dr for the gradient g of A."""
    return cpu.backward(h, y, r, s, g, *edges, f"{kernels} {name_of(table)}", cutoff, False)[:3]


def couple(x: Tensor, y: Tensor, w: Tensor, species: Tensor, table: str) -> Tensor:
    """Return B: see `kernels.couple`; table: its name."""
    return products.forward(x, y, w, species, table)


def couple_gradient(x: Tensor, y: Tensor, w: Tensor, g: Tensor, species: Tensor, table: str) -> tuple[Tensor, Tensor]:
    """Return dx, dy for the gradient g of B."""
    return products.backward(x, y, w, g, species, table, False)[:2]
