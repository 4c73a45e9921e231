"""How long intertwiners of a large representation take, and how much memory.

    python tests/benchmarks/intertwiners.py [--degree 4]

All maps of l x l to itself under O(3), l the degree: (2 l + 1)^4 unknowns, 6,561 for l = 4, 14,641
for l = 5. There are 2 l + 1 of them, by Schur's lemma one for each degree from 0 to 2 l.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from molequi.groups.intertwiners import intertwiners
from molequi.groups.named_representations import o3_irrep
from molequi.groups.representations import tensor_product


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--degree", type=int, default=4)
    degree = parser.parse_args().degree
    one = o3_irrep(degree, 1)
    pair = tensor_product(one, one)
    before, start = _peak(), (time.perf_counter(), time.process_time())
    maps = intertwiners(pair, pair).maps()
    seconds, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    errors = [maps @ m.toarray() - m.toarray() @ maps for m in (*pair.finite, *pair.algebra)]
    worst = max(float(np.abs(error).max(initial=0.0)) for error in errors)
    print(f"unknowns          {pair.dim**2}")
    print(f"maps              {len(maps)} (expected {2 * degree + 1})")
    print(f"A rho - rho A     {worst:.1e}")
    print(f"seconds           {seconds:.2f}, of a processor {cpu:.2f}")
    print(f"memory, GB        {_peak():.2f}, of which {before:.2f} before")


def _peak() -> float:
    """Peak memory of this process, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
