"""The Triton kernels against the reference: on a GPU, and on the CPU by Triton's interpreter.

And that they compile for a GPU that is not there.

Triton is hundreds of MB and not among the test requirements. With it, `TRITON_INTERPRET=1 pytest
tests/kernels/test_cuda.py` runs what needs the interpreter, which must be chosen before Triton is
imported; without the variable one test here starts that in a process of its own.
"""

import importlib.util
import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch.library import opcheck

from molequi.graphs.neighbors import build_graph
from molequi.kernels import (
    Edges,
    convolution,
    convolve,
    cpu,
    cuda,
    edges_of,
    jit_cache,
)
from molequi.kernels.codegen import triton_kernels
from molequi.kernels.tables import name_of
from molequi.o3.coupling import CouplingTable, coupling_table
from molequi.o3.irreps import Irreps

IS_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
HAS_TRITON = importlib.util.find_spec("triton") is not None
CUTOFF, N_INTERVALS = 2.5, 4
OPERATORS = ("forward", "backward", "double_backward")
# The interpreter takes a second for some thousand operations.
SMALL = coupling_table(((0, 1), (1, -1)), Irreps.natural(1), ((0, 1), (1, -1)))
BOTH_PARITIES = coupling_table(((0, -1), (1, 1), (1, -1)), Irreps.natural(1), ((0, 1), (1, 1)))
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def needs_triton() -> None:
    if not HAS_TRITON:
        pytest.skip(
            "Triton is not installed; `pip install triton` in the version that torch names, then "
            "run this file again"
        )


@pytest.fixture(params=["interpreter", "cuda"])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield `cuda`.

    Or `cpu`, with the operators on the CPU replaced by the Triton kernels, which the interpreter
    runs on tensors there.
    """
    needs_triton()
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("no GPU that torch can use")
        if IS_INTERPRETED:
            pytest.skip("TRITON_INTERPRET=1 is set; unset it to run on the GPU")
        yield "cuda"
        return
    if not IS_INTERPRETED:
        pytest.skip(
            "TRITON_INTERPRET=1 is not set, see test_the_interpreter_in_a_process_of_its_own"
        )
    for name in OPERATORS:
        getattr(convolution, name).register_kernel("cpu", getattr(cuda, name))
    yield "cpu"
    for name in OPERATORS:
        getattr(convolution, name).register_kernel("cpu", getattr(cpu, name))


def fused(device: str) -> str:
    """The name by which the Triton kernels are asked for.

    Under the interpreter they stand in for the kernels of the CPU.
    """
    return "triton" if device == "cuda" else "generic"


def arguments(
    table: CouplingTable, n_channels: int, dtype: torch.dtype, device: str
) -> tuple[list[torch.Tensor], Edges]:
    """Random h, Y, r, s on the edges of five atoms.

    The last has no neighbours, one edge lies beyond the cutoff, one in the first interval.
    """
    generator = torch.Generator().manual_seed(0)
    positions = [
        [0.0, 0.0, 0.0],
        [1.0, 0.0, 0.0],
        [0.0, 1.2, 0.0],
        [0.0, 0.0, 2.4],
        [50.0, 0.0, 0.0],
    ]
    edges = edges_of(build_graph(positions, [1] * 5, CUTOFF))
    n_edges = edges.index.shape[1]

    def random(*shape: int) -> torch.Tensor:
        return (
            torch.randn(*shape, dtype=torch.float64, generator=generator)
            .to(device, dtype)
            .requires_grad_(True)
        )

    distances = 0.2 + 2.2 * torch.rand(n_edges, dtype=torch.float64, generator=generator)
    distances[:2] = torch.tensor([0.05, CUTOFF + 0.1])
    h, y = random(5, table.first.dim, n_channels), random(n_edges, table.second.dim)
    s = random(N_INTERVALS + 3, len(table.paths), n_channels)
    return [h, y, distances.to(device, dtype).requires_grad_(True), s], Edges(
        *(x.to(device) for x in edges)
    )


@pytest.mark.parametrize(
    ("table", "n_channels", "dtype"),
    [(SMALL, 35, torch.float64), (SMALL, 3, torch.float32), (BOTH_PARITIES, 1, torch.float64)],
    ids=["two blocks", "float32", "both parities"],
)
def test_triton_gives_the_values_and_derivatives_of_the_reference(
    table: CouplingTable, n_channels: int, dtype: torch.dtype, device: str
) -> None:
    tensors, edges = arguments(table, n_channels, dtype, device)
    generator = torch.Generator().manual_seed(4)

    def like(tensor: torch.Tensor) -> torch.Tensor:
        return (
            torch.randn(tensor.shape, dtype=torch.float64, generator=generator)
            .to(tensor)
            .requires_grad_(True)
        )

    g, cotangents = (
        like(convolve(*tensors, edges, table, CUTOFF)),
        [like(tensor) for tensor in tensors],
    )
    results = []
    for kernels in ("reference", fused(device)):
        out = convolve(*tensors, edges, table, CUTOFF, kernels=kernels)
        first = torch.autograd.grad(out, tensors, g, create_graph=True)
        second = torch.autograd.grad(first, (*tensors, g), cotangents)
        # As in training on forces: the first pass leaves the coefficients out.
        out = convolve(*tensors, edges, table, CUTOFF, kernels=kernels)
        forces = torch.autograd.grad(out, tensors[:3], g, create_graph=True)
        training = torch.autograd.grad(forces, (*tensors, g), cotangents[:3])
        results.append([out, *first, *second, *forces, *training])
    assert results[1][0].grad_fn.name() != results[0][0].grad_fn.name()
    for mine, other in zip(results[1], results[0], strict=True):
        assert mine.shape == other.shape
        torch.testing.assert_close(
            mine, other, atol=TOLERANCE[dtype] * float(other.detach().abs().max()), rtol=0.0
        )


def test_programs_that_share_an_interval_add_up(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors, edges = arguments(SMALL, 2, torch.float64, device)
    monkeypatch.setattr(cuda, "_SHARE", 1)
    outputs = [
        convolve(*tensors, edges, SMALL, CUTOFF, kernels=kernels)
        for kernels in ("reference", fused(device))
    ]
    expected, found = (torch.autograd.grad(out.square().sum(), tensors[3]) for out in outputs)
    assert len(tensors[2]) // N_INTERVALS > 1
    torch.testing.assert_close(found, expected, atol=1e-11, rtol=1e-11)


def test_an_empty_graph_gives_zero(device: str) -> None:
    (h, _, _, s), _ = arguments(SMALL, 2, torch.float64, device)
    index, nothing = (
        torch.zeros(2, 0, dtype=torch.int64, device=device),
        torch.zeros(0, 4, dtype=torch.float64, device=device),
    )
    harmonics, distances = nothing.requires_grad_(True), nothing[:, 0].detach().requires_grad_(True)
    for n_atoms in (0, 1, 2):
        pointers = torch.zeros(n_atoms + 1, dtype=torch.int64, device=device)
        features = h.detach()[:n_atoms].requires_grad_(True)
        tensors = features, harmonics, distances, s
        out = convolve(
            *tensors,
            Edges(index, pointers, index[0], pointers, index.new_empty(0)),
            SMALL,
            CUTOFF,
            kernels=fused(device),
        )
        assert out.shape == (n_atoms, 4, 2)
        first = torch.autograd.grad(out.sum(), tensors, create_graph=True)
        second = torch.autograd.grad(sum(x.sum() for x in first), tensors)
        for mine, tensor in zip((*first, *second), (*tensors, *tensors), strict=True):
            assert mine.shape == tensor.shape
            assert not mine.any()


def test_edges_from_the_cutoff_on_count_for_nothing_and_nan_comes_out(device: str) -> None:
    (h, y, r, s), edges = arguments(SMALL, 2, torch.float32, device)
    gone = (
        torch.tensor([CUTOFF, CUTOFF * 2, torch.inf], device=device)
        .repeat(len(r))[: len(r)]
        .requires_grad_(True)
    )
    # Not even a NaN reaches further than the cutoff.
    lost = torch.full_like(h, torch.nan)
    out = convolve(lost, y, gone, s, edges, SMALL, CUTOFF, kernels=fused(device))
    assert not out.any()
    for gradient in torch.autograd.grad(out.sum(), (y, gone, s)):
        assert not gradient.any()
    with_nan = r.detach().clone()
    with_nan[3] = torch.nan
    with_nan.requires_grad_(True)
    out = convolve(h, y, with_nan, s, edges, SMALL, CUTOFF, kernels=fused(device))
    is_met = torch.arange(5, device=device) == edges.index[1, 3]
    assert torch.isnan(out[is_met]).all()
    assert torch.isfinite(out[~is_met]).all()
    dy, dr = torch.autograd.grad(out[is_met].sum(), (y, with_nan))
    assert torch.isnan(dr[3])
    assert torch.isnan(dy[3]).all()


def test_tensors_whose_numbers_are_not_in_order_are_read_right(device: str) -> None:
    (h, y, r, s), edges = arguments(SMALL, 3, torch.float32, device)
    turned = h.detach().transpose(1, 2).contiguous().transpose(1, 2)
    assert cuda.serves(turned) == (device == "cuda")
    expected = convolve(h, y, r, s, edges, SMALL, CUTOFF)
    out = convolve(turned, y, r, s, edges, SMALL, CUTOFF, kernels=fused(device))
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


def test_operators_pass_opcheck(device: str) -> None:
    tensors, edges = arguments(SMALL, 1, torch.float64, device)
    walk, tests = (*edges, "triton", name_of(SMALL), CUTOFF), ("test_schema", "test_faketensor")
    h, y, r, s = (x.detach() for x in tensors)
    g = torch.randn_like(h)
    opcheck(convolution.forward, (h, y, r, s, *walk), test_utils=tests)
    opcheck(convolution.backward, (h, y, r, s, g, *walk, True), test_utils=tests)
    opcheck(convolution.backward, (h, y, r, s, g, *walk, False), test_utils=tests)
    opcheck(convolution.double_backward, (h, y, r, s, g, h, y, r, s, *walk), test_utils=tests)


@pytest.mark.slow
def test_the_interpreter_in_a_process_of_its_own() -> None:
    needs_triton()
    if IS_INTERPRETED:
        pytest.skip("this is that process")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "interpreter and not process",
        __file__,
    ]
    run = subprocess.run(
        command,
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout


@pytest.mark.parametrize("dtype", ["fp32", "fp64"])
def test_the_sweeps_compile_for_a_gpu_that_is_not_there(dtype: str) -> None:
    needs_triton()
    if IS_INTERPRETED:
        pytest.skip("TRITON_INTERPRET=1 is set, which takes the place of the compiler")
    from triton import compile as compile_kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    module = jit_cache.load(triton_kernels.source(SMALL))
    numbers = {
        "C": 5,
        "K": N_INTERVALS,
        "cutoff": CUTOFF,
        "scale": 6.0,
        "shift": 1.25,
        "BLOCK": 32,
        "WITH_Z": True,
    }
    indices = {"sender", "receiver", "order", "ptr"}
    for name in (
        "forward",
        "backward",
        "splines",
        "double_by_receiver",
        "double_by_sender",
        "double_splines",
    ):
        kernel = getattr(module, name)
        constants = {x: numbers[x] for x in kernel.arg_names if x in numbers}
        types = {
            x: "constexpr" if x in constants else "*i64" if x in indices else f"*{dtype}"
            for x in kernel.arg_names
        }
        compiled = compile_kernel(
            ASTSource(kernel, types, constants),
            target=GPUTarget("cuda", 80, 32),
            options={"num_warps": 1},
        )
        assert ("atom" in compiled.asm["ptx"]) == ("splines" in name)


def test_without_triton_one_line_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    cuda._has_triton.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert [cuda._has_triton(), cuda._has_triton()] == [False, False]
    assert len(caplog.records) == 1
    assert "plain torch" in caplog.text
    cuda._has_triton.cache_clear()


def test_tensors_on_a_cpu_are_not_served() -> None:
    assert not cuda.serves(torch.zeros(1))
