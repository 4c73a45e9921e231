"""Runs that are ended at random moments: the same command goes on to the same result."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from commands import AfterSeconds, AtChange, Ending, Fault, InsideWrite
from jobs import EACH_WAY, JOBS, MORE_JOBS, Job
from workshop import Reference, Workshop

from molequi.cli.exits import ExitCode

KILL, TERM, HANGUP = signal.SIGKILL, signal.SIGTERM, signal.SIGHUP
N_MOMENTS = 20


def moment(job: Job, reference: Reference, number: int, rng: random.Random) -> Fault:
    """Choose a moment: before a change of the folder, or after some of the work."""
    work = reference.work
    if rng.random() < 0.5:
        return AtChange(number, rng.randrange(work.n_changes))
    whole = work.wall_seconds if job.waits else work.cpu_seconds
    return AfterSeconds(number, rng.random() * whole, on_wall=job.waits)


def check_asked_to_stop(job: Job, ending: Ending, folder: Path, number: int) -> None:
    """Check how a run ends that was asked to: saved, or as signals end processes; all swept."""
    codes = {job.code, ExitCode.INTERRUPTED, 128 + number, -number}
    assert ending.code in codes, ending.text
    if ending.code == ExitCode.INTERRUPTED:
        assert f"stopped by {signal.Signals(number).name}" in ending.last_line
        assert job.go_on in ending.last_line
    assert list(folder.rglob(".*")) == []


def check_ended(workshop: Workshop, job: Job, number: int, seed: int) -> None:
    """Run the job, end it at a moment, check what is there, and run it again."""
    rng = random.Random(f"{job} {number} {seed}")
    fault, folder = moment(job, workshop.reference(job), number, rng), workshop.folder(job)
    ending = workshop.run(job, folder, fault=fault)
    if number != KILL:
        check_asked_to_stop(job, ending, folder, number)
    workshop.check_whole(job, folder)
    workshop.check_restart(job, folder)


def check_killed_inside_write(workshop: Workshop, job: Job, seed: int) -> None:
    """The same for a process that ends in the middle of writing a file."""
    rng = random.Random(f"{job} {seed}")
    fault, folder = InsideWrite(rng.randrange(workshop.largest_output(job))), workshop.folder(job)
    workshop.run(job, folder, fault=fault)
    workshop.check_whole(job, folder)
    workshop.check_restart(job, folder)


@pytest.mark.parametrize("number", [KILL, TERM], ids=lambda n: n.name)
@pytest.mark.parametrize("job", JOBS, ids=str)
def test_a_run_that_was_ended_goes_on(job: Job, number: int, workshop: Workshop) -> None:
    check_ended(workshop, job, number, seed=0)


# Who takes SIGTERM takes SIGHUP too.
@pytest.mark.parametrize(
    "job",
    [
        job if job.name in {"train", "md"} else pytest.param(job, marks=pytest.mark.long)
        for job in JOBS
    ],
    ids=str,
)
def test_a_run_whose_terminal_was_closed_goes_on(job: Job, workshop: Workshop) -> None:
    check_ended(workshop, job, HANGUP, seed=0)


@pytest.mark.parametrize("job", EACH_WAY, ids=str)
def test_a_run_that_was_killed_while_it_wrote_goes_on(job: Job, workshop: Workshop) -> None:
    check_killed_inside_write(workshop, job, seed=0)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, N_MOMENTS))
@pytest.mark.parametrize("number", [KILL, TERM, HANGUP], ids=lambda n: n.name)
@pytest.mark.parametrize("job", [*JOBS, *MORE_JOBS], ids=str)
def test_many_moments(job: Job, number: int, seed: int, workshop: Workshop) -> None:
    check_ended(workshop, job, number, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, N_MOMENTS))
@pytest.mark.parametrize("job", [*JOBS, *MORE_JOBS], ids=str)
def test_many_moments_inside_writes(job: Job, seed: int, workshop: Workshop) -> None:
    check_killed_inside_write(workshop, job, seed)
