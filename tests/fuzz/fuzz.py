"""Damages inputs by seed and number, and counts what is neither a result nor one line.

    python tests/fuzz/fuzz.py                          1,000 cases, spread over all formats
    python tests/fuzz/fuzz.py --cases 20000
    python tests/fuzz/fuzz.py --format npz --cases 50:250
    python tests/fuzz/fuzz.py --format npz --cases 17  case 17 alone

The same number of a format is the same case. A finding's files are kept, and its folder printed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

HERE = Path(__file__).resolve().parent
# Of the processor, and of the clock where the machine is busy: what takes longer hangs.
CPU_SECONDS, SECONDS = 10.0, 200.0
# A chain of a hundred carbons, whose geometry is a matter of 13 s, is no damage.
_LONGER = {"smiles": 30.0}
_LARGEST = 1 << 30  # bytes of memory after which a worker is replaced
# Cases of a format for each of the others; those that take tenths of a second have fewer.
WEIGHTS = {
    **dict.fromkeys("xyz extxyz sdf npz split safetensors ase restart csv yaml line".split(), 8),
    **dict.fromkeys("mol2 pdb gaussian cif smiles tar suite journal card predictions".split(), 3),
    "run": 1,
}


class Finding(NamedTuple):
    """A case that gave neither a result nor one line."""

    case: str
    problem: str
    details: dict[str, Any]


class Worker:
    """A process that runs cases, started when it is needed and again when one has ended it."""

    def __init__(self, seeds: Path) -> None:
        self.seeds = seeds
        self._process: subprocess.Popen[str] | None = None

    def run(self, case: str) -> dict[str, Any]:
        """Return the verdict on a case such as `xyz 17`."""
        process = self._process or self._start()
        _write(process.stdin, case)
        cpu_seconds = _LONGER.get(case.partition(" ")[0], CPU_SECONDS)
        answer = self._answer(process, SECONDS, cpu_seconds)
        if answer is not None:
            if answer["memory"] > _LARGEST:
                self.stop()
            return answer
        code = process.poll()
        self.stop()
        problem = "hang" if code is None else f"the process ended with {code}"
        return {"case": case, "problem": problem}

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [sys.executable, HERE / "worker.py", self.seeds],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
        )
        if self._answer(self._process, 600.0) is None:
            raise RuntimeError("the worker does not start")
        return self._process

    @staticmethod
    def _answer(
        process: subprocess.Popen[str], seconds: float, cpu_seconds: float = math.inf
    ) -> dict[str, Any] | None:
        """Return the next answer, None where there comes none in the given time."""
        clock_end, cpu_end = time.monotonic() + seconds, _cpu_seconds(process) + cpu_seconds
        while time.monotonic() < clock_end and _cpu_seconds(process) < cpu_end:
            if select.select([process.stdout], [], [], 1.0)[0] and process.stdout:
                line = process.stdout.readline()
                return json.loads(line) if line else None
        return None


def _cpu_seconds(process: subprocess.Popen[str]) -> float:
    """Return what a process has used of the processor so far (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cases(total: int) -> Iterator[str]:
    """Yield so many cases, spread over the formats by weight; more cases begin with the fewer."""
    numbers: Counter[str] = Counter()
    order = [
        name for turn in range(max(WEIGHTS.values())) for name, n in WEIGHTS.items() if turn < n
    ]
    for place in range(total):
        name = order[place % len(order)]
        yield f"{name} {numbers[name]}"
        numbers[name] += 1


def findings(wanted: Iterable[str], seeds: Path) -> tuple[list[Finding], Counter[str]]:
    """Run cases; return what was found, and how many of each format were run."""
    worker, found, counts = Worker(seeds), [], Counter[str]()
    try:
        for case in wanted:
            verdict = worker.run(case)
            counts[case.split()[0]] += 1
            if verdict["problem"] is not None:
                found.append(Finding(case, verdict["problem"], verdict))
                _show(found[-1])
    finally:
        worker.stop()
    return found, counts


def seeds_in(folder: Path) -> Path:
    """Make the sound files in a process of its own, and return the folder."""
    folder.mkdir(exist_ok=True)
    code = "import sys, pathlib, seeds; seeds.make_seeds(pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code, folder], check=True, env=environment,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    return folder


def _chosen(arguments: argparse.Namespace) -> list[str]:
    if arguments.format is None:
        return list(cases(int(arguments.cases)))
    first, colon, last = arguments.cases.partition(":")
    numbers = range(int(first), int(last) if colon else int(first) + 1)
    return [f"{name} {number}" for name in arguments.format.split(",") for number in numbers]


def _show(finding: Finding) -> None:
    case, problem, details = finding
    said = " ".join(str(details.get("said", "")).split())[-200:]
    head = f"{case}: {problem}; {details.get('where', '')}"
    lines = [head, details.get("command"), repr(said), details.get("folder")]
    _write(sys.stdout, "\n    ".join(map(str, lines)))


def _report(found: Sequence[Finding], counts: Counter[str], seconds: float) -> None:
    """Say how many cases of each format gave which finding."""
    kinds = Counter(f"{one.problem} {one.details.get('where', '')}" for one in found)
    for kind, count in kinds.most_common():
        _write(sys.stdout, f"{count:5d} {kind}")
    per_format = Counter(one.case.split()[0] for one in found)
    rows = ", ".join(f"{name} {per_format[name]}/{count}" for name, count in counts.items())
    total = sum(counts.values())
    _write(sys.stdout, f"{rows}\n{total} cases, {len(found)} findings, {seconds:.0f} s")


def _write(stream: IO[str] | None, line: str) -> None:
    if stream is not None:
        stream.write(f"{line}\n")
        stream.flush()


def main() -> int:
    """Run what the command line asks for; 1 where something was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--format", help="names apart by commas")
    parser.add_argument("--cases", default="1000")
    parser.add_argument("--seeds", type=Path, help="a folder of sound files made before")
    arguments = parser.parse_args()
    seeds = arguments.seeds or seeds_in(Path(tempfile.mkdtemp(prefix="fuzz-seeds-")))
    begun = time.monotonic()
    found, counts = findings(_chosen(arguments), seeds)
    _report(found, counts, time.monotonic() - begun)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
