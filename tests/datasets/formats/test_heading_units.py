"""Units in the headings of columns: taken, refused, or no units at all."""

from __future__ import annotations

import logging

import pytest
from ase import units

from molequi.datasets.formats.heading_units import settle_headings, unit_in, without_unit
from molequi.datasets.formats.units import conversion_factor
from molequi.errors import UserError
from molequi.properties import PROPERTIES, declare

MELTING = declare("Tm", unit="K")
SOLUBILITY = declare("S", unit="mol/L")
LIFETIME = declare("tau", unit="s")
ACTIVE = declare("active", unit="1", binary=True)
ROWS = {row.name: row for row in (*PROPERTIES.values(), MELTING, SOLUBILITY, LIFETIME, ACTIVE)}
KCAL = units.kcal / units.mol


def settled(heading: str, **given: object):
    row = ROWS[heading.split(" ", maxsplit=1)[0]]
    return settle_headings("a.csv", ["smiles", heading], [row], {}, {}, **given)


@pytest.mark.parametrize(
    ("heading", "factor"),
    [
        ("gap [mEh]", 1e-3 * units.Hartree),
        ("gap [uHa]", 1e-6 * units.Hartree),
        ("gap [E_h]", units.Hartree),
        ("gap [hartree/particle]", units.Hartree),
        ("gap [eV/molecule]", 1.0),
        ("gap [kcal.mol-1]", KCAL),
        ("gap (kcal mol-1)", KCAL),
        ("gap [1/cm]", units.invcm),
        ("gap [aJ]", 6.241509),
        ("dipole_magnitude [ea0]", units.Bohr / units.Debye),
        ("dipole_magnitude [eÅ]", 1 / units.Debye),
        ("dipole_magnitude (e a0)", units.Bohr / units.Debye),
        ("dipole_magnitude [mD]", 1e-3),
        ("isotropic_polarizability [cm3]", 1e24),
        ("isotropic_polarizability [10^-24 cm^3]", 1.0),
        ("cv [kB]", 1.987204),
        ("cv (J/(mol K))", 1 / 4.184),
        ("S [mM]", 1e-3),
        ("S (µM)", 1e-6),
        ("specific_rotation [deg/[dm (g/cm³)]]", 1.0),
        ("tau [s]", 1.0),
    ],
)
def test_units_that_are_taken(heading: str, factor: float) -> None:
    found = settled(heading)
    (name, unit) = found.units.popitem()
    assert conversion_factor(unit, ROWS[name].unit) == pytest.approx(factor, rel=1e-6)
    assert found.keys == {name: heading}


@pytest.mark.parametrize(
    "heading",
    [
        "gap [THz]", "gap [K]", "gap (K)", "gap [B3LYP]", "dipole_magnitude [a0]",
        "isotropic_polarizability [au^3]", "Tm [°C]", "Tm (°C)", "Tm [F]", "Tm [°F]", "S [g/L]",
        "tau [ms]", "specific_rotation [deg]",
    ],
)  # fmt: skip
def test_what_may_be_meant_in_two_ways_is_refused(heading: str) -> None:
    name = heading.split(" ", maxsplit=1)[0]
    with pytest.raises(UserError, match=f"or say data.units.{name}=UNIT$") as caught:
        settled(heading)
    assert "\n" not in str(caught.value)
    left_out = settled(heading, is_strict=False)
    assert (left_out.keys, left_out.units) == ({}, {})
    assert left_out.unusable == {name: str(caught.value)}
    row = ROWS[name]
    told = settle_headings("a.csv", [heading], [row], {}, {name: row.unit})
    assert told == ({name: heading}, {name: row.unit}, {})


@pytest.mark.parametrize("heading", ["gap (B3LYP)", "gap (THz)", "tau (ms)", "h298 (g)"])
def test_round_brackets_without_a_unit_are_named(
    heading: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="molequi")
    name = heading.split(" ", maxsplit=1)[0]
    assert settled(heading) == ({name: heading}, {}, {})
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"the column {heading!r} is taken to be in {ROWS[name].unit}" in line


def test_labels_and_numbers_without_unit_have_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="molequi")
    assert settled("active [human]") == ({"active": "active [human]"}, {}, {})
    assert not caplog.records


@pytest.mark.parametrize(
    ("heading", "name", "unit"),
    [
        ("gap", "gap", None),
        ("gap []", "gap []", None),
        ("gap [Ha]", "gap", "Ha"),
        ("gap (B3LYP) [Ha]", "gap (B3LYP)", "Ha"),
        ("gap (B3LYP) (Ha)", "gap (B3LYP)", "Ha"),
        ("cv (J/(mol K))", "cv", "J/(mol K)"),
        ("assay (human cells)", "assay (human cells)", None),
        ("assay (of a very long name)", "assay (of a very long name)", None),
    ],
)
def test_names_and_units(heading: str, name: str, unit: str | None) -> None:
    assert (without_unit(heading), unit_in(heading)) == (name, unit)
