"""Runs cases one after the other in this process, and says of each what came of it.

Lines on stdin are `FORMAT NUMBER`; each is answered by a line of JSON on stdout. A case that ends
the process, or never ends, is seen by `fuzz`, which starts another one.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import re
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOM = 2 << 30  # bytes beside what the process has when it begins
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_NUMERIC = {
    "energy",
    "forces",
    "dipole",
    "charges",
    "max_force",
    "mae",
    "rmse",
    "fmax",
    "positions",
}
_CODES = {0, 1, 2, 3}


def main(seeds: Path) -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what C libraries print
    os.dup2(1, 2)
    _warm_up(seeds)
    _limit_memory()
    answers.write(json.dumps({"ready": True}) + "\n")
    answers.flush()
    for line in sys.stdin:
        kind, number = line.split()
        verdict = _verdict(kind, int(number), seeds)
        memory = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        verdict |= {"case": line.strip(), "memory": memory}
        answers.write(json.dumps(verdict) + "\n")
        answers.flush()


def _warm_up(seeds: Path) -> None:
    """Import what commands import when they run, and keep the sound model."""
    from molequi.cli.main import run
    from molequi.models import zoo
    from molequi.training import fit

    sound, load = (seeds / "tiny.safetensors").read_bytes(), functools.lru_cache(zoo.load_model)

    def load_model(path: Path, **options: Any) -> Any:
        is_sound = Path(path).read_bytes() == sound
        return load(seeds / "tiny.safetensors", **options) if is_sound else plain(path, **options)

    plain = zoo.load_model
    zoo.load_model = load_model
    fit.draw_run = lambda *_: None  # plots read nothing
    fit.load_model = load_model
    with _captured():
        run(["predict", str(seeds / "w.xyz"), "--model", str(seeds / "tiny.safetensors")])


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _verdict(kind: str, number: int, seeds: Path) -> dict[str, Any]:
    from doors import set_up

    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{kind}-{number}-"))
    here = Path.cwd()
    os.chdir(folder)
    try:
        command = set_up(kind, number, seeds, folder)
        code, out, err, trace = _run(command)
        problem = _problem(code, out, err)
    except Exception as error:  # noqa: BLE001  # a fault of the fuzzer itself
        code, out, err, problem, command = -1, "", traceback.format_exc(), f"fuzzer: {error!r}", ()
        trace = err
    finally:
        os.chdir(here)
    if problem is None:
        shutil.rmtree(folder)
        return {"code": code, "problem": None}
    words = command.__qualname__ if callable(command) else " ".join(command)[:200]
    return {"code": code, "problem": problem, "folder": str(folder), "command": words,
            "said": (err or out)[-400:], "where": trace}  # fmt: skip


def _run(command: Any) -> tuple[int, str, str, str]:
    """Run a command as the command line does; return code, stdout, stderr and the traceback."""
    from molequi.cli import exits, main
    from molequi.cli.output import say

    caught: list[str] = []
    explain = exits.explain

    def noting(error: BaseException, **options: Any) -> Any:
        explanation = explain(error, **options)
        if explanation.code not in _CODES:
            caught.append(_place_of(error))
        return explanation

    exits._internal_line = lambda error, debug: f"internal error: {type(error).__name__}: {error}"
    main.explain = noting
    with _captured() as (out, err):
        if callable(command):
            try:
                command()
                code = 0
            except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001
                code, text = noting(error, debug=False)
                say(text)
        else:
            try:
                code = main.run(list(command))
            except SystemExit as error:
                code = -2 if not isinstance(error.code, int) else error.code
    main.explain = explain
    return int(code), out.getvalue(), err.getvalue(), caught[0] if caught else ""


def _place_of(error: BaseException) -> str:
    """Name the innermost frame of ours, to tell findings apart."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/molequi/" in frame.filename or "/cli/" in frame.filename]
    frame = (own or frames)[-1]
    return f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno} {type(error).__name__}"


def _problem(code: int, out: str, err: str) -> str | None:
    """Say what is wrong with a result, None where nothing is."""
    if code not in _CODES:
        return f"exit {code}"
    if "Traceback" in out + err:
        return "traceback"
    if "Warning:" in err:
        return "python warning"
    if code == 2 and not (err.strip().splitlines() or [""])[-1].startswith("error: "):
        return "no line"
    if _CONTROL.search(out + err):
        return "control character"
    if out.startswith(("[", "{")) and (name := _not_a_number(json.loads(out))):
        return f"{name} is no number"
    return None


def _not_a_number(node: Any, name: str = "") -> str | None:
    """Name a result in a JSON document that is null, as numbers that are not finite are."""
    if isinstance(node, dict):
        if "error" in node:
            return None
        # A crystal has no dipole, and says so as a whole.
        pairs = [(key, value) for key, value in node.items() if (key, value) != ("dipole", None)]
    elif isinstance(node, list):
        pairs = [(name, value) for value in node]
    else:
        return name if node is None and name in _NUMERIC else None
    return next((found for key, value in pairs if (found := _not_a_number(value, key))), None)


@contextlib.contextmanager
def _captured() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")
        yield out, err


if __name__ == "__main__":
    main(Path(sys.argv[1]))
