"""What commands say of many records: which structures a note is of."""

from __future__ import annotations

import pytest

from molequi.cli.records import print_notes, print_provenance


def record(index: int, source: str = "a.xyz", **notes: str) -> dict:
    return {"source": source, "index": index, "model": "m", "level": None, **notes}


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [text.rstrip() for text in capsys.readouterr().out.splitlines() if text.strip()]


def test_a_note_of_all_structures_names_none(capsys: pytest.CaptureFixture[str]) -> None:
    print_notes([record(k, charge_source="charge=0") for k in range(5)])
    assert printed(capsys) == ["total charge: charge=0"]


def test_a_note_of_some_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    notes = ["charge=1", "charge=0", "charge=1", "charge=1", "charge=1", "charge=1"]
    print_notes([record(k, charge_source=note) for k, note in enumerate(notes)])
    assert printed(capsys) == [
        "total charge: charge=1 (structures 0, 2, 3 and 2 more)",
        "total charge: charge=0 (structure 1)",
    ]


def test_files_are_named_where_there_are_several(capsys: pytest.CaptureFixture[str]) -> None:
    print_provenance([record(0), record(0, "b.xyz", reading="a half"), record(1, "b.xyz")])
    assert printed(capsys)[1:] == ["reading: a half (b.xyz, structure 0)"]


def test_of_many_texts_the_first_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    print_provenance([record(k, geometry=f"way {k}") for k in range(20)])
    lines = printed(capsys)
    assert lines[2] == "geometry: way 0 (structure 0)"
    assert lines[-1] == "geometry: and others, see --json or --output"
    assert len(lines) == 2 + 8 + 1
