"""How dynamics begin: what can be run, degrees of freedom, first velocities."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from ase import Atoms, units

from molequi.errors import UserError
from molequi.simulation.constraints import Held
from molequi.simulation.joined import Joined
from molequi.simulation.md_settings import MDSettings
from molequi.simulation.state import OfOne, State
from molequi.simulation.velocities import n_of_whole, thermal_momenta, turns, without_drift

logger = logging.getLogger(__name__)

_ROUNDING = 1e-12  # of a temperature


def refuse_impossible(structures: Sequence[Atoms], settings: MDSettings) -> None:
    """Refuse what cannot be run. Raises UserError."""
    if settings.ensemble != "npt":
        return
    if len(structures) > 1:
        raise UserError(
            f"npt takes one cell at a time, and here are {len(structures)} structures; run them "
            "one by one, or choose nvt"
        )
    if not structures[0].pbc.all():
        raise UserError(
            f"npt needs a cell that is periodic in all directions; this structure has pbc "
            f"{structures[0].pbc.tolist()}"
        )
    if structures[0].constraints or settings.constrain:
        raise UserError("npt moves the cell and can hold nothing; leave the constraints out")


def warn_of_velocities(structures: Sequence[Atoms], settings: MDSettings) -> None:
    """Log that the structures bring velocities which the dynamics do not begin with."""
    kelvin = settings.first_temperature
    if kelvin is not None and any(atoms.get_momenta().any() for atoms in structures):
        logger.warning(
            "the velocities of the input are left aside and new ones drawn at %g K; "
            "--keep-velocities (keep_velocities in Python) begins with its own", kelvin,
        )  # fmt: skip


def count_degrees(joined: Joined, held: Held, settings: MDSettings) -> np.ndarray:
    """Count the degrees of freedom that the dynamics change: (B,), at least 1.

    Of a free structure the motion of the whole is left out: it begins at rest, and stays so but for
    the rotation where noise acts on every atom, or where velocities that are kept have one.
    """
    is_noisy, is_kept = settings.how == "langevin", settings.first_temperature is None
    whole = np.array(
        [
            n_of_whole(atoms, spins=is_noisy or (is_kept and turns(atoms)))
            for atoms in joined.structures
        ]
    )
    return np.maximum(3 * joined.counts - held.n_removed - whole * held.is_free, 1)


def first_state(joined: Joined, held: Held, settings: MDSettings, n_degrees: np.ndarray) -> State:
    """Return step 0, with velocities from the Maxwell-Boltzmann distribution where asked.

    The motion of the whole is taken out, of velocities that are kept the translation alone. The
    structures take the momenta too.
    """
    each, kelvin = [], settings.first_temperature
    for number, atoms in enumerate(joined.structures):
        random = np.random.Generator(np.random.PCG64(settings.seed + number))
        is_free = bool(held.is_free[number]) and len(atoms) > 1
        momenta = _momenta(atoms, kelvin, random, is_free=is_free)
        atoms.set_momenta(momenta, apply_constraint=False)
        each.append(OfOne(random.bit_generator.state))
    positions = np.concatenate([atoms.positions for atoms in joined.structures])
    momenta = _allowed(joined, held)
    if kelvin is not None:
        # Exactly the temperature asked for, whatever the few random numbers of a small molecule
        # gave.
        drawn = in_kelvin(joined.kinetic(momenta), n_degrees)
        # Where nothing may move, rounding alone is left.
        factor = np.sqrt(kelvin / np.where(drawn > _ROUNDING * kelvin, drawn, np.inf))
        momenta *= factor[joined.owner][:, None]
    _refuse_rest(joined.kinetic(momenta), settings)
    return State(0, positions, momenta, positions.copy(), each)


def _refuse_rest(kinetic: np.ndarray, settings: MDSettings) -> None:
    """Raise UserError where a thermostat that scales velocities would have none to scale."""
    at_rest = np.flatnonzero(kinetic == 0.0)
    if settings.ensemble == "nvt" and settings.thermostat == "bussi" and len(at_rest):
        which = f"structure {at_rest[0]}" if len(kinetic) > 1 else "the structure"
        raise UserError(
            f"{which} is at rest, and the thermostat bussi only scales velocities; have new ones "
            "drawn, or take another thermostat"
        )


def in_kelvin(kinetic: np.ndarray, n_degrees: np.ndarray) -> np.ndarray:
    """Return the temperatures, K, of kinetic energies, eV."""
    return 2.0 * kinetic / (n_degrees * units.kB)


def _momenta(
    atoms: Atoms, kelvin: float | None, random: np.random.Generator, *, is_free: bool
) -> np.ndarray:
    """Draw momenta, or keep those that the structure has: (N, 3)."""
    if kelvin is not None:
        return thermal_momenta(atoms, kelvin, random, is_free=is_free)
    if not atoms.has("momenta"):
        raise UserError(
            "the structure has no velocities to keep; have new ones drawn at a temperature in K"
        )
    momenta = atoms.get_momenta()
    return without_drift(atoms, momenta) if is_free else momenta


def _allowed(joined: Joined, held: Held) -> np.ndarray:
    """Return the momenta of the structures as far as the constraints allow them: (N, 3)."""
    together = joined.one().copy()
    momenta = together.get_momenta()
    together.set_constraint(held.constraints)
    together.set_momenta(momenta)
    return together.get_momenta()
