"""How many labels does doubt save? Learning curves of one molecule, picked and at random.

    python tests/benchmarks/active.py [--smiles OCCO] [--teacher organic] [--seeds 0,1]
    [--rounds 3] [--per-round 20] [--hottest 300] [--output runs/active] [--json]

A bundled model is the teacher, so that labels cost nothing. All ways begin with the same `--first`
frames of dynamics at 300 K, and go through the same loop of `molequi.active`: dynamics with the
model of the moment, labels, training from that model. `doubt` picks the frames that the model
doubts of dynamics that warm from 300 K to `--hottest`; `random` draws as many at random from such
dynamics; `plain` draws them from dynamics at 300 K. After each round the forces are compared with
the teacher's on frames of dynamics of the teacher at two temperatures, which no way has seen. The
factors are by how much fewer labels doubt reaches the error that each of the others reaches at the
end (labels between two rounds by a straight line through the logarithms). The runs are kept in
`--output`, and go on where they were interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
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

_COLD = 300.0  # K


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
    tests: dict[str, Path],
    way: str,
    output: Path,
    arguments: argparse.Namespace,
    seed: int,
) -> list[dict[str, Any]]:
    """Return the number of labels and the errors on the test frames after each round."""
    picker: Picker = Doubted(1e-3) if way == "doubt" else AtRandom(seed)
    teacher = CalculatorTeacher(arguments.teacher, Calculator(arguments.teacher))
    steps = MDSettings("nvt", _COLD, steps=arguments.steps, interval=20, seed=1000 * (seed + 1))
    if way != "plain" and arguments.hottest > _COLD:
        end = steps.steps * steps.timestep / 1000.0
        steps = dataclasses.replace(steps, ramp=((_COLD, 0.0), (arguments.hottest, end)))
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
    found: list[dict[str, Any]] = []
    for number in range(len(learned.rows) + 1):
        place = output / f"round-{number:02}"
        n = arguments.first + sum(int(row["labelled"]) for row in learned.rows[:number])
        found.append({"labels": n})
        for kelvin, test in tests.items():
            kept = place / f"test-{kelvin}.json"
            if not kept.is_file():
                errors = evaluate(str(place / "training"), str(test))["forces"]
                kept.write_text(json.dumps(errors))
            errors = json.loads(kept.read_text())
            found[-1] |= {f"{key}_{kelvin}": errors[key] for key in ("mae", "rmse")}
    return found


def labels_to_reach(curve: Sequence[dict[str, Any]], error: float, key: str) -> float | None:
    """Return how many labels a curve needs for an error; None where it does not reach it."""
    for before, after in zip(curve, curve[1:], strict=False):
        if after[key] <= error:
            a, b = np.log(before[key]), np.log(after[key])
            part = min(max((a - np.log(error)) / (a - b), 0.0), 1.0) if a > b else 1.0
            low, high = np.log(before["labels"]), np.log(after["labels"])
            return float(np.exp(low + part * (high - low)))
    return None


def measure(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return the curves of a seed, and the factors between doubt and the others."""
    folder = Path(arguments.output) / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    made = one_structure(None, smiles=arguments.smiles, seed=0).require_atoms()
    made.calc = Calculator(arguments.teacher)
    atoms = relax_atoms(made, fmax=0.02).atoms.copy()
    tests = {}
    for kelvin in (_COLD, arguments.kelvin):
        tests[f"{kelvin:g}"] = test = folder.parent / f"test-{kelvin:g}.xyz"
        dynamics(atoms, arguments.teacher, test, kelvin, 77, 1600, 4)
    start = folder / "start.xyz"
    frames = dynamics(atoms, arguments.teacher, folder / "first.xyz", _COLD, seed, 1200, 1)
    write(start, frames[:: max(1, len(frames) // arguments.first)][: arguments.first])
    curves = {
        way: curve(atoms, start, tests, way, folder / way, arguments, seed)
        for way in arguments.ways.split(",")
    }
    return {"seed": seed, **curves, "factor": factors(curves)}


def factors(curves: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, float | None]]:
    """Return for each other way and kind of error by how much fewer labels doubt reaches its end.

    None where it does not, or where doubt is not among the curves.
    """
    own = curves.get("doubt", [])
    found: dict[str, dict[str, float | None]] = {}
    for way, points in curves.items():
        if way != "doubt":
            last = points[-1]
            needed = {key: labels_to_reach(own, last[key], key) for key in last if key != "labels"}
            found[way] = {key: n and last["labels"] / n for key, n in needed.items()}
    return found


def show(found: dict[str, Any]) -> None:
    """Print the curves of a seed."""
    ways = [way for way in ("doubt", "random", "plain") if way in found]
    keys = [key for key in found[ways[0]][0] if key != "labels"]
    print(f"seed {found['seed']}: force errors, meV/Å: {', '.join(keys)}")
    for points in zip(*(found[way] for way in ways), strict=True):
        cells = [
            f"{way} {' '.join(f'{1000 * one[key]:5.0f}' for key in keys)}"
            for way, one in zip(ways, points, strict=True)
        ]
        print(f"{points[0]['labels']:5d} labels  {'   '.join(cells)}")
    for way, row in found["factor"].items():
        cells = [f"{key} {'-' if n is None else f'{n:.2f}'}" for key, n in row.items()]
        print(f"fewer labels than {way} by {', '.join(cells)}", flush=True)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smiles", default="OCCO")
    parser.add_argument("--teacher", default="organic")
    parser.add_argument("--kelvin", type=float, default=600.0)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--ways", default="doubt,random", help="some of them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--per-round", type=int, default=20)
    parser.add_argument("--first", type=int, default=20)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--training-steps", type=int, default=300)
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--hottest", type=float, default=_COLD, help="K, at the end of dynamics")
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
            show(found)


if __name__ == "__main__":
    main()
