"""MolecularModel: backbone -> heads -> response.

An AtomGraph in, a dict of named properties out.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from molequi.errors import UserError
from molequi.graphs.elements import MASSES, N_ELEMENTS
from molequi.graphs.graph import AtomGraph
from molequi.models import domain
from molequi.models.freeze import FrozenModel
from molequi.models.metadata import ModelMetadata
from molequi.models.outputs import (
    with_atomization_energy,
    with_spreads,
    with_terms,
    with_undefined_as_nan,
)
from molequi.models.physics import NO_PHYSICS, Physics, refuse_terms_without
from molequi.nn import response
from molequi.nn.backbones.base import BackboneBase, Capabilities, NodeFeatures
from molequi.nn.heads.base import Head, Molecules
from molequi.nn.heads.electrostatics import AtomicMultipoles, MultipoleHead
from molequi.nn.heads.equilibration import Equilibration
from molequi.nn.heads.registry import feature_spec, make_heads
from molequi.properties import PROPERTIES, Property, with_company
from molequi.runtime.device import as_device
from molequi.runtime.modes import own_modes


class MolecularModel(nn.Module):
    """A backbone with one head per property.

    properties: the rows it gives; `forces` and `stress` follow from `energy` and need no head.
    physics: where its charges come from, and what stands beside the learned energy.
    metadata: what is known of it beside the network, kept in its file.
    Raises UserError for an output that the backbone cannot reach, naming the missing irreps, and
    for terms of an energy without an energy or without charges.
    """

    masses: Tensor
    is_known: Tensor

    def __init__(
        self,
        backbone: BackboneBase,
        properties: Sequence[Property],
        *,
        physics: Physics = NO_PHYSICS,
        metadata: ModelMetadata | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.metadata = metadata or ModelMetadata()
        self.outputs = tuple(row.name for row in properties)
        is_equilibrated = physics.is_equilibrated
        self.heads = nn.ModuleDict(make_heads(properties, backbone, gives_charges=is_equilibrated))
        self.equilibration = Equilibration(feature_spec(backbone)) if is_equilibrated else None
        self.physics, self.terms = physics, physics.terms(self.cutoff)
        self.backbone.n_gradients = max((row.members for row in properties), default=1)
        if not self.heads:
            raise UserError(
                f"a model needs a property to learn, got {list(self.outputs)}; add for example "
                "energy"
            )
        self.properties = {
            name: row
            for name, row in with_company(properties).items()
            if not row.derived_from or backbone.capabilities.forces
        }
        if is_equilibrated:
            self.properties["local_charge"] = PROPERTIES["local_charge"]
        refuse_terms_without(self.properties, physics)
        self.register_buffer("masses", torch.tensor(MASSES), persistent=False)
        is_known = torch.isin(torch.arange(N_ELEMENTS), torch.tensor(self.elements))
        self.register_buffer("is_known", is_known, persistent=False)

    def set_physics(self, physics: Physics) -> None:
        """Choose the terms beside the learned energy, for charges as they are."""
        self.physics, self.terms = physics, physics.terms(self.cutoff)

    def use_kernels(self, kernels: str) -> None:
        """Choose who computes convolutions, charges and terms: see `SphericalBackbone`."""
        self.backbone.use_kernels(kernels)
        if self.equilibration is not None:
            self.equilibration.use_kernels(kernels)
        if self.terms is not None:
            self.terms.use_kernels(kernels)

    def write_out(self) -> None:
        """Make what the short way of a prediction takes: see `BackboneBase.write_out`."""
        self.backbone.write_out()

    def operations(self, n_edges: int) -> float:
        """Return the work of one pass over so many edges, in the unit of `kernels.policy`."""
        return self.backbone.operations(n_edges)

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the model knows."""
        return self.backbone.elements

    @property
    def cutoff(self) -> float:
        """Cutoff radius, Å."""
        return self.backbone.cutoff

    @property
    def capabilities(self) -> Capabilities:
        """What the backbone can do."""
        return self.backbone.capabilities

    @property
    def device(self) -> torch.device:
        """Where graphs must lie."""
        return self.backbone.device

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the network; positions and energies stay float64."""
        return self.backbone.dtype

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> MolecularModel:
        """Keep the masses in float64 whatever the dtype of the model."""
        masses = self.masses
        super()._apply(fn, recurse)
        self.masses = masses.to(self.masses.device)
        return self

    def forward(self, graph: AtomGraph, *, once: bool = False) -> dict[str, Tensor]:
        """Run every head; differentiable in positions and cell, with `once` the energy alone, once.

        Keys and units are those of `properties`.

        With an energy also `energies` (N,), eV, and, where `metadata.isolated_atom_energies`
        (symbol -> eV) covers the model's elements, `atomization_energy` (B,), eV, the energy set
        free when the atoms join: sum of the isolated atoms minus `energy`. What a periodic
        structure does not have (`Property.is_defined`) is NaN there.
        Raises UnknownElementError for an element that the model has no weights for.
        """
        self._refuse_unknown_elements(graph)
        outputs, molecules = self.learned_outputs(graph, once=once)
        outputs = with_terms(outputs, graph, molecules, self.terms)
        outputs = with_undefined_as_nan(outputs, self.properties, graph)
        isolated = self.metadata.isolated_atom_energies
        return with_atomization_energy(outputs, graph, molecules, isolated, self.elements)

    def learned_outputs(
        self, graph: AtomGraph, *, once: bool = False
    ) -> tuple[dict[str, Tensor], Molecules]:
        """Return what the heads give, and what they saw, with the charges where the model has any.

        The energies are without what `with_terms` of `models.outputs` adds.
        """
        features = self.backbone.forward_once(graph) if once else self.backbone(graph)
        molecules = self._charged(graph, features, once=once)
        outputs: dict[str, Tensor] = {}
        for name, head in self.heads.items():
            # Where only forces will be asked for, other properties need no gradients.
            is_needed = not once or name == "energy" or self._gives_charges_to_energy(head)
            with torch.set_grad_enabled(torch.is_grad_enabled() and is_needed):
                outputs |= head(features, molecules)
        return outputs, molecules

    def _charged(self, graph: AtomGraph, features: NodeFeatures, *, once: bool) -> Molecules:
        """Return the molecules with their charges, where these are the model's."""
        molecules = self.molecules(graph)
        if self.equilibration is None:
            return molecules
        charges = (
            self.equilibration.forward_once(features, molecules, graph.receiver_ptr)
            if once
            else self.equilibration(features, molecules)
        )
        return molecules._replace(charges=charges)

    def _gives_charges_to_energy(self, head: nn.Module) -> bool:
        """Whether the energy holds the Coulomb term of the charges that a head makes."""
        has_own = isinstance(head, MultipoleHead) and head.flow is not None
        return has_own and self.physics.coulomb is not None

    def compute(
        self,
        graph: AtomGraph,
        *,
        forces: bool = True,
        stress: bool = False,
        create_graph: bool = False,
        members: bool = True,
    ) -> dict[str, Tensor]:
        """Run the model and, where it has an energy that can be differentiated, its derivatives.

        See `nn.response.with_forces`. What follows from the weights alone is made anew in every
        call; many predictions are faster by `freeze`. members: of a committee of heads, whether its
        forces are asked for one by one, from which their spread is found.
        """
        outputs = self.computed(
            self, graph, forces=forces, stress=stress, create_graph=create_graph, members=members
        )
        return outputs if self.training else with_spreads(outputs, self.heads.values())

    def computed(
        self,
        network: Callable[..., dict[str, Tensor]],
        graph: AtomGraph,
        *,
        forces: bool,
        stress: bool,
        create_graph: bool,
        members: bool = True,
    ) -> dict[str, Tensor]:
        """Do what `compute` says with `network`, which takes the arguments of `forward`."""
        network = functools.partial(network, once=not create_graph)
        threads = (
            contextlib.nullcontext()
            if create_graph
            else self.backbone.threads_for_prediction(graph)
        )
        has_forces = "energy" in self.heads and self.backbone.capabilities.forces
        with threads:
            if has_forces and (forces or stress):
                return response.with_forces(
                    network, graph, stress=stress, create_graph=create_graph, members=members
                )
            with torch.set_grad_enabled(create_graph):
                return network(graph)

    def hessian(self, graph: AtomGraph) -> Tensor:
        """Return the Hessian of the energy of one structure: (3N, 3N), eV/Å²."""
        if "energy" not in self.heads:
            raise UserError(
                "this model has no energy, so it has no Hessian; it gives "
                f"{', '.join(self.outputs)}"
            )
        if self.backbone.capabilities.no_forces_reason is not None:
            raise UserError(
                f"this model has no Hessian: {self.backbone.capabilities.no_forces_reason}"
            )
        return response.hessian(self, graph)

    def multipoles(self, graph: AtomGraph) -> AtomicMultipoles:
        """Return the charges (N,), e, and dipoles (N, 3), e·Å, of the atoms.

        Raises UserError for a model without charges.
        """
        self._refuse_unknown_elements(graph)
        head = next((head for head in self.heads.values() if isinstance(head, MultipoleHead)), None)
        if head is None:
            raise UserError(
                "aligning needs a model with charges or a dipole; this one gives "
                f"{', '.join(self.outputs)}"
            )
        with torch.no_grad(), self.backbone.threads_for_prediction(graph):
            features = self.backbone.forward_once(graph)
            return head.multipoles(features, self._charged(graph, features, once=True))

    def embed(self, graph: AtomGraph) -> Tensor:
        """Return invariant features of each atom: (N, n_layers * C)."""
        self._refuse_unknown_elements(graph)
        with torch.no_grad(), self.backbone.threads_for_prediction(graph):
            return self.backbone.forward_once(graph).invariant

    def output_scale(self, name: str) -> tuple[float, ...]:
        """Return the scale of an output, one number per irrep, in its unit.

        Of what another output's head gives, that head's: see `Head.scale_of`.
        """
        heads = [self._head(own) for own in self.heads]
        giving = next(head for head in heads if name in (head.target.name, *head.companions))
        return tuple(giving.scale_of(name).tolist())

    def _head(self, name: str) -> Head:
        return cast(Head, self.heads[name])  # a ModuleDict knows no class

    @own_modes()
    def freeze(
        self,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        kernels: str | None = None,
    ) -> FrozenModel:
        """Return a copy for inference, fast and never changed; freeze again to see new weights.

        Device, dtype and kernels are those of this model unless given.
        """
        where = None if device is None else as_device(device)
        network = copy.deepcopy(self).to(device=where, dtype=dtype).eval().requires_grad_(False)
        return FrozenModel(network, self.backbone.kernels if kernels is None else kernels)

    def check_input(self, graph: AtomGraph) -> None:
        """Refuse what the model was not trained for, and what a term of its energy cannot take.

        Raises NotComputableError, which `check_features` does too.
        """
        if self.terms is not None:  # first, as it is about what nobody can allow
            self.terms.check_input(graph)
        self.check_features(graph)

    def check_features(self, graph: AtomGraph) -> None:
        """Refuse what the network was not trained for, whatever stands beside it.

        Raises NotComputableError for an element or a periodicity that it cannot take, and UserError
        for an untrained (charge, multiplicity) pair or coincident atoms, naming the atom.
        """
        self._refuse_unknown_elements(graph)
        self.backbone.check_input(graph)
        domain.refuse_untrained_charges(graph, self.metadata.charge_multiplicity)
        domain.refuse_coincident_atoms(graph)

    def _refuse_unknown_elements(self, graph: AtomGraph) -> None:
        domain.refuse_unknown_elements(graph, self.is_known, self.elements)

    def molecules(self, graph: AtomGraph) -> Molecules:
        """Return what heads see of a graph beside its features.

        Positions refer to the centre of mass.
        """
        return Molecules.of(graph, self.masses[graph.atomic_numbers])
