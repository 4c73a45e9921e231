"""When compiling kernels pays: one rule for predictions, dynamics and trainings.

The unit of work is the operation: a multiplication of one forward pass of the convolutions. Work is
counted, never timed, so that the same calls always give the same numbers.
"""

from __future__ import annotations

import math

# Plain torch does about so many operations a second on a CPU core, with the gradients that a
# prediction of forces needs.
PLAIN_RATE = 1e8
# Operations from which compiling is worth its time, once per machine: the kernels for every table
# take half a minute at most, those written for a network some minutes.
GENERIC_FROM, SPECIALIZED_FROM = 2e9, 3e10
# Plain torch keeps about 12 bytes of each operation of a pass until its gradient is done. A pass
# with more operations than this takes 2 GiB; fused kernels need a tenth of it.
LARGEST_PLAIN_PASS = 1.7e8
# The same on a GPU: plain torch did 3e8 operations with forces in 40 ms of an NVIDIA H100, and
# Triton compiled the kernels of a network in 16 s, once per machine (see `kernels.cuda`).
TRITON_FROM = 1.2e11
# Terms of a coupling table for whose kernels Triton takes seconds: of 86 it does; of 274 it took
# minutes, and for those of a training more than ten.
MOST_TERMS = 100
# A step of training, with the derivatives of forces by weights, takes as long as so many
# predictions, and so many times the memory (48 bytes of each operation, measured).
TRAINING_STEP = 3.0
TRAINING_MEMORY = 4.0


def worthwhile_kernels(
    operations: float, *, minutes: float | None = None, in_one_pass: float = 0.0
) -> str:
    """Return the kernels that pay for a job of so many operations on a CPU.

    minutes: the job's limit of time, within which no more can be done than plain torch would do.
    in_one_pass: operations of the largest pass, for whose memory kernels may be needed.
    """
    most = math.inf if minutes is None else 60.0 * minutes * PLAIN_RATE
    work = min(operations, most)
    if work >= SPECIALIZED_FROM:
        return "specialized"
    is_large = in_one_pass > LARGEST_PLAIN_PASS
    return "generic" if work >= GENERIC_FROM or is_large else "reference"


def worthwhile_on_gpu(operations: float, *, n_terms: int, in_one_pass: float = 0.0) -> str:
    """Return the kernels that pay for a job of so many operations on a GPU with Triton.

    n_terms: of the largest coupling table. in_one_pass: as in `worthwhile_kernels`.
    """
    is_worth_it = operations >= TRITON_FROM or in_one_pass > LARGEST_PLAIN_PASS
    return "triton" if is_worth_it and n_terms <= MOST_TERMS else "reference"
