"""One structure to compute, what is known of where it comes from, or why there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ase import Atoms

from molequi.errors import UserError
from molequi.runtime.wording import named_error
from molequi.structures.electrons import SOURCE_KEYS

# What the reader noted about where the structure comes from, worth repeating beside a result.
_NOTES = ("name", "smiles", "geometry", "reading", "open_stereo")


@dataclasses.dataclass(frozen=True)
class Structure:
    """One structure to compute, or why there is none.

    source: the file, `-`, or the SMILES. index: 0-based in the source. conformer: 0-based, where
    several were asked for. columns: what the line of a table says.
    """

    source: str
    index: int
    atoms: Atoms | None
    error: str | None = None  # of a whole file it begins with the file's name
    conformer: int | None = None
    columns: Mapping[str, str] | None = None

    @property
    def n_atoms(self) -> int:
        """How many atoms it has; none where there is no structure."""
        return 0 if self.atoms is None else len(self.atoms)

    def require_atoms(self) -> Atoms:
        """Return the atoms. Raises UserError that says why there are none."""
        if self.atoms is None:
            raise UserError(named_error(f"{self}", self.source, self.error or ""))
        return self.atoms

    def labels(self) -> dict[str, Any]:
        """Return what names the structure in a record."""
        labels: dict[str, Any] = {"source": self.source, "index": self.index}
        if self.conformer is not None:
            labels["conformer"] = self.conformer
        if self.columns is not None:
            labels["columns"] = dict(self.columns)
        if self.atoms is None:
            return labels
        return {**labels, **notes_of(self.atoms)}

    def electron_sources(self) -> dict[str, str]:
        """Return where charge and multiplicity come from, as far as it is known."""
        info = {} if self.atoms is None else self.atoms.info
        return {key: info[key] for key in SOURCE_KEYS if key in info}

    def __str__(self) -> str:
        """Name the structure in a message."""
        return f"structure {self.index} of {self.source}"


def notes_of(atoms: Atoms) -> dict[str, str]:
    """Return what the reader noted: its name and where its geometry comes from."""
    return {name: atoms.info[name] for name in _NOTES if isinstance(atoms.info.get(name), str)}
