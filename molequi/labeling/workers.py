"""Worker processes for labels: started afresh, one thread each, replaced where one dies."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any, NamedTuple

from molequi.errors import UserError
from molequi.labeling.levels import Level, Molecule

Answer = dict[str, Any]
MODULES = {"pyscf": "molequi.labeling.backend_pyscf", "tblite": "molequi.labeling.backend_xtb"}
# As `python -m`, which would look for modules in the current folder first.
_RUN = (
    "import sys; sys.path[:] = [folder for folder in sys.path if folder]; "
    "import runpy; runpy.run_module(sys.argv[1], run_name='__main__')"
)
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# glibc would hand every large array back to the system and fetch it again, molecule by molecule: a
# tenth of the time.
_KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**31),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(2**26),
}

_DIED = "the computing process died"


def has_died(answer: Answer) -> bool:
    """Tell whether an answer is none, for its process was killed: another try may give one.

    What stops a run, or a machine, kills its processes too, and they may be gone before it.
    """
    return str(answer.get("error", "")).startswith(_DIED)


class Worker:
    """One process. program: what computes, with its version.

    Raises UserError where the level cannot be computed at all.
    """

    def __init__(self, level: Level, properties: Sequence[str], elements: Sequence[int]) -> None:
        self._task = {
            "level": [level.method, level.basis],
            "properties": list(properties),
            "elements": list(elements),
        }
        self._module = MODULES[level.package]
        self.program = ""
        self._lock, self._stopped = threading.Lock(), False
        self._start()

    def ask(self, molecule: Molecule) -> Answer:
        """Return the answer for a molecule: values or an error.

        A process that dies is replaced, and its death is the error.
        """
        question = {
            "numbers": [int(number) for number in molecule.numbers],
            "positions": [[float(x) for x in row] for row in molecule.positions],
            "charge": int(molecule.charge),
            "multiplicity": int(molecule.multiplicity),
        }
        answer = self._exchange(question)
        if answer is None:
            answer = {"error": f"{_DIED}: {self._end()}"}
            if not self._stopped:
                self._start()
        return answer

    def stop(self) -> None:
        """Kill the process, in whatever it does; for another thread than that which asks."""
        with self._lock:
            self._stopped = True
            self._process.kill()

    def close(self) -> None:
        """Kill the process and free what it held."""
        self.stop()
        self._end()

    def _start(self) -> None:
        with self._lock:
            self._messages = tempfile.TemporaryFile()  # lives as long as the process
            self._process = subprocess.Popen(
                [sys.executable, "-c", _RUN, self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._messages,
                encoding="utf-8",
                env={**_KEEP_MEMORY, **os.environ, **_ONE_THREAD},
                start_new_session=True,  # Ctrl-C is for the process that keeps the journal
            )
            self._questions = _pipe(self._process.stdin)
            self._answers = _pipe(self._process.stdout)
            if self._stopped:
                self._process.kill()
        answer = self._exchange(self._task)
        if answer is None and not self._stopped:
            raise RuntimeError(f"{self._module} did not start: {self._end()}")
        if answer and "refused" in answer:
            self.close()
            raise UserError(answer["refused"])
        self.program = answer["program"] if answer else ""

    def _exchange(self, question: dict[str, Any]) -> Answer | None:
        """Write a line and read one; None where the process is gone."""
        try:
            self._questions.write(json.dumps(question) + "\n")
            self._questions.flush()
            line = self._answers.readline()
        except (OSError, ValueError):
            return None
        return json.loads(line) if line.endswith("\n") else None

    def _end(self) -> str:
        """Wait for the process to end, free what it held, and return how it ended."""
        if self._messages.closed:
            return "ended"
        with contextlib.suppress(OSError):
            self._questions.close()
        code = self._process.wait()
        self._answers.close()
        self._messages.seek(0)
        last = self._messages.read().decode("utf-8", errors="replace").strip().splitlines()[-1:]
        self._messages.close()
        return (
            f"signal {-code}" + (" (out of memory?)" if code == -9 else "")
            if code < 0
            else " ".join([f"exit code {code}", *last])
        )


class Numbered(NamedTuple):
    """The answer for one of the molecules: its place among them, from 0."""

    place: int
    answer: Answer


# What threads send: an answer, what went wrong, or None from one that has ended.
_Results = queue.SimpleQueue["Numbered | BaseException | None"]


def answers(
    first: Worker, molecules: Iterable[Molecule], n_processes: int, make: Callable[[], Worker]
) -> Iterator[Numbered | None]:
    """Yield answers as the workers finish, and None twice a second in between.

    So that the caller can stop. first: a worker that runs already; it is closed here. make: starts
    another one. What is in work when the caller stops is given up.
    """
    crew = _Crew(first, molecules, make)
    threads = [
        threading.Thread(target=crew.work, args=(number == 0,), daemon=True)
        for number in range(n_processes)
    ]
    for thread in threads:
        thread.start()
    try:
        yield from _collect(crew.results, n_processes)
    finally:
        crew.stop()
        for thread in threads:
            thread.join()
        for worker in crew.workers:
            worker.close()


class _Crew:
    """Threads that share molecules, each with a worker of its own."""

    def __init__(
        self, first: Worker, molecules: Iterable[Molecule], make: Callable[[], Worker]
    ) -> None:
        self.workers, self.results = [first], _Results()
        self._tasks, self._make = enumerate(molecules), make
        self._lock, self._stopping = threading.Lock(), threading.Event()

    def work(self, takes_first: bool) -> None:
        """Answer one molecule after the other until none is left; the work of a thread."""
        try:
            worker = self.workers[0] if takes_first else self._start()
            while not self._stopping.is_set():
                with self._lock:
                    task = next(self._tasks, None)
                if task is None:
                    break
                self.results.put(Numbered(task[0], worker.ask(task[1])))
        except BaseException as error:  # noqa: BLE001  # raised again where the answers are read
            self.results.put(error)
        self.results.put(None)

    def stop(self) -> None:
        """Let no thread begin another molecule, and kill what is in work."""
        self._stopping.set()
        for worker in list(self.workers):
            worker.stop()

    def _start(self) -> Worker:
        worker = self._make()
        self.workers.append(worker)
        return worker


def _collect(results: _Results, n_threads: int) -> Iterator[Numbered | None]:
    while n_threads:
        try:
            result = results.get(timeout=0.5)
        except queue.Empty:
            yield None
            continue
        if isinstance(result, BaseException):
            raise result
        if result is None:
            n_threads -= 1
        else:
            yield result


def _pipe(pipe: IO[str] | None) -> IO[str]:
    """Return a pipe to a process that was asked for."""
    if pipe is None:
        raise RuntimeError("the process has no pipe")
    return pipe
