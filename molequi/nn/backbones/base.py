"""The contract of a backbone: from a graph to the node features that heads read.

A new backbone is a file beside this one with a class derived from `BackboneBase`, and its name in
`registry.BACKBONES`.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from molequi.errors import UserError
from molequi.graphs.elements import MAX_NUMBER, N_ELEMENTS
from molequi.graphs.graph import AtomGraph
from molequi.groups.lie import LieGroup
from molequi.kernels import BACKENDS, threads
from molequi.o3.irreps import Irreps

# What settings of these names may be, in every backbone; other numbers must be positive.
LIMITS: Mapping[str, tuple[float, float]] = {
    "n_layers": (1, 16),
    "n_channels": (1, 4096),
    "l_max": (0, 6),
    "l_hidden": (0, 6),
    "correlation": (1, 3),
    "n_radial": (1, 64),
    "held_below": (0.3, 0.8),
    "dropout": (0.0, 0.9),
}

# Of any other setting: widths and numbers of anything, and distances in Å.
_LARGEST = 4096

# Edges of a graph from which on plain torch gains by a second thread.
_WORTH_THREADS = 2000


class Capabilities(NamedTuple):
    """What a backbone can do, beside computing scalars of molecules.

    vectors: its features hold vectors, from which a dipole can be made. periodic: it takes periodic
    structures. no_forces_reason: why its energy has no continuous derivative, None where it has
    one. equivariant: network(Rx) = D(R) network(x) for every rotation and mirror R, with D(R) the
    matrices of `irreps_out`. fused_kernels: `use_kernels` has a choice.
    """

    vectors: bool = False
    periodic: bool = True
    no_forces_reason: str | None = None
    equivariant: bool = False
    fused_kernels: bool = False

    @property
    def forces(self) -> bool:
        """Whether forces are the gradient of its energy."""
        return self.no_forces_reason is None


class NodeFeatures(NamedTuple):
    """What heads see of a molecule.

    equivariant: (N, M, C) rows of the backbone's `irreps_out`. invariant: (N, n_invariants), what
    no rotation changes. distances: (E,), Å, and envelope: (E,), u(r_e), both in the model's dtype.
    vectors: (N, 3, layers * C), the 1o rows of all layers, where a backbone gives them.
    """

    equivariant: Tensor
    invariant: Tensor
    distances: Tensor
    envelope: Tensor
    vectors: Tensor | None = None


# What features (N, M, C) go through between two layers, where atoms are spread over processes.
BetweenLayers = Callable[[Tensor], Tensor]


def unchanged(features: Tensor) -> Tensor:
    """Return the features: the exchange of a process that has all atoms."""
    return features


class BackboneBase(nn.Module, abc.ABC):
    """Base of all backbones: `settings` make it again, `forward` and `calibrate` are its work.

    A backbone takes its settings as keyword arguments of plain values, with `elements` before them
    and `irreps_out` (the irreps that heads ask for; it may give fewer) after them; it sets
    `irreps_out` and `n_channels`, and may override what stands below with a default. Every weight
    is drawn from torch's global generator.

    elements: atomic numbers that it knows. settings: every keyword argument but `irreps_out`, plain
    JSON values, with `cutoff` among them. Raises UserError for elements or settings that make no
    network.
    """

    # Its name in configs and model files, and what to change where an output needs other irreps.
    architecture: ClassVar[str]
    advice: ClassVar[str]
    # Whether every setting of it keeps rotations and mirrors to rounding.
    is_exact: ClassVar[bool] = True
    # Irreps of the features' rows, 0e first; channels of each.
    irreps_out: Irreps
    n_channels: int
    # (N_ELEMENTS,), the place of each atomic number in `elements`.
    species_of_number: Tensor
    # The kernels that were asked for, see `use_kernels`.
    kernels: str = "auto"
    # Gradients that are taken of one `forward_once`: of a committee of heads, one of each.
    n_gradients: int = 1

    def __init__(self, elements: Sequence[int], settings: Mapping[str, object]) -> None:
        super().__init__()
        _check_elements(elements)
        _check_settings(settings)
        self.elements, self.settings = tuple(elements), dict(settings)
        self.register_buffer("species_of_number", _species_table(self.elements), persistent=False)

    @abc.abstractmethod
    def forward(self, graph: AtomGraph) -> NodeFeatures:
        """Compute node features; differentiable in positions and cell."""

    @abc.abstractmethod
    def calibrate(self, graph: AtomGraph) -> None:
        """Set the constants that give features of order one on `graph`, the first training data."""

    @property
    @abc.abstractmethod
    def capabilities(self) -> Capabilities:
        """What this backbone can do with its settings."""

    @property
    @abc.abstractmethod
    def n_invariants(self) -> int:
        """Number of invariant features per atom."""

    def check_input(self, graph: AtomGraph) -> None:
        """Refuse structures that `forward` cannot take.

        Raises NotComputableError where `capabilities` have a limit that a structure is beyond.
        """

    @property
    def cutoff(self) -> float:
        """Cutoff radius of the graphs that it takes, Å."""
        return float(self.settings["cutoff"])  # type: ignore[arg-type]

    @property
    def n_readout(self) -> int:
        """Width of the networks by which heads read its invariants."""
        return int(self.settings.get("n_readout", 32))  # type: ignore[call-overload]

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.parameters()).device

    @property
    def inner_cutoffs(self) -> tuple[float, ...]:
        """Radii below `cutoff`, Å, at which some of its messages end as smoothly."""
        return ()

    @property
    def lift_group(self) -> LieGroup | None:
        """The Lie group that atoms are lifted to, where `forward_moved` has a meaning."""
        return None

    def forward_moved(self, graph: AtomGraph, motion: Tensor) -> NodeFeatures:
        """Compute node features with every lift moved by `motion` (m, m).

        It is an element of `lift_group`. The features must be those of `forward`: a check compares
        them.
        """
        raise NotImplementedError(f"{type(self).__name__} lifts atoms to no group")

    def use_kernels(self, kernels: str) -> None:
        """Choose who computes the convolutions: here `auto` and `reference`, which are the same.

        Raises UserError for fused kernels, which this backbone has not.
        """
        if kernels not in {"auto", "reference"}:
            raise UserError(
                f"kernels is {kernels!r}, but the architecture {self.architecture} has only "
                "plain torch; choose auto or reference"
            )
        self.kernels = kernels

    def operations(self, n_edges: int) -> float:
        """Return the multiplications of one pass over so many edges that fused kernels would do.

        The unit of `kernels.policy`; zero where there is nothing to fuse.
        """
        return 0.0

    @property
    def n_terms(self) -> int:
        """Terms of its largest coupling table, which say how long Triton compiles."""
        return 0

    def forward_once(self, graph: AtomGraph) -> NodeFeatures:
        """Compute node features that are differentiable once, in positions and cell alone.

        Their gradient may be taken `n_gradients` times, for as many outputs. What predictions ask
        for: a backbone that `write_out` was called of may have a shorter way.
        """
        return self(graph)

    def write_out(self) -> None:
        """Make what a shorter way of `forward_once` takes, for the kernels chosen now.

        Called by `models.freeze`, of a private copy whose weights nobody can write.
        """

    def threads_for_prediction(self, graph: AtomGraph) -> contextlib.AbstractContextManager[None]:
        """Return a context for a prediction, in which torch has the threads that it needs.

        A small graph needs one: where other jobs hold the cores, threads of OpenMP wait for each
        other after every operation, a hundred times as long as they compute.
        """
        is_small = graph.edge_index.shape[1] < _WORTH_THREADS
        return threads.without_openmp() if is_small else contextlib.nullcontext()


def settings_of(arguments: Mapping[str, Any]) -> dict[str, object]:
    """Return the settings among `locals()` as they are in the first line of a constructor.

    A new argument of a backbone is then a setting without being named again. Cutoffs, Å, become
    floats.
    """
    others = {"self", "elements", "irreps_out", "__class__"}
    return {
        name: float(value) if name.endswith("cutoff") else value
        for name, value in arguments.items()
        if name not in others
    }


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Refuse a setting that is none of the choices."""
    if value not in choices:
        raise UserError(f"model.{name} is {value!r}; it must be {' or '.join(map(repr, choices))}")


def check_kernels(kernels: str) -> None:
    """Refuse kernels of an unknown name."""
    if kernels not in {"auto", *BACKENDS}:
        raise UserError(f"kernels is {kernels!r}; choose one of auto, {', '.join(BACKENDS)}")


def _check_elements(elements: Sequence[int]) -> None:
    is_known = all(1 <= z <= MAX_NUMBER for z in elements)
    if not elements or len(set(elements)) != len(elements) or not is_known:
        raise UserError(
            f"elements must be different atomic numbers from 1 to {MAX_NUMBER}, got "
            f"{list(elements)}"
        )


def _check_settings(settings: Mapping[str, object]) -> None:
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if name in LIMITS and not LIMITS[name][0] <= value <= LIMITS[name][1]:
            low, high = LIMITS[name]
            raise UserError(f"model.{name} is {value}; it must lie between {low} and {high}")
        if not value > 0 and name not in LIMITS:
            raise UserError(f"model.{name} is {value}; it must be positive")
        if value > _LARGEST:
            raise UserError(f"model.{name} is {value}; no network has more than {_LARGEST}")


def _species_table(elements: Sequence[int]) -> Tensor:
    """Return (N_ELEMENTS,), the place of each atomic number in `elements`, 0 for the others."""
    table = torch.zeros(N_ELEMENTS, dtype=torch.int64)
    for species, number in enumerate(elements):
        table[number] = species
    return table
