"""Relaxation: the nearest energy minimum, by ASE's optimizers; the cell is kept.

Of many structures at once: see `descents`.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from ase import Atoms

from molequi.errors import NotFiniteError, UserError
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.prediction.journaled import Prediction, written
from molequi.prediction.records import labelled_atoms, make_record, max_force
from molequi.runtime.journal import may_replace
from molequi.simulation.calculator import CHANGEABLE, Calculator
from molequi.simulation.descents import OPTIMIZERS, Descent, descend
from molequi.simulation.forces import admitted
from molequi.simulation.minima import leave_saddles
from molequi.simulation.movers import as_calculator
from molequi.simulation.rearrangement import bonds_changed
from molequi.structures.batching import in_batches
from molequi.structures.inputs import Input, read_inputs
from molequi.structures.structure import Structure
from molequi.structures.writers import check_writable

logger = logging.getLogger(__name__)

# Atoms in a batch of the journal: its last structures, which come in one by one, cost little.
_ATOMS_PER_BATCH = 4096
# eV/Å, at which soft modes of a minimum are real.
_SHARP = 1e-3
# Of a record, what a written structure says of itself.
_MARKS = ("model", "level", "unsafe", "converged", "fmax", "bonds_changed")


class Relaxed(NamedTuple):
    """A structure as far as it came. fmax: eV/Å, the largest force left on a free atom.

    Steps: made.
    """

    atoms: Atoms
    converged: bool
    fmax: float
    steps: int


def relax(  # noqa: PLR0913 (what, how, and where to)
    inputs: Input | Iterable[Input] = (),
    model: str | os.PathLike[str] | MolecularModel | FrozenModel | Calculator = "organic",
    *, smiles: str | Sequence[str] = (), charge: int | None = None, seed: int = 0,
    fmax: float = 0.01, steps: int = 500, optimizer: str = "bfgs", minimum: bool = False,
    batch_size: int | None = None, output: str | os.PathLike[str] | None = None,
    overwrite: bool = False, progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Relax every structure until no force exceeds `fmax` (eV/Å), in at most `steps` steps.

    inputs, smiles, charge, seed: see `inputs.read_inputs`; `charge` is that of a calculator where
    this has one. optimizer: `bfgs`, or `fire` for many hundred atoms. minimum: relax to 1e-3 eV/Å
    at least and leave saddle points, see `minima`; a model given by name or path then runs in
    float64. batch_size: structures in a batch of the journal; None: thousands of atoms.
    output: .xyz, .extxyz (also .gz), .csv or .json, of those that did not converge too. It appears
    when all are relaxed; until then results stand in the journal `OUTPUT.journal`, with which the
    same call goes on after an interruption (RunInterruptedError). Records are those of `predict`
    for the last geometry, with converged, fmax (eV/Å), steps, n_imaginary (modes that lead down; of
    `minimum`), energy_change (eV), bonds_changed (which broke and were made, where any did; see
    `rearrangement`), atomic_numbers, positions (Å). progress: called with the numbers
    of structures done, and failed.
    """
    _check(fmax, steps, optimizer)
    if output is not None:
        overwrite = may_replace(Path(output), overwrite=overwrite)
        check_writable(output, overwrite=overwrite)
    if isinstance(model, Calculator) and charge is None:
        charge = model.charge  # which the spins follow
    structures = read_inputs(inputs, smiles=smiles, charge=charge, seed=seed)
    calculator = as_calculator(model, dtype=torch.float64 if minimum else None)
    sharp = {"fmax": min(fmax, _SHARP), "minimum": True} if minimum else {}
    how: dict[str, Any] = {"fmax": fmax, "steps": steps, "optimizer": optimizer, **sharp}
    records: list[dict[str, Any]] = []
    batches = _batches(structures, batch_size)
    for record in _each(batches, calculator, how, output, overwrite=overwrite):
        records.append(record)
        if progress is not None:
            progress(len(records), sum("error" in one for one in records))
    return records


def _batches(structures: Iterable[Structure], batch_size: int | None) -> Iterator[list[Structure]]:
    """Part structures by their number, or by their atoms where none is given."""
    limit = {"atoms": _ATOMS_PER_BATCH} if batch_size is None else {"count": batch_size}
    return in_batches(structures, lambda one: one.n_atoms, **limit)


def _each(
    batches: Iterator[list[Structure]],
    calculator: Calculator,
    how: dict[str, Any],
    output: str | os.PathLike[str] | None,
    *,
    overwrite: bool,
) -> Iterator[dict[str, Any]]:
    """Yield the record of each structure; with the last one the output appears."""
    compute = functools.partial(_relax_batch, calculator=calculator, how=how)
    if output is None:
        return (item.record for batch in batches for item in compute(batch))
    told = {name: calculator.parameters[name] for name in CHANGEABLE}
    settings = {**how, **told}
    return written(
        batches, compute, calculator.model, Path(output), settings, "relax", overwrite=overwrite
    )


def _relax_batch(
    structures: list[Structure], calculator: Calculator, how: dict[str, Any]
) -> Iterator[Prediction]:
    cases = [_prepared(structure, calculator, how) for structure in structures]
    under_way = [case for case in cases if isinstance(case, Descent)]
    go = functools.partial(descend, calculator=calculator, fmax=how["fmax"], steps=how["steps"])
    go(under_way)
    if "minimum" in how:
        leave_saddles(under_way, calculator, go)
    for structure, case in zip(structures, cases, strict=True):
        yield _arrived(structure, case, calculator) if isinstance(case, Descent) else case


def _prepared(
    structure: Structure, calculator: Calculator, how: dict[str, Any]
) -> Descent | Prediction:
    """Return a structure ready to go downhill, or the record of its error."""
    if structure.atoms is None:
        return Prediction({**structure.labels(), "error": structure.error}, None)
    try:
        if "minimum" in how and structure.atoms.constraints:
            raise UserError(
                "has fixed atoms, with which a minimum cannot be told from a saddle point; free "
                "them, or relax without minimum"
            )
        known = admitted(calculator, structure.atoms)
    except ValueError as error:
        return Prediction({**structure.labels(), "error": str(error)}, None)
    return Descent(structure.atoms, known, how["optimizer"])


def relax_atoms(
    atoms: Atoms, *, fmax: float = 0.01, steps: int = 500, optimizer: str = "bfgs"
) -> Relaxed:
    """Relax a copy of a structure with its own calculator; constraints are kept.

    It ends, not converged, where the model gives no finite forces.
    """
    _check(fmax, steps, optimizer)
    relaxed = atoms.copy()
    relaxed.calc = atoms.calc
    left, dynamics = np.inf, OPTIMIZERS[optimizer](relaxed, logfile=None)
    try:
        for _ in dynamics.irun(fmax=fmax, steps=steps):
            left = max_force(relaxed.get_forces())
    except NotFiniteError as error:
        logger.warning("the relaxation stopped at step %d: %s", dynamics.nsteps, error)
        left = np.inf
    return Relaxed(relaxed, left < fmax, left, dynamics.nsteps)


def _arrived(structure: Structure, descent: Descent, calculator: Calculator) -> Prediction:
    values, known, atoms = descent.values, descent.known, descent.atoms
    charge = known.electrons.charge
    record = {
        **structure.labels(),
        **make_record(calculator.model, atoms, values, total_charge=charge),
        "converged": descent.converged,
        "fmax": descent.fmax,
        "steps": descent.steps,
        "energy_change": values["energy"] - descent.before,
        "atomic_numbers": atoms.numbers,
        "positions": atoms.positions,
    }
    if descent.n_imaginary is not None:
        record["n_imaginary"] = descent.n_imaginary
    if known.doubt is not None:
        record["unsafe"] = known.doubt
    change = bonds_changed(structure.require_atoms(), atoms)
    if change is not None:
        record["bonds_changed"] = change
        logger.warning("%s is another molecule once relaxed: bonds %s", structure, change)
    marks = {name: record.get(name) for name in _MARKS}
    return Prediction(
        record, labelled_atoms(calculator.model, atoms, values, marks, total_charge=charge)
    )


def _check(fmax: float, steps: int, optimizer: str) -> None:
    if not fmax > 0:
        raise UserError(f"fmax is {fmax} eV/Å; it must be positive, 0.01 is usual")
    if steps < 0:
        raise UserError(f"steps is {steps}; it must be at least 0")
    if optimizer not in OPTIMIZERS:
        raise UserError(
            f"optimizer {optimizer!r} is not available; choose {' or '.join(OPTIMIZERS)}"
        )
