"""What D3 knows of the elements: reference systems and their C6, radii; see `data/README.md`."""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple

import numpy as np
import torch
from ase import units
from ase.data import chemical_symbols
from torch import Tensor

from molequi.errors import NotComputableError
from molequi.runtime.constants import kept_constants

LAST_ELEMENT = 103

_C6_UNIT = units.Hartree * units.Bohr**6  # eV Å⁶
# k2 of J. Chem. Phys. 132, 154104 (2010), which widens the covalent radii.
_RADII_FACTOR = 4.0 / 3.0


class D3Table(NamedTuple):
    """By atomic number up to Z = 103, with R reference systems at most; float64.

    c6: (Z + 1, Z + 1, R, R), eV Å⁶, zero where there is no such system. coordination: (Z + 1, R),
    their coordination numbers, -1 where there is none. covalent_radii: (Z + 1,), Å, those of D3's
    coordination numbers. moments: (Z + 1,), Å, sqrt(C8 / 3 C6) of the element with itself; place 0
    is empty.
    """

    c6: Tensor
    coordination: Tensor
    covalent_radii: Tensor
    moments: Tensor


@kept_constants
def d3_table(device: torch.device) -> D3Table:
    """Return the table on a device; nobody may write to it."""
    if device.type != "cpu":
        return D3Table(*(values.to(device) for values in d3_table(torch.device("cpu"))))
    path = resources.files("molequi.nn.physics") / "d3_table.npz"
    with path.open("rb") as file, np.load(file) as stored:
        element = stored["element"].astype(np.int64)
        radii, r4_over_r2 = stored["covalent_radii"], stored["r4_over_r2"]
        units_of_c6 = np.ascontiguousarray(stored["c6_bytes"].T).view("<u4")[:, 0]
        coordination_numbers = stored["coordination"]
    system = np.arange(len(element)) - np.searchsorted(element, element)
    n_places, n_systems = len(radii), int(system.max()) + 1
    coordination = np.full((n_places, n_systems), -1.0)
    coordination[element, system] = coordination_numbers
    c6 = np.zeros((n_places, n_places, n_systems, n_systems))
    i, j = np.triu_indices(len(element))
    values = units_of_c6 * (1e-4 * _C6_UNIT)
    c6[element[i], element[j], system[i], system[j]] = values
    c6[element[j], element[i], system[j], system[i]] = values
    # J. Comput. Chem. 32, 1456 (2011), eq. 6; Q = sqrt(Z) <r4> / <r2> in atomic units.
    moments = np.sqrt(0.5 * np.sqrt(np.arange(n_places)) * r4_over_r2) * units.Bohr
    return D3Table(
        *(torch.from_numpy(x) for x in (c6, coordination, radii * _RADII_FACTOR, moments))
    )


def refuse_unknown_elements(numbers: Tensor) -> None:
    """Refuse atomic numbers beyond the table.

    Raises NotComputableError naming the element.
    """
    largest = int(numbers.max()) if len(numbers) else 0
    if largest > LAST_ELEMENT:
        raise NotComputableError(
            f"D3 has no parameters for {chemical_symbols[largest]}, it knows the elements up to "
            f"{chemical_symbols[LAST_ELEMENT]}; leave the dispersion off"
        )
