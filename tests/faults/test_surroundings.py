"""Runs whose surroundings fail them: no room, no permission, vanished inputs, another run.

Each ends with one line that names what is wrong and no internal error; where the surroundings are
good again, the same command gives the right result.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Ending, NoRoom, Vanishing
from jobs import EACH_WAY, JOBS, Job
from outcomes import is_hidden
from workshop import Workshop

from molequi.cli.exits import ExitCode

N_MOMENTS = 20
_KIB = 1024


def check_refused(ending: Ending, *words: str) -> None:
    """Check for wrong usage: one line that says all of the words, and no traceback."""
    assert ending.code == ExitCode.USAGE, ending.text
    assert ending.last_line.startswith("error: "), ending.text
    assert "Traceback" not in ending.text
    missing = [word for word in words if word not in ending.last_line]
    assert not missing, ending.text


def check_tidy(workshop: Workshop, job: Job, folder: Path) -> None:
    """Check that nothing half-done stands in a folder."""
    workshop.check_whole(job, folder)
    hidden = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    assert not [name for name in hidden if is_hidden(name)]


@contextlib.contextmanager
def mounted(place: Path, size: int) -> Iterator[None]:
    """Mount a small disk of its own at a place; skips the test where that is not allowed."""
    place.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def check_without_room(workshop: Workshop, job: Job, seed: int) -> None:
    """Run the job where no file may grow beyond a length, then where it may."""
    rng = random.Random(f"{job} {seed}")
    fault, folder = NoRoom(rng.randrange(workshop.largest_output(job))), workshop.folder(job)
    ending = workshop.run(job, folder, fault=fault)
    if ending.code != job.code:
        check_refused(ending, "File too large")
    check_tidy(workshop, job, folder)
    workshop.check_restart(job, folder)


@pytest.mark.parametrize("job", EACH_WAY, ids=str)
def test_no_room_for_a_file(job: Job, workshop: Workshop) -> None:
    check_without_room(workshop, job, seed=0)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, N_MOMENTS))
@pytest.mark.parametrize("job", JOBS, ids=str)
def test_no_room_for_files_of_many_lengths(job: Job, seed: int, workshop: Workshop) -> None:
    check_without_room(workshop, job, seed)


@pytest.mark.long
@pytest.mark.parametrize("share", [k / N_MOMENTS for k in range(N_MOMENTS)])
@pytest.mark.parametrize("job", JOBS, ids=str)
def test_a_full_disk(job: Job, share: float, workshop: Workshop, tmp_path: Path) -> None:
    """The disk has room for the inputs and for a share of the result."""
    sizes = workshop.reference(job).sizes
    inputs = sum(_pages(sizes[name]) for name in job.inputs)
    result = sum(_pages(size) for size in sizes.values()) - inputs
    place = tmp_path / "disk"
    with mounted(place, inputs + _pages(int(share * result))):
        folder = workshop.folder(job, inside=place)
        ending = workshop.run(job, folder)
        if ending.code != job.code:
            check_refused(ending, "No space left on device")
        check_tidy(workshop, job, folder)
        remount(place, f"size={64 * _KIB * _KIB}")
        workshop.check_restart(job, folder)


def _pages(n_bytes: int) -> int:
    """Round up to what a file takes of a disk."""
    return -(-n_bytes // (4 * _KIB)) * 4 * _KIB


@pytest.mark.parametrize("job", JOBS, ids=str)
def test_a_folder_that_may_not_be_written(job: Job, workshop: Workshop, tmp_path: Path) -> None:
    workshop.reference(job)
    with contextlib.ExitStack() as stack:
        if os.geteuid():
            folder = workshop.folder(job, inside=tmp_path)
            folder.chmod(0o555)
            stack.callback(folder.chmod, 0o755)
            words = "Permission denied"
        else:  # whom permissions do not bind
            place = tmp_path / "disk"
            stack.enter_context(mounted(place, 64 * _KIB * _KIB))
            folder = workshop.folder(job, inside=place)
            remount(place, "ro")
            words = "Read-only file system"
        before = sorted(folder.rglob("*"))
        check_refused(workshop.run(job, folder), words)
        assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("job", JOBS, ids=str)
def test_an_input_that_is_not_there(job: Job, workshop: Workshop) -> None:
    folder = workshop.folder(job)
    (folder / job.inputs[0]).unlink()
    before = sorted(folder.rglob("*"))
    check_refused(workshop.run(job, folder), job.inputs[0])
    assert sorted(folder.rglob("*")) == before


@pytest.mark.long
@pytest.mark.parametrize("job", JOBS, ids=str)
def test_an_input_that_vanishes(job: Job, workshop: Workshop) -> None:
    """Before it is opened for the first time, the second, ..., until the run needs it no more."""
    for name in job.inputs:
        for count in range(9):
            folder = workshop.folder(job)
            ending = workshop.run(job, folder, fault=Vanishing(name, count))
            check_tidy(workshop, job, folder)
            if (folder / name).exists():
                assert ending.code == job.code, ending.text
                break
            assert ending.code in (job.code, ExitCode.FAILED, ExitCode.USAGE), ending.text
            is_done = ending.code == job.code
            assert is_done or (name in ending.text and "error: " in ending.text)
            workshop.give(folder, name)
            workshop.check_restart(job, folder)


@pytest.mark.parametrize("job", JOBS, ids=str)
def test_a_folder_above_the_output_that_is_not_there(job: Job, workshop: Workshop) -> None:
    folder, place = workshop.folder(job), f"none/{job.output[1]}"
    before = sorted(folder.rglob("*"))
    ending = workshop.run(job, folder, output=place)
    if job.makes_parents:
        assert ending.code == job.code, ending.text
        assert (folder / place).exists()
    else:
        check_refused(ending, "none")
        assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("job", EACH_WAY, ids=str)
def test_two_runs_into_one_place(job: Job, workshop: Workshop) -> None:
    """One of them writes the result; the other does so too, or is refused by name."""
    folder = workshop.folder(job)
    endings = [command.wait() for command in [workshop.start(job, folder) for _ in range(2)]]
    assert job.code in [ending.code for ending in endings], endings
    for ending in endings:
        if ending.code != job.code:
            check_refused(ending)
            words = ("another run", "exists already", "is not empty")
            assert any(word in ending.last_line for word in words), ending.text
    check_tidy(workshop, job, folder)
    workshop.check_finished(job, folder)
