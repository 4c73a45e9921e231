"""The contract of a label back end: a program that computes properties of molecules."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import numpy as np

from molequi.labeling.levels import Level, Molecule

Values = dict[str, "float | np.ndarray"]


class LabelBackend(abc.ABC):
    """A program behind a level of theory.

    It runs in a process of its own. A new one is a file beside this one with a class derived from
    it, that ends in `serve(ItsName())`, and a line in `workers.MODULES` and in `levels.Level`.
    """

    @abc.abstractmethod
    def check(self, level: Level, elements: Sequence[int]) -> str:
        """Return the program and its version.

        elements: atomic numbers in all molecules to come. Raises UserError where the level does not
        exist, or where none of the molecules could be computed at it.
        """

    @abc.abstractmethod
    def compute(self, level: Level, properties: Sequence[str], molecule: Molecule) -> Values:
        """Return at least the named properties, in the units of the table.

        What depends on the origin refers to the centre of mass. Raises LabelError where this
        molecule cannot be computed; the others go on.
        """
