"""Levels of theory by name, and what each can label."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from molequi.errors import UserError

XTB: Mapping[str, str] = MappingProxyType(
    {"gfn2-xtb": "GFN2-xTB", "gfn1-xtb": "GFN1-xTB", "ipea1-xtb": "IPEA1-xTB"}
)
# The response of a mean field to a static electric and magnetic field.
RESPONSE = frozenset(
    {"polarizability", "isotropic_polarizability", "rosenfeld", "rosenfeld_isotropic"}
)


class ResponseTensors(NamedTuple):
    """What a field answers to: polarizability, bohr³, and Rosenfeld tensor, bohr⁴, (3, 3) both.

    Rows of the latter are electric, columns magnetic.
    """

    polarizability: np.ndarray
    rosenfeld: np.ndarray


_MEAN_FIELD = (
    "energy",
    "forces",
    "dipole",
    "dipole_magnitude",
    "charges",
    "homo",
    "lumo",
    "gap",
    *sorted(RESPONSE),
)
_AVAILABLE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "hf": _MEAN_FIELD,
        "mp2": ("energy", "forces"),
        "dft": _MEAN_FIELD,
        "xtb": ("energy", "forces", "dipole", "dipole_magnitude", "charges"),
    }
)
_DEFAULT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "hf": ("energy", "dipole", "polarizability", "rosenfeld"),
        "mp2": ("energy", "forces"),
        "dft": ("energy", "forces", "dipole"),
        "xtb": ("energy", "forces", "dipole", "charges"),
    }
)


class LabelError(RuntimeError):
    """One molecule has no label, and the others go on; the message says why."""


class Molecule(NamedTuple):
    """What is to be computed. numbers: (N,); positions: (N, 3), Å; charge: e.

    Multiplicity: 2S + 1.
    """

    numbers: np.ndarray
    positions: np.ndarray
    charge: int = 0
    multiplicity: int = 1


@dataclasses.dataclass(frozen=True)
class Level:
    """A level of theory. method: hf, mp2, a functional, or a name of `XTB`.

    Basis: empty for xTB.
    """

    method: str
    basis: str = ""

    def __str__(self) -> str:
        """Write the level as the command line takes it."""
        return f"{self.method}/{self.basis}" if self.basis else self.method

    @property
    def kind(self) -> str:
        """One of hf, mp2, dft, xtb."""
        return "xtb" if not self.basis else self.method if self.method in {"hf", "mp2"} else "dft"

    @property
    def package(self) -> str:
        """The package that computes it."""
        return "tblite" if self.kind == "xtb" else "pyscf"

    @property
    def text(self) -> str:
        """The level as a paper would write it, for the files."""
        if self.kind == "xtb":
            return XTB[self.method]
        fitted = "" if self.kind == "mp2" else ", density fitting"
        basis = self.basis.upper() if self.basis[:1].isdigit() else self.basis
        return f"{self.method.upper()}/{basis}{fitted}"


def parse_level(text: str) -> Level:
    """Read `hf/6-31g`, `b3lyp/def2-svp`, `mp2/cc-pvdz` or `gfn2-xtb`.

    Whether the functional and the basis exist is known where they are computed. Raises UserError
    for any other form.
    """
    method, slash, basis = text.strip().lower().partition("/")
    if method in XTB and not slash:
        return Level(method)
    if not slash or not method or not basis:
        raise UserError(
            f"unknown level {text!r}; give METHOD/BASIS, such as hf/6-31g, b3lyp/def2-svp or "
            f"mp2/cc-pvdz, or one of {', '.join(XTB)}"
        )
    return Level(method, basis)


def choose_properties(level: Level, names: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the properties to compute, the level's usual ones where none are named.

    Raises UserError for one that the level does not give.
    """
    available = _AVAILABLE[level.kind]
    for name in names:
        if name not in available:
            raise UserError(f"{level} gives no property {name!r}; it gives {', '.join(available)}")
    return tuple(dict.fromkeys(names)) or _DEFAULT[level.kind]


def require_package(level: Level) -> None:
    """Raise UserError where the package that computes the level is not installed."""
    if not is_installed(level.package):
        raise UserError(
            f"{level} is computed by {level.package}, which is not installed: "
            'pip install "molequi[labels]"'
        )


def is_installed(package: str) -> bool:
    """Tell whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None
