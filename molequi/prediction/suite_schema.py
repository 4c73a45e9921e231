"""What a suite in YAML may hold: the entries of `suite_yaml`, and what is wrong with others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pydantic
from pydantic_core import PydanticCustomError

from molequi.settings import Settings

Unit = Literal["kcal/mol", "kJ/mol", "eV"]


class SystemEntry(Settings):
    """A system: a file, with the number of the structure where it holds several, or a SMILES."""

    file: str | None = None
    index: int | None = None
    smiles: str | None = None
    charge: int | None = None
    multiplicity: int | None = None


class ReactionEntry(Settings):
    """A reaction as a text or as coefficients by system, and its energy."""

    reaction: str | None = None
    terms: dict[str, float] | None = None
    name: str | None = None
    energy: float
    unit: Unit | None = None

    @pydantic.field_validator("terms", mode="before")
    @classmethod
    def _fractions(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {_name(key): number_of(number) for key, number in value.items()}


class MoleculeEntry(Settings):
    """Conformers, all in one file or one in each of several, and their energies."""

    file: str | None = None
    files: list[str] | None = None
    energies: list[float]
    charge: int | None = None
    multiplicity: int | None = None
    unit: Unit | None = None


class SuiteFile(Settings):
    """What a YAML file holds."""

    has_overrides = False

    name: str | None = None
    source: str = ""
    licence: str = ""
    unit: Unit
    systems: dict[str, SystemEntry] = {}
    reactions: list[ReactionEntry] = []
    molecules: dict[str, MoleculeEntry] = {}

    @pydantic.field_validator("systems", "molecules", mode="before")
    @classmethod
    def _files(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {
            _name(key): {"file": entry} if isinstance(entry, str) else entry
            for key, entry in value.items()
        }


def number_of(value: Any) -> Any:
    """Return a text such as 1/2 as a number; pydantic judges whatever else is given."""
    if not isinstance(value, str):
        return value
    numerator, _, denominator = value.partition("/")
    try:
        return float(numerator) / float(denominator or 1)
    except (ValueError, ZeroDivisionError):
        return value


def _name(key: Any) -> str:
    """Return a key as text. YAML reads true and false as yes and no."""
    if isinstance(key, bool):
        raise PydanticCustomError(
            "name", "{text}", {"text": f"YAML reads this name as {key}; put it in quotes"}
        )
    return str(key)
