"""A model's outputs on many structures as float64 arrays, how they transform, and their scales."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from molequi.graphs.graph import AtomGraph, collate
from molequi.models.metadata import ModelMetadata
from molequi.models.molecular import MolecularModel
from molequi.models.structure import Structure
from molequi.nn.backbones.base import Capabilities
from molequi.o3.cartesian import from_cartesian
from molequi.o3.irreps import Irreps
from molequi.o3.wigner import wigner_matrices
from molequi.properties import PROPERTIES, Property

Outputs = dict[str, np.ndarray]  # output name -> (*shape) or, for an output per atom, (N, *shape)

_INTERNAL = {
    "energies": Property("energies", "0e", "eV", per_atom=True),
    "atomization_energy": Property("atomization_energy", "0e", "eV", extensive=True),
}
_PERTURBATION = 0.2  # Å
_N_PERTURBATIONS = 4
# Roundings of a value below which its changes are not measured against themselves.
_UNRESOLVED = 1e5
_CHUNK = 400  # atoms evaluated together
_NO_REACH = 1e-3  # Å, of the graphs of models that look for their own neighbours


class Deviation(NamedTuple):
    """One error measured: of which test, relative to its scale, of which output and structure."""

    test: str
    value: float
    where: str


@runtime_checkable
class CheckableModel(Protocol):
    """What a check needs of a model.

    `MolecularModel` has it, `testing.calculators.CalculatorModel` gives it to a foreign one.
    """

    @property
    def elements(self) -> Sequence[int]:
        """Atomic numbers that it knows."""

    @property
    def cutoff(self) -> float | None:
        """Radius of the graphs that it takes, Å; None where it finds its neighbours itself."""

    @property
    def outputs(self) -> Sequence[str]:
        """Names of what it gives, without derivatives."""

    @property
    def properties(self) -> Mapping[str, Property]:
        """Rows of what it gives."""

    @property
    def metadata(self) -> ModelMetadata:
        """What is known of its training, here the pairs `charge_multiplicity`."""

    def compute(self, graph: AtomGraph, *, forces: bool, stress: bool) -> dict[str, Tensor]:
        """Return the outputs with forces (N, 3), eV/Å, and stress (B, 3, 3), eV/Å³."""

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the network, whose limits count."""

    @property
    def device(self) -> torch.device:
        """Where it takes its graphs."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""


class ModelRunner:
    """Runs a model on structures and knows how its outputs transform."""

    def __init__(self, model: CheckableModel) -> None:
        self.model = model
        # Others are what they are, and have no backbone that could be looked into.
        self.computing = model.freeze() if isinstance(model, MolecularModel) else model
        self.backbone = model.backbone if isinstance(model, MolecularModel) else None
        self.dtype, self.device = model.dtype, model.device
        self.capabilities = model.capabilities
        self.has_forces = "energy" in model.outputs and self.capabilities.forces
        self.rows: dict[str, Property] = {**PROPERTIES, **_INTERNAL, **model.properties}
        self._scales: dict[int, tuple[Structure, Outputs]] = {}
        self._rounding: dict[str, float] = {}

    def with_kernels(self, kernels: str) -> ModelRunner:
        """Return a runner of the same model by these kernels."""
        other = copy.copy(self)
        if isinstance(self.model, MolecularModel):
            other.computing = self.model.freeze(kernels=kernels)
        return other

    def graph(self, structures: Sequence[Structure]) -> AtomGraph:
        """Join structures into one graph on the model's device."""
        cutoff = self.model.cutoff
        reach = _NO_REACH if cutoff is None else cutoff
        return collate([structure.graph(reach) for structure in structures]).to(self.device)

    def compute(self, graph: AtomGraph) -> dict[str, Tensor]:
        """Run the model on a graph.

        Stress is asked for where a structure is periodic in all directions.
        """
        return self.computing.compute(
            graph,
            forces=self.has_forces,
            stress=self.has_forces and bool(graph.pbc.all(dim=1).any()),
        )

    def observe(self, structures: Sequence[Structure]) -> list[Outputs]:
        """Run the model on structures, many in a batch."""
        batches: list[list[Structure]] = [[]]
        for structure in structures:
            if (
                sum(len(s.positions) for s in batches[-1]) + len(structure.positions) > _CHUNK
                and batches[-1]
            ):
                batches.append([])
            batches[-1].append(structure)
        return [found for batch in batches for found in self._observe_batch(batch)]

    def _observe_batch(self, structures: Sequence[Structure]) -> list[Outputs]:
        computed = self.compute(self.graph(structures))
        arrays = {
            name: value.detach().cpu().double().numpy()
            for name, value in computed.items()
            if name in self.rows
        }
        self._rounding = {name: torch.finfo(value.dtype).eps for name, value in computed.items()}
        ends = np.cumsum([len(structure.positions) for structure in structures])
        outputs = []
        for b, structure in enumerate(structures):
            atoms = slice(ends[b] - len(structure.positions), ends[b])
            mine = {
                name: value[atoms] if self.rows[name].per_atom else value[b]
                for name, value in arrays.items()
            }
            outputs.append(
                {
                    name: np.asarray(value)
                    for name, value in mine.items()
                    if self.rows[name].is_defined(structure.pbc)
                }
            )
        return outputs

    def scales(self, structure: Structure) -> Outputs:
        """Return, for every output, its change when all atoms move by 0.2 Å, one number per irrep.

        See `diagnostics.check`.
        """
        if id(structure) not in self._scales:
            self._scales[id(structure)] = structure, self._measure_scales(structure)
        return self._scales[id(structure)][1]

    def scale(self, name: str, structure: Structure) -> float:
        """Return the scale of a whole output."""
        return float(self.scales(structure)[name].max(initial=0.0))

    def deviation(self, test: str, name: str, error: np.ndarray, structure: Structure) -> Deviation:
        """Relate the error of a whole output to its scale on `structure`."""
        return Deviation(
            test,
            ratio(float(np.abs(error).max(initial=0.0)), self.scale(name, structure)),
            f"{name} of {structure.name}",
        )

    def _measure_scales(self, structure: Structure) -> Outputs:
        rng = np.random.default_rng(7)
        moves = (
            _PERTURBATION
            / np.sqrt(3)
            * rng.standard_normal((_N_PERTURBATIONS, *structure.positions.shape))
        )
        base, *moved = self.observe(
            [structure, *(structure.at(structure.positions + move) for move in moves)]
        )
        scales = {}
        for name, value in base.items():
            parts = np.array([self.part_sizes(name, other[name] - value) for other in moved]).max(
                axis=0
            )
            floor = _UNRESOLVED * self._rounding[name] * np.abs(value).max(initial=0.0)
            # A part may vanish for a good reason; what leaks into it is then measured against a
            # tenth of the whole.
            scales[name] = np.maximum(np.maximum(parts, 0.1 * parts.max()), floor)
        return scales

    def parts(self, name: str, value: np.ndarray) -> list[tuple[int, int, np.ndarray]]:
        """Split an output into its irreps: l, parity, rows (..., 2l + 1)."""
        irreps = Irreps(self.rows[name].irreps)
        rows = from_cartesian(torch.as_tensor(value), irreps.degrees).numpy()
        return [
            (l, p, rows[..., mine]) for (l, p), mine in zip(irreps, irreps.slices(), strict=True)
        ]

    def part_sizes(self, name: str, value: np.ndarray) -> np.ndarray:
        """Return the largest component of each irrep of an output: (number of irreps,)."""
        return np.array([np.abs(part).max(initial=0.0) for _, _, part in self.parts(name, value)])

    def rotated(self, name: str, value: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """Turn an output by a proper rotation (3, 3); Cartesian outputs by the matrix itself."""
        degrees = Irreps(self.rows[name].irreps).degrees
        if degrees in {(0, 2), (0, 1, 2)}:
            return rotation @ value @ rotation.T
        turned = [part @ rotation_of_rows(l, rotation).T for l, _, part in self.parts(name, value)]
        return np.concatenate(turned, axis=-1).reshape(value.shape)


def ratio(size: float, scale: float) -> float:
    """Return size / scale; nothing relative to nothing is 0."""
    if size == 0.0:
        return 0.0
    return size / scale if scale > 0.0 else float("inf")


def rotation_of_rows(l: int, rotation: np.ndarray) -> np.ndarray:
    """Return D with Y(R x) = D Y(x) of degree l, for a proper rotation R: (2l + 1, 2l + 1)."""
    return wigner_matrices(torch.as_tensor(rotation, dtype=torch.float64), l)[l].numpy()
