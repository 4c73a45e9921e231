"""Files of other programs, which ASE reads, and what it leaves out of them."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import ase
import ase.io
import numpy as np
from ase.constraints import FixAtoms, FixCartesian, FixScaled
from ase.constraints.constraint import FixConstraint

from molequi.errors import UserError
from molequi.runtime.gate import reading, warnings_logged
from molequi.structures.cif import crystal_faults
from molequi.structures.databases import json_structures
from molequi.structures.electrons import SOURCE_KEYS
from molequi.structures.formats import open_binary, suffix_of, unknown_format
from molequi.structures.gaussian_outputs import first_job, mend_gaussian
from molequi.structures.lammps import (
    USUAL_UNITS,
    is_lammps_data,
    lammps_data,
    settle_dump,
    units_of_dump,
)
from molequi.structures.nwchem import has_cell, nwchem_inputs, with_counted_spins
from molequi.structures.orca_outputs import orca_outputs
from molequi.structures.outputs import (
    add_note,
    counted_charge,
    drop_unconverged,
    held_multiplicity,
    states_more,
)
from molequi.structures.programs import (
    note_electrons,
    note_printed,
    stated_geometry,
    states_electrons,
)
from molequi.structures.text import decode, plain_numbers, text_of
from molequi.structures.typed import typed_elements
from molequi.structures.unread import unread_program

_LOG = logging.getLogger(__name__)
_NWCHEM = {".nw": "nwchem-in"}  # which ASE tells by .nwi
# Usual names of data files of LAMMPS; ASE takes the first for another program's.
_LAMMPS = (".data", ".lmp", ".lammps", ".lmpdat", ".lammps-data")
_DUMP = "lammps-dump-text"
_RESTART = "cp2k-restart"
_TEXT_AS_BYTES = ("cif",)  # whose text ASE wants undecoded
_HEAD = 1 << 12
_WHOLE = 0.999  # of an occupancy
_PARALLEL = 1e-8


class _Foreign(NamedTuple):
    """What a file holds: kind by ASE's name; text where more stands in it than ASE reads.

    faults: what is wrong with each structure of a CIF, and what is to be noted of it.
    """

    kind: str
    frames: list[ase.Atoms | str]
    text: str
    faults: Sequence[tuple[str | None, ...]] = ()


def any_format(path: Path) -> Iterator[ase.Atoms | str]:
    """Yield the structures of a file that ASE knows, or an output of ORCA, with charge and spin.

    Raises UserError for a file that cannot be read, with the program that it is of.
    """
    found = _foreign(path)
    if not any(isinstance(item, str) or len(item) for item in found.frames):
        raise UserError(_nothing(path, found.kind))
    for item, (fault, note) in zip(
        found.frames, found.faults or repeat((None, None)), strict=False
    ):
        if isinstance(item, str):
            yield item
            continue
        with reading(path, "structures"):
            if note:
                item.info["reading"] = note
            problem = fault or _completed_by(item, path, found)
        yield problem or item


def _nothing(path: Path, kind: str) -> str:
    """Say what a file is in which there is no atom."""
    unread = unread_program(path)
    if unread is None and kind.endswith(("-out", "-xml")):
        return f"{path} holds no structures: it ends before a first step is complete"
    return f"{path} {unread or 'holds no structures'}"


def _foreign(path: Path) -> _Foreign:
    """Read a file. Raises UserError where that is not possible."""
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty")
    try:
        return _read(path)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0].replace("_", "-")
        raise UserError(
            f"{path} is read by a package that is not there: pip install {package}"
        ) from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:  # ASE's readers raise whatever a file makes them stumble over
        raise UserError(f"{path} {unread_program(path) or _unreadable(path, error)}") from error


def _read(path: Path) -> _Foreign:
    """Read a file by its format: ours where ASE lacks it or loses what it says, else ASE's."""
    if suffix_of(path) in _LAMMPS and is_lammps_data(text := text_of(path)):
        return _Foreign("lammps-data", [lammps_data(text)], text)
    kind = _NWCHEM.get(path.suffix.lower()) or ase.io.formats.filetype(str(path))
    if kind == _DUMP:
        return _read_dump(path)
    if kind == _RESTART:
        _refuse_endless_restart(path)
    if kind == "json":
        return _Foreign(kind, [*json_structures(path)], "")
    text = text_of(path) if states_electrons(kind) or states_more(kind) else ""
    ours = _OURS.get(kind, lambda text, kind: None)(text, kind)
    return _read_by_ase(path, kind, text) if ours is None else _Foreign(kind, ours, text)


def _refuse_endless_restart(path: Path) -> None:
    """Raise UserError where the atoms of a CP2K restart do not end: ASE would read on for ever."""
    _, section, text = text_of(path).partition("&SUBSYS")
    if not section:
        raise UserError(
            "no restart file of CP2K; of the dynamics that molequi keeps in such a file, give "
            "the trajectory beside it"
        )
    depth = 1
    for line in text.splitlines():
        mark = line.strip()
        depth += mark.startswith("&") - 2 * mark.startswith("&END")
        if not depth:
            return
    raise UserError("the file is cut off within &SUBSYS, its section of atoms")


def _read_dump(path: Path) -> _Foreign:
    """Read a dump of LAMMPS in the units that it states, or those of metal."""
    with open_binary(path) as file:
        units = units_of_dump(decode(file.read(_HEAD)))
    found = _read_by_ase(path, _DUMP, "", units=units or USUAL_UNITS)
    for one in found.frames:
        if not isinstance(one, str):
            settle_dump(one, units)
    return found


def _read_by_ase(path: Path, kind: str, text: str, **options: Any) -> _Foreign:
    with warnings_logged(path, _LOG):
        # What ASE says of the program CASTEP, which reading a file of it does not need.
        warnings.filterwarnings("ignore", message=r"(?s).*\bCASTEP (keywords|binary|input)")
        faults = crystal_faults(path) if kind == "cif" else []
        frames = _frames_by_ase(path, kind, options)
    return _Foreign(kind, _completed_frames(frames, text, kind), text, faults)


def _frames_by_ase(path: Path, kind: str, options: Mapping[str, Any]) -> list[ase.Atoms]:
    """Read a file, and once more as plain text where ASE finds nothing in its encoding."""
    # ASE reads NAME@INDEX; an index of all keeps an @ of the name itself.
    name = f"{path}@:" if "@" in path.name else path
    try:
        frames = list(ase.io.read(name, index=":", format=kind, **options))
        text = None if frames else _plain_text(path, kind)
    except Exception:  # ASE's readers raise whatever a file makes them stumble over
        frames, text = [], _plain_text(path, kind)
        if text is None:
            raise
    if text is None:
        return frames
    handle = io.BytesIO(text.encode()) if kind in _TEXT_AS_BYTES else io.StringIO(text)
    return list(ase.io.read(handle, ":", kind, **options))


def _plain_text(path: Path, kind: str) -> str | None:
    """Return a text in UTF-8 with plain line ends and numbers; None where a file is that, or none.

    ASE knows neither other encodings and line ends nor exponents with a D.
    """
    format_ = ase.io.formats.ioformats.get(kind)
    if (
        format_ is None
        or not format_.acceptsfd
        or (format_.isbinary and kind not in _TEXT_AS_BYTES)
    ):
        return None
    with open_binary(path) as handle:
        data = handle.read()
    text = plain_numbers(decode(data))
    return None if text.encode() == data else text


def _molecules_of_nwchem(text: str, kind: str) -> list[ase.Atoms | str] | None:
    """Return the geometries of an NWChem input, with the charge and multiplicity that it states.

    None for crystals, which ASE reads.
    """
    if has_cell(text):
        return None
    found = nwchem_inputs(text)
    for one in found:
        if not isinstance(one, str):
            note_printed(one, with_counted_spins(text), kind)
    return found


# Kinds whose texts we read, or some of them.
_OURS: dict[str, Callable[[str, str], list[ase.Atoms | str] | None]] = {
    "orca-output": lambda text, _: orca_outputs(text),
    "nwchem-in": _molecules_of_nwchem,
}


def _unreadable(path: Path, error: Exception) -> str:
    """Word what ASE stumbled over."""
    if isinstance(error, ase.io.formats.UnknownFileTypeError):
        return unknown_format(path, str(error))
    if "Could not determine chemical symbols" in str(error):
        return "names no elements; write the line of their symbols above their counts"
    what = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}".removesuffix(": ")
    return f"cannot be read ({what})"


def _completed_frames(frames: list[ase.Atoms], text: str, kind: str) -> list[ase.Atoms | str]:
    """Take and give labels as the whole text tells."""
    text = first_job(text) if kind == "gaussian-out" else text
    counted = (counted_charge(text, kind), held_multiplicity(text, kind))
    for atoms in frames:
        for key in SOURCE_KEYS:  # of another reading
            atoms.info.pop(key, None)
        note_printed(atoms, text, kind)
        note_electrons(atoms, counted, "the electrons that the program counts")
        if not text and states_more(kind):
            add_note(atoms, "the file is too large to be looked at for steps without convergence")
    drop_unconverged(frames, text, kind)
    return list(mend_gaussian(frames, text) if kind == "gaussian-out" else frames)


def _completed_by(atoms: ase.Atoms, path: Path, found: _Foreign) -> str | None:
    """Add what ASE leaves out of a structure, or return what is wrong."""
    plain_constraints(atoms)
    return (
        typed_elements(path, found.kind, atoms)
        or stated_geometry(atoms, found.text, found.kind)
        or _disorder(atoms)
    )


def plain_constraints(atoms: ase.Atoms) -> None:
    """Let atoms be held along x, y and z where that is the same as along the cell's vectors.

    ASE reads VASP's selective dynamics as the latter, which no XYZ file can say.
    """
    plain: list[FixConstraint] = []
    for one in atoms.constraints:
        axes = _held_axes(atoms, one) if isinstance(one, FixScaled) else None
        if axes is not None:
            plain.append(FixAtoms(one.index) if axes.all() else FixCartesian(one.index, axes))
            continue
        plain.append(one)
        if isinstance(one, FixScaled):
            add_note(
                atoms,
                "atoms are held along vectors of the cell, which XYZ files do not say: they have "
                "these atoms free",
            )
    atoms.set_constraint(plain)


def _held_axes(atoms: ase.Atoms, held: FixScaled) -> np.ndarray | None:
    """Return along which of x, y and z atoms cannot move, (3,); None where that is no answer."""
    free = np.asarray(atoms.cell)[~held.mask]
    axes = (np.abs(free) <= _PARALLEL * np.linalg.norm(atoms.cell)).all(axis=0)
    return axes if axes.sum() == held.mask.sum() else None


def _disorder(atoms: ase.Atoms) -> str | None:
    """Say which site of a crystal is not fully occupied by one element."""
    for site, shares in (atoms.info.get("occupancy") or {}).items():
        if len(shares) > 1 or min(shares.values()) < _WHOLE:
            written = ", ".join(f"{symbol} {share:g}" for symbol, share in shares.items())
            return (
                f"site {site} is occupied by {written}: a disordered crystal is no single "
                "structure; choose one location of each atom and set its occupancy to 1"
            )
    return None
