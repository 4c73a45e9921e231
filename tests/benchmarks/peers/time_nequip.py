"""NequIP: `pip install torch nequip`. Modes: eager, script (TorchScript), compile (torch.compile, its training mode).

Batzner et al., Nature Communications 13, 2453 (2022). Random weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

import ase
import measure
import torch
from nequip.data import AtomicDataDict, from_ase
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.model import NequIPGNNModel
from nequip.utils.global_state import set_global_state

NAMES = ["H", "C", "N", "O", "F"]
GROUPS = {
    "embedding": ("type_embed.",),
    "radial": (".edge_mlp.", ".fc."),
    "self-connection": (".sc.",),
    "linear": (".linear_1.", ".linear_2."),
    "readout": ("readout", "output_hidden", "per_atom_energy"),
}
Batch = dict[str, torch.Tensor]


def model_of(arguments: argparse.Namespace, compile_mode: str) -> torch.nn.Module:
    """Return a model with random weights."""
    return NequIPGNNModel(
        seed=1, model_dtype="float32", r_max=arguments.cutoff, type_names=NAMES, l_max=arguments.l_max, parity=True, num_layers=arguments.layers,
        num_features=arguments.features, avg_num_neighbors=15.0, compile_mode=compile_mode,
    )  # fmt: skip


def batch_of(cutoff: float) -> Callable[[Iterable[ase.Atoms]], Batch]:
    """Return the function that gives structures as NequIP takes them."""
    types, neighbours = ChemicalSpeciesToAtomTypeMapper(NAMES), NeighborListTransform(r_max=cutoff)
    return lambda structures: AtomicDataDict.batched_from_list([neighbours(types(from_ase(atoms))) for atoms in structures])


def main() -> None:
    """Time a model."""
    parser = measure.options(__doc__, modes=("eager", "script", "compile"))
    parser.add_argument("--l-max", type=int, default=2)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--cutoff", type=float, default=5.0)
    arguments = parser.parse_args()
    measure.start(arguments)
    set_global_state()
    plain = model_of(arguments, "compile" if arguments.mode == "compile" else "eager")
    network = torch.jit.script(plain) if arguments.mode == "script" else plain

    def call(batch: Batch) -> Batch:
        # The model adds what it computes to the dictionary that it is given.
        return network({name: value.clone() if torch.is_tensor(value) else value for name, value in batch.items()})

    def energy_forces(batch: Batch) -> Batch:
        network.eval()
        return call(batch)

    def train_step(batch: Batch) -> None:
        network.train()
        outputs = call(batch)
        measure.squares(outputs["total_energy"], outputs["forces"]).backward()
        network.zero_grad()

    name = f"NequIP l {arguments.l_max}, {arguments.features} features"
    measure.run(
        measure.Subject(name, arguments.mode, measure.counts(plain, GROUPS), batch_of(arguments.cutoff), energy_forces, train_step), arguments
    )


if __name__ == "__main__":
    main()
