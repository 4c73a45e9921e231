"""Predictions beside labels, as a run keeps them: parity, and errors by element, size and doubt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from molequi.properties import PROPERTIES, Property, from_dict
from molequi.report import comparisons
from molequi.report.comparisons import Compared
from molequi.report.markup import Markup
from molequi.report.molecules import Scene, Snapshot, viewer, with_room
from molequi.report.tables import Digits, number
from molequi.runtime.gate import reading
from molequi.runtime.wording import capital

_END = "_predicted"
_MOST_WORST = 12
_MOST_BINS, _FEWEST_IN_BIN = 6, 5


class Predictions:
    """The file of predictions of a run; description: of its model, see `read_description`."""

    def __init__(self, path: Path, description: Mapping[str, Any]) -> None:
        with reading(path, "predictions"), np.load(path, allow_pickle=False) as file:
            self.arrays = {name: file[name] for name in file.files}
            self.n_atoms = self.arrays["n_atoms"].astype(int)
            self.numbers = self.arrays["atomic_numbers"].astype(int)
        self.owners = np.repeat(np.arange(len(self.n_atoms)), self.n_atoms)
        self._baselines = description["metadata"]["training"]["baseline"]
        own = (from_dict(row) for row in description["properties"])
        self._rows = {**PROPERTIES, **{row.name: row for row in own}}
        names = [name.removesuffix(_END) for name in self.arrays if name.endswith(_END)]
        self.compared = [
            self._compare(self._rows[name])
            for name in names
            if name in self.arrays and name in self._rows and not self._rows[name].spread_of
        ]
        self._spreads = [
            name for name in names if name in self._rows and self._rows[name].spread_of
        ]

    def parity(self) -> list[Markup]:
        """Return predicted over label for each property."""
        return [comparisons.parity(one) for one in self.compared]

    def by_element(self) -> list[Markup | None]:
        """Return the mean error by element for each property."""
        return [self._by_element(one) for one in self.compared]

    def by_size(self) -> list[Markup | None]:
        """Return the mean error by the number of atoms of the molecule for each property."""
        return [self._by_size(one) for one in self.compared]

    def reliability(self) -> list[Markup | None]:
        """Return the size of errors over their spread, for each spread that the model gives."""
        known = {one.row.name: one for one in self.compared}
        return [
            comparisons.reliability(known[self._rows[name].spread_of], self.arrays[f"{name}{_END}"])
            for name in self._spreads
            if self._rows[name].spread_of in known
        ]

    def worst(self, name: str) -> Markup | None:
        """Return the molecules that the model is most wrong about, where geometries are kept."""
        if "positions" not in self.arrays or not self.compared:
            return None
        leading = self.compared[0]
        sizes = self._of_molecules(leading)
        order = np.argsort(np.nan_to_num(sizes, nan=-1.0))[::-1][:_MOST_WORST]
        order = order[: with_room(self.n_atoms[order].tolist(), _MOST_WORST)]
        ends = np.cumsum(self.n_atoms)
        snapshots = [
            self._snapshot(
                rank, molecule, slice(ends[molecule] - self.n_atoms[molecule], ends[molecule])
            )
            for rank, molecule in enumerate(order.tolist(), start=1)
        ]
        has_forces = bool(snapshots[0].arrows)
        units = (
            dict.fromkeys(("predicted forces", "reference forces"), "eV/Å") if has_forces else {}
        )
        caption = f"The {len(snapshots)} test structures with the largest error of {leading.words}."
        return viewer(Scene(snapshots, units, shown=tuple(units)), name, caption)

    def _snapshot(self, rank: int, molecule: int, atoms: slice) -> Snapshot:
        arrows, notes = {}, []
        for one in self.compared:
            given, label = self.arrays[f"{one.row.name}{_END}"], self.arrays[one.row.name]
            if one.row.name == "forces":
                arrows = {"predicted forces": given[atoms], "reference forces": label[atoms]}
            elif not one.row.per_atom and not one.row.shape:
                if one.row.binary:
                    given, label = one.predictions, one.labels
                unit = "" if one.row.unit == "1" else f" {one.row.unit}"
                said = f"{_exact(given[molecule])}{unit}, label {_exact(label[molecule])}{unit}"
                notes.append((one.words, said))
        places = self.arrays.get("source")
        title = f"{rank}. {'' if places is None else places[molecule]}".strip()
        found = self.numbers[atoms], self.arrays["positions"][atoms]
        return Snapshot(title, *found, arrows, notes=notes)

    def _compare(self, row: Property) -> Compared:
        labels = self.arrays[row.name].astype(float)
        given = self.arrays[f"{row.name}{_END}"].astype(float)
        if row.binary:
            given = 1.0 / (1.0 + np.exp(-given))
        errors = np.abs(given - labels).reshape(len(labels), -1).mean(axis=1)
        if not row.has_reference:
            return Compared(row, labels, given, errors, row.unit)
        guess = self._guess(row)
        unit = f"m{row.unit}/atom" if row.unit == "eV" else f"{row.unit}/atom"
        errors = errors / np.maximum(self.n_atoms, 1) * (1000.0 if row.unit == "eV" else 1.0)
        return Compared(row, labels - guess, given - guess, errors, unit)

    def _guess(self, row: Property) -> np.ndarray:
        """Return what the composition alone tells of a total."""
        table = np.zeros(max(map(int, self._baselines.get(row.name, {"0": 0.0})), default=0) + 1)
        for key, value in self._baselines.get(row.name, {}).items():
            table[int(key)] = value
        known = np.where(self.numbers < len(table), self.numbers, 0)
        return np.bincount(self.owners, table[known], minlength=len(self.n_atoms))

    def _of_molecules(self, one: Compared) -> np.ndarray:
        """Return one error for each molecule: of atoms their mean."""
        if not one.row.per_atom:
            return one.errors
        sums = np.bincount(self.owners, one.errors, minlength=len(self.n_atoms))
        return sums / np.maximum(self.n_atoms, 1)

    def _by_element(self, one: Compared) -> Markup | None:
        elements = np.unique(self.numbers)
        if one.row.per_atom:
            groups = [one.errors[self.numbers == element] for element in elements]
        else:
            holds = [np.unique(self.owners[self.numbers == element]) for element in elements]
            if all(len(owners) == len(self.n_atoms) for owners in holds):
                return None
            groups = [one.errors[owners] for owners in holds]
        whose = "atoms of the element" if one.row.per_atom else "molecules that hold the element"
        names = [chemical_symbols[element] for element in elements]
        return comparisons.bars(
            one, names, groups, capital(f"{one.words} by element"), "element", whose
        )

    def _by_size(self, one: Compared) -> Markup | None:
        bins = _size_bins(self.n_atoms)
        if len(bins) < 2:
            return None
        sizes = self.n_atoms[self.owners] if one.row.per_atom else self.n_atoms
        groups = [one.errors[(sizes >= low) & (sizes <= high)] for low, high in bins]
        names = [str(low) if low == high else f"{low}–{high}" for low, high in bins]
        heading = capital(f"{one.words} by size")
        return comparisons.bars(
            one, names, groups, heading, "atoms in the molecule", "molecules of that size"
        )


def _size_bins(n_atoms: np.ndarray) -> list[tuple[int, int]]:
    """Part the sizes of molecules into bins that hold about as many molecules each."""
    most = max(min(_MOST_BINS, len(n_atoms) // _FEWEST_IN_BIN), 1)
    edges = np.unique(np.quantile(n_atoms, np.linspace(0, 1, most + 1), method="nearest"))
    starts = [int(edges[0]), *(int(edge) + 1 for edge in edges[1:-1])]
    bins = list(zip(starts, map(int, edges[1:]), strict=False))
    return [pair for pair in bins if pair[0] <= pair[1]]


def _exact(value: float) -> str:
    """Write a label with as many digits as tell it from a prediction of it."""
    return Digits.of(value, 4) if abs(value) >= 1.0 else number(float(value))
