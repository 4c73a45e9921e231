"""A model behind torch-sim's interface: many systems in one call, on one device.

Written for torch-sim 0.3, whose states hold no charges, and 0.6, whose `system_extras` may.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import torch
from ase import Atoms
from torch import Tensor
from torch_sim.models.interface import ModelInterface
from torch_sim.state import SimState

from molequi.engines.replicas import Replicas
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.models.outputs import unfounded
from molequi.models.structure import Structure
from molequi.models.zoo import frozen_model
from molequi.prediction.records import refuse_not_finite
from molequi.simulation.offers import refuse_without_forces
from molequi.structures.atoms import charge_of, multiplicity_of
from molequi.structures.electrons import whole_number

# The names under which torch-sim's `system_extras` may hold them.
_CHARGES = ("total_charge", "charge")
_MULTIPLICITIES = ("spin_multiplicity", "spin")


class TorchSimModel(ModelInterface):
    """Energies, forces and, for periodic states, stress of a model, as torch-sim asks for them.

    model, device, dtype: as of `Calculator`. total_charge, e, and spin_multiplicity, 2S + 1, are of
    every system whose state says nothing of them: `system_extras` under `total_charge` or `charge`,
    `spin_multiplicity` or `spin`. Without, the lowest multiplicity that the electrons allow.
    Results come in the state's dtype; also the dipole, and charges of a model that learned them.
    A stress of open systems is NaN. Raises UserError for systems that the model does not know, and
    for those of which it gives no finite numbers.
    """

    def __init__(
        self,
        model: str | PathLike[str] | MolecularModel | FrozenModel = "organic",
        *,
        device: str | None = None,
        dtype: str | None = None,
        total_charge: int = 0,
        spin_multiplicity: int | None = None,
        compute_stress: bool = True,
    ) -> None:
        super().__init__()
        self.model = frozen_model(model, device=device, dtype=dtype)
        refuse_without_forces(self.model)
        self.total_charge, self.spin_multiplicity = total_charge, spin_multiplicity
        # What the interface's properties read. Positions and energies are float64 in any case.
        self._device, self._dtype = self.model.device, torch.float64
        self._compute_forces, self._compute_stress = True, compute_stress
        self._memory_scales_with = "n_atoms_x_density"
        self._replicas = Replicas(self.model.cutoff)
        self._known: list[tuple[list[int], int, int]] = []

    @ModelInterface.compute_stress.setter
    def compute_stress(self, value: bool) -> None:
        """Choose whether a stress is computed."""
        self._compute_stress = value

    @ModelInterface.compute_forces.setter
    def compute_forces(self, value: bool) -> None:
        """Choose whether forces are given; they are computed in any case."""
        self._compute_forces = value

    def forward(self, state: SimState, **_others: object) -> dict[str, Tensor]:
        """Return energy (B,), eV, forces (N, 3), eV/Å, stress (B, 3, 3), eV/Å³, and the rest."""
        structures = self._structures(state)
        graph = self._replicas.graph(structures).to(self.model.device)
        known = [
            (one.atomic_numbers.tolist(), one.total_charge, one.spin_multiplicity)
            for one in structures
        ]
        if known != self._known:
            self.model.check_input(graph)
            self._known = known
        found = self.model.compute(graph, forces=True, stress=self._compute_stress)
        refuse_not_finite(self.model, found, only=("energy", "forces"))
        wanted = ["energy", "dipole", "charges"]
        wanted += ["forces"] * self._compute_forces + ["stress"] * self._compute_stress
        hidden = unfounded(self.model.outputs)
        return {
            name: found[name].to(state.positions.device, state.positions.dtype)
            for name in wanted
            if name in found and name not in hidden
        }

    def _structures(self, state: SimState) -> list[Structure]:
        """Take the systems of a state apart."""
        counts = torch.bincount(state.system_idx).tolist()
        positions = state.positions.detach().to("cpu", torch.float64).split(counts)
        numbers = state.atomic_numbers.to("cpu", torch.int64).split(counts)
        cells = state.row_vector_cell.detach().to("cpu", torch.float64)
        pbc = torch.as_tensor(state.pbc, dtype=torch.bool).cpu().expand(3).numpy()
        charges = _said(state, _CHARGES) or [self.total_charge] * len(counts)
        spins: Sequence[int | None] = _said(state, _MULTIPLICITIES) or [
            self.spin_multiplicity
        ] * len(counts)
        return [
            Structure(
                f"system {k}",
                x.numpy(),
                z.numpy(),
                cell.numpy(),
                pbc,
                *_electrons(Atoms(numbers=z.numpy()), charge, spin),
            )
            for k, (x, z, cell, charge, spin) in enumerate(
                zip(positions, numbers, cells, charges, spins, strict=True)
            )
        ]


def _said(state: SimState, names: tuple[str, ...]) -> list[int] | None:
    """Return what a state says of its systems under one of these names."""
    extras = vars(state).get("_system_extras", {})
    name = next((name for name in names if name in extras), None)
    if name is None:
        return None
    return [
        whole_number(value, f"{name} {value:g} of system {k}")
        for k, value in enumerate(extras[name].flatten().tolist())
    ]


def _electrons(atoms: Atoms, charge: int, multiplicity: int | None) -> tuple[int, int]:
    total_charge = charge_of(atoms, charge)
    return total_charge, multiplicity_of(atoms, total_charge, multiplicity)
