"""Labels by tblite: the GFN-xTB methods (doi:10.1021/acs.jctc.8b01176)."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence

import numpy as np
from ase import units
from ase.data import atomic_masses
from tblite.exceptions import TBLiteRuntimeError
from tblite.interface import Calculator

from molequi.errors import UserError
from molequi.graphs.elements import about_centre_of_mass
from molequi.labeling.backend import LabelBackend, Values
from molequi.labeling.levels import XTB, LabelError, Level, Molecule
from molequi.labeling.protocol import serve
from molequi.properties import DEBYE

_HEAVIEST = 86


class TBLite(LabelBackend):
    """The GFN-xTB methods."""

    def check(self, level: Level, elements: Sequence[int]) -> str:
        """Return the program and its version.

        Raises UserError where no molecule could be computed.
        """
        if level.method not in XTB:
            raise UserError(f"unknown level {level}; tblite has {', '.join(XTB)}")
        if elements and min(elements) > _HEAVIEST:
            raise UserError(f"{level} knows the elements up to {_HEAVIEST}")
        return f"tblite {importlib.metadata.version('tblite')}"

    def compute(self, level: Level, properties: Sequence[str], molecule: Molecule) -> Values:
        """Return the properties in the units of the table; dipoles refer to the centre of mass.

        Raises LabelError.
        """
        masses = atomic_masses[molecule.numbers]
        centred = about_centre_of_mass(molecule.positions, masses)
        try:
            calculator = Calculator(
                XTB[level.method],
                molecule.numbers,
                centred / units.Bohr,
                charge=molecule.charge,
                uhf=molecule.multiplicity - 1,
            )
            calculator.set("verbosity", 0)
            result = calculator.singlepoint()
        except TBLiteRuntimeError as error:
            raise LabelError(" ".join(str(error).split())) from error
        dipole = result.get("dipole") * units.Bohr
        return {
            "energy": float(result.get("energy")) * units.Hartree,
            "forces": -result.get("gradient") * units.Hartree / units.Bohr,
            "dipole": dipole,
            "dipole_magnitude": float(np.linalg.norm(dipole)) / DEBYE,
            "charges": result.get("charges"),
        }


if __name__ == "__main__":
    serve(TBLite())
