"""The fused convolution: kernels over the edges behind three torch operators.

By numba on a CPU (`cpu`) and by Triton on a GPU (`cuda`).

All derivatives of the convolution are the 4-linear form

    T(h, Y, R, g) = sum_e sum_p sum_(a,b,k) CG[p;a,b,k] h_j[a,c] Y_e[b] R_e[p,c] g_i[k,c]

with one argument left open, where R_e[p,c] = sum_k B_k(r_e) s[n_e + k, p, c] is a cubic B-spline
(the four basis functions that are not zero on the interval n_e of r_e): T is linear in the
coefficients s too, and r enters through B, B' and B''. With q_e[p,c] = sum CG h_j Y_e g_i:

    forward    A_i   = sum_e CG h_j Y_e R_e                                            edges by
    receiver
    backward   dh_j  = sum_e CG Y_e R_e g_i,   dY_e = sum_c CG h_j R_e g_i,            edges by
    sender
               dr_e  = sum_pc R'_e q_e,        ds[n_e + k] = sum_e B_k q_e

The backward of the backward takes cotangents u, v, w, z of dh, dY, dr, ds. It is the gradient of L
= sum_e sum_pc [R_e (q[u,Y,g] + q[h,v,g]) + W_e q[h,Y,g]] with W_e = w_e R'_e + sum_k B_k z[n_e +
k]: the same form again, swept once by sender (dh, dY, dr, ds) and once by receiver (dg). A kernel
accumulates what belongs to its node and writes every component once, without atomics; how ds, which
all nodes share, is summed differs by device. Third derivatives are refused by autograd.

NaN distances give NaN; from the cutoff on an edge gives zero, exactly.
"""

from __future__ import annotations

from torch import Tensor
from torch.library import custom_op

from molequi.kernels import cpu, cuda
from molequi.kernels.derivatives import LinearOperator, make_differentiable
from molequi.kernels.edges import Edges
from molequi.kernels.tables import name_of, table_named
from molequi.o3.coupling import CouplingTable


def convolve(
    features: Tensor,
    harmonics: Tensor,
    distances: Tensor,
    coefficients: Tensor,
    edges: Edges,
    table: CouplingTable,
    cutoff: float,
    kernels: str,
) -> Tensor:
    """Compute what `reference.convolve` computes, arguments as there; differentiable twice.

    kernels: `specialized`, `generic` or `triton`.
    """
    tensors = features, harmonics, distances, coefficients
    return forward(*tensors, *edges, kernels, name_of(table), cutoff)


forward = custom_op("molequi::convolve", cpu.forward, mutates_args=(), device_types="cpu")
backward = custom_op(
    "molequi::convolve_backward", cpu.backward, mutates_args=(), device_types="cpu"
)
double_backward = custom_op(
    "molequi::convolve_double_backward", cpu.double_backward, mutates_args=(), device_types="cpu"
)
forward.register_kernel("cuda", cuda.forward)
backward.register_kernel("cuda", cuda.backward)
double_backward.register_kernel("cuda", cuda.double_backward)


make_differentiable(LinearOperator(forward, backward, double_backward), n_tensors=4)


@forward.register_fake
def _(h: Tensor, y: Tensor, r: Tensor, s: Tensor, *rest: object) -> Tensor:
    return h.new_empty(h.shape[0], table_named(str(rest[6])).output.dim, h.shape[2])


@backward.register_fake
def _(h: Tensor, y: Tensor, r: Tensor, s: Tensor, g: Tensor, *rest: object) -> tuple[Tensor, ...]:
    return (
        *(x.new_empty(x.shape) for x in (h, y, r)),
        s.new_empty(s.shape if rest[8] else (0, 0, 0)),
    )


@double_backward.register_fake
def _(h: Tensor, y: Tensor, r: Tensor, s: Tensor, g: Tensor, *rest: object) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in (h, y, r, s, g))
