"""The Lie groups of LieConv by name, in the plane and in space.

Translations, rotations, rigid motions, scalings and squeezes. What a method is for says
`lie.LieGroup`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from molequi.errors import UserError
from molequi.groups.lie import LieGroup
from molequi.groups.motions import PlaneMotions, SpaceMotions
from molequi.groups.rotation_groups import PlaneRotations, SpaceRotations
from molequi.groups.scalings import LogPolar, Scalings, Squeezes
from molequi.groups.translations import Translations

# By the dimension of the points and the name in settings.
GROUPS: Mapping[int, Mapping[str, Callable[[], LieGroup]]] = {
    2: {
        "trivial": lambda: Translations(2, ()),
        "T(1)y": lambda: Translations(2, (1,)),
        "T(2)": lambda: Translations(2, (0, 1)),
        "SO(2)": PlaneRotations,
        "SE(2)": PlaneMotions,
        "R*": lambda: Scalings(2),
        "R*xSO(2)": LogPolar,
        "R*xSQ": Squeezes,
    },
    3: {
        "trivial": lambda: Translations(3, ()),
        "T(3)": lambda: Translations(3, (0, 1, 2)),
        "SO(3)": SpaceRotations,
        "SE(3)": SpaceMotions,
        "R*": lambda: Scalings(3),
    },
}


def group_named(name: str, point_dim: int) -> LieGroup:
    """Return the group of that name on points in 2 or 3 dimensions.

    Raises UserError for a name that is none of `GROUPS`.
    """
    table = GROUPS[point_dim]
    if name not in table:
        raise UserError(
            f"there is no group {name!r} on points in {point_dim} dimensions; choose one of "
            f"{', '.join(table)}"
        )
    return table[name]()
