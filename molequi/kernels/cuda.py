"""The convolution's operators on a GPU: Triton kernels, written for each coupling table.

The derivation stands in `kernels.convolution`.

Measured on an NVIDIA H100 80GB (torch 2.11.0+cu130, Triton 3.6.0), models of two layers, l up to 2
and 10 paths. Forces of 24 molecules differ from those of plain torch on a CPU in float64 by at most
1.9e-13 eV/Å (64 channels) and 7.2e-13 eV/Å (128), energies by 2.9e-11 eV, charges by 1.5e-15 e; in
float32 forces by 6.5e-5 and 3.5e-4 eV/Å, those of plain torch on the GPU by 7.7e-5 and 3.8e-4.
Energies and forces of 2,920 atoms in 64 molecules by a frozen model: with 128 channels 28.6 ms, in
plain torch 40.1 ms; with 64 channels 26.1 and 25.9 ms, the time that launching all operations of
the model takes. In a training step of 1,820 atoms, 32,000 edges and 128 channels, all convolutions
with their second derivatives take 1.4 ms. Compiling the kernels of both tables took 16 s, once:
Triton keeps them on disk. The sizes below are not tuned.

Compiled for compute capability 9.0 in float32, the kernels of 10 paths with 40 components of the
output take 48 to 168 registers a thread and those of 30 paths with both parities up to 255, some
spilled. Compiling takes seconds a kernel for the former; for the latter minutes, and the backward
of the backward did not end within ten on a busy core. In the former most of the time is Triton's
pass TritonGPUCoalesce, which seems to grow faster than the code.

A program serves one node and a block of channels, one channel per thread of one warp. It walks the
edges of the receiver, or of the sender, keeps the components in registers and writes each once. dy
and dr, sums over all channels, are written as one part per block and summed by torch. No output of
a node or an edge needs atomics, and all of them come out the same in every run.

ds is shared by all nodes. Added edge by edge it would take 4 P C atomic additions an edge, most to
the few knots around the lengths of bonds. So it has kernels of its own over the edges sorted by
knot: a program sums its share of one interval for one path in registers, then adds four rows
atomically. The order of these additions varies, so ds is reproducible up to rounding only. Without
`wants_s`, as for forces, none of this runs. Splines of several kinds of edges are not served.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from molequi.kernels import jit_cache, splines
from molequi.kernels.codegen import triton_kernels
from molequi.kernels.tables import table_named

logger = logging.getLogger(__name__)

# Channels of a program: one for each thread of a warp, so that the components of any table fit
# into registers.
_BLOCK = 32
# Edges in an interval of the knots, on average, that are worth a program of their own; and the most
# programs that share an interval.
_SHARE, _MOST_SHARES = 16, 64


def serves(features: Tensor) -> bool:
    """Tell whether these kernels can compute with `features`.

    Without Triton plain torch serves, which is logged once.
    """
    return features.is_cuda and serves_type(features.dtype)


def serves_type(dtype: torch.dtype) -> bool:
    """Tell whether these kernels can compute with numbers of this type, were there a GPU."""
    return dtype in {torch.float32, torch.float64} and _has_triton()


@functools.lru_cache(maxsize=1)
def _has_triton() -> bool:
    found = importlib.util.find_spec("triton") is not None
    if not found:
        logger.warning(
            "Triton is not installed: convolutions on the GPU are computed by plain torch, which "
            "is slower (pip install triton)"
        )
    return found


def forward(  # noqa: PLR0913, PLR0917
    h: Tensor,
    y: Tensor,
    r: Tensor,
    s: Tensor,
    index: Tensor,
    receiver_ptr: Tensor,
    order: Tensor,
    sender_ptr: Tensor,
    kinds: Tensor,
    form: str,
    table: str,
    cutoff: float,
) -> Tensor:
    """Return A."""
    out = h.new_empty(h.shape[0], table_named(table).output.dim, h.shape[2])
    _launch_by_node(_kernels(table).forward, [h, y, r, s, index[0], receiver_ptr, out], s, cutoff)
    return out


def backward(  # noqa: PLR0913, PLR0917
    h: Tensor, y: Tensor, r: Tensor, s: Tensor, g: Tensor,
    index: Tensor, receiver_ptr: Tensor, order: Tensor, sender_ptr: Tensor, kinds: Tensor,
    form: str, table: str, cutoff: float, wants_s: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return dh, dy, dr, ds; ds is empty without `wants_s`."""
    kernels, (dh, dy, dr) = _kernels(table), _gradients_by_sender(h, y, r)
    _launch_by_node(
        kernels.backward, [h, y, r, s, g, index[1], order, sender_ptr, dh, dy, dr], s, cutoff
    )
    ds = (
        _launch_by_knot(kernels.splines, [h, y, r, g, *index], r, s, cutoff)
        if wants_s
        else s.new_empty(0, 0, 0)
    )
    return dh, dy.sum(1), dr.sum(1), ds


def double_backward(  # noqa: PLR0913, PLR0917
    h: Tensor, y: Tensor, r: Tensor, s: Tensor, g: Tensor,
    u: Tensor, v: Tensor, w: Tensor, z: Tensor | None,
    index: Tensor, receiver_ptr: Tensor, order: Tensor, sender_ptr: Tensor, kinds: Tensor,
    form: str, table: str, cutoff: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return dh, dy, dr, ds, dg of <u, dh> + <v, dy> + <w, dr> + <z, ds>."""
    kernels, (dh, dy, dr), dg = (
        _kernels(table),
        _gradients_by_sender(h, y, r),
        torch.empty_like(g, memory_format=torch.contiguous_format),
    )
    # Where z is left out the kernels do not read it; any tensor stands in its place.
    cotangents, with_z = [u, v, w, s if z is None else z], z is not None
    inputs = [h, y, r, s, g, *cotangents, index[1], order, sender_ptr]
    _launch_by_node(kernels.double_by_sender, [*inputs, dh, dy, dr], s, cutoff, WITH_Z=with_z)
    _launch_by_node(
        kernels.double_by_receiver,
        [h, y, r, s, *cotangents, index[0], receiver_ptr, dg],
        s,
        cutoff,
        WITH_Z=with_z,
    )
    ds = _launch_by_knot(kernels.double_splines, [h, y, r, g, u, v, w, *index], r, s, cutoff)
    return dh, dy.sum(1), dr.sum(1), ds, dg


@functools.lru_cache
def _kernels(name: str) -> ModuleType:
    """Return the kernels of the table of this name; Triton compiles each at its first call."""
    return jit_cache.load(triton_kernels.source(table_named(name)))


def _gradients_by_sender(h: Tensor, y: Tensor, r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what a kernel by sender writes: dh, and dy and dr in one part per block of channels.

    Zero, for it leaves out edges beyond the cutoff.
    """
    n_blocks = _n_blocks(h)
    return (
        torch.empty_like(h, memory_format=torch.contiguous_format),
        y.new_zeros(len(y), n_blocks, y.shape[1]),
        r.new_zeros(len(r), n_blocks),
    )


def _n_blocks(features: Tensor) -> int:
    return -(-features.shape[2] // _BLOCK)


def _launch_by_node(
    kernel: Any, tensors: Sequence[Tensor], s: Tensor, cutoff: float, **flags: bool
) -> None:
    """Run a kernel whose programs are the nodes and the blocks of channels."""
    _launch(kernel, (tensors[0].shape[0], _n_blocks(tensors[0])), tensors, s, cutoff, **flags)


def _launch_by_knot(
    kernel: Any, inputs: Sequence[Tensor], r: Tensor, s: Tensor, cutoff: float
) -> Tensor:
    """Return ds by a kernel over the edges sorted by knot."""
    n_intervals, n_paths, _ = s.shape
    n_intervals -= 3
    order, pointers = _by_knot(r, n_intervals, cutoff)
    n_shares = max(1, min(_MOST_SHARES, len(r) // (_SHARE * n_intervals)))
    ds = torch.zeros_like(s, memory_format=torch.contiguous_format)
    _launch(
        kernel,
        (n_intervals, n_shares, n_paths * _n_blocks(inputs[0])),
        [*inputs, order, pointers, ds],
        s,
        cutoff,
    )
    return ds


def _by_knot(r: Tensor, n_intervals: int, cutoff: float) -> tuple[Tensor, Tensor]:
    """Return the edges sorted by the interval of the knots, and where each interval begins.

    (E,), (K + 1,); those beyond the cutoff come last.

    A distance that rounding moves to the next interval does no harm: the pieces of a spline meet
    with two derivatives.
    """
    x = splines.place(r, n_intervals, cutoff)
    interval = x.nan_to_num(0.0).clamp(0, n_intervals - 1).to(torch.int64)
    interval = torch.where(r >= cutoff, n_intervals, interval)
    interval, order = torch.sort(interval, stable=True)
    return order, torch.searchsorted(interval, torch.arange(n_intervals + 1, device=r.device))


def _launch(
    kernel: Any,
    grid: tuple[int, ...],
    tensors: Sequence[Tensor],
    s: Tensor,
    cutoff: float,
    **flags: bool,
) -> None:
    if 0 in grid:
        return
    n_intervals = s.shape[0] - 3
    scale, shift = splines.map_numbers(n_intervals, cutoff)
    numbers = {
        "C": s.shape[2],
        "K": n_intervals,
        "cutoff": cutoff,
        "scale": scale,
        "shift": shift,
        "BLOCK": _BLOCK,
    }
    with torch.cuda.device_of(s):
        kernel[grid](*(x.contiguous() for x in tensors), **numbers, **flags, num_warps=_BLOCK // 32)
