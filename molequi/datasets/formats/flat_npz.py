"""The flat npz as a data set: whatever it holds, it names itself."""

from __future__ import annotations

import re
from pathlib import Path

from molequi.datasets.base import DatasetSpec, Request
from molequi.datasets.formats.unit_checks import doubts_of_arrays
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.npz import is_flat, load_npz

# Advice that cannot be followed here, for no unit is free, and what can be done instead.
_ADVICE = (
    (re.compile(r"set data\.units\.(\w+)=(\S+)"), r"convert \1 from \2 in the file"),
    (re.compile(r"see data\.units\S*"), "the file must have the units of the property table"),
)


class FlatNpz(DatasetSpec):
    """Structures, targets, groups and a split in the package's own format; see `datasets.npz`."""

    name = "npz"
    description = "a flat npz, as `molequi data prepare` makes it"
    is_own = True

    def recognises(self, path: Path) -> bool:
        """Recognise the array `meta`."""
        return is_flat(path)

    def read(self, request: Request) -> LabelledSet:
        """Read everything that the file holds."""
        return load_npz(request.file(), request.targets)

    def doubts(self, loaded: LabelledSet) -> list[str]:
        """Doubt sizes and signs as those of any other file, which must be mended in the file."""
        lines = doubts_of_arrays(loaded)
        for advice, instead in _ADVICE:
            lines = [advice.sub(instead, line) for line in lines]
        return lines
