"""Two runs into one output: the second is refused, by whatever way it comes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from molequi.errors import UserError
from molequi.runtime import locks
from molequi.runtime.locks import locked, refuse_locked

HOLD = "import sys, time; from molequi.runtime.locks import locked\nwith locked(sys.argv[1]): "


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen]]:
    """A folder that another process holds."""
    folder = tmp_path / "run"
    folder.mkdir()
    command = [sys.executable, "-c", HOLD + "print('held', flush=True); time.sleep(60)", folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield folder, process
        process.kill()


def test_another_process_is_refused_until_the_first_has_ended_or_was_killed(held):
    folder, process = held
    with pytest.raises(UserError, match=f"another run is writing to {folder} now; wait"):
        refuse_locked(folder)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with locked(folder):
        pass
    assert list(folder.iterdir()) == []


def test_files_and_folders_are_locked_once_in_a_process_too(tmp_path):
    path = tmp_path / "labels.xyz.journal"
    refuse_locked(path)
    path.write_text("")
    for place in (path, tmp_path):
        with locked(place), pytest.raises(UserError, match="another run"):
            refuse_locked(place)
        refuse_locked(place)


def test_those_who_look_do_not_refuse_each_other(tmp_path):
    path = tmp_path / "out.csv.journal"
    path.touch()
    with locked(path, shared=True):
        refuse_locked(path)
        with pytest.raises(UserError, match="another run"), locked(path):
            pass


def test_waiting_is_said_and_ends_with_the_other_run(held, caplog):
    folder, process = held
    caplog.set_level("INFO", "molequi")
    threading.Timer(0.3, process.kill).start()
    with locked(folder, wait=True):
        assert process.wait() == -signal.SIGKILL
    assert f"waiting for another run, which is writing to {folder}" in caplog.text


def test_a_system_without_locks_is_named(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(locks, "CAN_LOCK", False)
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file"):
        with locked(path), locked(path):
            assert f"this system cannot lock {path}; let no two runs write there" in caplog.text
