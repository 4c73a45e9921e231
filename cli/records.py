"""What commands say of a record per structure: which failed, where the values come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from molequi.cli.output import line, say
from molequi.errors import UserError
from molequi.runtime.wording import named_error

Record = Mapping[str, Any]
_MOST_NOTES = 8  # of one kind are said
_MOST_NAMED = 3  # structures of a note are named
_NOTES = (
    ("charge_source", "total charge"),
    ("multiplicity_source", "multiplicity"),
    ("geometry", "geometry"),
    ("open_stereo", "configurations left open, and chosen"),
    ("rotation_note", "sign of the rotation"),
    ("reading", "reading"),
    ("dipole_origin", "origin of the dipoles of ions"),
    ("unsafe", "outside the model, unsafe"),
)


class Tally:
    """What is to be said of records that pass by: how many failed, and what the others share.

    It keeps none of them. A failure is said when it comes; that of the first record is kept back,
    as it is the error of the command where it stays alone.
    """

    def __init__(self) -> None:
        self.n_all = self.n_good = self.n_unlike = 0
        self.model, self.level = "", None
        self.sources: dict[str, None] = {}
        self._first: str | None = None
        self._notes = {key: _Notes() for key, _ in _NOTES}

    @property
    def n_failed(self) -> int:
        """How many have an error."""
        return self.n_all - self.n_good

    def take(self, record: Record) -> bool:
        """Count a record; tell whether it is good."""
        self.n_all += 1
        if self._first is not None:
            say(f"error: {self._first}")
            self._first = None
        if "error" in record:
            error = _error_of(record)
            if self.n_all == 1:
                self._first = error
            else:
                say(f"error: {error}")
            return False
        self.n_good += 1
        self.n_unlike += record.get("unlike_training") is True
        self.model, self.level = record["model"], record["level"]
        self.sources[record["source"]] = None
        for key, notes in self._notes.items():
            notes.take(record.get(key), record)
        return True

    def require_good(self) -> None:
        """Raise UserError where every record failed."""
        if self._first is not None:
            raise UserError(self._first)
        if not self.n_good:
            raise UserError(
                f"none of the {self.n_all} structures could be computed; the lines above say why"
            )

    def print_provenance(self, *, with_source: bool) -> None:
        """Say once what the rows share: model, level, source, charges, spins, geometries."""
        line(f"model {self.model}; level: {self.level or 'not stated'}")
        if with_source:
            line(f"source: {next(iter(self.sources))}")
        for key, heading in _NOTES:
            self._notes[key].print(heading, with_source=not with_source)


class _Notes:
    """What is to be said of one kind: each text once, with the structures that it is of."""

    def __init__(self) -> None:
        self.n_taken = 0
        self._texts: dict[str, list[Record]] = {}
        self._counts: dict[str, int] = {}

    def take(self, text: str | None, record: Record) -> None:
        """Take what a structure has to say, if anything; of many texts the first ones are kept."""
        self.n_taken += 1
        if text is None or (text not in self._texts and len(self._texts) > _MOST_NOTES):
            return
        self._counts[text] = self._counts.get(text, 0) + 1
        named = self._texts.setdefault(text, [])
        if len(named) < _MOST_NAMED:
            named.append({key: record[key] for key in ("source", "index") if key in record})

    def print(self, heading: str, *, with_source: bool) -> None:
        """Say each text, up to so many: of thousands of molecules each may have its own."""
        for number, (text, named) in enumerate(self._texts.items()):
            if number == _MOST_NOTES:
                line(f"{heading}: and others, see --json or --output")
                break
            line(f"{heading}: {text}{self._whose(text, named, with_source)}")

    def _whose(self, text: str, named: Sequence[Record], with_source: bool) -> str:
        """Name the structures that a text is of, where it is not of all of them."""
        if self._counts[text] == self.n_taken or any("index" not in one for one in named):
            return ""
        names = [
            f"{one['source']}, structure {one['index']}" if with_source else str(one["index"])
            for one in named
        ]
        n_more = self._counts[text] - len(names)
        listed = ("; " if with_source else ", ").join(names) + (
            f" and {n_more} more" * (n_more > 0)
        )
        word = "" if with_source else "structure " if self._counts[text] == 1 else "structures "
        return f" ({word}{listed})"


def errors_of(records: Sequence[Record]) -> list[str]:
    """Return a line for each record with an error."""
    return [_error_of(record) for record in records if "error" in record]


def _error_of(record: Record) -> str:
    source = record["source"]
    return named_error(f"{source}, structure {record['index']}", source, record["error"])


def require_good(records: Sequence[Record]) -> list[Record]:
    """Return the records without error; the others are listed.

    Raises UserError where all failed.
    """
    tally = Tally()
    good = [record for record in records if tally.take(record)]
    tally.require_good()
    return good


def hidden_source(records: Sequence[Record]) -> tuple[str, ...]:
    """Name the column that says nothing where all rows come from one source."""
    return ("source",) if _have_one_source(records) else ()


def _have_one_source(records: Sequence[Record]) -> bool:
    return len({record.get("source") for record in records}) == 1


def print_provenance(records: Sequence[Record]) -> None:
    """Say once what the rows of a table share; see `Tally`."""
    tally = Tally()
    for record in records:
        tally.take(record)
    tally.print_provenance(with_source=bool(hidden_source(records)))


def print_notes(records: Sequence[Record]) -> None:
    """Say once where charges, spins and geometries come from."""
    for key, heading in _NOTES:
        notes = _Notes()
        for record in records:
            notes.take(record.get(key), record)
        notes.print(heading, with_source=not _have_one_source(records))
