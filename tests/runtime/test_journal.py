"""Journals: lines that survive a killed process, and what is refused."""

import errno

import pytest

from molequi.errors import UserError
from molequi.runtime import journal, locks
from molequi.runtime.journal import LineJournal, is_unfinished, journal_path, kept, may_replace

IDENTITY = {"format": 1, "model": "a"}


def entries(journal):
    return [line.entry["n"] for line in journal.lines()]


def test_lines_are_there_at_once_and_again(tmp_path):
    path = journal_path(tmp_path / "out.xyz")
    assert path == tmp_path / "out.xyz.journal"
    with LineJournal(path, IDENTITY, "a test") as journal:
        journal.append({"n": 0})
        assert entries(journal) == [0]
        journal.append({"n": 1})
    with LineJournal(path, IDENTITY, "a test") as journal:
        assert entries(journal) == [0, 1]


@pytest.mark.parametrize("tail", [b"{", b'{"n": 2}', b"x" * 200_000])
def test_an_unfinished_line_is_cut_off_however_long(tmp_path, tail):
    path = tmp_path / "x.journal"
    with LineJournal(path, IDENTITY, "a test") as journal:
        journal.append({"n": 0})
    with path.open("ab") as file:
        file.write(tail)
    with LineJournal(path, IDENTITY, "a test") as journal:
        journal.append({"n": 1})
        assert entries(journal) == [0, 1]


def test_answers_are_taken_back(tmp_path):
    with LineJournal(tmp_path / "x.journal", IDENTITY, "a test") as journal:
        for n in range(3):
            journal.append({"n": n})
        ends = [line.end for line in journal.lines()]
        journal.cut(ends[1])
        assert entries(journal) == [0, 1]
        journal.append({"n": 7})
        assert entries(journal) == [0, 1, 7]
        journal.cut()
        assert entries(journal) == []


def test_another_run_is_refused_or_discarded_as_asked(tmp_path):
    path = tmp_path / "x.journal"
    with LineJournal(path, IDENTITY, "a test") as journal:
        journal.append({"n": 0})
    other = {**IDENTITY, "model": "b"}
    with pytest.raises(UserError, match=r"written for \{'model': 'a'\}, not \{'model': 'b'\}"):
        LineJournal(path, other, "a test")
    with LineJournal(path, other, "a test", discard=True) as journal:
        assert entries(journal) == []


@pytest.mark.parametrize("content", ["a line of mine\n", "no line at all", '["a list"]\n'])
def test_what_is_no_journal_is_left_as_it_is(tmp_path, content):
    path = tmp_path / "x.journal"
    path.write_text(content)
    for discard in (False, True):
        with pytest.raises(UserError, match="no journal of a test"):
            LineJournal(path, IDENTITY, "a test", discard=discard)
        assert path.read_text() == content


def test_a_damaged_line_is_told(tmp_path):
    path = tmp_path / "x.journal"
    with LineJournal(path, IDENTITY, "a test") as journal:
        journal.append({"n": 0})
    with path.open("a") as file:
        file.write("{damaged\n")
    with LineJournal(path, IDENTITY, "a test") as journal:
        lines = journal.lines()
        assert next(lines).entry == {"n": 0}
        with pytest.raises(UserError, match="no journal of a test"):
            next(lines)


def test_a_changed_line_is_told_and_older_journals_go_on(tmp_path):
    path = tmp_path / "x.journal"
    with LineJournal(path, IDENTITY, "a test") as journal:
        journal.append({"n": 0, "energy": -1.0 / 3.0, "name": "Å", "none": None})
    whole = path.read_text()
    for old, new in (("-0.333", "-0.433"), ('"n": 0', '"m": 0'), (', "crc32"', ', "crc"')):
        assert whole.count(old) >= 1
        path.write_text(new.join(whole.rsplit(old, 1)))
        with LineJournal(path, IDENTITY, "a test") as journal:
            with pytest.raises(UserError, match="a line has changed since it was written"):
                list(journal.lines())
    path.write_text('{"format": 1, "model": "a"}\n{"n": 0}\n')
    with LineJournal(path, IDENTITY, "a test") as journal:
        journal.append({"n": 1})
        assert entries(journal) == [0, 1]


def test_a_journal_that_its_run_takes_away_before_it_is_locked_begins_anew(tmp_path, monkeypatch):
    path, taken = tmp_path / "x.journal", []

    def lock_late(descriptor, where):
        if not taken:  # the other run ends between the opening and the lock
            taken.append(where)
            path.unlink()
        locks.lock(descriptor, where)

    monkeypatch.setattr(journal, "lock", lock_late)
    with LineJournal(path, IDENTITY, "a test") as lines:
        lines.append({"answer": 1})
    assert taken == [path]
    with LineJournal(path, IDENTITY, "a test") as lines:
        assert [line.entry["answer"] for line in lines.lines()] == [1]


def test_a_journal_that_loses_its_name_is_read_all_the_same(tmp_path):
    path = tmp_path / "x.journal"
    with LineJournal(path, IDENTITY, "a test") as lines:
        path.unlink()
        lines.append({"answer": 1})
        assert [line.entry["answer"] for line in lines.lines()] == [1]
        lines.cut()
        assert list(lines.lines()) == []


def test_a_journal_that_is_gone_is_not_locked(tmp_path):
    locks.refuse_locked(tmp_path / "gone.journal")


def test_an_output_that_came_up_meanwhile_is_not_replaced(tmp_path):
    output = tmp_path / "out.xyz"
    output.write_text("of another run")
    with pytest.raises(UserError, match=r"out\.xyz exists already"):
        with kept(output, IDENTITY, "test", may_replace=False):
            pass
    assert not is_unfinished(output), "or the next one would replace it"
    with kept(output, IDENTITY, "test", may_replace=True) as lines:
        with pytest.raises(UserError, match="another run is writing"):
            LineJournal(journal_path(output), IDENTITY, "a test")
        with pytest.raises(UserError, match="another run is writing"):
            may_replace(output, overwrite=False)
        assert lines.is_new
    assert not is_unfinished(output)


def test_what_is_kept_stays_where_the_output_was_not_written(tmp_path):
    output = tmp_path / "out.xyz"
    with pytest.raises(KeyboardInterrupt):
        with kept(output, IDENTITY, "test", may_replace=False) as lines:
            lines.append({"n": 1})
            output.write_text("half an answer")
            raise KeyboardInterrupt
    with kept(output, IDENTITY, "test", may_replace=False) as lines:
        assert (entries(lines), lines.is_new) == ([1], False)


def test_a_full_disk_leaves_no_lock(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "x.journal"
    lines = LineJournal(path, IDENTITY, "a test")
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr(journal.os, "fsync", full)
        lines.close()
    LineJournal(path, IDENTITY, "a test").close()
