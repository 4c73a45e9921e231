"""`molequi bench`: how fast a model is on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from molequi.cli import completion, options
from molequi.cli.output import STDERR, line, print_json, print_table, say

if TYPE_CHECKING:
    from molequi.prediction.benchmark import Timing


Model = Annotated[
    str,
    typer.Argument(
        metavar="[MODEL]",
        autocompletion=completion.models,
        help="A model file, a run directory, or the name of a bundled model.",
    ),
]


def bench(
    model: Model = "organic",
    *,
    dtype: options.DtypeOption = None,
    json: options.Json = False,
) -> None:
    """Time energy and forces of MODEL with each kind of kernels.

    On a molecule and on two boxes of water. Under a minute, unless something has to be compiled
    first, which is said; it is kept for the next time.
    """
    import torch

    from molequi.models.zoo import load
    from molequi.prediction.benchmark import bench as run

    network = load(model, dtype=options.precision(dtype))
    rows = []
    for row in run(network):
        if row.compiled_s > 0:
            say(f"{row.kernels} kernels: {row.compiled_s:.0f} s of compiling, once on this machine")
        rows.append(row)
        if STDERR.is_terminal:
            say(f"{row.kernels}, {row.system}: {row.ms:.1f} ms")
    if json:
        print_json(
            {
                "model": model,
                "threads": torch.get_num_threads(),
                "rows": [row._asdict() for row in rows],
            }
        )
        return
    _print_rows(model, torch.get_num_threads(), rows)


def _print_rows(model: str, n_threads: int, rows: Sequence[Timing]) -> None:
    cells = [
        (
            row.system,
            row.atoms,
            row.kernels,
            f"{row.ms:.2f}",
            f"{row.atoms_per_second:,.0f}",
            row.n_calls,
        )
        for row in rows
    ]
    title = f"Energy and forces of {model}, {n_threads} threads"
    print_table(
        title, ("system", "atoms", "kernels", "ms", "atoms/s", "calls"), cells, left=("kernels",)
    )
    line(
        "Medians; neighbour pairs are known. Commands choose the kernels themselves: plain torch "
        "(reference) first, compiled ones in long jobs."
    )
