"""Whole numbers in a range, and the range of seeds."""

from __future__ import annotations

import numpy as np

from molequi.errors import UserError

# RDKit's seeds are signed numbers of 32 bits, of which -1 is another one each time; no more are
# needed.
LARGEST_SEED = 2**31 - 1


def check_whole(value: object, what: str, smallest: int, largest: int | None = None) -> None:
    """Raise UserError, naming `what` it is, for anything but a whole number in the range."""
    if (
        not isinstance(value, int | np.integer)
        or value < smallest
        or (largest is not None and value > largest)
    ):
        upper = "" if largest is None else f" to {largest:,}"
        raise UserError(f"{what} is {value!r}; it must be a whole number from {smallest}{upper}")
