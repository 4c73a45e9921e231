"""What the processes of one run tell each other."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from molequi.runtime.ranks import launched_rank


def is_first_process() -> bool:
    """Whether this process writes for all those that a launcher (torchrun, SLURM) started.

    True where there is no launcher.
    """
    return launched_rank().number == 0


class SharedStep(NamedTuple):
    """What all processes know of a step.

    counts: added up. seconds: by the clock of the first process. is_stop_requested: of any.
    """

    counts: Tensor
    seconds: float
    is_stop_requested: bool


def share_step(counts: Tensor, *, seconds: float, is_stop_requested: bool) -> SharedStep:
    """Add up the counts of all processes; clock and requests to stop travel along.

    So all of them stop at the same step. seconds: zero but in the first process.
    """
    shared = torch.cat([counts, counts.new_tensor([seconds, float(is_stop_requested)])])
    torch.distributed.all_reduce(shared)
    return SharedStep(shared[:-2], float(shared[-2]), bool(shared[-1]))


def sum_over_processes(values: Tensor) -> Tensor:
    """Return the sum over all processes; all of them must ask."""
    total = values.clone()
    torch.distributed.all_reduce(total)
    return total
