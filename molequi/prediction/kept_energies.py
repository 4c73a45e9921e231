"""Energies of a run over suites: kept in a journal, and counted while they come."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from molequi.models.freeze import FrozenModel
from molequi.prediction.energies import Answer, Energies, EnergySource, Refusal, at_once
from molequi.prediction.kept_batches import KeptBatches, Packing, kept_batches
from molequi.prediction.suites import Suite
from molequi.structures.atoms import charge_of, multiplicity_of

# Called with the numbers of structures that are done, and of all.
Progress = Callable[[int, int], None]


class KeptSource(EnergySource):
    """A source whose answers are counted and, where there is a journal, taken from it or added.

    n_structures: of all suites together.
    """

    def __init__(
        self,
        source: EnergySource,
        n_structures: int,
        *,
        kept: KeptBatches[Energies] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._source, self._kept, self._progress = source, kept, progress
        self._n_done, self._n_structures = 0, n_structures

    def energies(self, structures: Sequence[Atoms], answer: Answer = at_once) -> Energies:
        """Return the energy of every structure, eV, or why there is none."""
        return self._source.energies(structures, self._answer)

    def _answer(self, size: int, compute: Callable[[], Energies]) -> Energies:
        found = None if self._kept is None else self._kept.take(size)
        if found is None:
            found = compute()
            if self._kept is not None:
                self._kept.keep(found)
        self._n_done += size
        if self._progress is not None:
            self._progress(self._n_done, self._n_structures)
        return found


@contextlib.contextmanager
def kept_source(
    source: EnergySource,
    suites: Sequence[Suite],
    *,
    identity: Mapping[str, Any],
    model: FrozenModel | None = None,
    journal: Path | None = None,
    progress: Progress | None = None,
) -> Iterator[EnergySource]:
    """Yield the source of energies for these suites, in this order, each evaluated once.

    identity: what of the source its answers depend on, plain data; model: whose it is, if it is a
    model's. journal: where answers stand until all are there; an interrupted run goes on with
    it. progress: called after every batch.
    Raises RunInterruptedError where a signal came and there is a journal.
    """
    systems = [atoms for suite in suites for atoms in suite.structures]
    if journal is None:
        yield KeptSource(source, len(systems), progress=progress)
        return
    own = {**identity, "structures": _digest(systems)}
    packing = Packing(_packed, _unpacked)
    with kept_batches(journal, own, packing, model, len(systems)) as kept:
        yield KeptSource(source, len(systems), kept=kept, progress=progress)


def _digest(systems: Sequence[Atoms]) -> str:
    """Return a text that differs where the structures or their electrons do."""
    found = hashlib.sha256()
    for atoms in systems:
        charge = charge_of(atoms)
        found.update(f"{len(atoms)} {charge} {multiplicity_of(atoms, charge)}".encode())
        found.update(atoms.numbers.tobytes() + atoms.positions.tobytes())
    return found.hexdigest()[:24]


def _packed(energies: Energies) -> list[float | list[str]]:
    """Write a number as it is, which JSON keeps to the last bit, and a refusal as its reason."""
    return [list(one) if isinstance(one, Refusal) else one for one in energies]


def _unpacked(packed: Sequence[float | Sequence[str]]) -> Energies:
    return [float(one) if isinstance(one, float) else Refusal(*map(str, one)) for one in packed]
