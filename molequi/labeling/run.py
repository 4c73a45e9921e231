"""Reference labels for training.

Molecules in, extended XYZ with energies, forces, dipoles and response tensors out.

What is computed stands in a journal beside the output from the moment it is known; the output
itself appears by rename when all is done. Names and units are those of the property table, so that
`molequi train` reads the file as it is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms

from molequi.errors import RunInterruptedError, UserError
from molequi.graphs.elements import COINCIDENT
from molequi.labeling.inputs import constitution_of, gather, read_excluded
from molequi.labeling.journal import Journal, name_of
from molequi.labeling.levels import Level, Molecule, choose_properties, parse_level, require_package
from molequi.labeling.output import labelled
from molequi.labeling.workers import Worker, answers, has_died
from molequi.runtime.files import check_output
from molequi.runtime.gate import reading
from molequi.runtime.journal import journal_path, may_replace
from molequi.runtime.locks import locked, refuse_locked
from molequi.runtime.signals import SignalWatch
from molequi.structures.structure import Structure
from molequi.structures.writers import check_writable, write_results

Progress = Callable[[int, int, int], None]


class Failure(NamedTuple):
    """A structure without labels, and why it has none."""

    structure: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Labelled:
    """What a run gave. n_excluded: left out because their constitution is on the list."""

    output: Path
    level: str
    program: str
    properties: tuple[str, ...]
    n_labelled: int
    n_excluded: int
    failures: tuple[Failure, ...]


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """How a run is carried out. n_processes: of one thread each.

    By default one per core that this process may use.

    resume: go on with the journal of an interrupted run. overwrite: replace output and journal.
    progress: called with done, total, failed. add_hydrogens, as_is: what of structures without, see
    `inputs.read_inputs`.
    """

    n_processes: int | None = None
    resume: bool = False
    overwrite: bool = False
    progress: Progress | None = None
    add_hydrogens: bool = False
    as_is: bool = False


def label(
    inputs: str | os.PathLike[str] | Atoms | Sequence[str | os.PathLike[str] | Atoms] = (),
    level: str = "hf/6-31g",
    output: str | os.PathLike[str] = "labels.xyz",
    *,
    smiles: Sequence[str] = (),
    properties: Sequence[str] = (),
    rows: str | None = None,
    exclude: str | os.PathLike[str] | None = None,
    charge: int | None = None,
    seed: int = 0,
    run: RunSettings | None = None,
) -> Labelled:
    """Label every structure at a level of theory and write all as extended XYZ.

    inputs: files that `molequi.predict` reads, ASE atoms, an npz of structures, QM9's own files, or
    the word `qm9` for the prepared set. level: METHOD/BASIS by PySCF, or gfn2-xtb by tblite.
    properties: names of the property table; the level's usual ones where none are named. rows: see
    `inputs.gather`. exclude: a list of SMILES of molecules to leave out. charge: e, overrides what
    the inputs say; seed: of the conformers made from SMILES.
    Raises UserError before anything is computed where the question makes no sense,
    RunInterruptedError where a signal stopped it.
    """
    run = run or RunSettings()
    parsed = parse_level(level)
    chosen = choose_properties(parsed, properties)
    require_package(parsed)
    place = _check_target(output, run)
    items = [inputs] if isinstance(inputs, str | os.PathLike | Atoms) else inputs
    structures = gather(
        [item if isinstance(item, Atoms) else os.fspath(item) for item in items], smiles,
        charge=charge, seed=seed, rows=rows, add_hydrogens=run.add_hydrogens, as_is=run.as_is,
    )  # fmt: skip
    excluded = None if exclude is None else read_excluded(os.fspath(exclude))
    return _label(_sift(structures, excluded), parsed, chosen, place, run)


class _Place(NamedTuple):
    """Where labels go, and whether something may be there."""

    target: Path
    may_replace: bool


def _label(
    sifted: _Sifted, level: Level, properties: Sequence[str], place: _Place, run: RunSettings
) -> Labelled:
    target = place.target
    molecules = {name_of(molecule): molecule for molecule in map(_molecule, sifted.wanted)}
    elements = sorted({int(z) for molecule in molecules.values() for z in molecule.numbers})

    def start() -> Worker:
        return Worker(level, properties, elements)

    first = start()
    try:
        identity = {"level": str(level), "properties": list(properties), "program": first.program}
        with Journal(journal_path(target), identity) as journal:
            # Reading the inputs took its time, in which another run may have begun and ended.
            journal.refuse_late(target, may_replace=place.may_replace)
            _compute(journal, molecules, first, start, run)
            # Under the lock: a second run that finds all answers there would write, and end, too.
            return _finish(target, journal, sifted, level)
    finally:
        first.close()


def _check_target(output: str | os.PathLike[str], run: RunSettings) -> _Place:
    """Refuse what is in the way; with `overwrite` the old journal goes."""
    target = check_writable(output, overwrite=True)
    if not {".xyz", ".extxyz"} & set(target.suffixes):
        raise UserError(
            f"the output {target} has no known format for labels; use .xyz or .extxyz, also .gz"
        )
    journal = journal_path(target)
    refuse_locked(journal)
    if run.overwrite and not run.resume:
        with contextlib.suppress(FileNotFoundError), locked(journal):
            journal.unlink()
    elif not run.resume:
        check_output(
            journal,
            remedy="it is the journal of an unfinished run: give --resume to go on with it, or "
            "--overwrite",
        )
    again = may_replace(target, overwrite=run.overwrite)
    return _Place(check_writable(target, overwrite=again), again)


class _Sifted(NamedTuple):
    """What is to be computed, what cannot be, and how many are excluded."""

    wanted: list[Structure]
    failures: list[Failure]
    n_excluded: int


def _sift(structures: Sequence[Structure], excluded: frozenset[str] | None) -> _Sifted:
    wanted, failures, n_excluded = [], [], 0
    for structure in structures:
        try:
            if structure.atoms is None:
                raise UserError(structure.error or "cannot be read")
            _refuse_impossible(structure.atoms)
            if excluded is not None and constitution_of(structure) in excluded:
                n_excluded += 1
            else:
                wanted.append(structure)
        except UserError as error:
            failures.append(Failure(str(structure), str(error)))
    return _Sifted(wanted, failures, n_excluded)


def _refuse_impossible(atoms: Atoms) -> None:
    """Refuse what no program computes, whose own words for it say nothing to a chemist."""
    if atoms.pbc.any():
        raise UserError("it is periodic; labels are for molecules (switch pbc off)")
    charge = int(atoms.info["charge"])
    if (n_electrons := int(atoms.numbers.sum()) - charge) < 1:
        raise UserError(
            f"with charge {charge:+d} it has {n_electrons} electrons; at least 1 is needed"
        )
    distances = atoms.get_all_distances() + np.diag(np.full(len(atoms), np.inf))
    if len(atoms) > 1 and distances.min() < COINCIDENT:
        first, second = np.unravel_index(distances.argmin(), distances.shape)
        raise UserError(
            f"atoms {first} and {second} are {distances.min():.3f} Å apart; nuclei closer than "
            f"{COINCIDENT} Å are a mistake"
        )


def _molecule(structure: Structure) -> Molecule:
    atoms = structure.require_atoms()
    return Molecule(
        atoms.numbers,
        atoms.positions,
        int(atoms.info["charge"]),
        int(atoms.info["spin_multiplicity"]),
    )


def _compute(
    journal: Journal,
    molecules: Mapping[str, Molecule],
    first: Worker,
    make: Callable[[], Worker],
    run: RunSettings,
) -> None:
    """Answer what the journal has no answer for yet; a process that died gave none.

    Raises RunInterruptedError, with all answers so far in the journal.
    """
    known = {name: one for name, one in journal.answers.items() if not has_died(one)}
    todo = {name: molecule for name, molecule in molecules.items() if name not in known}
    names, total = list(todo), len(molecules)
    n_failed = sum("error" in known[name] for name in molecules if name in known)
    n_processes = max(1, min(run.n_processes or _usable_cores(), len(todo)))
    report = run.progress or (lambda *_: None)
    report(total - len(todo), total, n_failed)
    done = total - len(todo)
    with SignalWatch() as watch:
        for item in answers(first, todo.values(), n_processes, make):
            if watch.number:
                raise RunInterruptedError(
                    f"labels stopped by {watch.name}; {done} of {total} are in {journal.path}, "
                    "go on with --resume",
                    watch.number,
                )
            if item is not None:
                journal.add(names[item.place], item.answer)
                done, n_failed = done + 1, n_failed + ("error" in item.answer)
                report(done, total, n_failed)


def _usable_cores() -> int:
    """Return the number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # neither macOS nor Windows has it
        return os.cpu_count() or 1


def _finish(target: Path, journal: Journal, sifted: _Sifted, level: Level) -> Labelled:
    """Write what is labelled and remove the journal."""
    frames, failures = [], list(sifted.failures)
    marks = {"level": level.text, "program": journal.identity["program"]}
    for structure in sifted.wanted:
        answer = journal.answers[name_of(_molecule(structure))]
        if "error" in answer:
            failures.append(Failure(str(structure), answer["error"]))
        else:
            with reading(journal.path, f"labels of {structure}", "remove it and begin again"):
                values = {name: answer["values"][name] for name in journal.identity["properties"]}
                frames.append(labelled(structure, values, marks))
    if frames:
        write_results(target, [{} for _ in frames], frames)
    journal.path.unlink()
    return Labelled(
        target,
        marks["level"],
        marks["program"],
        tuple(journal.identity["properties"]),
        len(frames),
        sifted.n_excluded,
        tuple(failures),
    )
