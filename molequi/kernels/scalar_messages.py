"""Messages of atoms whose features are scalars, on the CPU, for gradients written out by hand.

In a first layer features are those of the sender's element alone, and its messages are their
product with a harmonic and a radial function, mixed by a matrix of each l:

    A_i[lm,c'] = sum_e Y_e[lm] sum_c R_e[l,c] h_(z_j)[c] W_l[c,c'].

For each element the sum over c is one more radial function, S_z[l,c'](r): a spline again, made
once. Neither features nor maps are left, and the gradient is that of Y and r alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from molequi.kernels import compiled, threads
from molequi.kernels.cpu import knots_map
from molequi.kernels.edges import Edges, NodeRange
from molequi.kernels.tables import arrays


def write_forward(
    y: Tensor, r: Tensor, s: Tensor, edges: Edges, cutoff: float, out: Tensor, nodes: NodeRange
) -> None:
    """Write A (N, (l_max + 1)^2, C), contiguous, of the receivers in `nodes`.

    y: (E, (l_max + 1)^2). r: (E,), Å. s: (kinds, K + 3, l_max + 1, C), see `kernels.splines`; the
    kind of each edge stands in `edges`.
    """
    inputs = arrays(y, r, s.flatten(0, -3), edges.kinds, edges.receiver_ptr)
    kernel, numbers = compiled.scalar_messages.forward, knots_map(s, cutoff)
    threads.run(kernel, inputs, numbers, arrays(out), [nodes])


def add_backward(
    tensors: tuple[Tensor, Tensor, Tensor, Tensor],
    edges: Edges,
    cutoff: float,
    out: Sequence[Tensor],
    nodes: NodeRange,
) -> None:
    """Add the gradients of y and r to `out`, for edges whose receivers are in `nodes`.

    tensors: y, r, s and g, the gradient of A.
    """
    y, r, s, g = tensors
    inputs = arrays(y, r, s.flatten(0, -3), g, edges.kinds, edges.receiver_ptr)
    kernel, numbers = compiled.scalar_messages.backward, knots_map(s, cutoff)
    threads.run(kernel, inputs, numbers, arrays(*out), [nodes])


def write_counts(
    r: Tensor, s: Tensor, edges: Edges, cutoff: float, out: tuple[Tensor, Tensor], nodes: NodeRange
) -> None:
    """Write n_i = 1 + sum_e f(r_e) of the receivers in `nodes`, and f' of their edges.

    s: the spline of f, ([kinds,] K + 3, 1, 1).
    """
    inputs = arrays(r, s.flatten(0, -3), edges.kinds, edges.receiver_ptr)
    kernel, numbers = compiled.scalar_messages.count, knots_map(s, cutoff)
    threads.run(kernel, inputs, numbers, arrays(*out), [nodes])
