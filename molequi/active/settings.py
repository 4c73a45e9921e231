"""How active learning goes on: rounds, labels, the doubt that is worth a label, dynamics."""

from __future__ import annotations

import dataclasses

from molequi.errors import UserError
from molequi.simulation.md_settings import MDSettings

# One label trains and one tells how far it has come.
_LEAST = {"rounds": 1, "labels": 2, "per_round": 2, "copies": 1}


@dataclasses.dataclass(frozen=True)
class ActiveSettings:
    """When it ends, and what a round is.

    rounds, labels: as many at most. per_round: labels of a round. doubt: eV/Å; a frame is worth a
    label where the `forces_std` of an atom is larger, and the goal is reached when hardly any is.
    copies: of each structure in motion at once. dynamics: of a round; copies and rounds have seeds
    of their own, counted up from its seed, and `max_doubt` is set for each round.
    """

    rounds: int = 10
    labels: int = 200
    per_round: int = 20
    doubt: float = 0.1
    copies: int = 8
    dynamics: MDSettings = MDSettings("nvt", 300.0, steps=2000, interval=20)

    def __post_init__(self) -> None:
        values = dataclasses.asdict(self)
        for name, least in _LEAST.items():
            if values[name] < least:
                raise UserError(f"{name} is {values[name]}; it must be at least {least}")
        if not self.doubt > 0:
            raise UserError(f"doubt is {self.doubt:g} eV/Å; it must be positive")
        if self.dynamics.ensemble == "npt":
            raise UserError("many copies move at once, which npt cannot; choose nvt or nve")
        if not self.dynamics.steps:
            raise UserError("dynamics of 0 steps give nothing to choose from; give more steps")
        if self.dynamics.steps < self.dynamics.interval:
            raise UserError(
                f"dynamics of {self.dynamics.steps} steps with an interval of "
                f"{self.dynamics.interval} give no frame after the first; give more steps, or a "
                "shorter interval"
            )
