"""What the operators on the CPU share: names of tables, arrays, and which gradients are wanted."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from molequi.o3.coupling import CouplingTable, coupling_table
from molequi.o3.irreps import Irreps

_tables: dict[str, CouplingTable] = {}


@functools.lru_cache(maxsize=1024)
def name_of(table: CouplingTable) -> str:
    """Return the name by which an operator is told of its table: `0e+1o|0e+1o|0e`.

    The arguments of an operator are tensors, numbers and text. Raises ValueError for a table of
    chosen paths (`table_of_paths`), of which the name would say nothing.
    """
    # The outputs of separate paths are named once each.
    output = Irreps(dict.fromkeys(table.output))
    flags = ["symmetric"] * table.symmetric + ["separate"] * table.separate
    name = "|".join([str(table.first), str(table.second), str(output), *flags])
    if table_named(name).paths != table.paths:
        raise ValueError(f"a table of chosen paths of {name} has no name")
    return name


def table_named(name: str) -> CouplingTable:
    """Return the table of a name from `name_of`, in any process."""
    if name not in _tables:
        first, second, output, *flags = name.split("|")
        _tables[name] = coupling_table(
            Irreps(first), Irreps(second), Irreps(output), **dict.fromkeys(flags, True)
        )
    return _tables[name]


def arrays(*tensors: Tensor) -> list[np.ndarray]:
    """Return the tensors as contiguous arrays, without a copy where they are that already."""
    return [np.ascontiguousarray(x.detach().numpy()) for x in tensors]


def is_wanted(tensor: Tensor) -> bool:
    """Tell whether the running backward pass goes on to `tensor`.

    Forces need no gradients of the weights, which are the dearest.
    """
    node = tensor.grad_fn
    # What torch's own multi-gradient hooks ask.
    return node is None or torch._C._will_engine_execute_node(node)
