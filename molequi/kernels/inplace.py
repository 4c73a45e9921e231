"""The fused kernels as plain functions, for whoever writes out gradients by hand.

No autograd, no dispatch, no threads, results in given buffers.

Float tensors on a CPU; buffers are contiguous. Each call serves the nodes of a range: receivers
forward, senders backward.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from molequi.kernels import contraction, cpu, products
from molequi.kernels.edges import Edges, NodeRange
from molequi.kernels.tables import name_of
from molequi.o3.coupling import CouplingTable


def serves(tensor: Tensor, kernels: str) -> bool:
    """Tell whether there are kernels for this tensor."""
    return kernels in {"generic", "specialized"} and tensor.device.type == "cpu"


def convolve(
    inputs: Sequence[Tensor],
    edges: Edges,
    table: CouplingTable,
    cutoff: float,
    kernels: str,
    out: Tensor,
    nodes: NodeRange,
) -> None:
    """Write A of the inputs h, y, r, s: see `kernels.convolve`."""
    cpu.write_forward(inputs, edges, kernels, name_of(table), cutoff, out, [nodes])


def convolve_gradient(
    inputs: Sequence[Tensor],
    edges: Edges,
    table: CouplingTable,
    cutoff: float,
    kernels: str,
    out: Sequence[Tensor],
    nodes: NodeRange,
) -> None:
    """Write dh, dy, dr of the inputs h, y, r, s, g, where g is the gradient of A."""
    cpu.write_backward(inputs, edges, kernels, name_of(table), cutoff, out, [nodes], wants_s=False)


def couple(inputs: Sequence[Tensor], table: CouplingTable, out: Tensor, nodes: NodeRange) -> None:
    """Write B of the inputs x, y, w, species: see `kernels.couple`."""
    products.run("forward", name_of(table), inputs, [out], [nodes])


def couple_gradient(
    inputs: Sequence[Tensor], table: CouplingTable, out: Sequence[Tensor], nodes: NodeRange
) -> None:
    """Write dx, dy of the inputs x, y, w, g, species, where g is the gradient of B."""
    products.run("backward", name_of(table), inputs, out, [nodes], shared=(0, 0, 0))


def contract(inputs: Sequence[Tensor], polynomials: str, out: Tensor, nodes: NodeRange) -> None:
    """Write B of the inputs x, w, species: see `kernels.contract`; polynomials: by name."""
    contraction.write_forward(inputs, polynomials, out, [nodes])


def contract_gradient(
    inputs: Sequence[Tensor], polynomials: str, out: Tensor, nodes: NodeRange
) -> None:
    """Write dx of the inputs x, w, g, species, where g is the gradient of B."""
    contraction.write_backward(inputs, polynomials, out, [nodes], wants_w=False)
