"""Messages of atoms whose features are scalars, on the CPU, for gradients written out by hand.

In a first layer features are those of the sender's element alone, and its messages are their
product with a harmonic and a radial function, mixed by a matrix of each l:

    A_i[lm,c'] = sum_e Y_e[lm] sum_c R_e[l,c] h_(z_j)[c] W_l[c,c'].

For each element the sum over c is one more radial function, S_z[l,c'](r): a spline again, made
once. Neither features nor maps are left, and the gradient is that of Y and r alone. What products
do to messages first, a matrix of the receiver's element, can stand in the splines too.
"""

from __future__ import annotations

import numpy as np

from molequi.kernels import compiled
from molequi.kernels.edges import NodeRange
from molequi.kernels.prepared import Geometry, Splines


def write_forward(
    edges: Geometry,
    s: Splines,
    kinds: np.ndarray,
    receiver_ptr: np.ndarray,
    out: np.ndarray,
    nodes: NodeRange,
) -> None:
    """Write A (N, (l_max + 1)^2, C) of the receivers in `nodes`.

    s: of l_max + 1 paths. kinds: (E,), which of them an edge takes.
    """
    kernel = compiled.scalar_messages.forward
    kernel(*nodes, *edges, s.values, kinds, receiver_ptr, *s.numbers, out)


def add_backward(
    edges: Geometry,
    s: Splines,
    g: np.ndarray,
    kinds: np.ndarray,
    receiver_ptr: np.ndarray,
    out: Geometry,
    nodes: NodeRange,
) -> None:
    """Add the gradients of y and r to `out`, for edges into `nodes`; g: the gradient of A."""
    kernel = compiled.scalar_messages.backward
    kernel(*nodes, *edges, s.values, g, kinds, receiver_ptr, *s.numbers, *out)


def write_counts(
    r: np.ndarray,
    s: Splines,
    kinds: np.ndarray,
    receiver_ptr: np.ndarray,
    out: tuple[np.ndarray, np.ndarray],
    nodes: NodeRange,
) -> None:
    """Write n_i = 1 + sum_e f(r_e) of the receivers in `nodes`, and f' of their edges.

    s: f as the only path of one channel.
    """
    kernel = compiled.scalar_messages.count
    kernel(*nodes, r, s.values, kinds, receiver_ptr, *s.numbers, *out)
