"""QM9's columns in terms of the property table, and its energies of the isolated atoms."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from ase import units
from ase.data import atomic_numbers
from torch import Tensor

from molequi.errors import UserError
from molequi.graphs.elements import N_ELEMENTS
from molequi.properties import PROPERTIES, Property
from molequi.runtime import resources

# Rotational constants have no row in the table of learnable properties: they follow from the
# geometry.
_ROTATIONAL = {
    f"rotational_{axis.lower()}": Property(
        f"rotational_{axis.lower()}", "0e", "GHz", f"rotational constant {axis}"
    )
    for axis in "ABC"
}


class Column(NamedTuple):
    """A column of QM9's table, and the factor that converts it to the property's unit."""

    name: str
    factor: float


COLUMN_OF: Mapping[str, Column] = MappingProxyType(
    {
        "dipole_magnitude": Column("mu", 1.0),
        "isotropic_polarizability": Column("alpha", units.Bohr**3),
        "homo": Column("homo", units.Hartree),
        "lumo": Column("lumo", units.Hartree),
        "gap": Column("gap", units.Hartree),
        "r2": Column("r2", units.Bohr**2),
        "zpve": Column("zpve", units.Hartree),
        "cv": Column("cv", 1.0),
        "u0": Column("u0", units.Hartree),
        "u298": Column("u298", units.Hartree),
        "h298": Column("h298", units.Hartree),
        "g298": Column("g298", units.Hartree),
        "rotational_a": Column("A", 1.0),
        "rotational_b": Column("B", 1.0),
        "rotational_c": Column("C", 1.0),
    }
)
QM9_PROPERTIES: Mapping[str, Property] = MappingProxyType(
    {name: {**PROPERTIES, **_ROTATIONAL}[name] for name in COLUMN_OF}
)


def atom_references(name: str) -> Tensor:
    """Return QM9's own energies of the isolated atoms for u0, u298, h298 or g298.

    (N_ELEMENTS,), float64, eV, by atomic number; NaN elsewhere.
    """
    known = [name for name, row in QM9_PROPERTIES.items() if row.has_reference]
    if name not in known:
        raise UserError(
            f"QM9 has no atomic references for {name!r}; it has them for {', '.join(known)}"
        )
    references = torch.full((N_ELEMENTS,), torch.nan, dtype=torch.float64)
    column, factor = COLUMN_OF[name]
    with resources.data_path("samples/qm9_atomref.csv").open(
        encoding="utf-8", newline=""
    ) as handle:
        for line in csv.DictReader(handle):
            references[atomic_numbers[line["element"]]] = float(line[f"{column}_Ha"]) * factor
    return references
