"""The fused convolution on the CPU: generated numba sweeps behind one differentiable function.

All derivatives of the convolution are the 4-linear form T(h, Y, R, g) = sum CG h_j[a,c] Y_e[b] R_e[p,c] g_i[k,c] with one argument left open,
so forward, backward and backward of the backward are three sweeps over the edges. Third derivatives are refused by autograd.

Compiling takes seconds, so it is done on request only, and the source is kept in the user's cache folder:
generated code must live in a file for numba to cache it. Without a writable cache it lives in a temporary folder.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import sys
import tempfile
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from molequi.kernels import generate
from molequi.kernels.edges import Edges
from molequi.symmetry.coupling import CouplingTable

# numba's default threading layer is not safe for two callers at once.
_lock = threading.Lock()
_compiled: dict[tuple[CouplingTable, torch.dtype], ModuleType] = {}


def compiled(table: CouplingTable, dtype: torch.dtype) -> ModuleType:
    """Return the sweeps of a table for float32 or float64; numba compiles each at its first call."""
    key = table, dtype
    if key not in _compiled:
        _compiled[key] = _load(generate.source(table, str(dtype).removeprefix("torch.")))
    return _compiled[key]


def convolve(features: Tensor, harmonics: Tensor, radial: Tensor, edges: Edges, kernels: ModuleType, n_outputs: int) -> Tensor:
    """Compute what `reference.convolve` computes; arguments as there, kernels from `compiled`, n_outputs the rows of the output."""
    return _Convolution.apply(features, harmonics, radial, edges, kernels, n_outputs)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, h: Tensor, y: Tensor, r: Tensor, edges: Edges, kernels: ModuleType, n_outputs: int) -> Tensor:
        ctx.save_for_backward(h, y, r)
        ctx.rest = edges, kernels
        out = h.new_empty(h.shape[0], n_outputs, h.shape[2])
        _run(kernels.forward, h, y, r, edges.index[0], edges.receiver_ptr, out)
        return out

    @staticmethod
    def backward(ctx: FunctionCtx, g: Tensor) -> tuple[Tensor | None, ...]:
        return (*_ConvolutionBackward.apply(*ctx.saved_tensors, g, *ctx.rest), None, None, None)


class _ConvolutionBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, h: Tensor, y: Tensor, r: Tensor, g: Tensor, edges: Edges, kernels: ModuleType) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(h, y, r, g)
        ctx.rest = edges, kernels
        gradients = torch.empty_like(h, memory_format=torch.contiguous_format), torch.empty_like(y), torch.empty_like(r)
        _run(kernels.backward, h, y, r, g, edges.index[1], edges.sender_order, edges.sender_ptr, *gradients)
        return gradients

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, u: Tensor, v: Tensor, w: Tensor) -> tuple[Tensor | None, ...]:
        h, y, r, g = ctx.saved_tensors
        edges, kernels = ctx.rest
        gradients = torch.empty_like(h, memory_format=torch.contiguous_format), torch.empty_like(y), torch.empty_like(r)
        _run(kernels.double_by_sender, h, y, r, g, u, v, w, edges.index[1], edges.sender_order, edges.sender_ptr, *gradients)
        dg = torch.empty_like(g, memory_format=torch.contiguous_format)
        _run(kernels.double_by_receiver, h, y, r, u, v, w, edges.index[0], edges.receiver_ptr, dg)
        return (*gradients, dg, None, None)


def _run(kernel, *tensors: Tensor) -> None:  # noqa: ANN001 (a numba dispatcher)
    """Call a sweep with torch's thread count; the outputs are the last tensors, written in place."""
    import numba  # noqa: PLC0415 (costs a second; the plain path does without)

    arrays = [np.ascontiguousarray(tensor.detach().numpy()) for tensor in tensors]
    with _lock:
        before = numba.get_num_threads()
        numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
        try:
            kernel(*arrays)
        finally:
            numba.set_num_threads(before)


def cache_folder() -> Path:
    """Return the folder for generated kernels."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "molequi" / "kernels"


@functools.lru_cache
def _load(text: str) -> ModuleType:
    name = f"molequi_sweeps_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    try:
        path = _store(cache_folder(), name, text)
    except OSError:
        path = _store(Path(tempfile.mkdtemp(prefix="molequi-")), name, text)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    # numba's cache finds compiled functions by the name of an imported module.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _store(folder: Path, name: str, text: str) -> Path:
    """Write the source by rename, so that processes that start together never read half of it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    if not path.is_file() or path.read_text() != text:
        with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".part", delete=False) as part:
            part.write(text)
        os.replace(part.name, path)
    return path
