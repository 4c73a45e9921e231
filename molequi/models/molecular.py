"""MolecularModel: backbone -> heads -> response.

An AtomGraph in, a dict of named properties out.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols
from torch import Tensor, nn

from molequi.errors import UnknownElementError, UserError
from molequi.graphs.elements import COINCIDENT, MASSES, N_ELEMENTS
from molequi.graphs.graph import AtomGraph, collate, edge_vectors, mass_centres
from molequi.models.freeze import FrozenModel
from molequi.models.metadata import ModelMetadata
from molequi.models.probes import built_in_probes, calibration_structures
from molequi.nn import response
from molequi.nn.backbones.base import BackboneBase, Capabilities
from molequi.nn.backbones.registry import make_backbone
from molequi.nn.heads.base import Head, Molecules
from molequi.nn.heads.electrostatics import AtomicMultipoles, MultipoleHead
from molequi.nn.heads.registry import irreps_of, make_heads
from molequi.o3.cartesian import from_cartesian
from molequi.o3.irreps import Irrep, Irreps
from molequi.properties import Periodicity, Property, get_property, with_company

PRESETS: Mapping[str, dict[str, object]] = {
    "small": {"n_layers": 2, "n_channels": 32, "l_max": 2, "correlation": 1},
    "medium": {"n_layers": 3, "n_channels": 64, "l_max": 2, "correlation": 1},
    "large": {"n_layers": 3, "n_channels": 128, "l_max": 3, "correlation": 2},
}


class MolecularModel(nn.Module):
    """A backbone with one head per property.

    properties: the rows it gives; `forces` and `stress` follow from `energy` and need no head.
    metadata: what is known of it beside the network, kept in its file.
    Raises UserError for an output that the backbone cannot reach, naming the missing irreps.
    """

    masses: Tensor
    is_known: Tensor

    def __init__(
        self,
        backbone: BackboneBase,
        properties: Sequence[Property],
        *,
        metadata: ModelMetadata | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.metadata = metadata or ModelMetadata()
        self.outputs = tuple(row.name for row in properties)
        self.heads = nn.ModuleDict(make_heads(properties, backbone))
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
        self.register_buffer("masses", torch.tensor(MASSES), persistent=False)
        is_known = torch.isin(torch.arange(N_ELEMENTS), torch.tensor(self.elements))
        self.register_buffer("is_known", is_known, persistent=False)

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

    def _apply(self, fn, recurse: bool = True):  # noqa: ANN001, ANN202 (signature of torch.nn.Module)
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
        features = self.backbone.forward_once(graph) if once else self.backbone(graph)
        molecules = self.molecules(graph)
        outputs: dict[str, Tensor] = {}
        for name, head in self.heads.items():
            # Where only forces will be asked for, other properties need no gradients.
            with torch.set_grad_enabled(torch.is_grad_enabled() and (name == "energy" or not once)):
                outputs |= head(features, molecules)
        for name, row in self.properties.items():
            if name in outputs and row.periodicity is not Periodicity.ANY:
                is_defined = row.is_defined(graph.pbc)
                is_defined = is_defined[graph.batch] if row.per_atom else is_defined
                mask = ~is_defined.reshape(-1, *[1] * len(row.shape))
                outputs[name] = outputs[name].masked_fill(mask, torch.nan)
        isolated = self.metadata.isolated_atom_energies
        if "energy" in outputs and all(
            chemical_symbols[number] in isolated for number in self.elements
        ):
            table = graph.positions.new_zeros(N_ELEMENTS)
            for symbol, energy in isolated.items():
                table[atomic_numbers[symbol]] = energy
            outputs["atomization_energy"] = (
                molecules.sum(table[graph.atomic_numbers]) - outputs["energy"]
            )
        return outputs

    def compute(
        self,
        graph: AtomGraph,
        *,
        forces: bool = True,
        stress: bool = False,
        create_graph: bool = False,
    ) -> dict[str, Tensor]:
        """Run the model and, where it has an energy that can be differentiated, its derivatives.

        See `nn.response.with_forces`. What follows from the weights alone is made anew in every
        call; many predictions are faster by `freeze`.
        """
        network = functools.partial(self, once=not create_graph)
        threads = (
            contextlib.nullcontext() if create_graph else self.backbone.threads_for_prediction()
        )
        has_forces = "energy" in self.heads and self.backbone.capabilities.forces
        with threads:
            if has_forces and (forces or stress):
                return response.with_forces(
                    network, graph, stress=stress, create_graph=create_graph
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
        with torch.no_grad(), self.backbone.threads_for_prediction():
            return head.multipoles(self.backbone.forward_once(graph), self.molecules(graph))

    def embed(self, graph: AtomGraph) -> Tensor:
        """Return invariant features of each atom: (N, n_layers * C)."""
        self._refuse_unknown_elements(graph)
        with torch.no_grad(), self.backbone.threads_for_prediction():
            return self.backbone.forward_once(graph).invariant

    def output_scale(self, name: str) -> tuple[float, ...]:
        """Return the scale of an output, one number per irrep, in its unit."""
        return tuple(self._head(name).scale.tolist())

    def _head(self, name: str) -> Head:
        return cast(Head, self.heads[name])  # a ModuleDict knows no class

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
        network = copy.deepcopy(self).to(device=device, dtype=dtype).eval().requires_grad_(False)
        return FrozenModel(network, self.backbone.kernels if kernels is None else kernels)

    def check_input(self, graph: AtomGraph) -> None:
        """Refuse what the model was not trained for.

        Raises UnknownElementError, or UserError for an untrained (charge, multiplicity) pair or
        coincident atoms, naming the atom.
        """
        self._refuse_unknown_elements(graph)
        pairs = set(self.metadata.charge_multiplicity)
        for molecule, pair in enumerate(
            zip(graph.total_charge.tolist(), graph.spin_multiplicity.tolist(), strict=True)
        ):
            if pair not in pairs:
                trained = ", ".join(
                    f"charge {q:+d} multiplicity {m}" if q else f"charge 0 multiplicity {m}"
                    for q, m in sorted(pairs)
                )
                where = f" (molecule {molecule})" if graph.n_molecules > 1 else ""
                raise UserError(
                    f"charge {pair[0]:+d} with spin multiplicity {pair[1]}{where} is outside this "
                    f"model's training, which has {trained}"
                )
        if graph.edge_index.shape[1]:
            shortest, edge = edge_vectors(graph).norm(dim=1).min(dim=0)
            if shortest < COINCIDENT:
                pair_of = [_atom_name(int(graph.edge_index[side, edge]), graph) for side in (0, 1)]
                raise UserError(
                    f"{pair_of[0]} and {pair_of[1]} are {float(shortest):.3f} Å apart; nuclei "
                    f"closer than {COINCIDENT} Å are a mistake in the input"
                )

    def _refuse_unknown_elements(self, graph: AtomGraph) -> None:
        if not bool(self.is_known[graph.atomic_numbers].all()):
            atom = int((~self.is_known[graph.atomic_numbers]).nonzero()[0])
            symbol = chemical_symbols[int(graph.atomic_numbers[atom])]
            known = " ".join(chemical_symbols[z] for z in self.elements)
            where = _atom_name(atom, graph)
            raise UnknownElementError(
                f"element {symbol} ({where}) is not in this model; it knows {known} and can "
                "compute no others"
            )

    def molecules(self, graph: AtomGraph) -> Molecules:
        """Return what heads see of a graph beside its features.

        Positions refer to the centre of mass.
        """
        centres, masses = mass_centres(
            graph.positions, self.masses[graph.atomic_numbers], graph.batch, graph.n_molecules
        )
        return Molecules(
            graph.positions - centres[graph.batch],
            graph.batch,
            graph.n_molecules,
            graph.edge_index,
            graph.atomic_numbers,
            graph.total_charge,
            masses,
        )


def make_model(
    elements: Iterable[int],
    properties: Sequence[Property | str],
    *,
    preset: str = "small",
    architecture: str = "spherical",
    seed: int = 0,
    metadata: ModelMetadata | None = None,
    **overrides: object,
) -> MolecularModel:
    """Make a model with random weights, in evaluation mode.

    `overrides` are the keyword arguments of the backbone, whose `architecture` is a key of
    `nn.backbones.registry.BACKBONES`.

    The last layer keeps only the irreps that the properties need. Weights are a function of `seed`
    alone, and calibrated on fixed structures, so that features and outputs start of order one;
    training calibrates again, on its data.
    """
    if preset not in PRESETS:
        raise UserError(f"model.preset is {preset!r}; the presets are {', '.join(PRESETS)}")
    rows = [get_property(row) if isinstance(row, str) else row for row in properties]
    needed = {irrep for row in rows for irrep in irreps_of(row)}
    # Triple products of vectors are pseudoscalars too.
    if Irrep.parse("0o") in needed:
        needed.add(Irrep.parse("1o"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = make_backbone(
            architecture,
            tuple(sorted(set(elements))),
            Irreps(sorted(needed)),
            PRESETS[preset],
            overrides,
        )
        model = MolecularModel(backbone, rows, metadata=metadata)
    backbone.calibrate(
        collate(
            [
                structure.graph(backbone.cutoff)
                for structure in calibration_structures(backbone.elements)
            ]
        )
    )
    check_reach(model)
    return model.eval()


def check_reach(model: MolecularModel) -> None:
    """Refuse outputs of which a part stays zero on a fixed, dense, chiral cluster.

    Raises UserError naming the property and the irreps that it does not reach.
    """
    cluster = built_in_probes(model.elements)[0].mapped(min(1.0, model.cutoff / 3.0) * np.eye(3))
    for name, irreps in unreached(model, cluster.graph(model.cutoff)).items():
        raise UserError(
            f"{name} ({model.properties[name].irreps}) cannot be reached by this network: its "
            f"{irreps} part stays zero. "
            f"Hidden irreps end in {model.backbone.irreps_out}; use parity=full, "
            "n_layers=3 or correlation=2"
        )


def unreached(model: MolecularModel, graph: AtomGraph) -> dict[str, Irreps]:
    """Return, by property, the irreps that stay zero everywhere on `graph`.

    That is below 1e-10 of the feature scale; what is reached is left out. A float64 copy runs. A
    part is compared in units of its own scale, but not below what rounding leaves in it of a part
    10⁴ times as large.
    """
    probe = copy.deepcopy(model).to(torch.float64)
    with torch.no_grad():
        outputs = probe(graph)
    features = float(probe.embed(graph).abs().max()) if graph.n_atoms else 0.0
    missing = {}
    for name, row in model.properties.items():
        if name not in outputs or row.is_invariant:
            continue
        irreps = Irreps(row.irreps)
        rows = from_cartesian(outputs[name].nan_to_num(), irreps.degrees)
        sizes = [
            float(rows[..., part].abs().max()) if rows.numel() else 0.0 for part in irreps.slices()
        ]
        scales = list(model.output_scale(name)) if name in model.heads else [1.0] * len(irreps)
        limits = [1e-10 * features * max(scale, 1e-4 * max(scales)) for scale in scales]
        zero = Irreps(
            irrep for irrep, size, limit in zip(irreps, sizes, limits, strict=True) if size <= limit
        )
        if zero:
            missing[name] = zero
    return missing


def _atom_name(atom: int, graph: AtomGraph) -> str:
    molecule = int(graph.batch[atom])
    ends = torch.cumsum(torch.bincount(graph.batch, minlength=graph.n_molecules), 0)
    local = atom - (int(ends[molecule - 1]) if molecule else 0)
    return f"atom {local} of molecule {molecule}" if graph.n_molecules > 1 else f"atom {local}"
