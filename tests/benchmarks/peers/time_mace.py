"""MACE: `pip install torch mace-torch`.

Modes: eager, script (TorchScript, as for LAMMPS), compile (torch.compile, as in its calculator).

Batatia, Kovács, Simm, Ortner, Csányi, NeurIPS 2022. Random weights.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterable
from typing import Any

import ase
import measure
import numpy as np
import torch
from mace import data, modules, tools
from mace.calculators import MACECalculator
from mace.tools import torch_geometric
from mace.tools.compile import prepare

# MACE lifts a restriction of torch.load that e3nn would meet otherwise, so it is imported first.
from e3nn import o3  # isort: skip
from e3nn.util import jit  # isort: skip

NUMBERS = [1, 6, 7, 8, 9]
# Energies so small that random weights do not blow a molecule up in the dynamics; it changes no
# times.
SCALE = {"md": 1e-3}
GROUPS = {
    "embedding": ("node_embedding",),
    "radial": (".conv_tp_weights.",),
    "self-connection": (".skip_tp.", ".sc."),
    "products": (".symmetric_contractions.",),
    "linear": (".linear_up.", ".linear."),
    "readout": ("readouts.",),
}


def model_of(arguments: argparse.Namespace, scale: float = 1.0) -> torch.nn.Module:
    """Return the model of the file, or one with random weights.

    The first layer without, the others with residuals, as MACE's own defaults have it.
    """
    if arguments.file:
        found = torch.load(arguments.file, weights_only=False)
        return found.to(torch.get_default_dtype())
    torch.manual_seed(0)
    blocks = modules.interaction_classes
    return modules.ScaleShiftMACE(
        r_max=arguments.cutoff,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=arguments.l_max,
        interaction_cls=blocks["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=blocks["RealAgnosticInteractionBlock"],
        num_interactions=arguments.layers,
        num_elements=len(NUMBERS),
        hidden_irreps=o3.Irreps(arguments.hidden),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(len(NUMBERS)),
        avg_num_neighbors=15.0,
        atomic_numbers=NUMBERS,
        correlation=arguments.correlation,
        radial_type="bessel",
        atomic_inter_scale=scale,
        atomic_inter_shift=0.0,
    )


def in_mode(model: torch.nn.Module, mode: str) -> torch.nn.Module:
    """Return the model as TorchScript, compiled by torch, or as it is."""
    if mode == "script":
        return jit.compile(copy.deepcopy(model))
    if mode == "compile":
        return torch.compile(prepare(copy.deepcopy)(model), mode="default")
    return model


def batch_of(structures: Iterable[ase.Atoms], model: torch.nn.Module, mode: str) -> dict[str, Any]:
    """Return the structures as MACE takes them.

    Its compiled form wants to be told what is differentiated.
    """
    cutoff = float(model.r_max)
    table = tools.AtomicNumberTable(model.atomic_numbers.tolist())
    graphs = [
        data.AtomicData.from_config(data.config_from_atoms(atoms), z_table=table, cutoff=cutoff)
        for atoms in structures
    ]
    batch = next(
        iter(torch_geometric.dataloader.DataLoader(graphs, batch_size=len(graphs), shuffle=False))
    ).to_dict()
    if mode == "compile":
        for name in ("positions", "node_attrs"):
            batch[name].requires_grad_(True)
    return batch


def main() -> None:
    """Time a model."""
    parser = measure.options(__doc__, modes=("eager", "script", "compile"))
    parser.add_argument("--file", help="a model that MACE has saved; its sizes are not asked for")
    parser.add_argument("--hidden", default="128x0e+128x1o")
    parser.add_argument("--l-max", type=int, default=3)
    parser.add_argument("--correlation", type=int, default=3)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--cutoff", type=float, default=5.0)
    arguments = parser.parse_args()
    measure.start(arguments)
    plain = model_of(arguments)
    model, frozen = (
        in_mode(plain, arguments.mode),
        in_mode(copy.deepcopy(plain).requires_grad_(False), arguments.mode),
    )

    def train_step(batch: dict[str, Any]) -> None:
        outputs = model(batch, training=True, compute_force=True)
        measure.squares(outputs["energy"], outputs["forces"]).backward()
        model.zero_grad()

    def calculator() -> MACECalculator:
        gentle = model_of(arguments, SCALE["md"])
        if arguments.mode == "compile":
            return MACECalculator(
                models=prepare(copy.deepcopy)(gentle),
                device="cpu",
                default_dtype="float32",
                compile_mode="default",
            )
        return MACECalculator(
            models=in_mode(gentle, arguments.mode), device="cpu", default_dtype="float32"
        )

    subject = measure.Subject(
        f"MACE {arguments.hidden}",
        arguments.mode,
        measure.counts(plain, GROUPS),
        lambda structures: batch_of(structures, plain, arguments.mode),
        # Only so does its compiled form give forces; its calculator does the same.
        lambda batch: frozen(batch, training=arguments.mode == "compile", compute_force=True),
        train_step,
        calculator,
    )
    measure.run(subject, arguments)


if __name__ == "__main__":
    main()
