"""Two geometries of each start, for many molecules at little cost: what a network meets once.

Five steps downhill from the force field's geometry take off what it gets wrong of bonds; relaxing
to the end, displacements and dynamics, which cost five times as much, are left to other stages.
"""

import numpy as np
import teacher_aimnet as aimnet
import teacher_geometries as geometries
import teacher_tiny as tiny

STEPS, MOST_FRAMES = 5, 2
# K, of the noise along the modes of the elastic network; the second of molecules alone.
COLD, HOT = (20.0, 300.0), (300.0, 1000.0)
RELAXED_COMPLEXES = 0.5
Made = list[tuple[int, geometries.Geometry]]


def sample(
    teacher: aimnet.Teacher, items: list[geometries.Start], rng: np.random.Generator
) -> Made:
    """Make the geometries of a shard: (index of the start, geometry).

    Cold noise of every start, and hot noise of molecules, or the end of the way of every second
    complex. Complexes of the smallest, which would fall into each other, are displaced instead;
    single atoms have nowhere to go.
    """
    network = int(rng.integers(len(teacher.networks)))
    free = [i for i, start in enumerate(items) if _can_relax(start)]
    first = [aimnet.Structure(items[i].z, items[i].pos, items[i].charge) for i in free]
    (last,) = aimnet.relax(lambda batch: teacher.forces(batch, network), first, STEPS, (STEPS,))
    made: Made = []
    for i, pos in zip(free, last, strict=True):
        if geometries.is_usable(pos):
            made += [(i, geometry) for geometry in _warmed(items[i], pos, rng)]
    for i in sorted(set(range(len(items))) - set(free)):
        found = tiny.displacements(items[i], items[i].pos, rng)
        rows = rng.permutation(len(found))[:MOST_FRAMES]
        made += [(i, found[row]) for row in rows]
    return [(i, geometry) for i, geometry in made if geometries.is_usable(geometry.pos)]


def _can_relax(start: geometries.Start) -> bool:
    is_complex = bool(start.fragment.max())
    return len(start.z) > 1 and not (is_complex and start.category in (*tiny.COMPLEXES, *tiny.MANY))


def _warmed(
    start: geometries.Start, pos: np.ndarray, rng: np.random.Generator
) -> list[geometries.Geometry]:
    def noise(limits: tuple[float, float]) -> geometries.Geometry:
        moved = geometries.mode_noise(start.z, pos, rng.uniform(*limits), rng)
        return geometries.Geometry("modes", moved)

    found = [noise(COLD)]
    if not start.fragment.max():
        found.append(noise(HOT))
    elif rng.random() < RELAXED_COMPLEXES:
        found.append(geometries.Geometry("relaxed", pos))
    return found
