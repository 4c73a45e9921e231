"""The processes that a launcher, torchrun or SLURM's srun, started for one job."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

import torch
from torch import distributed

# One process may wait for the slowest of the others as long as a queue lets a job run.
_LONGEST_WAIT = timedelta(days=30)
_FIRST_PORT, _N_PORTS = 20_000, 10_000


class Rank(NamedTuple):
    """The number of this process, from 0, and how many share its job."""

    number: int
    of: int


ALONE = Rank(0, 1)


def launched_rank() -> Rank:
    """Return which process this is of those that a launcher started; `ALONE` without one.

    Of SLURM's, the steps of srun count; the script that calls srun is a process of its own.
    """
    told = os.environ.get
    number = int(told("RANK", told("SLURM_PROCID", "0")))
    return Rank(number, int(told("WORLD_SIZE", told("SLURM_STEP_NUM_TASKS", "1"))))


@contextlib.contextmanager
def together(rank: Rank) -> Iterator[None]:
    """Find the other processes of a job, so that `meet` can wait for them; none starts before."""
    for name, value in _meeting_point().items():
        os.environ.setdefault(name, value)
    distributed.init_process_group(
        "gloo", rank=rank.number, world_size=rank.of, timeout=_LONGEST_WAIT
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


def meet() -> None:
    """Wait until every process of the job has come here."""
    distributed.barrier()


def use_own_gpu() -> None:
    """Have `cuda` mean a GPU of its own for each process of this machine, as far as there are."""
    local = int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")))
    if torch.cuda.is_available():
        torch.cuda.set_device(local % torch.cuda.device_count())


def _meeting_point() -> dict[str, str]:
    """Return address and port where the processes meet; torchrun has said so already."""
    nodes = os.environ.get("SLURM_STEP_NODELIST", os.environ.get("SLURM_NODELIST", ""))
    step = int(os.environ.get("SLURM_STEP_ID", "0"))
    number = 31 * int(os.environ.get("SLURM_JOB_ID", "0")) + step
    return {
        "MASTER_ADDR": first_node(nodes) or "127.0.0.1",
        "MASTER_PORT": str(_FIRST_PORT + number % _N_PORTS),
    }


def first_node(nodes: str) -> str:
    """Return the first host of a list as SLURM writes it, such as `node[03-05,9],gpu1`."""
    found = re.match(r"([^,\[]*)(?:\[(\w+)[^\]]*\]([^,]*))?", nodes)
    return "".join(part or "" for part in found.groups()) if found else ""
