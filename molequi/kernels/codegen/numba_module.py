"""Write specialized kernels for one coupling table: Python source that numba compiles.

Every coefficient is a literal and every component a register, so an edge costs its multiplications
and one pass over its data. A kernel serves the nodes from `first` to `last`, so that several
threads can share the work. It passes over their edges once for each group of paths: the spline
coefficients of a group fit into the second-level cache, those of all paths would come from memory
for every edge.
"""

from __future__ import annotations

from molequi.kernels.codegen.numba_lines import Form, NumbaTerms
from molequi.kernels.codegen.numba_receiver import by_receiver
from molequi.kernels.codegen.numba_sender import by_sender
from molequi.kernels.codegen.text import CONSTANTS, block
from molequi.o3.coupling import CouplingTable

_HEADER = '''"""Generated: the convolution's kernels for one coupling table."""
import numba
import numpy as np

_jit = numba.njit(fastmath={"contract", "reassoc", "nsz", "arcp"}, cache=True, nogil=True, \
error_model="numpy")
'''

# An empty ds is left out, an empty z counts as zero; each has functions of its own, so that only
# what is used is compiled.
_CHOICES = """def backward(*arguments):
    (_backward_with_s if len(arguments[-1]) else _backward_without_s)(*arguments)


def double_by_receiver(*arguments):
    (_double_by_receiver_with_z if len(arguments[9]) else _double_by_receiver_without_z)(*arguments)


def double_by_sender(*arguments):
    (_double_by_sender_with_z if len(arguments[10]) else _double_by_sender_without_z)(*arguments)"""

_KERNELS = {
    "forward": (by_receiver, Form(double=False)),
    "_backward_with_s": (by_sender, Form(double=False, with_s=True)),
    "_backward_without_s": (by_sender, Form(double=False)),
    "_double_by_receiver_with_z": (by_receiver, Form(double=True, with_z=True)),
    "_double_by_receiver_without_z": (by_receiver, Form(double=True)),
    "_double_by_sender_with_z": (by_sender, Form(double=True, with_s=True, with_z=True)),
    "_double_by_sender_without_z": (by_sender, Form(double=True, with_s=True)),
}


def source(table: CouplingTable, dtype: str, n_together: int) -> str:
    """Return a module with the kernels of `cpu._Kernels`, for `float32` or `float64`.

    n_together: paths in a group.
    """
    terms = NumbaTerms(table, dtype)
    # A table without paths still has its outputs to clear.
    groups = [
        range(first, min(first + n_together, terms.n_paths))
        for first in range(0, max(terms.n_paths, 1), n_together)
    ]
    constants = [f"{name} = {terms.number(value)}" for name, value in CONSTANTS.items()]
    parts = [_HEADER + "\n".join(constants), _CHOICES]
    for name, (write, form) in _KERNELS.items():
        parts += [write(terms, f"{name}_{n}", group, form) for n, group in enumerate(groups)]
        calls = [f"{name}_{n}(*arguments)" for n in range(len(groups))]
        parts.append("\n".join(block(f"def {name}(*arguments):", calls)))
    return "\n\n\n".join(parts) + "\n"
