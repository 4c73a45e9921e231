"""What of a model's energy has a closed form: settings, and the terms that they stand for."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor, nn

from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph
from molequi.nn.physics import CoulombParameters, DispersionParameters, LongRange, Repulsion


@dataclasses.dataclass(frozen=True)
class Physics:
    """Where charges come from, and which terms stand beside the learned energy.

    charges: `flows`, of each head its own, or `equilibrated`, of the model and exact in their sum.
    coulomb: `damped` or none, of these charges. dispersion: D3(BJ) or none; functional: the name
    that its parameters belong to, where they were given by one. repulsion: `zbl` or none, up to
    `repulsion_reach` of the sum of covalent radii.
    """

    charges: str = "flows"
    coulomb: str | None = None
    dispersion: DispersionParameters | None = None
    functional: str | None = None
    repulsion: str | None = None
    repulsion_reach: float = 1.0

    @property
    def is_equilibrated(self) -> bool:
        """Whether the charges are the model's, and its energy knows the total charge."""
        return self.charges == "equilibrated"

    @property
    def fixed(self) -> Physics:
        """What of it depends on nothing that is learned."""
        return dataclasses.replace(self, charges="flows", coulomb=None)

    @property
    def text(self) -> str:
        """Say it in one line for people."""
        parts = [f"{self.charges} charges"]
        if self.coulomb:
            parts.append(f"their {self.coulomb} Coulomb energy")
        if self.dispersion:
            s6, s8, a1, a2 = self.dispersion
            numbers = f"s6 {s6:g}, s8 {s8:g}, a1 {a1:g}, a2 {a2:g} bohr"
            parts.append(f"D3(BJ) dispersion ({self.functional or numbers})")
        if self.repulsion:
            reach = self.repulsion_reach
            within = "" if reach == 1.0 else f" within {reach:g} of the sum of covalent radii"
            parts.append(f"{self.repulsion.upper()} repulsion{within}")
        return ", ".join(parts)

    def terms(self, cutoff: float) -> EnergyTerms | None:
        """Make the terms, none where there are none; cutoff: Å, of the graphs' edges."""
        if self.coulomb or self.dispersion or self.repulsion:
            return EnergyTerms(self, cutoff)
        return None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data, from which `from_json` makes the same."""
        data = dataclasses.asdict(self)
        if self.repulsion_reach == 1.0:  # so that versions before it read the file
            del data["repulsion_reach"]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Physics:
        """Read what `to_json` gave. Raises TypeError for names that mean nothing here."""
        physics = cls(**data)
        if physics.dispersion is None:
            return physics
        return dataclasses.replace(physics, dispersion=DispersionParameters(*physics.dispersion))


# Charges of each head's own, and nothing beside what is learned.
NO_PHYSICS = Physics()


class EnergyTerms(nn.Module):
    """The sum of the terms of `physics`, atom by atom: `nn.physics`.

    cutoff: Å, of the graphs' edges.
    """

    def __init__(self, physics: Physics, cutoff: float) -> None:
        super().__init__()
        self.needs_charges = physics.coulomb is not None
        coulomb = CoulombParameters() if self.needs_charges else None
        is_long = physics.coulomb or physics.dispersion
        self.long_range = LongRange(coulomb, physics.dispersion) if is_long else None
        reach = physics.repulsion_reach
        self.repulsion = Repulsion(cutoff=cutoff, reach=reach) if physics.repulsion else None

    def use_kernels(self, kernels: str) -> None:
        """Choose who computes pairs of atoms: see `nn.physics.LongRange`."""
        if self.long_range is not None:
            self.long_range.use_kernels(kernels)

    def check_input(self, graph: AtomGraph) -> None:
        """Refuse structures that a term has no energy of: see `nn.physics.LongRange`."""
        if self.long_range is not None:
            self.long_range.check_input(graph)

    def forward(self, graph: AtomGraph, charges: Tensor | None) -> Tensor:
        """Return energies (N,), eV, float64; charges: (N,), e, where there is a Coulomb term."""
        parts = []
        if self.long_range is not None:
            parts.append(self.long_range(graph, charges if self.needs_charges else None))
        if self.repulsion is not None:
            parts.append(self.repulsion(graph))
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def refuse_terms_without(outputs: Collection[str], physics: Physics) -> None:
    """Refuse terms that a model with these outputs has nothing to add to, or no charges for.

    Raises UserError.
    """
    terms = [name for name in ("coulomb", "dispersion", "repulsion") if getattr(physics, name)]
    if terms and "energy" not in outputs:
        raise UserError(
            f"model.{terms[0]} is part of an energy, and the targets have none; add energy or "
            f"forces to them, or leave model.{terms[0]} out"
        )
    if physics.coulomb and not physics.is_equilibrated and "charges" not in outputs:
        raise UserError(
            "model.coulomb needs charges; set model.charges=equilibrated, or add dipole or "
            "charges to the targets"
        )
