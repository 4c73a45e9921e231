"""How many labels does doubt save? Two learning curves of one molecule, picked and at random.

    python tests/benchmarks/active.py [--smiles OCCO] [--teacher organic] [--seeds 0,1]
    [--rounds 3] [--per-round 20] [--output runs/active] [--json]

A bundled model is the teacher, so that labels cost nothing. Both ways begin with the same `--first`
frames of dynamics at 300 K, and go through the same loop of `molequi.active`: dynamics at 300 K
with the model of the moment, labels, training from that model. One picks the frames that the model
doubts, the other draws as many at random from its dynamics. After each round the forces are
compared with the teacher's on frames of dynamics of the teacher at a higher temperature, which
neither has seen. The factor is by how much fewer labels doubt reaches the error that random frames
reach at the end (labels between two rounds by a straight line through the logarithms). The runs are
kept in `--output`, and go on where they were interrupted.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.io import read, write

from molequi.active.beginning import Start
from molequi.active.loop import learn_actively
from molequi.active.picking import Doubted, Picker, Pool
from molequi.active.retraining import Recipe
from molequi.active.settings import ActiveSettings
from molequi.active.teachers import CalculatorTeacher
from molequi.evaluation import evaluate
from molequi.simulation.calculator import Calculator
from molequi.simulation.md import run_many
from molequi.simulation.md_settings import MDSettings
from molequi.simulation.relaxation import relax_atoms
from molequi.structures.inputs import one_structure


class AtRandom(NamedTuple):
    """Draws frames whatever their doubt."""

    seed: int

    def __call__(self, pool: Pool, labelled: Sequence[Atoms], n: int) -> list[int]:
        """Return the numbers of drawn frames that have moved."""
        moved = [k for k, frame in enumerate(pool.frames) if frame.info["molequi_step"]]
        random = np.random.default_rng([self.seed, len(labelled)])
        return random.choice(moved, size=min(n, len(moved)), replace=False).tolist()


def dynamics(
    atoms: Atoms, teacher: str, path: Path, kelvin: float, seed: int, steps: int, copies: int
) -> list[Atoms]:
    """Return frames of dynamics of the teacher, from 200 fs on, with its energies and forces."""
    if not path.is_file():
        settings = MDSettings("nvt", kelvin, steps=steps, interval=40, seed=seed, max_stretch=None)
        moving = path.with_name(f"moving-{path.name}")
        run_many([atoms] * copies, Calculator(teacher), settings, output=moving, overwrite=True)
        write(path, [one for one in read(moving, ":") if one.info["molequi_step"] >= 400])
    return read(path, ":")


def curve(
    atoms: Atoms,
    start: Path,
    test: Path,
    picker: Picker,
    output: Path,
    arguments: argparse.Namespace,
    seed: int,
) -> list[dict[str, float]]:
    """Return the number of labels and the errors on the test frames after each round."""
    teacher = CalculatorTeacher(arguments.teacher, Calculator(arguments.teacher))
    steps = MDSettings("nvt", 300.0, steps=arguments.steps, interval=20, seed=1000 * (seed + 1))
    settings = ActiveSettings(
        rounds=arguments.rounds, labels=arguments.rounds * arguments.per_round,
        per_round=arguments.per_round, doubt=1e-3, copies=arguments.copies, dynamics=steps,
    )  # fmt: skip
    recipe = Recipe(
        overrides=tuple(arguments.training), seed=100 * seed, steps=arguments.training_steps
    )
    learned = learn_actively(
        atoms, teacher, output, settings, start=Start(None, start), recipe=recipe, picker=picker,
        progress=logging.getLogger("active").info,
    )  # fmt: skip
    found = []
    for number in range(len(learned.rows) + 1):
        place = output / f"round-{number:02}"
        kept = place / "test.json"
        if not kept.is_file():
            errors = evaluate(str(place / "training"), str(test))["forces"]
            kept.write_text(json.dumps(errors))
        errors = json.loads(kept.read_text())
        n = arguments.first + sum(int(row["labelled"]) for row in learned.rows[:number])
        found.append({"labels": n, "mae": errors["mae"], "rmse": errors["rmse"]})
    return found


def labels_to_reach(curve: Sequence[dict[str, float]], error: float, key: str) -> float | None:
    """Return how many labels a curve needs for an error; None where it does not reach it."""
    for before, after in zip(curve, curve[1:], strict=False):
        if after[key] <= error:
            a, b = np.log(before[key]), np.log(after[key])
            part = min(max((a - np.log(error)) / (a - b), 0.0), 1.0) if a > b else 1.0
            low, high = np.log(before["labels"]), np.log(after["labels"])
            return float(np.exp(low + part * (high - low)))
    return None


def measure(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return both curves of a seed, and the factors between them."""
    folder = Path(arguments.output) / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    made = one_structure(None, smiles=arguments.smiles, seed=0).require_atoms()
    made.calc = Calculator(arguments.teacher)
    atoms = relax_atoms(made, fmax=0.02).atoms.copy()
    test = folder.parent / "test.xyz"
    dynamics(atoms, arguments.teacher, test, arguments.kelvin, 77, 1600, 4)
    start = folder / "start.xyz"
    frames = dynamics(atoms, arguments.teacher, folder / "first.xyz", 300.0, seed, 1200, 1)
    write(start, frames[:: max(1, len(frames) // arguments.first)][: arguments.first])
    pickers: dict[str, Picker] = {"doubt": Doubted(1e-3), "random": AtRandom(seed)}
    pickers = {name: pickers[name] for name in arguments.ways.split(",")}
    curves = {
        name: curve(atoms, start, test, picker, folder / name, arguments, seed)
        for name, picker in pickers.items()
    }
    factors = {}
    for key in ("mae", "rmse") if len(curves) == 2 else ():
        last = curves["random"][-1]
        needed = labels_to_reach(curves["doubt"], last[key], key)
        factors[key] = None if needed is None else last["labels"] / needed
    return {"seed": seed, **curves, "factor": factors}


def show(found: dict[str, Any], kelvin: float) -> None:
    """Print the curves of a seed."""
    print(f"seed {found['seed']}: force errors at {kelvin:g} K, meV/Å (MAE, RMSE)")
    ways = [name for name in ("doubt", "random") if name in found]
    for points in zip(*(found[name] for name in ways), strict=True):
        cells = [
            f"{name} {1000 * one['mae']:6.1f} {1000 * one['rmse']:6.1f}"
            for name, one in zip(ways, points, strict=True)
        ]
        print(f"{points[0]['labels']:5d} labels  {'   '.join(cells)}")
    print("fewer labels by", found["factor"])


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smiles", default="OCCO")
    parser.add_argument("--teacher", default="organic")
    parser.add_argument("--kelvin", type=float, default=600.0)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--ways", default="doubt,random", help="both, or one of them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--per-round", type=int, default=20)
    parser.add_argument("--first", type=int, default=20)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--training-steps", type=int, default=300)
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--output", default="runs/active")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "training", nargs="*",
        default=["ensemble=3", "model.preset=light", "training.warmup_steps=50"],
    )  # fmt: skip
    arguments = parser.parse_args()
    for seed in map(int, arguments.seeds.split(",")):
        found = measure(arguments, seed)
        if arguments.json:
            print(json.dumps(found))
        else:
            show(found, arguments.kelvin)


if __name__ == "__main__":
    main()
