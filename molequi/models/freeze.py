"""A model for inference: a private copy with everything made that follows from its weights."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from molequi.graphs.graph import AtomGraph
from molequi.models.metadata import ModelMetadata
from molequi.models.physics import Physics
from molequi.nn.backbones.base import BackboneBase, Capabilities
from molequi.nn.backbones.worthwhile import worthwhile_kernels
from molequi.nn.heads.electrostatics import AtomicMultipoles
from molequi.nn.weight_tables import freeze_tables
from molequi.properties import Property
from molequi.runtime.modes import own_modes

logger = logging.getLogger(__name__)


class _Network(Protocol):
    """What a frozen model needs of `MolecularModel`, which stands below."""

    metadata: ModelMetadata
    physics: Physics
    outputs: tuple[str, ...]
    properties: dict[str, Property]
    backbone: BackboneBase

    def __call__(self, graph: AtomGraph) -> dict[str, Tensor]: ...
    def compute(self, graph: AtomGraph, *, forces: bool, stress: bool) -> dict[str, Tensor]: ...
    def hessian(self, graph: AtomGraph) -> Tensor: ...
    def embed(self, graph: AtomGraph) -> Tensor: ...
    def multipoles(self, graph: AtomGraph) -> AtomicMultipoles: ...
    def check_input(self, graph: AtomGraph) -> None: ...
    def check_features(self, graph: AtomGraph) -> None: ...
    def output_scale(self, name: str) -> tuple[float, ...]: ...
    def use_kernels(self, kernels: str) -> None: ...
    def write_out(self) -> None: ...
    def operations(self, n_edges: int) -> float: ...
    def state_dict(self) -> dict[str, Tensor]: ...


class Work(NamedTuple):
    """Operations done in all, and those of the largest pass, in the unit of `kernels.policy`."""

    done: float
    largest: float


class FrozenModel:
    """What `MolecularModel.freeze` returns: the model as it was then, as fast as it can be.

    Scaled weights, splines at their knots and the products of linear maps are made once; energies
    with forces take a pass that is written out by hand. The numbers are those of the model up to
    rounding. Whatever is done to the model afterwards, by whatever way its weights are written,
    changes nothing here: freeze it again. Device, dtype and kernels belong to this object alone.
    It may be used by several threads, copied and pickled. It cannot be trained.

    kernels: `auto` starts in plain torch, so that small jobs start at once, and changes to compiled
    kernels when more has been computed than compiling costs, or for a structure that plain torch
    would need gigabytes for (`kernels.policy`); for the others see
    `SphericalBackbone.use_kernels`.
    """

    @own_modes()
    def __init__(self, network: _Network, kernels: str) -> None:
        """Take over `network`: nobody else may hold it."""
        self._network = network
        freeze_tables(network)  # type: ignore[arg-type]
        self.use_kernels(kernels)

    @property
    def metadata(self) -> ModelMetadata:
        """Name, level of theory, training: see `MolecularModel`."""
        return self._network.metadata

    @property
    def physics(self) -> Physics:
        """Where its charges come from, and which terms its energy has beside what is learned."""
        return self._network.physics

    @property
    def outputs(self) -> tuple[str, ...]:
        """The properties that the model has heads for, by name."""
        return self._network.outputs

    @property
    def properties(self) -> Mapping[str, Property]:
        """Everything that it gives, by name."""
        return self._network.properties

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the model knows."""
        return self._network.backbone.elements

    @property
    def cutoff(self) -> float:
        """Cutoff radius, Å."""
        return self._network.backbone.cutoff

    @property
    def capabilities(self) -> Capabilities:
        """What the backbone can do."""
        return self._network.backbone.capabilities

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the network; positions and energies are float64."""
        return self._network.backbone.dtype

    @property
    def device(self) -> torch.device:
        """Where graphs must lie."""
        return self._network.backbone.device

    @property
    def kernels(self) -> str:
        """The kernels that were asked for."""
        return self._kernels

    @own_modes()
    def __call__(self, graph: AtomGraph) -> dict[str, Tensor]:
        """Return the outputs of every head, differentiable twice in positions and cell."""
        return self._network(graph)

    @own_modes()
    def compute(
        self, graph: AtomGraph, *, forces: bool = True, stress: bool = False
    ) -> dict[str, Tensor]:
        """Return every output and, where there are any, forces and stress; all detached."""
        self._make_room(graph)
        outputs = self._network.compute(graph.out_of_inference(), forces=forces, stress=stress)
        self._count(graph)
        return outputs

    @own_modes()
    def hessian(self, graph: AtomGraph) -> Tensor:
        """Return the Hessian of the energy of one structure: (3N, 3N), eV/Å²."""
        return self._network.hessian(graph)

    @own_modes()
    def embed(self, graph: AtomGraph) -> Tensor:
        """Return invariant features of each atom: (N, n_invariants)."""
        self._make_room(graph)
        return self._network.embed(graph.out_of_inference())

    @own_modes()
    def multipoles(self, graph: AtomGraph) -> AtomicMultipoles:
        """Return charges (N,), e, and atomic dipoles (N, 3), e·Å: see `MolecularModel`."""
        self._make_room(graph)
        multipoles = self._network.multipoles(graph.out_of_inference())
        self._count(graph)
        return multipoles

    @own_modes()
    def check_input(self, graph: AtomGraph) -> None:
        """Refuse what the model was not trained for: see `MolecularModel`."""
        self._network.check_input(graph)

    @own_modes()
    def check_features(self, graph: AtomGraph) -> None:
        """Refuse what its network was not trained for: see `MolecularModel`."""
        self._network.check_features(graph)

    def output_scale(self, name: str) -> tuple[float, ...]:
        """Return the scale of an output, one number per irrep, in its unit."""
        return self._network.output_scale(name)

    def operations(self, n_edges: int) -> float:
        """Return the work of one pass over so many edges, in the unit of `kernels.policy`."""
        return self._network.operations(n_edges)

    @own_modes()
    def use_kernels(self, kernels: str) -> None:
        """Choose who computes the convolutions; `auto` begins to count anew.

        Raises UserError for kernels that the backbone does not have.
        """
        self._network.use_kernels(kernels)
        self._network.write_out()
        self._kernels, self._current = kernels, "reference"
        self._work = self._expected = self._largest = 0.0

    def kernels_for(self, operations: float, *, in_one_pass: float = 0.0) -> str:
        """Return the kernels that pay for so much work where the model lies: `kernels.policy`."""
        return worthwhile_kernels(self._network.backbone, operations, in_one_pass=in_one_pass)

    def expect(self, n_edges: int) -> None:
        """Tell of a job over so many edges, for which `auto` compiles before it begins."""
        self._compile_for(self._work + self.operations(n_edges))

    @property
    def work(self) -> Work:
        """The work behind the model, which decides when `auto` compiles."""
        return Work(self._work, self._largest)

    def go_on_from(self, work: Work) -> None:
        """Stand where another process stood after this work: the same kernels come next."""
        self._work, self._largest = work
        self._compile_for(self._work)

    def pass_over(self, n_edges: int) -> None:
        """Count a pass that another process makes: the same kernels come next as after it."""
        operations = self.operations(n_edges)
        self._largest = max(self._largest, operations)
        self._compile_for(self._expected)
        self._work += operations
        self._compile_for(self._work)

    @property
    def is_settled(self) -> bool:
        """Whether no further work will change the kernels."""
        final = self.kernels_for(math.inf, in_one_pass=math.inf)
        return self._kernels != "auto" or self._current == final

    def digest(self) -> str:
        """Return a text that differs where the weights, or what is stated of the model, differ."""
        stated = [self.metadata.to_json(), self.outputs, self.cutoff, str(self.dtype)]
        found = hashlib.sha256(json.dumps(stated, default=str).encode())
        for name, tensor in sorted(self._network.state_dict().items()):
            found.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()[:24]

    def _make_room(self, graph: AtomGraph) -> None:
        """With `auto` kernels compile for a structure that plain torch has not the memory for."""
        self._largest = max(self._largest, self.operations(graph.edge_index.shape[1]))
        self._compile_for(self._expected)

    def _count(self, graph: AtomGraph) -> None:
        """With `auto` kernels the work done so far decides what is worth compiling."""
        self._work += self.operations(graph.edge_index.shape[1])
        self._compile_for(self._work)

    def _compile_for(self, operations: float) -> None:
        """Compile what pays for so much work, where kernels are `auto`.

        What has been compiled for more stays.
        """
        if self._kernels != "auto":
            return
        self._expected = max(self._expected, operations)
        wanted = self.kernels_for(self._expected, in_one_pass=self._largest)
        if wanted != self._current:
            logger.info(
                "a long or large job: its convolutions are compiled now (%s), once on this machine",
                wanted,
            )
            self._change_to(wanted)

    @own_modes()
    def _change_to(self, kernels: str) -> None:
        self._network.use_kernels(kernels)
        self._network.write_out()
        self._current = kernels
