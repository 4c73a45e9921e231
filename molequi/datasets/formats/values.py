"""What stands in a structure under which key, and how it becomes numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import ase
import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress

from molequi.properties import Property

# Where a label may stand: extended XYZ keys land in the first two, unless ASE knows them and hides
# them in a calculator.
PLACES = ("info", "arrays", "calculator")
_NO_LABELS = {
    "numbers",
    "positions",
    "initial_charges",
    "initial_magmoms",
    "tags",
    "momenta",
    "masses",
}
_WORDS = {
    **dict.fromkeys(("yes", "true", "y", "t", "1"), 1.0),
    **dict.fromkeys(("no", "false", "n", "f", "0"), 0.0),
}


def is_word(text: str) -> bool:
    """Tell whether a yes/no label may be written so."""
    return text.strip().lower() in _WORDS


def contents(atoms: ase.Atoms, place: str) -> Mapping[str, Any]:
    """Return what stands at one of `PLACES`."""
    if place == "calculator":
        # The stored results, not get_forces(), which would zero the forces of constrained atoms.
        return atoms.calc.results if atoms.calc is not None else {}
    return atoms.info if place == "info" else atoms.arrays


def present_keys(structures: Sequence[ase.Atoms]) -> dict[str, dict[str, int]]:
    """Count, by place, the frames in which each key stands; coordinates and the like left out."""
    counts: dict[str, Counter[str]] = {place: Counter() for place in PLACES}
    for atoms in structures:
        for place in PLACES:
            counts[place].update(
                key for key, value in contents(atoms, place).items() if value is not None
            )
    return {
        place: {key: n for key, n in counter.items() if key not in _NO_LABELS or place == "info"}
        for place, counter in counts.items()
    }


def parse_value(value: Any, row: Property, n_atoms: int) -> np.ndarray | None:
    """Read one label as an array of the row's shape, (n_atoms, *shape) for a per-atom row.

    None where it cannot be one.

    Text holds numbers apart by spaces, commas or semicolons, with or without brackets; a yes/no
    label also takes these words.
    """
    numbers = _numbers(value, row)
    if numbers is None:
        return None
    if row.name == "stress" and numbers.shape == (6,):
        return voigt_6_to_full_3x3_stress(numbers)
    shape = (n_atoms, *row.shape) if row.per_atom else row.shape
    return numbers.reshape(shape) if numbers.size == np.prod(shape, dtype=int) else None


def _numbers(value: Any, row: Property) -> np.ndarray | None:
    """Return the numbers of a label in whatever shape they have, None where it has others."""
    if row.binary and isinstance(value, str | bool | np.bool_):
        value = _WORDS.get(str(value).strip().lower(), value)
    if isinstance(value, str):
        value = [word for word in re.split(r"[\s,;\[\]()]+", value) if word] or None
    try:
        if np.iscomplexobj(value):  # numpy would drop a half of it
            return None
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
