"""NequIP: `pip install torch nequip`.

Modes: compile (torch.compile, for training), aotinductor (for use: energies and forces alone),
eager.

Its TorchScript mode ended with torch 2.10. Batzner et al., Nature Communications 13, 2453 (2022).
Random weights.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import ase
import measure
import torch
from nequip.data import AtomicDataDict, from_ase
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.model import NequIPGNNModel
from nequip.model.inference_models.aotinductor import load_aotinductor_model
from nequip.scripts._compile_utils import ASE_OUTPUTS, BATCH_INPUTS, COMPILE_TARGET_DICT
from nequip.utils.aot import aot_export_model
from nequip.utils.global_state import set_global_state
from systems import aspirin

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
        seed=1,
        model_dtype="float32",
        r_max=arguments.cutoff,
        type_names=NAMES,
        l_max=arguments.l_max,
        parity=True,
        num_layers=arguments.layers,
        num_features=arguments.features,
        avg_num_neighbors=15.0,
        compile_mode=compile_mode,
    )


def batch_of(cutoff: float) -> Callable[[Iterable[ase.Atoms]], Batch]:
    """Return the function that gives structures as NequIP takes them."""
    types, neighbours = ChemicalSpeciesToAtomTypeMapper(NAMES), NeighborListTransform(r_max=cutoff)
    return lambda structures: AtomicDataDict.batched_from_list(
        [neighbours(types(from_ase(atoms))) for atoms in structures]
    )


def exported(model: torch.nn.Module, batch: Batch, path: str) -> torch.nn.Module:
    """Return the model compiled ahead of time; kept at `path`.

    As `nequip-compile --mode aotinductor --target batch` does."""
    if not Path(path).exists():
        target = COMPILE_TARGET_DICT["batch"]
        sizes = {
            kind: torch.export.Dim(f"num_{kind}s", min=2, max=10**7)
            for kind in ("graph", "node", "edge")
        }
        data, sizes = target["data_settings"](dict(batch)), target["batch_map_settings"](sizes)
        metadata = {key: str(value) for key, value in model.metadata.items()}
        configs = {"aot_inductor.metadata": metadata}
        aot_export_model(
            model,
            torch.device("cpu"),
            target["input"],
            target["output"],
            data,
            sizes,
            path,
            configs,
        )
    return load_aotinductor_model(path, "cpu", BATCH_INPUTS, ASE_OUTPUTS)[0]


def main() -> None:
    """Time a model."""
    parser = measure.options(__doc__, modes=("compile", "aotinductor", "eager"))
    parser.add_argument("--l-max", type=int, default=2)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--cutoff", type=float, default=5.0)
    parser.add_argument(
        "--exported",
        metavar="FILE.nequip.pt2",
        help="where the model compiled ahead of time is kept; by default a temporary folder",
    )
    arguments = parser.parse_args()
    sizes = f"{arguments.l_max}_{arguments.features}_{arguments.layers}_{arguments.cutoff:g}"
    kept = arguments.exported or str(
        Path(tempfile.gettempdir()) / f"nequip_{sizes}_torch_{torch.__version__}.nequip.pt2"
    )
    measure.start(arguments)
    set_global_state()
    plain = model_of(arguments, "compile" if arguments.mode == "compile" else "eager")

    ahead = arguments.mode == "aotinductor"
    inference = exported(plain, batch_of(arguments.cutoff)([aspirin()]), kept) if ahead else plain

    def call(network: torch.nn.Module, batch: Batch) -> Batch:
        # The model adds what it computes to the dictionary that it is given.
        return network(
            {
                name: value.clone() if torch.is_tensor(value) else value
                for name, value in batch.items()
            }
        )

    def energy_forces(batch: Batch) -> Batch:
        plain.eval()
        return call(inference, batch)

    def train_step(batch: Batch) -> None:
        plain.train()
        outputs = call(plain, batch)
        measure.squares(outputs["total_energy"], outputs["forces"]).backward()
        plain.zero_grad()

    name = f"NequIP l {arguments.l_max}, {arguments.features} features"
    weights = measure.counts(plain, GROUPS)
    measure.run(
        measure.Subject(
            name,
            arguments.mode,
            weights,
            batch_of(arguments.cutoff),
            energy_forces,
            None if ahead else train_step,
        ),
        arguments,
    )


if __name__ == "__main__":
    main()
