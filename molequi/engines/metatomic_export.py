"""A model as a file that metatomic's engines load: LAMMPS, GROMACS, i-PI, PLUMED, torch-sim, ASE.

The file runs without molequi. It gives the energy, by atom or of the system, the charges of a model
that learned them as `charge`, and the dipole of an open system as `molequi::dipole`; engines derive
forces and virials from the energy.
"""

from __future__ import annotations

import functools
import math
import os
import warnings

import torch
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import (
    AtomisticModel,
    ModelCapabilities,
    ModelMetadata,
    ModelOutput,
    NeighborListOptions,
    System,
)
from torch import Tensor

from molequi.engines.traced import (
    OneStructure,
    example,
    far_reach,
    longest_wave,
    refuse_difference,
    refuse_export,
    slope,
    wave_counts,
)
from molequi.models.molecular import MolecularModel
from molequi.prediction.records import level_text
from molequi.runtime.files import written_by_rename

_N_TRACED = 14  # atoms of the structures that are traced; any other number works afterwards


class MetatomicModel(torch.nn.Module):
    """What metatomic calls: systems in, outputs out. TorchScript compiles it.

    open_part, periodic_part: traced `OneStructure`. cutoff: Å, of the network. reach: Å, of the
    pairs of crystals for far energies, 0 where there are none. wave: as `traced.longest_wave`.
    """

    def __init__(
        self,
        open_part: torch.nn.Module,
        periodic_part: torch.nn.Module,
        cutoff: float,
        reach: float,
        wave: float,
    ) -> None:
        super().__init__()
        self.open_part, self.periodic_part = open_part, periodic_part
        self.reach, self.wave = reach, wave
        self.near = NeighborListOptions(cutoff=cutoff, full_list=True, strict=True)
        self.far = NeighborListOptions(
            cutoff=max(reach, cutoff), full_list=reach == 0.0, strict=True
        )

    @torch.jit.export
    def requested_neighbor_lists(self) -> list[NeighborListOptions]:
        """Return the lists that engines make."""
        if self.reach > 0.0:
            return [self.near, self.far]
        return [self.near]

    def one(self, system: System) -> tuple[Tensor, Tensor, Tensor]:
        """Return energies (N,), charges (N,) and the dipole (3,) of one system."""
        listed = system.get_neighbor_list(self.near).samples.values.to(torch.int64)
        # metatomic's vectors point from the first atom to the second, ours to the sender.
        edges = torch.stack([listed[:, 1], listed[:, 0]])
        numbers, n_atoms = system.types.to(torch.int64), system.positions.shape[0]
        if bool(system.pbc.any()):
            if not bool(system.pbc.all()):
                raise ValueError(
                    "this model takes systems that are periodic in all three directions or in none"
                )
            far = listed
            if self.reach > 0.0:
                far = system.get_neighbor_list(self.far).samples.values.to(torch.int64)
            waves = wave_counts(system.cell.detach(), self.wave)
            return self.periodic_part(
                system.positions,
                numbers,
                edges,
                listed[:, 2:5],
                system.cell,
                far[:, :2].T,
                far[:, 2:5],
                waves,
            )
        pairs = torch.triu_indices(n_atoms, n_atoms, 1)
        nothing = torch.zeros(pairs.shape[1], 3, dtype=torch.int64)
        return self.open_part(
            system.positions,
            numbers,
            edges,
            listed[:, 2:5],
            system.cell,
            pairs,
            nothing,
            wave_counts(system.cell, 0.0),
        )

    def forward(
        self,
        systems: list[System],
        outputs: dict[str, ModelOutput],
        selected_atoms: Labels | None,
    ) -> dict[str, TensorMap]:
        """Compute what is asked for, of the selected atoms alone where there are any."""
        energies: list[Tensor] = []
        charges: list[Tensor] = []
        dipoles: list[Tensor] = []
        places: list[Tensor] = []
        for i, system in enumerate(systems):
            energy, charge, dipole = self.one(system)
            atoms = torch.arange(energy.shape[0], dtype=torch.int32)
            if selected_atoms is not None:
                chosen = selected_atoms.values
                atoms = chosen[chosen[:, 0] == i][:, 1].to(torch.int32)
            energies.append(energy[atoms.to(torch.int64)])
            charges.append(charge[atoms.to(torch.int64)])
            dipoles.append(dipole)
            places.append(torch.stack([torch.full_like(atoms, i), atoms], dim=1))
        by_atom = Labels(["system", "atom"], torch.cat(places))
        by_system = Labels(["system"], torch.arange(len(systems), dtype=torch.int32)[:, None])
        total = torch.stack([energy.sum() for energy in energies])[:, None]
        found: dict[str, TensorMap] = {}
        for name, wanted in outputs.items():
            if name == "energy" and wanted.sample_kind == "atom":
                found[name] = one_block(torch.cat(energies)[:, None], by_atom, "energy")
            elif name == "energy":
                found[name] = one_block(total, by_system, "energy")
            elif name == "charge":
                found[name] = one_block(torch.cat(charges)[:, None], by_atom, "charge")
            elif name == "molequi::dipole":
                found[name] = one_block(torch.stack(dipoles), by_system, "xyz")
        return found


def one_block(values: Tensor, samples: Labels, name: str) -> TensorMap:
    """Return values (rows, columns) as metatensor's map of one block."""
    columns = torch.arange(values.shape[1], dtype=torch.int32)[:, None]
    empty: list[Labels] = []
    block = TensorBlock(values, samples, empty, Labels([name], columns))
    return TensorMap(Labels(["_"], torch.zeros(1, 1, dtype=torch.int32)), [block])


def export_metatomic(
    model: MolecularModel, output: str | os.PathLike[str], *, total_charge: int = 0
) -> None:
    """Write a model as a metatomic file, for systems of one total charge, e.

    The far energies of crystals are summed exactly, so that engines which share a box among
    processes must not. Raises UserError for a model that cannot be exported, for an untrained
    charge, and where the export gives other numbers.
    """
    refuse_export(model, total_charge=total_charge)
    whole = MetatomicModel(
        _traced(model, is_periodic=False, total_charge=total_charge),
        _traced(model, is_periodic=True, total_charge=total_charge),
        model.cutoff,
        far_reach(model),
        longest_wave(model),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript deprecated, metatomic needs it
        compiled = torch.jit.script(whole.eval())
        atomistic = AtomisticModel(compiled, _metadata(model, total_charge), _capabilities(model))
        with written_by_rename(output) as temporary:
            atomistic.save(str(temporary))


def _traced(model: MolecularModel, *, is_periodic: bool, total_charge: int) -> torch.nn.Module:
    """Trace a model on open or periodic structures, and compare."""
    one = OneStructure(model, is_periodic=is_periodic, total_charge=total_charge)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a tracer says of sizes; numbers are compared
        made_up = example(model, _N_TRACED, 0, is_periodic=is_periodic)
        traced = torch.jit.trace(one, tuple(made_up), check_trace=False)
    forces = functools.partial(slope, traced)
    refuse_difference(model, forces, is_periodic=is_periodic, total_charge=total_charge)
    return traced


def _capabilities(model: MolecularModel) -> ModelCapabilities:
    """Say what the file gives, of which elements, and how far forces reach."""
    outputs = {"energy": ModelOutput(unit="eV", sample_kind="atom")}
    if "charges" in model.outputs:
        outputs["charge"] = ModelOutput(unit="e", sample_kind="atom")
    if "dipole" in model.outputs:
        outputs["molequi::dipole"] = ModelOutput(
            unit="e*A", sample_kind="system", description="of open systems, zero of periodic ones"
        )
    return ModelCapabilities(
        outputs=outputs,
        atomic_types=list(model.elements),
        interaction_range=math.inf if far_reach(model) else model.cutoff * _n_layers(model),
        length_unit="angstrom",
        supported_devices=["cpu"],
        dtype="float64",
    )


def _n_layers(model: MolecularModel) -> int:
    """How many times the cutoff a force reaches: once a layer."""
    return int(str(model.backbone.settings.get("n_layers", 1)))


def _metadata(model: MolecularModel, total_charge: int) -> ModelMetadata:
    text = f"Level of theory: {level_text(model) or 'not stated'}. Total charge {total_charge} e."
    return ModelMetadata(name=f"molequi {model.metadata.name}", description=text)
