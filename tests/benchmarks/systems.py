"""The structures that every comparison of speeds uses, and the clock.

Needs NumPy and ASE alone, so that the environments of the peers can read it.

- `aspirin`: one molecule, 21 atoms.
- `water192`: a periodic box of 64 water molecules at the density of the liquid; 10,510 pairs within
5 Å.
- `molecules64`: 64 organic molecules of H C N O F, 9 to 14 atoms each, as one batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.collections import g2

_ASPIRIN = (
    "O4C9H8",
    (
        (1.2333, 0.5540, 0.7792),
        (-0.6952, -2.7148, -0.7502),
        (0.7958, -2.1843, 0.8685),
        (1.7813, 0.8105, -1.4821),
        (-0.0857, 0.6088, 0.4403),
        (-0.7927, -0.5515, 0.1244),
        (-0.7288, 1.8464, 0.4133),
        (-2.1426, -0.4741, -0.2184),
        (-2.0787, 1.9238, 0.0706),
        (-2.7855, 0.7636, -0.2453),
        (-0.1409, -1.8536, 0.1477),
        (2.1094, 0.6715, -0.3113),
        (3.5305, 0.5996, 0.1635),
        (-0.1851, 2.7545, 0.6593),
        (-2.7247, -1.3605, -0.4564),
        (-2.5797, 2.8872, 0.0506),
        (-3.8374, 0.8238, -0.5090),
        (3.7290, 1.4184, 0.8593),
        (4.2045, 0.6969, -0.6924),
        (3.7105, -0.3659, 0.6426),
        (-0.2555, -3.5916, -0.7337),
    ),
)
# Å between the molecules of the box: 1.000 g/cm³.
_SPACING = 3.1044
_RATTLE = 0.03


def aspirin() -> Atoms:
    """Return one aspirin molecule."""
    formula, positions = _ASPIRIN
    return Atoms(formula, positions)


def water_box(n: int, seed: int = 0) -> Atoms:
    """Return n³ water molecules on a cubic lattice, each turned at random: 3 n³ atoms, periodic."""
    generator = np.random.default_rng(seed)
    water = molecule("H2O")
    water.positions -= water.get_center_of_mass()
    positions = np.empty((n, n, n, len(water), 3))
    for site in np.ndindex(n, n, n):
        angle = np.radians(generator.uniform(0.0, 360.0))
        axis = generator.normal(size=3)
        positions[site] = _turned(
            water.positions, angle, axis / np.linalg.norm(axis)
        ) + _SPACING * np.array(site)
    return Atoms(
        np.tile(water.numbers, n**3), positions.reshape(-1, 3), cell=3 * [n * _SPACING], pbc=True
    )


def _turned(positions: np.ndarray, angle: float, axis: np.ndarray) -> np.ndarray:
    """Rodrigues' formula: turn (N, 3) by `angle` about the unit vector `axis`."""
    along = np.outer(positions @ axis, axis)
    return along + np.cos(angle) * (positions - along) + np.sin(angle) * np.cross(axis, positions)


def molecules(n: int = 64, seed: int = 0) -> list[Atoms]:
    """Return n rattled molecules.

    Those of the G2 set that have H C N O F alone and 9 atoms or more, over and over.
    """
    generator = np.random.default_rng(seed)
    large = [
        atoms
        for atoms in map(molecule, g2.names)
        if set(atoms.symbols) <= set("HCNOF") and len(atoms) >= 9
    ]
    rattled = [large[k % len(large)].copy() for k in range(n)]
    for atoms in rattled:
        atoms.rattle(_RATTLE, rng=generator)
    return rattled


def systems(
    names: Collection[str] | None = None, elements: Collection[int] = (1, 6, 7, 8, 9)
) -> dict[str, list[Atoms]]:
    """Return the systems by name, each a list of structures.

    Molecules with other than the `elements` are left out.
    """
    makers = {
        "aspirin": lambda: [aspirin()],
        "water192": lambda: [water_box(4)],
        "molecules64": molecules,
    }
    chosen = makers if names is None else names
    return {
        name: [atoms for atoms in makers[name]() if set(atoms.numbers) <= set(elements)]
        for name in chosen
    }


def median_seconds(function: Callable[[], object], repeats: int = 7, warmup: int = 3) -> float:
    """Return the median wall time of a call."""
    for _ in range(warmup):
        function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))
