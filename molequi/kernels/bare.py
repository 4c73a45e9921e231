"""The fused sweeps as plain functions, for whoever writes out gradients by hand: no autograd, no dispatch, results in given buffers.

Float tensors on a CPU; buffers are contiguous.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from molequi.kernels import cpu, products
from molequi.kernels.edges import Edges
from molequi.kernels.operators import name_of
from molequi.symmetry.coupling import CouplingTable


def serves(tensor: Tensor, kernels: str) -> bool:
    """Tell whether there are sweeps for this tensor."""
    return kernels in {"table", "unrolled"} and tensor.device.type == "cpu"


def convolve(
    h: Tensor, y: Tensor, r: Tensor, s: Tensor, edges: Edges, table: CouplingTable, cutoff: float, kernels: str, out: Tensor
) -> None:
    """Write A: see `kernels.convolve`."""
    cpu.write_forward((h, y, r, s), edges, f"{kernels} {name_of(table)}", cutoff, out)


def convolve_gradient(
    h: Tensor, y: Tensor, r: Tensor, s: Tensor, g: Tensor, edges: Edges, table: CouplingTable, cutoff: float, kernels: str, out: Sequence[Tensor]
) -> None:
    """Write dh, dy, dr for the gradient g of A."""
    cpu.write_backward((h, y, r, s, g), edges, f"{kernels} {name_of(table)}", cutoff, out, wants_s=False)


def couple(x: Tensor, y: Tensor, w: Tensor, species: Tensor, table: CouplingTable, out: Tensor) -> None:
    """Write B: see `kernels.couple`."""
    products.run("forward", name_of(table), [x, y, w, species], [out])


def couple_gradient(x: Tensor, y: Tensor, w: Tensor, g: Tensor, species: Tensor, table: CouplingTable, out: Sequence[Tensor]) -> None:
    """Write dx, dy for the gradient g of B."""
    products.run("backward", name_of(table), [x, y, w, g, species], out, shared=(0, 0, 0))
