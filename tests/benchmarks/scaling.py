"""Cost against size: energy and forces of water boxes, a process for each size.

    python tests/benchmarks/scaling.py --config bench_mace --sizes 4,8,16,32 [--dtype D] [--json]

A box of size n holds n³ molecules, 3 n³ atoms. `ms` is the median of a call on a known list of
neighbours, `peak_gib` the largest resident memory of the process, interpreter and libraries
included. The slope is that of the logarithms, by least squares: 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from systems import median_seconds, water_box

sys.path.append(str(Path(__file__).resolve().parent / "peers"))
from time_ours import graph_of, model_of

# Seconds of calls that are timed, at least one call.
SECONDS, MOST = 10.0, 7


def one_size(config: str, n: int, kernels: str, dtype: str | None) -> dict[str, float]:
    """Return the row of a box with n³ molecules."""
    model = model_of(config, kernels).freeze(dtype=getattr(torch, dtype) if dtype else None)
    graph = graph_of([water_box(n)], model.cutoff)
    if n > 2:
        # Compiling, loading and starting threads are not what is measured; a small box has them
        # all.
        model.compute(graph_of([water_box(2)], model.cutoff))
    start = time.perf_counter()
    model.compute(graph)
    repeats = int(np.clip(SECONDS / (time.perf_counter() - start), 1, MOST))
    seconds = median_seconds(lambda: model.compute(graph), repeats, warmup=0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
    return {
        "atoms": graph.n_atoms,
        "ms": 1e3 * seconds,
        "us_per_atom": 1e6 * seconds / graph.n_atoms,
        "peak_gib": peak / 2**30,
    }


def slope_of(rows: list[dict[str, float]]) -> float:
    """Return the exponent of the time in the number of atoms."""
    return float(
        np.polyfit(np.log([row["atoms"] for row in rows]), np.log([row["ms"] for row in rows]), 1)[
            0
        ]
    )


def main() -> None:
    """Run a process for each size, or, with --one, measure that size in this one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config",
        default="bench_mace",
        help="a config whose name begins with bench_, or a model or its file that knows H and O",
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), help="that of the model if not")
    parser.add_argument("--sizes", default="4,8,16,32")
    parser.add_argument("--kernels", default="specialized")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.one is not None:
        sizes = arguments.config, arguments.one, arguments.kernels, arguments.dtype
        print(json.dumps(one_size(*sizes)))
        return
    rows = []
    for size in arguments.sizes.split(","):
        options = [
            "--config",
            arguments.config,
            "--kernels",
            arguments.kernels,
            "--threads",
            str(arguments.threads),
            *(["--dtype", arguments.dtype] if arguments.dtype else []),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
        result = subprocess.run(
            [sys.executable, __file__, *options, "--one", size],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        rows.append(json.loads(result.stdout))
        if not arguments.json:
            line = "{atoms:8,d} atoms {ms:10.1f} ms {us_per_atom:8.1f} µs/atom {peak_gib:6.2f} GiB"
            print(line.format(**rows[-1]), flush=True)
    if arguments.json:
        print(json.dumps(rows))
    elif len(rows) > 1:
        print(
            f"log-log slope {slope_of(rows):.3f}; time per atom, largest against smallest: "
            f"{rows[-1]['us_per_atom'] / rows[0]['us_per_atom']:.2f}"
        )


if __name__ == "__main__":
    main()
