"""Files appear complete or not at all."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from molequi.datasets.array_files import write_arrays
from molequi.datasets.download import fetch
from molequi.errors import UserError
from molequi.kernels import jit_cache
from molequi.runtime import files
from molequi.runtime.files import write_text, written_by_rename
from molequi.training.state import write_state

OLD = b"the old file"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "a.npz"
    path.write_bytes(OLD)
    return path


def check_untouched(path: Path) -> None:
    assert path.read_bytes() == OLD
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failing_writer_leaves_the_old_file(old: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), written_by_rename(old) as temporary:
        temporary.write_bytes(b"half")
        assert (temporary.parent, temporary.suffix) == (old.parent, old.suffix)
        raise error
    check_untouched(old)


def test_a_file_that_came_up_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(UserError, match="exists already"):
        with written_by_rename(path, overwrite=False) as temporary:
            temporary.write_bytes(b"new")
            path.write_bytes(OLD)
    check_untouched(path)
    path.unlink()
    with written_by_rename(path, overwrite=False) as temporary:
        temporary.write_bytes(OLD)
    check_untouched(path)


def test_a_writer_that_writes_nothing_is_an_error(old: Path) -> None:
    with pytest.raises(FileNotFoundError), written_by_rename(old):
        pass
    check_untouched(old)


def test_bytes_are_on_the_disk_before_the_name_and_the_name_at_the_end(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    replace = os.replace
    monkeypatch.setattr(
        files.os,
        "fsync",
        lambda number: events.append(
            "folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file"
        ),
    )
    monkeypatch.setattr(
        files.os, "replace", lambda *names: (events.append("replace"), replace(*names))
    )
    write_text(old, "Å")
    assert events == ["file", "replace", "folder"]
    assert old.read_text(encoding="utf-8") == "Å"
    assert list(old.parent.iterdir()) == [old]


class Unwritable:
    """An object that fails in the middle of being written."""

    def __reduce__(self) -> str:
        raise RuntimeError("this writer fails")


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_text(path, "\ud800"),
        lambda path: write_state(
            {"weights": torch.zeros(9), "other": Unwritable()}, path, version=1
        ),
        lambda path: write_arrays(path, {"a": np.zeros(9), "b": np.array([Unwritable()])}),
    ],
)
def test_writers_of_the_package_that_fail(old: Path, write: Callable[[Path], None]) -> None:
    with pytest.raises((UnicodeEncodeError, RuntimeError, ValueError)):
        write(old)
    check_untouched(old)


def test_a_download_that_fails(old: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no mirror gave a.npz"):
        fetch([(tmp_path / "a.npz").as_uri(), (tmp_path / "none").as_uri()], old, md5="0")
    check_untouched(old)


def test_generated_source_is_written_once(tmp_path: Path) -> None:
    path = jit_cache._store(tmp_path / "new", "module", "x = 1\n")
    before = path.stat().st_mtime_ns
    assert jit_cache._store(tmp_path / "new", "module", "x = 1\n").stat().st_mtime_ns == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("2 requested and 0 written"), RuntimeError("failed")])
def test_a_full_disk_is_named_whatever_the_writer_says(
    old: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = list(os.statvfs(old.parent))
    full[4] = 0
    monkeypatch.setattr(files.os, "statvfs", lambda _folder: os.statvfs_result(full))
    with pytest.raises(OSError, match="No space left on device: .*a.npz"), written_by_rename(old):
        raise error
    check_untouched(old)


LIMITED = """
import resource, sys
from pathlib import Path
from molequi.runtime.files import written_by_rename
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
with written_by_rename(sys.argv[1]) as temporary:
    try:
        temporary.write_bytes(bytes(9000))
    except OSError:
        raise RuntimeError("a writer that hides why")
"""


def test_a_limit_is_named_whatever_the_writer_says(old: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(old)], capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1] == f"OSError: [Errno 27] File too large: {str(old)!r}"
    check_untouched(old)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_kernels_of_another_user_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = jit_cache.cache_folder()
    folder.mkdir(parents=True)
    os.chown(folder, 12345, 12345)
    module = jit_cache.load("VALUE = 2\n")
    assert module.VALUE == 2
    assert folder not in Path(str(module.__file__)).parents
    assert list(folder.iterdir()) == []


def test_kernels_that_others_may_have_planted_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "__pycache__" / "module.nbc").write_bytes(b"planted")
    folder.chmod(0o777)
    path = jit_cache._store(folder, "module", "x = 1\n")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.rglob("*")) == [path]
    jit_cache._store(tmp_path / "new", "module", "x = 1\n")
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0


SCRIPT = """
import sys, time
from molequi.runtime.files import written_by_rename
with written_by_rename(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_in_the_middle(old: Path, number: signal.Signals) -> None:
    arguments = [sys.executable, "-c", SCRIPT, str(old)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(number)
        assert process.wait(timeout=30) != 0
    check_untouched(old)


def test_what_a_killed_process_left_is_removed_by_the_next_and_nothing_else(old: Path) -> None:
    others = [old.with_name(f"{name}{old.name}") for name in (".mine-", ".1-abcd1234-", "1-")]
    for path in others:
        path.write_text("kept")
    arguments = [sys.executable, "-c", SCRIPT, str(old)]
    with (
        subprocess.Popen(arguments, stdout=subprocess.PIPE) as running,
        subprocess.Popen(arguments, stdout=subprocess.PIPE) as process,
    ):
        for each in (running, process):
            assert each.stdout is not None
            assert each.stdout.readline() == b"writing\n"
        process.kill()
        process.wait()
        before = set(old.parent.iterdir())
        write_text(old, "new")
        (left,) = before - set(old.parent.iterdir())
        assert left.name.startswith(f".{process.pid}-")
        running.terminate()
    assert set(old.parent.iterdir()) == {old, *others}


def test_what_another_process_of_the_same_number_left_is_removed(old: Path) -> None:
    """In containers the process that goes on often has the number of the one that was killed."""
    with written_by_rename(old) as temporary:
        left = temporary.with_name(temporary.name.replace(files._THIS_RUN, "0" * 8))
        left.mkdir()
        (left / "file").write_text("half")
        temporary.write_text("half")
        with written_by_rename(old) as second:
            assert temporary.exists()
            assert not left.exists()
            second.write_text("half")
        temporary.write_text("whole")
    assert old.read_text() == "whole"
    assert list(old.parent.iterdir()) == [old]


def test_a_second_signal_does_not_stop_the_tidying_up(old: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit), written_by_rename(old) as temporary:
        temporary.write_bytes(b"half")
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
    check_untouched(old)
    assert signal.getsignal(signal.SIGTERM) is before


def test_signals_are_given_back(old: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    write_text(old, "new")
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def _by_default() -> Iterator[None]:
    """Signals of which nobody took care, whatever ran before in this process."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in files.TERMINATING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_by_default")
@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("is_error", [True, False])
def test_a_signal_that_a_library_swallows_still_ends_the_process(
    tmp_path: Path, is_error: bool
) -> None:
    """As reading safetensors does: its error was taken for a damaged file."""
    with pytest.raises(SystemExit) as ending, written_by_rename(tmp_path / "a") as temporary:
        temporary.write_text("whole")
        try:
            signal.raise_signal(signal.SIGTERM)
        except SystemExit:
            if is_error:
                raise ValueError("could not determine the shape") from None
    assert ending.value.code == 128 + signal.SIGTERM
    assert [path.name for path in tmp_path.iterdir()] == ([] if is_error else ["a"])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
