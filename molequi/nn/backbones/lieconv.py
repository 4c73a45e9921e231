"""LieConv as a backbone: atoms lifted to a Lie group, every one seeing every other one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from molequi.errors import NotComputableError, UserError
from molequi.graphs.graph import AtomGraph, edge_vectors
from molequi.groups.clouds import make_cloud, n_coordinates
from molequi.groups.lie import LieGroup, motion
from molequi.groups.lie_groups import group_named
from molequi.groups.lieconv import LieResNet, Stage
from molequi.groups.norms import measuring
from molequi.groups.principal_axes import principal_frames
from molequi.groups.rotations import haar_space
from molequi.nn.backbones.base import BackboneBase, Capabilities, NodeFeatures, settings_of
from molequi.nn.radial import envelope
from molequi.o3.irreps import Irreps

# Seed of the lifts that stay the same, and of those that measure a new network.
_SEED = 0


class LieConvBackbone(BackboneBase):
    """The bottleneck network of `nn.lieconv` on atoms.

    An atom's features are the mean over its lifts.

    group: trivial, T(3), SO(3) or SE(3) (`symmetry.groups`). n_lifts: group elements per atom.
    lifts: `sampled` (drawn anew in every call), `fixed` (the same few stabilizer elements, the
    identity first, for every atom and call) or, to SE(3), `frames`: the four right-handed frames of
    the molecule's principal axes, which turn with it, so that nothing is left to chance.
    radius: of the neighbourhoods in the metric of the group; all atoms of a molecule where there is
    none. n_neighbors: at most so many lifts of each neighbourhood, drawn in every call; all of them
    where there is none. augmentation: `none`, or `rotations`, which turns every molecule at random
    in training.
    cutoff: Å, of the pairs that heads see, such as charge flows; the convolution does not use it.
    Positions are taken as they are: only a group with translations makes the outputs independent of
    the origin.
    """

    stabilizers: Tensor

    architecture = "lieconv"
    is_exact = False
    advice = "LieConv has scalars only: use model.architecture=spherical for vectors and tensors"

    def __init__(  # noqa: PLR0913 (all keyword settings of an architecture)
        self,
        elements: Sequence[int],
        cutoff: float = 5.0,
        *,
        n_layers: int = 2,
        n_channels: int = 64,
        group: str = "T(3)",
        n_lifts: int = 1,
        lifts: str = "sampled",
        radius: float | None = None,
        n_neighbors: int | None = None,
        n_hidden: int = 32,
        n_middle: int = 16,
        augmentation: str = "none",
        irreps_out: Irreps | None = None,
    ) -> None:
        super().__init__(elements, settings_of(locals()))
        self.n_channels, self.irreps_out = n_channels, Irreps("0e")
        self.embedding = nn.Parameter(torch.randn(len(elements), n_channels))
        self.group = group_named(group, 3)
        _check_choices(lifts, augmentation)
        _check_group(self.group, group, n_lifts)
        _check_frames(lifts, group, n_lifts)
        reach = math.inf if radius is None else float(radius)
        stages = [Stage(reach, n_neighbors=n_neighbors)] * n_layers
        self.network = LieResNet(
            n_channels,
            n_channels,
            n_coordinates(self.group),
            stages,
            n_hidden=n_hidden,
            n_middle=n_middle,
        )
        self.n_lifts, self.turns = n_lifts, augmentation == "rotations"
        self.is_sampled = lifts == "sampled" and not self.group.is_free
        self.has_frames = lifts == "frames"
        self.register_buffer("stabilizers", self._draw_stabilizers())

    @property
    def n_invariants(self) -> int:
        """Number of features per atom."""
        return self.n_channels

    @property
    def capabilities(self) -> Capabilities:
        """Open structures only; whether there are forces depends on how atoms are lifted."""
        return Capabilities(periodic=False, no_forces_reason=self._no_forces_reason())

    @property
    def lift_group(self) -> LieGroup:
        """The group that atoms are lifted to."""
        return self.group

    def _no_forces_reason(self) -> str | None:
        """Say why the energy has no continuous derivative, None where it has one."""
        name = self.settings["group"]
        if self.is_sampled:
            return (
                f"its lifts to {name} are drawn anew in every call (model.lifts=sampled), so its "
                "energy is not a function of the positions"
            )
        if self.settings["n_neighbors"] is not None:
            return "its neighbourhoods are drawn anew in every call (model.n_neighbors)"
        if self.has_frames:
            return (
                "its frames of principal axes jump where two moments of inertia are equal "
                "(model.lifts=frames)"
            )
        if self.settings["radius"] is not None:
            return (
                "its neighbourhoods are hard (model.radius): the energy jumps where an atom enters "
                "one"
            )
        if name == "SO(3)":
            return (
                "the lift to SO(3) jumps where an atom crosses the plane z = 0, and the logarithm "
                "where two are half a turn apart"
            )
        return None

    def forward(self, graph: AtomGraph) -> NodeFeatures:
        """Compute node features; differentiable in positions.

        Raises NotComputableError for a periodic structure.
        """
        return self._run(graph, None)

    def check_input(self, graph: AtomGraph) -> None:
        """Refuse periodic structures."""
        if bool(graph.pbc.any()):
            raise NotComputableError(
                "a periodic structure has no end, and LieConv takes every atom of a structure into "
                "account; use model.architecture=spherical"
            )

    def forward_moved(self, graph: AtomGraph, motion: Tensor) -> NodeFeatures:
        """Compute node features with every lift moved by an element of the group, (m, m)."""
        return self._run(graph, motion)

    def _run(self, graph: AtomGraph, motion: Tensor | None) -> NodeFeatures:
        self.check_input(graph)
        features = self._features(
            graph.positions, graph.atomic_numbers, graph.batch, graph.n_molecules, motion
        )
        square = edge_vectors(graph).square().sum(dim=1)
        distances = square.clamp(min=1e-12).sqrt().to(features.dtype)
        return NodeFeatures(
            features[:, None, :], features, distances, envelope(distances, self.cutoff)
        )

    def calibrate(self, graph: AtomGraph) -> None:
        """Set the running moments of every batch norm to those of open structures in `graph`."""
        is_open = ~graph.pbc.any(dim=1)[graph.batch]
        with torch.random.fork_rng(devices=[]), measuring(self):
            torch.manual_seed(_SEED)
            self._features(
                graph.positions[is_open],
                graph.atomic_numbers[is_open],
                graph.batch[is_open],
                graph.n_molecules,
            )

    def _features(
        self,
        positions: Tensor,
        atomic_numbers: Tensor,
        batch: Tensor,
        n_molecules: int,
        motion: Tensor | None = None,
    ) -> Tensor:
        counts = torch.bincount(batch, minlength=n_molecules)
        place = torch.arange(len(batch), device=batch.device) - (counts.cumsum(0) - counts)[batch]
        size = int(counts.max()) if len(batch) else 0
        mask = torch.arange(size, device=batch.device) < counts[:, None]
        points = positions.new_zeros(n_molecules, size, 3).index_put((batch, place), positions)
        species = torch.zeros_like(mask, dtype=torch.int64).index_put(
            (batch, place), self.species_of_number[atomic_numbers]
        )
        if self.training and self.turns:
            points = torch.einsum("bij,bnj->bni", haar_space((n_molecules,), points), points)
        lift = self.group.lift(
            points, self.n_lifts, stabilizers=self._turns(points[batch, place], batch, n_molecules)
        )
        elements = lift.elements if motion is None else motion.to(lift.elements) @ lift.elements
        repeated = mask.repeat_interleave(self.n_lifts, dim=1)
        cloud = make_cloud(
            self.group,
            elements.flatten(1, 2),
            lift.orbits.flatten(1, 2),
            repeated,
            self.embedding.dtype,
        )
        features, _ = self.network(
            cloud,
            nn.functional.embedding(species, self.embedding).repeat_interleave(self.n_lifts, dim=1),
        )
        return features.unflatten(1, (size, self.n_lifts)).mean(2)[batch, place]

    def _turns(self, positions: Tensor, batch: Tensor, n_molecules: int) -> Tensor | None:
        """Return the stabilizer elements of the lifts, None where they are to be drawn."""
        if not self.has_frames:
            return None if self.is_sampled else self.stabilizers
        frames = principal_frames(positions.detach(), batch, n_molecules)[:4].transpose(0, 1)
        return motion(frames, frames.new_zeros(*frames.shape[:2], 3))[:, None]

    def _draw_stabilizers(self) -> Tensor:
        drawn = self.group.stabilizer(
            (self.n_lifts,), torch.zeros(1), torch.Generator().manual_seed(_SEED)
        ).clone()
        drawn[0] = torch.eye(self.group.matrix_dim)
        return drawn


def _check_group(group: LieGroup, name: str, n_lifts: int) -> None:
    if not group.lifts_origin:
        raise UserError(
            f"model.group is {name}, in which an atom at the origin has no lift; molecules need "
            "trivial, T(3), SO(3) or SE(3)"
        )
    if group.is_free and n_lifts != 1:
        raise UserError(
            f"model.n_lifts is {n_lifts}, but an atom has only one lift to {name}, whose elements "
            "all move every point; set it to 1"
        )


def _check_frames(lifts: str, name: str, n_lifts: int) -> None:
    if lifts == "frames" and (name != "SE(3)" or n_lifts != 4):
        raise UserError(
            f"model.lifts=frames are four lifts to SE(3), the config has model.group={name} and "
            f"model.n_lifts={n_lifts}; set SE(3) and 4"
        )


def _check_choices(lifts: str, augmentation: str) -> None:
    if lifts not in {"sampled", "fixed", "frames"}:
        raise UserError(
            f"model.lifts is {lifts!r}; it must be 'sampled' (drawn in every call) or 'fixed', or "
            "'frames' for SE(3)"
        )
    if augmentation not in {"none", "rotations"}:
        raise UserError(f"model.augmentation is {augmentation!r}; it must be 'none' or 'rotations'")
