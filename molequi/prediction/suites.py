"""Suites of reference energies: reactions of systems, and conformers of molecules.

Geometries are given, energies alone are compared, in kcal/mol; nothing is relaxed.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms, units
from ase.data import chemical_symbols

from molequi.errors import UserError
from molequi.structures.atoms import charge_of, check_atoms, multiplicity_of

KCAL_MOL = units.kcal / units.mol  # eV
# Coefficients may be fractions, which no text writes exactly.
_UNBALANCED = 1e-6
_LARGEST = 1e15  # of energies, kcal/mol, and coefficients


class Reaction(NamedTuple):
    """A reaction: its energy is the sum of coefficient times energy of a system.

    terms: (coefficient, name of the system); what is formed has positive coefficients. kcal_mol:
    the reference.
    """

    name: str
    terms: tuple[tuple[float, str], ...]
    kcal_mol: float


class Conformers(NamedTuple):
    """Geometries of one molecule, and their energies up to a constant: (K,), kcal/mol."""

    name: str
    structures: tuple[Atoms, ...]
    kcal_mol: np.ndarray


class Origin(NamedTuple):
    """Of what a suite is: its name, where its numbers come from, and how they may be used."""

    name: str
    source: str = ""
    licence: str = ""


@dataclasses.dataclass(frozen=True)
class ReactionSuite:
    """Reactions between systems, which carry `info["charge"]` and `info["spin_multiplicity"]`.

    Raises UserError for a reaction that names an unknown system, or is not balanced in elements and
    charge: its energy would mean nothing.
    """

    origin: Origin
    systems: Mapping[str, Atoms]
    reactions: Sequence[Reaction]

    def __post_init__(self) -> None:
        if not self.reactions:
            raise UserError(f"suite {self.origin.name} has no reactions")
        for reaction in self.reactions:
            where = f"suite {self.origin.name}, reaction {reaction.name}"
            _require_numbers([reaction.kcal_mol, *(term[0] for term in reaction.terms)], where)
            for _, system in reaction.terms:
                _require_known(system, self.systems, where)
            _require_balance(reaction, self.systems, where)

    @property
    def used(self) -> list[str]:
        """The systems that reactions name, in their order by name."""
        return sorted({name for reaction in self.reactions for _, name in reaction.terms})

    @property
    def structures(self) -> list[Atoms]:
        """What is to be computed: the used systems."""
        return [self.systems[name] for name in self.used]


@dataclasses.dataclass(frozen=True)
class ConformerSuite:
    """Conformers of molecules.

    Raises UserError for a molecule that has fewer than two, whose energies are not as many, or
    whose structures are not of the same atoms.
    """

    origin: Origin
    molecules: Sequence[Conformers]

    def __post_init__(self) -> None:
        if not self.molecules:
            raise UserError(f"suite {self.origin.name} has no molecules")
        for name, structures, energies in self.molecules:
            where = f"suite {self.origin.name}, molecule {name}"
            if len(structures) != len(energies):
                raise UserError(
                    f"{where}: {len(structures)} conformers and {len(energies)} energies; as many "
                    "are needed"
                )
            if len(structures) < 2:
                raise UserError(f"{where}: one conformer has no relative energy; give two or more")
            _require_numbers(energies, where)
            formulas = {atoms.get_chemical_formula() for atoms in structures}
            if len(formulas) > 1:
                raise UserError(f"{where}: its conformers are {', '.join(sorted(formulas))}")

    @property
    def structures(self) -> list[Atoms]:
        """What is to be computed: the conformers, molecule by molecule."""
        return [atoms for molecule in self.molecules for atoms in molecule.structures]


Suite = ReactionSuite | ConformerSuite


def system(
    numbers: Sequence[int] | np.ndarray,
    positions: Sequence[Sequence[float]] | np.ndarray,
    charge: int,
    multiplicity: int,
) -> Atoms:
    """Return a checked system. positions: (N, 3), Å; charge: e; multiplicity: 2S + 1.

    Raises UserError for atoms that are none, or electrons that do not go with the multiplicity.
    """
    info = {"charge": charge, "spin_multiplicity": multiplicity}
    return checked_system(Atoms(numbers, positions, info=info))


def checked_system(atoms: Atoms) -> Atoms:
    """Return atoms whose `info` says charge and multiplicity.

    Raises UserError for atoms without atoms, and for what `system` refuses.
    """
    if not len(atoms):
        raise UserError("a system has no atoms")
    check_atoms(atoms)
    atoms.info["charge"] = charge_of(atoms)
    atoms.info["spin_multiplicity"] = multiplicity_of(atoms, atoms.info["charge"])
    return atoms


def _require_numbers(values: Iterable[float], where: str) -> None:
    bad = [value for value in values if not abs(value) < _LARGEST]
    if bad:
        raise UserError(f"{where}: {bad[0]:g} is no energy or coefficient")


def _require_known(name: str, systems: Mapping[str, Atoms], where: str) -> None:
    if name in systems:
        return
    near = difflib.get_close_matches(name, systems, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(systems) or 'none'}"
    raise UserError(f"{where}: no system {name!r}; {hint}")


def _require_balance(reaction: Reaction, systems: Mapping[str, Atoms], where: str) -> None:
    total: Counter[str] = Counter()
    for coefficient, name in reaction.terms:
        for number in systems[name].numbers.tolist():
            total[chemical_symbols[number]] += coefficient  # type: ignore[assignment]  # fractions
        total["charge"] += coefficient * systems[name].info["charge"]
    off = {what: excess for what, excess in total.items() if abs(excess) > _UNBALANCED}
    if off:
        words = ", ".join(f"{what} {excess:+g}" for what, excess in off.items())
        raise UserError(
            f"{where} is not balanced: {words} more is formed than used; check coefficients, "
            "structures and charges"
        )
