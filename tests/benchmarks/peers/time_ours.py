"""molequi: a model of a config with random weights, or a bundled one. Modes are the kernels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import ase
import measure
import torch

from molequi import Calculator, load
from molequi.graphs.graph import AtomGraph, collate
from molequi.graphs.neighbors import build_graph
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.training.config import load_config

BENCHMARKS = Path(__file__).resolve().parents[1]
GROUPS = {
    "embedding": ("backbone.embedding",),
    "radial": (".radial.",),
    "self-connection": (".self_connection.",),
    "products": (".product.",),
    "gates": (".gate.",),
    "linear": (".linear_up.", ".linear_down.", ".linear_paths."),
    "readout": ("heads.",),
}


def model_of(name: str, kernels: str) -> MolecularModel:
    """Return the model of that name or file, or one of the config of that name for H C N O F."""
    if name.startswith("bench_"):
        settings = load_config(BENCHMARKS / f"{name}.yaml").model
        model = make_model(
            (1, 6, 7, 8, 9), ["energy", "forces"], preset=settings.preset, **settings.overrides()
        )
    else:
        model = load(name)
    model.backbone.use_kernels(kernels)
    return model


def graph_of(structures: Iterable[ase.Atoms], cutoff: float) -> AtomGraph:
    """Return the structures as one graph."""
    return collate(
        [
            build_graph(
                x.positions,
                x.numbers,
                cutoff,
                cell=x.cell.array if x.pbc.any() else None,
                pbc=x.pbc,
            )
            for x in structures
        ]
    )


def main() -> None:
    """Time a model."""
    parser = measure.options(__doc__, modes=("specialized", "generic", "reference"))
    parser.add_argument(
        "--model",
        default="organic",
        help="a bundled model, a model's file, or a config whose name begins with bench_",
    )
    arguments = parser.parse_args()
    measure.start(arguments)
    model = model_of(arguments.model, arguments.mode).to(getattr(torch, arguments.dtype))

    def train_step(graph: AtomGraph) -> None:
        outputs = model.compute(graph, create_graph=True)
        measure.squares(outputs["energy"], outputs["forces"]).backward()
        model.zero_grad()

    subject = measure.Subject(
        f"molequi {arguments.model}",
        arguments.mode,
        measure.counts(model, GROUPS),
        lambda structures: graph_of(structures, model.cutoff),
        model.freeze().compute,
        train_step,
        lambda: Calculator(model),
    )
    measure.run(subject, arguments)


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
