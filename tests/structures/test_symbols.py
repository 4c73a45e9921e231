"""Symbols, numbers, isotopes, ghosts and labels."""

import ase
import numpy as np
import pytest

from molequi.errors import UserError
from molequi.structures.symbols import formula, isotope_mass, read_symbol, set_isotopes


@pytest.mark.parametrize(
    ("text", "element"),
    [
        ("C", (6, 0)),
        ("CL", (17, 0)),
        ("na", (11, 0)),
        ("8", (8, 0)),
        ("D", (1, 2)),
        ("T", (1, 3)),
        ("13C", (6, 13)),
        ("[2H]", (1, 2)),
        ("X", (0, 0)),
    ],
)
def test_what_is_an_element(text: str, element: tuple[int, int]) -> None:
    assert tuple(read_symbol(text)) == element


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("O1", r"'O1' is no element symbol \(O\?\)"),
        ("Cl12", r"\(Cl\?\)"),
        ("Bq", "Bq is a ghost atom; remove it"),
        ("H-Bq", "ghost"),
        ("Gh(O)", "ghost"),
        ("@O", "ghost"),
        ("Qq", "'Qq' is no element symbol$"),
        ("999", "'999' is no element symbol$"),
    ],
)
def test_what_is_none(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_symbol(text)


def test_masses_of_isotopes() -> None:
    # AME2020 (doi:10.1088/1674-1137/abddaf): 2H 2.01410178, 3H 3.01604928, 13C 13.00335484 u.
    assert isotope_mass(read_symbol("D")) == pytest.approx(2.01410178, abs=1e-7)
    assert isotope_mass(read_symbol("T")) == pytest.approx(3.01604928, abs=1e-7)
    assert isotope_mass(read_symbol("13C")) == pytest.approx(13.00335484, abs=1e-7)
    with pytest.raises(UserError, match="there is no isotope 99C"):
        isotope_mass(read_symbol("99C"))
    water = ase.Atoms("OH2")
    set_isotopes(water, [0, 0, 0])
    assert not water.has("masses")
    set_isotopes(water, [18, 2, 0])
    assert water.get_masses() == pytest.approx([17.99915961, 2.01410178, 1.008], abs=2e-6)
    water.set_masses([1.0, 2.0, 3.0])
    set_isotopes(water, [0, 2, 2])
    assert water.get_masses().tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("symbols", "isotopes", "expected"),
    [
        ("OH2", [0, 0, 0], "H2O"),
        ("OH2", [0, 2, 2], "D2O"),
        ("OH2", [18, 2, 0], "DH[18O]"),
        ("CH4", [13, 0, 0, 0, 0], "[13C]H4"),
        ("C2H6O", [0, 13, 2, 2, 2, 0, 0, 0, 0], "C[13C]D3H3O"),
        ("HCl", [3, 37], "[37Cl]T"),
    ],
)
def test_formulas_name_isotopes(symbols: str, isotopes: list[int], expected: str) -> None:
    atoms = ase.Atoms(symbols)
    set_isotopes(atoms, isotopes)
    assert formula(atoms) == expected


@pytest.mark.parametrize("mass", [3.024, 1000.0, 0.0, np.inf, np.nan])
def test_a_mass_of_no_nuclide_is_marked(mass: float) -> None:
    atoms = ase.Atoms("OH2")
    set_isotopes(atoms, [0, 2, 0])
    atoms.set_masses([15.999, atoms.get_masses()[1], mass])
    assert formula(atoms) == "DH*O"
