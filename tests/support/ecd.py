"""Excited states with electric and magnetic transition dipoles.

A reference for code that handles pseudoscalars and axial vectors.

A file is JSON with `molecules`, each with `symbols`, `R_std` (Å; or `R_input`), and for each state
`E_eV`, `f`, `R_length` and `R_velocity` (1e-40 erg·esu·cm/G), `mu_e` and `mu_m` (atomic units, in
the axes of the positions; Gaussian prints the magnetic one without its factor -1/2). The two
dipoles of a state have a common sign that means nothing: only products of both, such as R, have
values.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import ArrayLike

from molequi.errors import UserError

# e·a0 (2.541746e-18 esu·cm) times a Bohr magneton (9.274010e-21 erg/G), in 1e-40 erg·esu·cm/G.
ROTATORY_STRENGTH = -235.7220
_STATES = {"E_eV": (), "f": (), "R_length": (), "R_velocity": (), "mu_e": (3,), "mu_m": (3,)}


@dataclasses.dataclass(frozen=True)
class EcdMolecule:
    """One molecule of N atoms with S excited states.

    atomic_numbers: (N,). positions: (N, 3), Å. energies: (S,), eV. oscillator_strengths: (S,).
    rotatory_strengths, rotatory_velocity: (S,), 1e-40 erg·esu·cm/G, in the length and the velocity
    gauge.
    electric: (S, 3), e·bohr, a polar vector (1o). magnetic: (S, 3), r x nabla in atomic units, an
    axial one (1e).
    """

    name: str
    atomic_numbers: np.ndarray
    positions: np.ndarray
    energies: np.ndarray
    oscillator_strengths: np.ndarray
    rotatory_strengths: np.ndarray
    rotatory_velocity: np.ndarray
    electric: np.ndarray
    magnetic: np.ndarray


def load_ecd(path: str | Path) -> tuple[EcdMolecule, ...]:
    """Read the molecules of a file.

    Raises UserError that names the molecule and the field at fault.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error})") from error
    rows = data.get("molecules") if isinstance(data, dict) else None
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path} is no ECD reference: expected an object with a list `molecules`")
    return tuple(_molecule(row, f"{path}, molecule {number}") for number, row in enumerate(rows))


def rotatory_strength(electric: np.ndarray, magnetic: np.ndarray) -> np.ndarray:
    """Return R (...,), 1e-40 erg·esu·cm/G, from transition dipoles (..., 3); a 0o number.

    The units of the dipoles are those of `EcdMolecule`.
    """
    return ROTATORY_STRENGTH * np.einsum("...x,...x->...", electric, magnetic)


def _molecule(row: dict[str, Any], where: str) -> EcdMolecule:
    _check_fields(row, where)
    unknown = [symbol for symbol in row["symbols"] if str(symbol) not in atomic_numbers]
    if unknown:
        raise UserError(f"{where}: {unknown[0]!r} is no element")
    place = row.get("R_std") or row.get("R_input")
    if place is None:
        raise UserError(f"{where}: the field 'R_std' is missing")
    n_states = len(row["E_eV"])
    arrays = {
        name: _numbers(row[name], (n_states, *shape), f"{where}: {name}")
        for name, shape in _STATES.items()
    }
    return EcdMolecule(
        name=str(row.get("id", "")),
        atomic_numbers=np.array([atomic_numbers[symbol] for symbol in row["symbols"]]),
        positions=_numbers(place, (len(row["symbols"]), 3), f"{where}: positions"),
        energies=arrays["E_eV"],
        oscillator_strengths=arrays["f"],
        rotatory_strengths=arrays["R_length"],
        rotatory_velocity=arrays["R_velocity"],
        electric=arrays["mu_e"],
        magnetic=arrays["mu_m"],
    )


def _check_fields(row: object, where: str) -> None:
    fields = row if isinstance(row, dict) else {}
    for name in ("symbols", *_STATES):
        if name not in fields:
            raise UserError(f"{where}: the field {name!r} is missing")
    for name, counted in (("symbols", "atom"), ("E_eV", "state")):
        if not isinstance(fields[name], list):
            raise UserError(
                f"{where}: the field {name!r} is no list; expected one entry for each {counted}"
            )


def _numbers(values: ArrayLike, shape: tuple[int, ...], where: str) -> np.ndarray:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(
            f"{where} holds something else than numbers; expected shape {shape}"
        ) from None
    if array.shape != shape or not np.isfinite(array).all():
        raise UserError(
            f"{where} has shape {array.shape} or values that are not finite; expected finite "
            f"numbers of shape {shape}"
        )
    return array
