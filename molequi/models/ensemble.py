"""Several models of one kind that are one model: their mean, and how far they lie apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import torch
from ase.data import chemical_symbols
from torch import Tensor, nn
from torch.nn import functional

from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph
from molequi.models.metadata import ModelMetadata
from molequi.models.molecular import MolecularModel
from molequi.models.physics import Physics
from molequi.nn.heads.doubt import MemberSpreadHead
from molequi.nn.heads.electrostatics import AtomicMultipoles, safe_norm
from molequi.properties import DEBYE, PROPERTIES, Property

Outputs = dict[str, Tensor]


class Ensemble(MolecularModel):
    """The mean of members that differ in their weights alone, with the spread of each output.

    Every value is the mean of the members' values (the magnitude of a dipole is that of the mean
    dipole; the logit of a yes/no label is that of the mean probability), so that forces are the
    gradient of the mean energy. Beside each property of `spread_rows` stands how far the members
    lie apart, `nn.heads.doubt.MemberSpreadHead`. What is not an output, such as features, is that
    of the first member: this model itself, beside which the `others` stand.

    Raises UserError for fewer than two members, and for members of which one is another network, or
    of other elements or properties, than the first.
    """

    def __init__(
        self, members: Sequence[MolecularModel], *, metadata: ModelMetadata | None = None
    ) -> None:
        _refuse_unlike(members)
        first, *others = members
        rows = [first.properties[name] for name in first.outputs]
        with torch.random.fork_rng(devices=[]):
            super().__init__(
                first.backbone,
                [*rows, *spread_rows(rows, forces=first.capabilities.forces)],
                physics=first.physics,
                metadata=metadata or first.metadata,
            )
        self.heads.update(dict(first.heads.items()))
        self.equilibration = first.equilibration
        self.others = nn.ModuleList(others)
        for other in others:
            other.metadata = self.metadata
        for head in self._spread_heads():
            head.set_statistics(_size_of(head.target.spread_of, first))
        self.to(device=first.device, dtype=first.dtype)

    @property
    def n_members(self) -> int:
        """How many models it is made of."""
        return 1 + len(self.others)

    def set_physics(self, physics: Physics) -> None:
        """Choose the terms beside the learned energy of every member."""
        super().set_physics(physics)
        for other in self._others():
            other.set_physics(physics)

    def use_kernels(self, kernels: str) -> None:
        """Choose who computes convolutions, charges and terms of every member."""
        super().use_kernels(kernels)
        for other in self._others():
            other.use_kernels(kernels)

    def write_out(self) -> None:
        """Make what the short way of a prediction takes, for every member."""
        super().write_out()
        for other in self._others():
            other.write_out()

    def operations(self, n_edges: int) -> float:
        """Return the work of one pass of all members over so many edges."""
        return self.n_members * super().operations(n_edges)

    def forward(self, graph: AtomGraph, *, once: bool = False) -> Outputs:
        """Return the mean of the members' outputs, and the spreads of those that are among them."""
        first = super().forward(graph, once=once)
        return self._joined([first, *(other(graph, once=once) for other in self._others())])

    def compute(
        self,
        graph: AtomGraph,
        *,
        forces: bool = True,
        stress: bool = False,
        create_graph: bool = False,
        members: bool = True,
    ) -> Outputs:
        """Run every member with its derivatives; the arguments are those of `MolecularModel`."""
        wish = {"forces": forces, "stress": stress, "create_graph": create_graph}
        first = self.computed(super().forward, graph, **wish)
        return self._joined([first, *(other.compute(graph, **wish) for other in self._others())])

    def multipoles(self, graph: AtomGraph) -> AtomicMultipoles:
        """Return the mean charges (N,), e, and dipoles (N, 3), e·Å, of the atoms."""
        found = [super().multipoles(graph), *(other.multipoles(graph) for other in self._others())]
        means = (torch.stack(values).mean(dim=0) for values in zip(*found, strict=True))
        return AtomicMultipoles(*means)

    def _others(self) -> Iterable[MolecularModel]:
        yield from self.others  # type: ignore[misc]  # a ModuleList knows no class

    def _spread_heads(self) -> list[MemberSpreadHead]:
        return [head for head in self.heads.values() if isinstance(head, MemberSpreadHead)]

    def _joined(self, outputs: Sequence[Outputs]) -> Outputs:
        """Return the mean of each output, and the spreads."""
        stacked = {name: torch.stack([one[name] for one in outputs]) for name in outputs[0]}
        rows = self.properties
        joined = {
            name: _logit_of_mean(values)
            if name in rows and rows[name].binary
            else values.mean(dim=0)
            for name, values in stacked.items()
        }
        if {"dipole", "dipole_magnitude"} <= set(joined):
            joined["dipole_magnitude"] = safe_norm(joined["dipole"]) / DEBYE
        for head in self._spread_heads():
            of = head.target.spread_of
            if of in stacked:
                joined[head.target.name] = head.of_members(stacked[of])
        return joined


def spread_rows(rows: Sequence[Property], *, forces: bool) -> list[Property]:
    """Return the spreads that an ensemble of models with these properties gives.

    One for each property of molecules or atoms that is no yes/no label, called `NAME_std`, and
    `forces_std` where the models have forces.
    """
    named = [row for row in rows if not row.binary and not row.spread_of]
    known = {row.name for row in named}
    if "energy" in known and forces and "forces" not in known:
        named = [*named, PROPERTIES["forces"]]
    return [_spread_of(row) for row in named]


def _spread_of(row: Property) -> Property:
    name = f"{row.name}_std"
    return Property(
        name,
        "0e",
        row.unit,
        f"size that 68 % of the errors of {row.name} stay below",
        per_atom=row.per_atom,
        head="members",
        spread_of=row.name,
        periodicity=row.periodicity,
    )


def read_by_committee(rows: Sequence[Property], n_members: int) -> list[Property]:
    """Return the rows of a model whose energy so many heads on one backbone give, and its spreads.

    Raises UserError where no energy is among them.
    """
    names = [row.name for row in rows]
    if "energy" not in names:
        raise UserError(
            f"members=heads is for an energy; {', '.join(names)} have none: leave it out for "
            "members that are whole models"
        )
    shared = [
        dataclasses.replace(row, head="committee", members=n_members)
        if row.name == "energy"
        else row
        for row in rows
    ]
    spread = [row for row in rows if row.name in {"energy", "forces"}]
    return [*shared, *map(_spread_of, spread)]


def without_spreads(rows: Iterable[Property]) -> list[Property]:
    """Return the rows of one member of an ensemble that has these."""
    return [row for row in rows if row.head != "members"]


def member(model: MolecularModel, number: int) -> MolecularModel:
    """Return one member of an ensemble, counted from 0 and again; any other model is its own."""
    if not isinstance(model, Ensemble):
        return model
    number %= model.n_members
    if number:
        return list(model._others())[number - 1]
    rows = without_spreads(model.properties[name] for name in model.outputs)
    with torch.random.fork_rng(devices=[]):
        first = MolecularModel(
            model.backbone, rows, physics=model.physics, metadata=model.metadata
        ).to(device=model.device, dtype=model.dtype)
    for name in first.heads:
        first.heads[name] = model.heads[name]
    first.equilibration = model.equilibration
    return first.train(model.training)


def _logit_of_mean(logits: Tensor) -> Tensor:
    """Return the logit of the mean probability over members, the first dimension of `logits`.

    log(sum_k p_k) - log(sum_k (1 - p_k)), p_k = sigmoid(z_k); no large logit rounds p_k to 0 or 1.
    """
    yes, no = (functional.logsigmoid(values).logsumexp(dim=0) for values in (logits, -logits))
    return yes - no


def _size_of(name: str, model: MolecularModel) -> float:
    """Return the scale of a property; that of forces is that of the energy, which they follow."""
    row = model.properties[name]
    scale = torch.tensor(model.output_scale(row.derived_from or name))
    return float(scale.square().mean().sqrt())


def _refuse_unlike(members: Sequence[MolecularModel]) -> None:
    """Refuse what is no set of members, naming the first one that differs, counted from 1."""
    if len(members) < 2:
        raise UserError(f"an ensemble has two members or more, got {len(members)}")
    first = members[0]
    own = [name for name in first.outputs if first.properties[name].spread_of]
    if own:
        raise UserError(
            f"the members give {', '.join(own)} themselves, which an ensemble takes from how far "
            "they lie apart; train them without"
        )
    for number, other in enumerate(members[1:], start=2):
        for what, one, two in zip(_TRAITS, _traits(first), _traits(other), strict=True):
            if one != two:
                raise UserError(
                    f"member {number} has {what} {two}, the first has {one}; the members of an "
                    "ensemble differ in their weights alone"
                )


_TRAITS = ("the elements", "the properties", "the architecture", "the settings", "the physics")


def _traits(model: MolecularModel) -> tuple[str, ...]:
    """Return in words what the members of an ensemble have in common, as `_TRAITS` names it."""
    settings = model.backbone.settings
    return (
        " ".join(chemical_symbols[number] for number in model.elements),
        ", ".join(model.outputs),
        model.backbone.architecture,
        ", ".join(f"{name}={settings[name]}" for name in sorted(settings)),
        model.physics.text,
    )
