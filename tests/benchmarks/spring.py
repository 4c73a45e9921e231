"""Which prior helps to learn springs? Errors of all models by number of trajectories.

With three seeds.

    python tests/benchmarks/spring.py --output runs/springs [--models fc,hogn] [--sizes 10,30,100]
    [--seeds 0,1,2] [--small] [--json]

Every run is a folder of `molequi train spring`; what is there is not run again, and an interrupted
run goes on. Without --small: published sizes and epochs (Finzi et al., ICML 2020), hours per model
at 3,000 trajectories. With it: narrow networks (`SMALL`), a tenth of the epochs but at least 100
steps of Adam, 200 segments to validate and to test, 20 rollouts. Draws data.png (error against
trajectories) and rollout.png (largest size, first seed).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np

from molequi.experiments import fit
from molequi.hamiltonian.config import load_dynamics_config
from molequi.plots import errors_against_data, rollout_errors

# The settings of every model, by the name that tables and folders call it.
MODELS = {
    **{name: (f"model.kind={name}",) for name in ("fc", "h-fc", "ogn", "hogn")},
    "lieconv-t2": ("model.kind=lieconv", "model.group=T(2)"),
    "hlieconv-trivial": ("model.kind=hlieconv", "model.group=trivial"),
    "hlieconv-t2": ("model.kind=hlieconv", "model.group=T(2)"),
    "hlieconv-so2": ("model.kind=hlieconv", "model.group=SO(2)"),
    "hlieconv-so2-centred": ("model.kind=hlieconv", "model.group=SO(2)", "model.centred=true"),
    "hlieconv-se2": ("model.kind=hlieconv", "model.group=SE(2)"),
    "hlieconv-se2-framed": ("model.kind=hlieconv", "model.group=SE(2)", "model.lifts=frames"),
    "invariant": ("model.kind=invariant",),
}
# Width, layers and learning rate of --small: what a shared core trains in minutes.
SMALL = {
    "fc": (128, 3, 3e-3),
    "h-fc": (128, 3, 3e-3),
    "ogn": (48, 1, 5e-3),
    "hogn": (48, 1, 5e-3),
    "lieconv-t2": (96, 2, 3e-3),
    "invariant": (24, 1, 5e-3),
}
SMALL |= {name: (96, 2, 3e-3) for name in MODELS if name.startswith("hlieconv")}


def settings(model: str, size: int, seed: int, *, small: bool) -> list[str]:
    """Return what differs from configs/spring.yaml."""
    chosen = [
        *MODELS[model],
        f"data.train={size}",
        f"data.seed={seed}",
        f"training.seed={seed}",
    ]
    if small:
        width, n_layers, rate = SMALL[model]
        n_batches = math.ceil(size / 100)
        epochs = max(round(10 * math.sqrt(1000 / size)), math.ceil(100 / n_batches))
        chosen += [
            f"model.width={width}",
            f"model.n_layers={n_layers}",
            f"training.learning_rate={rate}",
            f"training.epochs={epochs}",
        ]
        chosen += ["training.batch_size=100", "data.valid=200", "data.test=200", "data.rollouts=20"]
    return chosen


def run(model: str, size: int, seed: int, output: Path, *, small: bool) -> dict[str, object]:
    """Train, or read what was trained; returns the result of one run."""
    folder = output / f"{model}-{size}-{seed}"
    if not (folder / "result.json").is_file():
        start = time.process_time()
        fit(
            load_dynamics_config("spring", settings(model, size, seed, small=small)),
            folder,
            resume=(folder / "config.yaml").is_file(),
        )
        (folder / "seconds.txt").write_text(f"{time.process_time() - start:.1f}\n")
    result = {
        name: row["value"] for name, row in json.loads((folder / "result.json").read_text()).items()
    }
    seconds = folder / "seconds.txt"
    return {
        "model": model,
        "size": size,
        "seed": seed,
        "cpu_seconds": float(seconds.read_text()) if seconds.is_file() else None,
        **result,
    }


def draw(rows: list[dict[str, object]], output: Path) -> None:
    """Draw both figures."""
    errors: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        if row["test_mse"] is not None:
            errors.setdefault(row["model"], {}).setdefault(row["size"], []).append(row["test_mse"])
    errors_against_data(errors, output / "data.png")
    largest, first = max(row["size"] for row in rows), min(row["seed"] for row in rows)
    files = {
        row["model"]: output / f"{row['model']}-{largest}-{first}" / "rollout.npz" for row in rows
    }
    curves = {model: dict(np.load(path)) for model, path in files.items() if path.is_file()}
    if curves:
        rollout_errors(next(iter(curves.values()))["times"], curves, output / "rollout.png")


def main() -> None:
    """Parse, run, print, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("runs/springs"))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--sizes", default="10,30,100,300,1000,3000")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for seed in [int(text) for text in arguments.seeds.split(",")]:
        for size in [int(text) for text in arguments.sizes.split(",")]:
            for model in arguments.models.split(","):
                rows.append(run(model, size, seed, arguments.output, small=arguments.small))
                if not arguments.json:
                    print(
                        "  ".join(
                            f"{value:.3g}" if isinstance(value, float) else str(value)
                            for value in rows[-1].values()
                        ),
                        flush=True,
                    )
    draw(rows, arguments.output)
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
