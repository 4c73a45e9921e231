"""Journals of long runs: a line of JSON for each answer, so that nothing is computed twice."""

from __future__ import annotations

import glob
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from molequi.errors import UserError
from molequi.runtime.files import check_output, refuse_nameless
from molequi.runtime.locks import lock, refuse_locked
from molequi.runtime.plain import parse_json

Entry = dict[str, Any]
_BLOCK = 1 << 16
_SUM = "crc32"


def journal_path(output: Path) -> Path:
    """Return the place of an output's journal, beside it. Raises UserError for one without name."""
    refuse_nameless(output)
    return output.with_name(f"{output.name}.journal")


def may_replace(output: Path, *, overwrite: bool) -> bool:
    """Tell whether an output may be replaced: also where it lies beside the journal of its run.

    That run ended when all was written, before it could take the journal away. Raises UserError
    where it goes on now: what it will have written is no remainder.
    """
    refuse_locked(journal_path(output))
    return overwrite or is_unfinished(output)


def is_unfinished(output: Path) -> bool:
    """Tell whether a run to an output was interrupted.

    What stands there then is its own, written in its last moment, or was to be replaced.
    """
    return journal_path(output).exists() or bool(_parts_of(output))


def part_path(output: Path, number: int, of: int) -> Path:
    """Return the place of the journal of one process, from 0, of those that share a job."""
    path = journal_path(output)
    return path.with_name(f"{path.name}-{number + 1}-of-{of}")


def remove_journals(output: Path) -> None:
    """Remove the journals of an output that is whole, whichever processes wrote them."""
    for path in (journal_path(output), *_parts_of(output)):
        path.unlink(missing_ok=True)


def _parts_of(output: Path) -> list[Path]:
    path = journal_path(output)
    return sorted(path.parent.glob(f"{glob.escape(path.name)}-*-of-*"))


class Line(NamedTuple):
    """One answer, and the place in the file, bytes, where its line ends."""

    entry: Entry
    end: int


def _opened(path: Path) -> tuple[BinaryIO, BinaryIO]:
    """Open a journal that nobody else writes, to append and to read.

    A run that ends takes its journal away. What was opened before that and locked after it has no
    name any more: then a new one begins.
    """
    while True:
        with ExitStack() as stack:
            file = stack.enter_context(path.open("ab"))
            with suppress(FileNotFoundError):
                reader = stack.enter_context(path.open("rb"))
                lock(file.fileno(), path)
                now = path.stat()
                if all(os.path.samestat(os.fstat(one.fileno()), now) for one in (file, reader)):
                    stack.pop_all()
                    return file, reader


class LineJournal:
    """Answers on disk, one line each; they are read one at a time and never held together.

    Each line carries the CRC-32 of its own text, so that a changed number is no answer.

    path: of the journal. identity: what all its answers share, its first line. command: whose
    journal it is, in words for people. discard: begin anew where the journal is that of a run with
    another identity, rather than refuse it.
    is_new: whether it begins now.
    A journal that another run is writing is refused, and a file that is no journal is left as it
    is: UserError. A last line that a killed process left unfinished is cut off. Use as a context
    manager.
    """

    def __init__(self, path: Path, identity: Entry, command: str, *, discard: bool = False) -> None:
        self.path, self.identity, self._command = path, identity, command
        self._has_sums = False
        self._file, self._reader = _opened(path)
        try:
            self._check_start(discard=discard)
        except UserError:
            self.close()
            raise
        self.is_new = not os.fstat(self._file.fileno()).st_size
        if self.is_new:
            self.append(identity)

    def append(self, entry: Entry) -> None:
        """Add an answer; it is with the operating system when this returns."""
        text = json.dumps(entry)
        self._file.write(f'{text[:-1]}, "{_SUM}": "{_sum_of(text)}"}}\n'.encode())
        self._file.flush()

    def lines(self) -> Iterator[Line]:
        """Yield the answers that stand there now. Raises UserError for a damaged line."""
        with self._from_start() as file:
            end = len(file.readline())
            for text in file:
                end += len(text)
                yield Line(self._parsed(text), end)

    def cut(self, end: int | None = None) -> None:
        """Take the answers behind a place back, by default all."""
        if end is None:
            with self._from_start() as file:
                end = len(file.readline())
        self._file.truncate(end)

    def refuse_late(self, output: Path, *, may_replace: bool) -> None:
        """Raise UserError where an output has come up since it was looked for, or will.

        Then another run, which ended before this journal began, has written it, or processes share
        one now. may_replace: what the function of this name said at that time.
        """
        for part in _parts_of(output):
            refuse_locked(part)
        if self.is_new and not may_replace:
            try:
                check_output(output)
            except UserError:
                self.path.unlink()  # or the output would be taken for that of an unfinished run
                raise

    def close(self) -> None:
        """Have everything on the disk and let others write, also where the disk is full."""
        try:
            if not self._file.closed:
                self._file.flush()
                os.fsync(self._file.fileno())
        finally:
            self._reader.close()
            self._file.close()

    def __enter__(self) -> LineJournal:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _check_start(self, *, discard: bool) -> None:
        """Cut an unfinished last line off, and compare the first with the identity."""
        with self._from_start() as file:
            if file.read(1) not in {b"", b"{"}:
                raise self._foreign("its first line is no answer")
        with self._from_start() as file:
            whole = _length_of_whole_lines(file)
        if whole:
            with self._from_start() as file:
                found = self._parsed(file.readline())
            if found != self.identity:
                if not discard:
                    raise UserError(self._difference(found))
                whole = 0
        self._file.truncate(whole)

    def _from_start(self) -> BinaryIO:
        """Open the file once more, whose name a run that ended may have removed."""
        file = os.fdopen(os.dup(self._reader.fileno()), "rb")
        file.seek(0)
        return file

    def _difference(self, found: Entry) -> str:
        changed = [key for key in self.identity if found.get(key) != self.identity[key]]
        was, now = ({key: source.get(key) for key in changed} for source in (found, self.identity))
        return (
            f"{self.path} was written for {was}, not {now}; use the same settings, "
            "--overwrite, or another output"
        )

    def _parsed(self, text: bytes) -> Entry:
        try:
            entry = parse_json(text)
        except (ValueError, RecursionError) as error:
            raise self._foreign(error) from error
        if not isinstance(entry, dict):
            raise self._foreign("a line is no answer")
        written = entry.pop(_SUM, None)
        # Journals that an older version began have none, the lines added by this one do.
        if (written or self._has_sums) and written != _sum_of(json.dumps(entry)):
            raise self._foreign("a line has changed since it was written")
        self._has_sums |= written is not None
        return entry

    def _foreign(self, why: object) -> UserError:
        return UserError(
            f"{self.path} is no journal of {self._command} ({why}); remove it or give another "
            "output"
        )


@contextmanager
def kept(
    output: Path | None, identity: Entry, command: str, *, may_replace: bool
) -> Iterator[LineJournal | None]:
    """Yield the journal of an output, None without one, in which no other run writes now.

    It goes when the block ends well, which is to write the output: under its lock, or a second run
    would meet it half gone. identity: of the answers; those of another one are forgotten. command:
    of `molequi`. Raises UserError as `LineJournal` and `refuse_late`.
    """
    if output is None:
        yield None
        return
    with LineJournal(journal_path(output), identity, f"molequi {command}", discard=True) as journal:
        journal.refuse_late(output, may_replace=may_replace)
        yield journal
        remove_journals(output)


def _sum_of(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _length_of_whole_lines(file: BinaryIO) -> int:
    """Return where the last line that has its end ends, bytes; it is looked for from behind."""
    place = file.seek(0, os.SEEK_END)
    while place:
        start = max(place - _BLOCK, 0)
        file.seek(start)
        last = file.read(place - start).rfind(b"\n")
        if last >= 0:
            return start + last + 1
        place = start
    return 0
