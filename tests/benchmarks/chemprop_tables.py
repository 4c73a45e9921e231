"""Models of properties, ours beside chemprop 2, on one split and for one time of the processor.

    python tests/benchmarks/chemprop_tables.py --chemprop PYTHON --smiles FILE.csv.gz
    [--qm9 FOLDER] [--minutes 2] [--tasks gap,logP,TPSA,drug_like] [--output FOLDER] [--json]

PYTHON: of an environment with chemprop 2. FILE: `moses/dataset/data/test.csv.gz` of the package
molsets 0.3.1. FOLDER of QM9: the data folder of qm9pack 1.0.3, by default of the installed one.
Both programs train with one thread, side by side, each by its command line's defaults, and keep the
epoch that is best on the validation part. `chemprop_sets/tasks.py` says what the tasks are; times
are of the processor, so that what else runs shortens neither. Finished parts in FOLDER are not run
again.

Intervals are those of 95 % over 2,000 resamplings of the test molecules; `difference` is ours less
chemprop's on the same resamplings, in the measure of the row: mean absolute error, or for the label
1 - ROC-AUC, so that less is better everywhere.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from chemprop_sets.tasks import TASKS, Sizes, write_set

HERE = Path(__file__).resolve().parent
SIZES = {"qm9": Sizes(2500, 300, 1000), "drugs": Sizes(2000, 300, 700)}
PROGRAMS = ("ours", "chemprop")
N_RESAMPLINGS = 2000

Measure = Callable[[np.ndarray, np.ndarray], float]


class Row(NamedTuple):
    """The errors of a task: (value, least, most) of each program and of their difference."""

    task: str
    measure: str
    unit: str
    errors: dict[str, tuple[float, float, float]]
    epochs: dict[str, int]
    seconds: dict[str, float]


def mean_absolute(labels: np.ndarray, found: np.ndarray) -> float:
    """Return the mean absolute error."""
    return float(np.abs(labels - found).mean())


def misordered(labels: np.ndarray, found: np.ndarray) -> float:
    """Return 1 - ROC-AUC: the part of the pairs of yes and no that are in the wrong order."""
    yes, no = found[labels > 0.5], np.sort(found[labels < 0.5])
    below = np.searchsorted(no, yes, "left") + np.searchsorted(no, yes, "right")
    return float(1 - below.sum() / (2 * len(yes) * len(no)))


def command(program: str, task: str, arguments: argparse.Namespace) -> list[str]:
    """Return the command line that trains a program on a task."""
    row, folder = TASKS[task], arguments.output.resolve()
    kind = "classification" if row.binary else "regression"
    place, minutes, seed = str(folder / f"{program}_{task}"), str(arguments.minutes), "0"
    if program == "chemprop":
        script, table = str(HERE / "chemprop_sets" / "theirs.py"), str(folder / f"{row.source}.csv")
        return [arguments.chemprop, script, table, task, kind, minutes, seed, place]
    files = [str(folder / f"{row.source}.{suffix}") for suffix in ("extxyz", "json")]
    script = str(HERE / "chemprop_sets" / "ours.py")
    return [sys.executable, script, *files, task, row.unit, kind, minutes, seed, place]


def train(task: str, arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Train both programs on a task side by side, or read what they gave before."""
    running = {}
    for program in PROGRAMS:
        if not (arguments.output / f"{program}_{task}.json").exists():
            log = (arguments.output / f"{program}_{task}.log").open("w")
            running[program] = subprocess.Popen(
                command(program, task, arguments),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
    for program, process in running.items():
        printed, _ = process.communicate()
        if process.returncode:
            sys.exit(f"{program} failed on {task}; see {arguments.output}/{program}_{task}.log")
        (arguments.output / f"{program}_{task}.json").write_text(printed.splitlines()[-1])
    return {
        program: json.loads((arguments.output / f"{program}_{task}.json").read_text())
        for program in PROGRAMS
    }


def compare(task: str, labels: np.ndarray, found: dict[str, dict[str, Any]]) -> Row:
    """Return the errors with their intervals."""
    measure: Measure = misordered if TASKS[task].binary else mean_absolute
    predictions = {name: np.array(one["predictions"]) for name, one in found.items()}
    generator = np.random.default_rng(0)
    drawn = [generator.integers(len(labels), size=len(labels)) for _ in range(N_RESAMPLINGS)]
    samples = {
        name: np.array([measure(labels[rows], one[rows]) for rows in drawn])
        for name, one in predictions.items()
    }
    values = {name: measure(labels, one) for name, one in predictions.items()}
    samples["difference"] = samples["ours"] - samples["chemprop"]
    values["difference"] = values["ours"] - values["chemprop"]
    return Row(
        task,
        "1 - ROC-AUC" if TASKS[task].binary else "MAE",
        TASKS[task].unit,
        {
            name: (values[name], *map(float, np.percentile(samples[name], (2.5, 97.5))))
            for name in values
        },
        {name: one["epochs"] for name, one in found.items()},
        {name: one["seconds"] for name, one in found.items()},
    )


def labels_of(task: str, folder: Path) -> np.ndarray:
    """Return the labels of the test part, in the order of the table."""
    with (folder / f"{TASKS[task].source}.csv").open(newline="") as handle:
        return np.array(
            [float(line[task]) for line in csv.DictReader(handle) if line["split"] == "test"]
        )


def markdown(rows: list[Row]) -> str:
    """Return the table of all tasks."""
    lines = ["| task | measure | molequi | chemprop 2 | difference |", "|---|---|---|---|---|"]
    for row in rows:
        cells = [
            f"{value:.3g} [{least:.3g}, {most:.3g}]" for value, least, most in row.errors.values()
        ]
        unit = "" if row.unit == "1" else f", {row.unit}"
        lines.append(f"| {row.task} | {row.measure}{unit} | {' | '.join(cells)} |")
    return "\n".join(lines)


def parsed() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chemprop", required=True, metavar="PYTHON")
    parser.add_argument("--smiles", type=Path, metavar="FILE")
    parser.add_argument("--qm9", type=Path, metavar="FOLDER")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--output", type=Path, default=Path("runs/chemprop_tables"))
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def sources(arguments: argparse.Namespace) -> dict[str, Path | None]:
    """Return where the molecules of each set come from."""
    package = importlib.util.find_spec("qm9pack")
    places = [] if package is None else list(package.submodule_search_locations or [])
    installed = Path(places[0]) / "data" if places else None
    return {"qm9": arguments.qm9 or installed, "drugs": arguments.smiles}


def main() -> None:
    """Write the tables, train, compare, print."""
    arguments = parsed()
    arguments.output.mkdir(parents=True, exist_ok=True)
    tasks = arguments.tasks.split(",")
    for name in dict.fromkeys(TASKS[task].source for task in tasks):
        source = sources(arguments)[name]
        if not (arguments.output / f"{name}.json").exists():
            if source is None:
                sys.exit(f"no molecules for {name}: give --qm9 FOLDER or --smiles FILE")
            seconds = write_set(name, source, SIZES[name], arguments.output)
            print(f"{name}: {seconds:.0f} s for geometries", file=sys.stderr)
    rows = [
        compare(task, labels_of(task, arguments.output), train(task, arguments)) for task in tasks
    ]
    print(
        json.dumps([row._asdict() for row in rows], indent=1) if arguments.json else markdown(rows)
    )


if __name__ == "__main__":
    main()
