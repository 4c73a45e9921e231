"""Stresses of another unit or sign than the one assumed, told by the forces or by their size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import ase
import numpy as np
from ase import units

from molequi.datasets.formats.values import contents, parse_value
from molequi.datasets.in_memory import LARGEST_LABEL
from molequi.properties import PROPERTIES

# So many of each make 1 eV/Å³, or 1 eV.
_PER_EV_A3 = {
    "eV/Å^3": 1.0,
    "GPa": 1.0 / units.GPa,
    "kbar": 1e-3 / units.bar,
    "bar": 1.0 / units.bar,
    "Ha/bohr^3": units.Bohr**3 / units.Hartree,
}
_PER_EV = {
    "eV": 1.0,
    "Ha": 1.0 / units.Hartree,
    "kcal/mol": units.mol / units.kcal,
    "kJ/mol": units.mol / units.kJ,
}
_MAX_FRAMES = 200
_LIKENESS = 0.8  # cosine of stresses from forces and from the file; crystals have none
_FEWEST = 5  # structures of one composition
_SPREAD = 0.02  # of the logarithm of their volumes
_LARGE = 0.3  # eV/Å³, 48 GPa: few data sets are of such pressures
_TOLERANCE = 1.6  # a factor; units lie further apart


def doubtful_stress(
    structures: Sequence[ase.Atoms],
    values: Mapping[int, np.ndarray],
    unit: str,
    factor: float,
    *,
    is_virial: bool = False,
) -> list[str]:
    """Return a line where stresses fit another unit or sign; values: (3, 3) each, as in the file.

    unit: the one they are taken for; factor: from it to eV/Å³. is_virial: the values were virials
    W, and are -W / V.
    Of whole molecules in a box the stress is -sum over atoms of r x F / V (derived from the virial
    theorem at rest: E depends on the strain through the atoms alone), which tells unit and sign.
    Of a solid that stands there in several volumes the mean stress rises with the volume, as no
    stable matter has a negative bulk modulus: this tells the sign. Else sizes beyond those of
    ordinary pressures are doubted.
    """
    frames, stated = _with_a_cell(structures, values)
    what, sizes = ("virials, stress", _PER_EV) if is_virial else ("stress", _PER_EV_A3)
    likely = _likely_unit(frames, stated, sizes)
    if likely is not None and _is_near(factor, likely, sizes):
        return []
    if likely is not None:
        sign = ", the sign of a pressure" if (likely[0], is_virial) == ("-", False) else ""
        return [
            f"{what}: taken as {unit}, but forces and positions of the molecules fit {likely}"
            f"{sign}; if so set data.units.stress={likely}"
        ]
    if _falls_with_volume(frames, [factor * value for value in stated]):
        other = f"-{unit}".removeprefix("--")
        return [
            f"{what}: taken as {unit}, but the larger the cell of a crystal, the less it is under "
            f"tension, which fits the other sign; if so set data.units.stress={other}"
        ]
    return [] if is_virial else _large(stated, unit, factor)


def _is_near(factor: float, likely: str, sizes: Mapping[str, float]) -> bool:
    """Tell whether a factor to eV/Å³, or eV, is that of a unit with its sign."""
    scale = factor * sizes[likely.lstrip("-")] * (-1) ** likely.startswith("-")
    return scale > 0 and abs(math.log(scale)) < math.log(_TOLERANCE)


def _with_a_cell(
    structures: Sequence[ase.Atoms], values: Mapping[int, np.ndarray]
) -> tuple[list[ase.Atoms], list[np.ndarray]]:
    """Return the first structures with a volume, and their values."""
    rows = [i for i in values if structures[i].cell.volume > 0.0][:_MAX_FRAMES]
    return [structures[i] for i in rows], [values[i] for i in rows]


def _large(stated: Sequence[np.ndarray], unit: str, factor: float) -> list[str]:
    """Doubt the size of stresses, as in the file."""
    size = float(np.median(np.abs(stated))) * abs(factor) if stated else 0.0
    if size < _LARGE:
        return []
    return [
        f"stress: taken as {unit}, but half of the components exceed {size / units.GPa:.0f} GPa; "
        "GPa, kbar or bar would fit: if so set data.units.stress=GPa, or -kbar for the kbar of "
        "VASP, whose sign is that of a pressure"
    ]


def _falls_with_volume(structures: Sequence[ase.Atoms], stresses: Sequence[np.ndarray]) -> bool:
    """Tell whether the mean stress of each composition falls where the volume rises."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for atoms, stress in zip(structures, stresses, strict=True):
        point = (math.log(atoms.cell.volume / len(atoms)), float(np.trace(stress)) / 3.0)
        groups.setdefault(atoms.get_chemical_formula(empirical=True), []).append(point)
    apart = [np.array(group) for group in groups.values() if len(group) >= _FEWEST]
    apart = [group - group.mean(axis=0) for group in apart if np.ptp(group[:, 0]) > _SPREAD]
    if not apart:
        return False
    volume, stress = np.concatenate(apart).T
    norms = float(np.linalg.norm(volume) * np.linalg.norm(stress))
    return bool(float(volume @ stress) < -_LIKENESS * norms)


def _likely_unit(
    structures: Sequence[ase.Atoms], stated: Sequence[np.ndarray], sizes: Mapping[str, float]
) -> str | None:
    """Return the unit, with a minus for the other sign, that the forces tell; None for none."""
    pairs = [
        (value, -np.einsum("ni,nj->ij", atoms.positions, forces) / atoms.cell.volume)
        for atoms, value in zip(structures, stated, strict=True)
        if (forces := _forces(atoms)) is not None
    ]
    if not pairs:
        return None
    given, expected = (np.array(part) for part in zip(*pairs, strict=True))
    expected = 0.5 * (expected + expected.swapaxes(1, 2))
    with np.errstate(over="ignore", invalid="ignore"):  # numbers that overflow tell nothing
        product = float((given * expected).sum())
        norms = float(np.linalg.norm(given) * np.linalg.norm(expected))
        square = float(np.square(expected).sum())
    # So do numbers whose squares are too small for any.
    if not 0.0 < norms < math.inf or not 0.0 < square < math.inf:
        return None
    ratio = product / square
    if abs(product) <= _LIKENESS * norms or not 0.0 < abs(ratio) < math.inf:
        return None
    nearest = min(sizes, key=lambda name: abs(math.log(abs(ratio) / sizes[name])))
    if abs(math.log(abs(ratio) / sizes[nearest])) > math.log(_TOLERANCE):
        return None
    return f"-{nearest}" if ratio < 0 else nearest


def _forces(atoms: ase.Atoms) -> np.ndarray | None:
    """Return forces (N, 3) that add up to zero, so that the origin does not matter."""
    for place in ("calculator", "arrays"):
        for key, value in contents(atoms, place).items():
            if str(key).lower() in {"forces", "ref_forces", "force"}:
                forces = parse_value(value, PROPERTIES["forces"], len(atoms))
                if forces is not None and (np.abs(forces) < LARGEST_LABEL).all():
                    return forces - forces.mean(axis=0)
    return None
