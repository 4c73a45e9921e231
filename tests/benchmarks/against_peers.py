"""Ours against each peer whose interpreter is given, in one run, interleaved.

    python tests/benchmarks/against_peers.py --mace PYTHON --nequip PYTHON --torchani PYTHON
    [--threads 2] [--rounds 3] [--json]

A round is a process of ours, one of the peer in each of its modes, then the next; nothing is shared
but the machine. Times are medians over rounds of the medians in a process; a peer counts in its
fastest mode for each system and task. The neighbour pairs are known in `energy_forces` and
`train_step`; the ASE step has all overhead included. `peers/measure.py` says what the tasks are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent


class Match(NamedTuple):
    """What is compared with what: a model of ours, and a peer's script with its options.

    modes: of the peer, those that can win.
    """

    peer: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    modes: tuple[str, ...]
    tasks: str
    elements: str = "1,6,7,8,9"


MATCHES = (
    Match(
        "mace",
        ("--model", "bench_mace"),
        (),
        ("eager", "script", "compile"),
        "energy_forces,train_step",
    ),
    Match(
        "mace", ("--model", "organic"), ("--hidden", "128x0e"), ("eager", "script", "compile"), "md"
    ),
    Match(
        "nequip",
        ("--model", "bench_nequip"),
        (),
        ("compile", "aotinductor", "eager"),
        "energy_forces,train_step",
    ),
    Match(
        "torchani",
        ("--model", "organic"),
        (),
        ("eager", "script"),
        "energy_forces",
        elements="1,6,7,8",
    ),
)


class Times(NamedTuple):
    """The lines of one side's rounds.

    ms: (mode, system, task) -> a time per round. parameters: group -> count.
    """

    name: str
    ms: dict[tuple[str, str, str], list[float]]
    parameters: dict[str, int]


def measured(
    python: str, script: str, options: Sequence[str], threads: int, timeout: float
) -> list[dict]:
    """Run a timing script in a process of its own and return its lines.

    A mode that fails gives those up to there.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    command = [python, str(HERE / "peers" / script), "--threads", str(threads), *options]
    try:
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=timeout
        )
    except subprocess.TimeoutExpired as error:
        text, trouble = (error.stdout or b"").decode(), f"took longer than {timeout:g} s"
    else:
        text, trouble = (
            result.stdout,
            f"exit code {result.returncode}: {result.stderr.strip()[-500:]}"
            if result.returncode
            else "",
        )
    if trouble:
        print(f"{script} {' '.join(options)}: {trouble}", file=sys.stderr)
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def collect(lines: Sequence[Mapping]) -> Times:
    """Sort lines by mode, system and task."""
    times: dict[tuple[str, str, str], list[float]] = {}
    for line in lines:
        if "ms" in line:
            times.setdefault((line["mode"], line["system"], line["task"]), []).append(line["ms"])
    parameters = next((line["parameters"] for line in lines if "parameters" in line), {})
    return Times(lines[0]["subject"] if lines else "nothing", times, parameters)


def tasks_of(match: Match, arguments: argparse.Namespace) -> list[str]:
    """Return the tasks of a match that were asked for."""
    return [task for task in match.tasks.split(",") if task in arguments.tasks.split(",")]


def compare(match: Match, python: str, arguments: argparse.Namespace) -> tuple[Times, Times]:
    """Run the rounds of one match: ours, the peer in each mode, ours, ...

    A mode that gives nothing in the first round is left out of the others.
    """
    ours, theirs, modes = (
        [],
        [],
        list(match.modes if arguments.modes is None else arguments.modes.split(",")),
    )
    limits = arguments.threads, arguments.timeout
    shared = [
        "--tasks",
        ",".join(tasks_of(match, arguments)),
        "--systems",
        arguments.systems,
        "--elements",
        match.elements,
    ]
    if arguments.repeats:
        shared += ["--repeats", str(arguments.repeats)]
    for number in range(arguments.rounds):
        for mode in list(modes):
            if mode == modes[0]:
                ours += measured(
                    sys.executable,
                    "time_ours.py",
                    [*shared, *match.ours, "--mode", arguments.kernels],
                    *limits,
                )
            found = measured(
                python, f"time_{match.peer}.py", [*shared, *match.theirs, "--mode", mode], *limits
            )
            theirs += found
            if not any("ms" in line for line in found) and len(modes) > 1:
                modes.remove(mode)
        print(
            f"{match.peer}, {match.tasks}: round {number + 1} of {arguments.rounds} done",
            file=sys.stderr,
        )
    return collect(ours), collect(theirs)


def rows_of(ours: Times, theirs: Times) -> list[dict[str, object]]:
    """Return a row per system and task, the peer in its fastest mode."""
    rows = []
    for (_, system, task), mine in ours.ms.items():
        medians = {
            mode: float(np.median(ms))
            for (mode, s, t), ms in theirs.ms.items()
            if (s, t) == (system, task)
        }
        if not medians:
            continue
        mode = min(medians, key=medians.__getitem__)
        ms = float(np.median(mine))
        rows.append(
            {
                "system": system,
                "task": task,
                "ours": ours.name,
                "ours_ms": ms,
                "peer": theirs.name,
                "peer_mode": mode,
                "peer_ms": medians[mode],
                "ratio": medians[mode] / ms,
                "peer_modes_ms": medians,
                "rounds": len(mine),
            }
        )
    return rows


def sizes_of(ours: Times, theirs: Times) -> dict[str, object]:
    """Return how many weights each side has, by group, and the relative difference."""
    mine, other = sum(ours.parameters.values()), sum(theirs.parameters.values())
    return {
        "ours": ours.name,
        "peer": theirs.name,
        "ours_parameters": mine,
        "peer_parameters": other,
        "difference": mine / other - 1.0,
        "ours_groups": ours.parameters,
        "peer_groups": theirs.parameters,
    }


def show(rows: Sequence[Mapping], sizes: Sequence[Mapping]) -> None:
    """Print both tables."""
    print(
        f"{'system':12s} {'task':14s} {'ours':22s} {'ms':>9s}   {'peer':24s} {'mode':8s} "
        f"{'ms':>9s} {'ratio':>7s}"
    )
    for row in rows:
        print(
            f"{row['system']:12s} {row['task']:14s} {row['ours']:22s} {row['ours_ms']:9.2f}   "
            f"{row['peer']:24s} {row['peer_mode']:8s}"
            f" {row['peer_ms']:9.2f} {row['ratio']:7.1f}"
        )
        if row["task"] == "md":
            print(f"{'':27s} {1e3 / row['ours_ms']:.0f} steps/s against {1e3 / row['peer_ms']:.0f}")
    for size in sizes:
        print(
            f"\nweights: {size['ours']} {size['ours_parameters']:,}, {size['peer']} "
            f"{size['peer_parameters']:,} ({size['difference']:+.1%})"
        )
        for group in dict.fromkeys([*size["peer_groups"], *size["ours_groups"]]):
            print(
                f"  {group:16s} {size['ours_groups'].get(group, 0):10,d} "
                f"{size['peer_groups'].get(group, 0):10,d}"
            )


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for peer in dict.fromkeys(match.peer for match in MATCHES):
        parser.add_argument(f"--{peer}", metavar="PYTHON", help=f"an interpreter that has {peer}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--systems", default="aspirin,water192,molecules64")
    parser.add_argument("--tasks", default="energy_forces,train_step,md")
    parser.add_argument(
        "--kernels", default="specialized", help="ours: specialized, generic or reference"
    )
    parser.add_argument(
        "--modes", help="of the peers, with commas between, instead of all that they have"
    )
    parser.add_argument("--repeats", type=int, help="calls of a task in a process")
    parser.add_argument("--timeout", type=float, default=1800.0, help="s, of a process")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows, sizes = [], []
    for match in MATCHES:
        python = getattr(arguments, match.peer)
        if python is not None and tasks_of(match, arguments):
            sides = compare(match, python, arguments)
            rows += rows_of(*sides)
            if sides[1].parameters and "md" not in match.tasks:
                sizes.append(sizes_of(*sides))
    if arguments.json:
        print(json.dumps(rows))
        return
    show(rows, sizes)


if __name__ == "__main__":
    main()
