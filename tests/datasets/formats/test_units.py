"""Units as people write them."""

from __future__ import annotations

import pytest
from ase import units

from molequi.datasets.formats.units import conversion_factor
from molequi.errors import UserError

KCAL = units.kcal / units.mol


@pytest.mark.parametrize(
    ("given", "wanted", "factor"),
    [
        ("kcal/mol", "eV", KCAL),
        ("kcal mol^-1", "eV", KCAL),
        ("kcal mol-1", "eV", KCAL),
        ("kcal/mol/Å", "eV/Å", KCAL),
        ("kcal/(mol*Angstrom)", "eV/Å", KCAL),
        ("Hartree/Bohr", "eV/Å", units.Hartree / units.Bohr),
        ("Ha/a0", "eV/Å", units.Hartree / units.Bohr),
        ("HARTREE", "eV", units.Hartree),
        ("meV", "eV", 1e-3),
        ("cm-1", "eV", units.invcm),
        ("cm⁻¹", "eV", units.invcm),
        ("kJ/mol", "eV", units.kJ / units.mol),
        ("e*bohr", "e·Å", units.Bohr),
        ("e Å", "e·Å", 1.0),
        ("Debye", "e·Å", units.Debye),
        ("D", "D", 1.0),
        ("bohr^3", "Å³", units.Bohr**3),
        ("bohr³", "Å³", units.Bohr**3),
        ("bohr**2", "Å²", units.Bohr**2),
        ("GPa", "eV/Å³", units.GPa),
        ("eV/A^3", "eV/Å³", 1.0),
        ("J/(mol K)", "cal/(mol K)", 1 / 4.184),
        ("a.u.", "eV", units.Hartree),
        ("au", "e·Å", units.Bohr),
        ("a.u.", "eV/Å", units.Hartree / units.Bohr),
        ("au", "Å³", units.Bohr**3),
        ("deg/[dm (g/cm³)]", "deg/[dm (g/cm³)]", 1.0),
        ("1", "1", 1.0),
        ("MHARTREE", "eV", 1e-3 * units.Hartree),
        ("kJ.mol-1.Å-1", "eV/Å", units.kJ / units.mol),
        ("10⁻²⁴ cm³", "Å³", 1.0),
        ("nM", "mol/L", 1e-9),
        ("NM", "Å", 10.0),
        ("°C", "°C", 1.0),
    ],
)
def test_factors(given: str, wanted: str, factor: float) -> None:
    assert conversion_factor(given, wanted) == pytest.approx(factor, rel=1e-6)


@pytest.mark.parametrize(
    ("given", "wanted", "message"),
    [
        ("Hartee", "eV", "did you mean 'hartree'"),
        ("zzz", "eV", "known are eV"),
        ("Å", "eV", "does not measure the same thing"),
        ("D", "D·Å", "does not measure the same thing"),
        ("", "eV", "cannot be read"),
        ("(eV", "eV", "open bracket"),
        ("eV)", "eV", "cannot be read"),
        ("eV/", "eV", "ends too early"),
        ("kcal", "eV", "'kcal' without mol"),
        ("kJ/Å", "eV/Å", "'kJ/Å' without mol"),
        ("kcal/molecule", "eV", "'kcal/molecule' without mol"),
        ("degC", "K", "has another zero than 'K'; convert the numbers"),
        ("10", "eV", "'10' is not known"),
        ("µ", "D", "not known"),
    ],
)
def test_mistakes(given: str, wanted: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        conversion_factor(given, wanted)
