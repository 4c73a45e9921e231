"""The fused convolution against e3nn's TensorProduct + index_add, pass by pass.

`python tests/benchmarks/convolution.py [--json]`.

Edges of a box of 64 water molecules at 5 Å (10,510), 128 channels, features 0e+1o, harmonics and
output up to l = 3 (10 paths), float32.

- forward: A from h, Y, R.
- backward: dh, dY and what belongs to the radial functions, from a given gradient of A.
- double backward: the gradient of |dh|² + |dY|² + |dr|² with respect to h, Y, distances and
weights; with --cotangent to that of A too.

e3nn is given R on every edge, (E, paths x channels); its dr and its weights are those of R. Ours is
given distances and the coefficients of the splines, so that their evaluation and all it takes to go
back through it are in its times.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from e3nn import o3
from systems import median_seconds, water_box
from torch import Tensor

from molequi.graphs.neighbors import build_graph
from molequi.kernels import Edges, convolve, edges_of, splines
from molequi.nn.radial import RadialNetwork
from molequi.o3.coupling import CouplingTable, coupling_table
from molequi.o3.irreps import Irreps
from molequi.o3.spherical_harmonics import spherical_harmonics

CUTOFF = 5.0
PASSES = ("forward", "backward", "double_backward")
Function = Callable[..., Tensor]


def layout(irreps: Irreps, n_channels: int) -> o3.Irreps:
    """Return our irreps as e3nn's, with so many channels each."""
    return o3.Irreps([(n_channels, irrep) for irrep in irreps])


def flat(rows: Tensor, irreps: Irreps) -> Tensor:
    """Put (N, M, C) into e3nn's layout, channels before rows: (N, C M)."""
    return torch.cat([rows[:, part].transpose(1, 2).flatten(1) for part in irreps.slices()], dim=1)


def e3nn_convolution(table: CouplingTable, edges: Edges, n_atoms: int, n_channels: int) -> Function:
    """Return (h, Y, R) -> A in e3nn's layout.

    One channel-wise path at a time, weights on every edge.
    """
    product = o3.TensorProduct(
        layout(table.first, n_channels),
        layout(table.second, 1),
        layout(table.output, n_channels),
        [(path.first, path.second, path.output, "uvu", True) for path in table.paths],
        irrep_normalization="component",
        path_normalization="none",
        shared_weights=False,
        internal_weights=False,
    )
    sender, receiver = edges.index

    def function(h: Tensor, y: Tensor, r: Tensor) -> Tensor:
        messages = product(h[sender], y, r)
        return messages.new_zeros(n_atoms, messages.shape[1]).index_add(0, receiver, messages)

    return function


def fused_convolution(table: CouplingTable, edges: Edges, kernels: str) -> Function:
    """Return (h, Y, distances, coefficients) -> A in our layout."""
    return lambda h, y, r, s: convolve(h, y, r, s, edges, table, CUTOFF, kernels=kernels)


def passes(
    function: Function, inputs: Sequence[Tensor], n_squared: int, *, cotangent: bool
) -> dict[str, Callable[[], object]]:
    """Return the passes as calls.

    n_squared: how many of the first gradients the norm of the double backward counts.
    """
    out = function(*inputs)
    g = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).requires_grad_(cotangent)
    ends = [*inputs, g] if cotangent else list(inputs)
    first = torch.autograd.grad(out, inputs[:n_squared], g, create_graph=True)
    norm = sum(gradient.square().sum() for gradient in first)
    return {
        "forward": lambda: function(*inputs),
        "backward": lambda: torch.autograd.grad(out, inputs, g, retain_graph=True),
        "double_backward": lambda: torch.autograd.grad(norm, ends, retain_graph=True),
    }


def sides(
    n: int, n_channels: int, kinds: Sequence[str], *, cotangent: bool
) -> tuple[dict[str, dict[str, Callable[[], object]]], dict[str, float]]:
    """Return the passes of e3nn and of our kernels, the number of edges and our difference.

    The difference is the largest relative one."""
    atoms = water_box(n)
    graph = build_graph(
        atoms.positions, atoms.numbers, CUTOFF, cell=atoms.cell.array, pbc=atoms.pbc
    )
    edges, generator = edges_of(graph), torch.Generator().manual_seed(0)
    table = coupling_table(Irreps.natural(1), Irreps.natural(3), Irreps.natural(3))
    sender, receiver = graph.edge_index
    vectors = (
        graph.positions[sender]
        - graph.positions[receiver]
        + graph.shifts.to(torch.float64) @ graph.cell[0]
    )
    distances = vectors.norm(dim=1)
    y = spherical_harmonics(vectors / distances[:, None], 3).float().requires_grad_(True)
    h = torch.randn(graph.n_atoms, 4, n_channels, generator=generator)
    s = RadialNetwork(CUTOFF, 8, len(table.paths), n_channels)(
        torch.ones(len(table.paths), 1)
    ).detach()
    radial = splines.evaluate(s, distances.float(), CUTOFF).flatten(1)
    ours = [x.requires_grad_(True) for x in (h.clone(), y, distances.float(), s)]
    theirs = [x.requires_grad_(True) for x in (flat(h, table.first), y.detach().clone(), radial)]
    product = e3nn_convolution(table, edges, graph.n_atoms, n_channels)
    found = {"e3nn": passes(product, theirs, 3, cotangent=cotangent)}
    expected, difference = product(*theirs).detach(), 0.0
    for kernels in kinds:
        function = fused_convolution(table, edges, kernels)
        found[kernels] = passes(function, ours, 3, cotangent=cotangent)
        error = flat(function(*ours).detach(), table.output) - expected
        difference = max(difference, float(error.abs().max() / expected.abs().max()))
    return found, {
        "edges": edges.index.shape[1],
        "paths": len(table.paths),
        "largest_relative_difference": difference,
    }


def main() -> None:
    """Time the sides in turn, print medians and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="calls in a round")
    parser.add_argument("--molecules", type=int, default=4, metavar="N", help="the box holds N³")
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--kernels", default="generic,specialized")
    parser.add_argument(
        "--cotangent",
        action="store_true",
        help="the double backward gives the gradient of the cotangent too, as networks need it",
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.threads)
    calls, facts = sides(
        arguments.molecules,
        arguments.channels,
        arguments.kernels.split(","),
        cotangent=arguments.cotangent,
    )
    times: dict[tuple[str, str], list[float]] = {}
    for number in range(arguments.rounds):
        for name in PASSES:
            for side, functions in calls.items():
                # TorchScript, which e3nn's product is, compiles within its first calls.
                seconds = median_seconds(
                    functions[name], arguments.repeats, warmup=1 if number else 3
                )
                times.setdefault((name, side), []).append(1e3 * seconds)
    medians = {key: float(np.median(ms)) for key, ms in times.items()}
    rows = [
        {
            "pass": name,
            "kernels": side,
            "ms": ms,
            "e3nn_ms": medians[name, "e3nn"],
            "ratio": medians[name, "e3nn"] / ms,
        }
        for (name, side), ms in medians.items()
        if side != "e3nn"
    ]
    if arguments.json:
        print(
            json.dumps(
                {
                    **facts,
                    "channels": arguments.channels,
                    "threads": arguments.threads,
                    "rows": rows,
                }
            )
        )
        return
    print(
        f"{facts['edges']:,} edges, {facts['paths']} paths, {arguments.channels} channels, "
        f"float32, {arguments.threads} threads"
    )
    print(
        "largest difference to e3nn, relative to the largest value: "
        f"{facts['largest_relative_difference']:.1e}"
    )
    for row in rows:
        print(
            f"{row['pass']:16s} {row['kernels']:9s} {row['ms']:9.2f} ms   e3nn "
            f"{row['e3nn_ms']:9.1f} ms   {row['ratio']:6.1f}x"
        )


if __name__ == "__main__":
    main()
