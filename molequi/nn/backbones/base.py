"""What a backbone without fused kernels has in common with the others: `nn.kinds` lists them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from molequi.errors import UserError
from molequi.o3.irreps import Irreps

MAX_NUMBER = 118


class BackboneBase(nn.Module):
    """Base of backbones in plain torch: elements, cutoff and the settings that a checkpoint keeps.

    A kind sets `kind`, `advice` (what to change where an output needs other irreps), `irreps_out`,
    and writes `forward` and `calibrate`.
    settings: every keyword argument of the kind but `irreps_out`. Raises UserError for elements or
    a cutoff that make no network.
    """

    kind, advice, has_fused_kernels, kernels = "", "", False, "reference"
    # Whether it has vectors for a dipole; whether it takes open structures only; why its energy has
    # no continuous forces, where it has none.
    has_vectors, is_open_only, no_forces_reason = False, False, None
    # Whether network(Rx) = D(R) network(x) for every rotation and mirror R.
    has_turning_features = False

    def __init__(
        self,
        elements: Sequence[int],
        n_channels: int,
        n_layers: int,
        settings: Mapping[str, object],
    ) -> None:
        super().__init__()
        if (
            not elements
            or len(set(elements)) != len(elements)
            or not all(1 <= z <= MAX_NUMBER for z in elements)
        ):
            raise UserError(
                f"elements must be different atomic numbers from 1 to {MAX_NUMBER}, got "
                f"{list(elements)}"
            )
        for name, value in settings.items():
            if not isinstance(value, bool | str) and value is not None and not value > 0:
                raise UserError(f"model.{name} is {value}; it must be positive")
        self.elements, self.settings, self.cutoff = (
            tuple(elements),
            dict(settings),
            float(settings["cutoff"]),
        )
        self.n_channels, self.n_layers = n_channels, n_layers
        self.irreps_out: Irreps = ((0, 1),)
        self.embedding = nn.Parameter(torch.randn(len(elements), n_channels))
        self.register_buffer("species_of_number", species_table(self.elements), persistent=False)

    @property
    def n_invariants(self) -> int:
        """Number of invariant features per atom."""
        return self.n_layers * self.n_channels

    def use_kernels(self, kernels: str) -> None:
        """Accept `auto` and `reference`, which are the same here.

        Raises UserError for fused kernels, which this kind has not.
        """
        if kernels not in {"auto", "reference"}:
            raise UserError(
                f"kernels is {kernels!r}, but a backbone of kind {self.kind} has only plain torch; "
                "choose auto or reference"
            )

    def count_pass(self, n_edges: int) -> None:
        """Count nothing: there is nothing to compile."""

    def threads_for_prediction(self) -> contextlib.AbstractContextManager[None]:
        """Return a context that leaves torch's threads as they are."""
        return contextlib.nullcontext()


class NodeFeatures(NamedTuple):
    """What heads see of a molecule.

    equivariant: (N, M, C) rows of the backbone's `irreps_out`. invariant: (N, n_layers * C), the 0e
    rows of every layer.
    distances: (E,), Å, and envelope: (E,), u(r_e), both in the model's dtype.
    """

    equivariant: Tensor
    invariant: Tensor
    distances: Tensor
    envelope: Tensor


def species_table(elements: Sequence[int]) -> Tensor:
    """Return (119,), the place of each atomic number in `elements`.

    0 for the others, which a model refuses.
    """
    table = torch.zeros(119, dtype=torch.int64)
    for species, number in enumerate(elements):
        table[number] = species
    return table
