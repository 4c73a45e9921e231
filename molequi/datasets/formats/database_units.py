"""The units that an ASE database states in its metadata, as SchNetPack writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ase.db

from molequi.datasets.formats.units import conversion_factor
from molequi.errors import UserError
from molequi.properties import Property
from molequi.structures.formats import format_of

_PROPERTIES, _DISTANCE = "_property_unit_dict", "_distance_unit"


def stated_units(
    path: str | Path, targets: Iterable[Property], keys: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return target -> the unit that the file itself states for it; empty for other files.

    keys: target -> its name in the file. Raises UserError where the file states that its positions
    are not in Å: they are read as Å.
    """
    if str(path) == "-" or format_of(Path(path)) != "database":
        return {}
    with ase.db.connect(path) as database:
        metadata: Mapping[str, Any] = database.metadata
    distance = str(metadata.get(_DISTANCE) or "Å")
    if abs(conversion_factor(distance, "Å") - 1.0) > 1e-6:
        raise UserError(
            f"{path} states that its positions are in {distance}; an ASE database must hold Å: "
            "convert it"
        )
    stated = metadata.get(_PROPERTIES) or {}
    by_name = {str(name).lower(): str(unit) for name, unit in stated.items()}
    found = {row.name: _unit_of(row, by_name, (keys or {}).get(row.name)) for row in targets}
    return {name: unit for name, unit in found.items() if unit}


def _unit_of(row: Property, by_name: Mapping[str, str], key: str | None) -> str | None:
    """Return the unit of a row under its name in the file, else under any name that it may have."""
    names = [key.lower()] if key else [row.name.lower(), *row.aliases]
    return next((by_name[name] for name in names if name in by_name), None)
