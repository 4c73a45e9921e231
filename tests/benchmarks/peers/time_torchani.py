"""TorchANI: `pip install torch torchani`.

The ANI-1ccx ensemble of 8 networks that it is installed with, H C N O. Modes: eager, script.

Smith, Nebgen, Zubatyuk, Lubbers, Devereux, Barros, Tretiak, Isayev, Roitberg, Nature Communications
10, 2903 (2019). Energies and forces alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import ase
import measure
import torch
import torchani

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]


def batch_of(structures: Sequence[ase.Atoms]) -> Batch:
    """Return atomic numbers and positions, filled up to the longest molecule.

    With them cell and periodicity of a structure that has them."""
    longest = max(map(len, structures))
    numbers, positions = (
        torch.full((len(structures), longest), -1),
        torch.zeros(len(structures), longest, 3),
    )
    for row, atoms in enumerate(structures):
        numbers[row, : len(atoms)] = torch.as_tensor(atoms.numbers)
        positions[row, : len(atoms)] = torch.as_tensor(atoms.positions, dtype=torch.float32)
    first = structures[0]
    if not first.pbc.any():
        return numbers, positions, None, None
    return (
        numbers,
        positions,
        torch.as_tensor(first.cell.array, dtype=torch.float32),
        torch.as_tensor(first.pbc),
    )


def main() -> None:
    """Time the ensemble."""
    arguments = measure.options(__doc__, modes=("eager", "script")).parse_args()
    measure.start(arguments)
    model = torchani.models.ANI1ccx(periodic_table_index=True).requires_grad_(False)
    network = torch.jit.script(model) if arguments.mode == "script" else model

    def energy_forces(batch: Batch) -> torch.Tensor:
        numbers, positions, cell, pbc = batch
        positions = positions.detach().requires_grad_(True)
        return torch.autograd.grad(
            network((numbers, positions), cell, pbc).energies.sum(), positions
        )[0]

    measure.run(
        measure.Subject("TorchANI ANI-1ccx", arguments.mode, {}, batch_of, energy_forces), arguments
    )


if __name__ == "__main__":
    main()
