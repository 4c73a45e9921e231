"""What does a potential learned from a trajectory alone get right?

Forces and energies of a molecule on a trajectory that it has not seen.

    python tests/benchmarks/trajectory.py --output runs/trajectory [--models spherical,invariant]
    [--train 0.5] [--epochs 12] [--json]

The teacher, the bundled model `organic`, moves ethanol at 300 K: `--train` ps to learn from,
another 1 ps to test on. Each model is a folder of `molequi train trajectory`, with the changes
below; what is there is not run again, and an interrupted run goes on. At the defaults about seven
minutes of a core.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable
from pathlib import Path

from molequi.hamiltonian.config import DynamicsConfig, load_dynamics_config
from molequi.hamiltonian.data import DynamicsData, make_data
from molequi.hamiltonian.train import fit_dynamics
from molequi.training.run_directory import RunDirectory

# What differs from configs/trajectory.yaml: distances alone; LieConv over T(3), not invariant under
# rotations; the E(3) backbone.
MODELS = {
    "invariant": ["model.width=32", "model.n_layers=2", "training.learning_rate=5e-3"],
    "lieconv": [
        "model.width=64",
        "model.n_layers=2",
        "model.backbone.group=T(3)",
        "training.learning_rate=3e-3",
    ],
    "spherical": ["model.width=16", "model.n_layers=2", "training.learning_rate=1e-2"],
}


def config_of(model: str, arguments: argparse.Namespace) -> DynamicsConfig:
    """Return the config of one run."""
    shared = [
        f"data.train={arguments.train}",
        f"training.epochs={arguments.epochs}",
        "training.batch_size=8",
    ]
    return load_dynamics_config("trajectory", [f"model.kind={model}", *MODELS[model], *shared])


def run(
    model: str, arguments: argparse.Namespace, data: Callable[[], DynamicsData]
) -> dict[str, object]:
    """Train, or read what was trained.

    Returns the result of one run. cpu_seconds: of training and test in the last call, without the
    data.
    """
    folder = arguments.output / f"{model}-{arguments.train:g}-{arguments.epochs}"
    seconds = folder / "seconds.txt"
    if not (folder / "result.json").is_file():
        made, start = data(), time.process_time()
        config, resume = config_of(model, arguments), (folder / "config.yaml").is_file()
        RunDirectory(folder).claim(config, resume=resume, overwrite=False)
        fit_dynamics(config, made, folder, resume=resume)
        seconds.write_text(f"{time.process_time() - start:.1f}\n")
    result = {
        name: row["value"] for name, row in json.loads((folder / "result.json").read_text()).items()
    }
    return {
        "model": model,
        "cpu_seconds": float(seconds.read_text()) if seconds.is_file() else None,
        **result,
    }


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("runs/trajectory"))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--train", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    models, rows = arguments.models.split(","), []
    # Made once, for all models, and only where one is still to be trained.
    data = functools.lru_cache(functools.partial(make_data, config_of(models[0], arguments)))
    for model in models:
        rows.append(run(model, arguments, data))
        if not arguments.json:
            print(
                "  ".join(
                    f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
                    for name, value in rows[-1].items()
                ),
                flush=True,
            )
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
