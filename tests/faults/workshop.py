"""Folders in which jobs run, what each job gives where nothing happens to it, and two checks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

from commands import Command, Ending, Fault, Work
from jobs import Job, make_inputs
from outcomes import content, is_hidden, outcome

from molequi.cli.exits import ExitCode


class Reference(NamedTuple):
    """The right result, the bytes of every file, and the work that it took."""

    outcome: dict[str, Any]
    sizes: dict[str, int]
    work: Work


class Workshop:
    """Makes folders with a job's inputs, runs it there, and knows its right result."""

    def __init__(self, root: Path) -> None:
        self.root, self.inputs = root, root / "inputs"
        self.inputs.mkdir()
        make_inputs(self.inputs)
        self._references: dict[str, Reference] = {}
        self._count = 0

    def folder(self, job: Job, *, inside: Path | None = None) -> Path:
        """Return a new folder with the inputs of a job."""
        self._count += 1
        folder = (inside or self.root) / f"{job}-{self._count}"
        folder.mkdir()
        for name in job.inputs:
            self.give(folder, name)
        return folder

    def give(self, folder: Path, name: str) -> None:
        """Copy an input into a folder."""
        shutil.copy(self.inputs / name, folder)

    def start(
        self, job: Job, folder: Path, *more: str, fault: Fault | None = None, output: str = ""
    ) -> Command:
        """Start a job in a folder."""
        arguments = [*job.arguments(output), *more]
        return Command(arguments, folder, fault=fault, settings=job.settings)

    def run(
        self, job: Job, folder: Path, *more: str, fault: Fault | None = None, output: str = ""
    ) -> Ending:
        """Run a job to its end, or to that which the fault brings."""
        return self.start(job, folder, *more, fault=fault, output=output).wait()

    def reference(self, job: Job) -> Reference:
        """Return the result of a run to which nothing happens."""
        if job.name not in self._references:
            folder = self.folder(job)
            command = self.start(job, folder)
            ending = command.wait()
            assert ending.code == job.code, ending.text
            found = outcome(folder)
            sizes = {name: (folder / name).stat().st_size for name in found}
            self._references[job.name] = Reference(found, sizes, command.work())
        return self._references[job.name]

    def largest_output(self, job: Job) -> int:
        """Return the bytes of the largest file that a job writes."""
        sizes = self.reference(job).sizes
        return max(size for name, size in sizes.items() if name not in job.inputs)

    def check_whole(self, job: Job, folder: Path) -> None:
        """Check what a run left: no file is cut off, and what bears a final name is final."""
        final = self.reference(job).outcome
        for path in (path for path in folder.rglob("*") if path.is_file()):
            name = str(path.relative_to(folder))
            if not is_hidden(name) and name not in job.growing:
                assert content(path, folder) == final[name], f"{name} is not the final one"

    def check_finished(self, job: Job, folder: Path) -> None:
        """Check that the right result stands in a folder, and nothing beside it."""
        final, found = self.reference(job).outcome, outcome(folder)
        assert found.keys() == final.keys()
        different = [name for name in final if found[name] != final[name]]
        assert not different, different

    def check_restart(self, job: Job, folder: Path) -> None:
        """Check that the same command, run again, gives the right result and nothing beside it.

        With the option that it asks for, where it does so; a run that was over is left alone.
        """
        if outcome(folder) == self.reference(job).outcome:
            return
        ending = self.run(job, folder)
        if ending.code == ExitCode.USAGE:
            assert job.go_on, ending.text
            assert job.go_on in ending.last_line, ending.text
            ending = self.run(job, folder, job.go_on)
        assert ending.code == job.code, ending.text
        self.check_finished(job, folder)
