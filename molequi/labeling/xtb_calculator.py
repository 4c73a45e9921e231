"""The GFN-xTB methods as ASE calculators, to be put beside a model (doi:10.1021/acs.jctc.8b01176).

They take charge and multiplicity from what `structures.atoms.with_electrons` writes, and print
nothing. tblite comes with `pip install molequi[labels]`.
"""

from __future__ import annotations

from tblite.ase import TBLite


def gfn2() -> TBLite:
    """Return GFN2-xTB."""
    return TBLite(method="GFN2-xTB", verbosity=0)


def gfn1() -> TBLite:
    """Return GFN1-xTB."""
    return TBLite(method="GFN1-xTB", verbosity=0)
