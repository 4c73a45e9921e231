"""XYZ and extended XYZ: frames by their atom counts, comment lines and symbols of many programs."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator
from typing import cast

import ase
import ase.io
from ase.data import chemical_symbols

from molequi.errors import UserError
from molequi.runtime.gate import DAMAGE
from molequi.runtime.wording import counted
from molequi.structures.comments import (
    spoken_electrons,
    unread_species,
)
from molequi.structures.electrons import (
    MAIN_KEYS,
    SOURCE_KEYS,
    Statement,
    agreed,
    charge_statements,
    multiplicity_statements,
)
from molequi.structures.notation import (
    QM9_COMMENT,
    charged_name,
    refuse_other_columns,
    said_of,
)
from molequi.structures.symbols import read_symbol, set_isotopes
from molequi.structures.text import count_in, plain_numbers

_SYMBOLS = frozenset(chemical_symbols)
_SPECIES = re.compile(r"Properties=[\"']?([^\s\"']+)")
_MAY_HAVE_EXPONENT = re.compile(r"[dD^]")
_NUMBER = re.compile(r"(?i)[-+]?((\d+\.?\d*|\.\d+)(e[-+]?\d+)?|nan|inf)")
_GROUPED = re.compile(r"\s[-+.\d]*\d_\d")
_WIDEST = 9  # digits of a number of columns
_N_QM9_LINES = 3  # frequencies, SMILES and InChI follow the atoms
_BETWEEN = ("", ">")  # frames, the latter by ORCA
_HEAD = re.compile(
    r"\s*\d+[ \t]*\n.*\n\s*([A-Z][a-z]?)(?:[ \t]+[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?){3}\b"
)
_TINKER = re.compile(r"\s*\d+\s+\S.*")
_TINKER_ATOM = re.compile(r"\s*1\s+[A-Za-z]+\S*(\s+[-+.\d]+){3}")


def xyz_frames(lines: Iterator[str]) -> Iterator[ase.Atoms | str]:
    """Cut an XYZ file into frames by their atom counts.

    So that one damaged frame costs only itself, and comes as its error text.
    """
    number = 0
    for head in lines:
        number += 1
        if head.strip() in _BETWEEN:
            continue
        n_atoms = count_in(head)
        if n_atoms is None:
            yield f"line {number}: {_no_count(head, next(lines, ''))}"
            return
        block = [head, *itertools.islice(lines, n_atoms + 1)]
        if len(block) < n_atoms + 2:
            n_found = max(len(block) - 2, 0)
            yield (
                f"line {number}: the frame should have {counted(n_atoms, 'atom')} but the file "
                f"ends after {n_found}"
            )
            return
        yield _one_frame(block, number)
        number += n_atoms + 1
        if QM9_COMMENT.match(block[1]):
            number += len(list(itertools.islice(lines, _N_QM9_LINES)))


def begins_like_xyz(text: str) -> bool:
    """Tell XYZ by its first three lines: a number, a comment and the row of an atom."""
    found = _HEAD.match(text)
    return found is not None and found[1] in _SYMBOLS


def _no_count(head: str, following: str) -> str:
    if _TINKER.fullmatch(head.rstrip("\n")) and _TINKER_ATOM.match(following):
        return "the file has Tinker's format, which is not read; convert it to XYZ"
    return (
        f"expected the number of atoms, got {head.strip()[:40]!r}; the rest of the file is not read"
    )


def _one_frame(block: list[str], first_line: int) -> ase.Atoms | str:
    try:
        return _read_frame(block, first_line)
    except UserError as error:
        text = str(error)
        return text if text.startswith("line ") else f"line {first_line + 1}: {text}"
    except DAMAGE as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        return _wrong_row(block, first_line) or (
            f"line {first_line}: the frame cannot be read ({what})"
        )


def _wrong_row(block: list[str], first_line: int) -> str | None:
    """Name the first row of plain XYZ that is no symbol with three coordinates."""
    if "Properties=" in block[1]:
        return None
    for number, row in enumerate(block[2:], start=first_line + 2):
        words = plain_numbers(row).split()
        if len(words) < 4 or not all(_NUMBER.fullmatch(word) for word in words[1:4]):
            return f"line {number}: expected SYMBOL X Y Z, got {row.strip()[:60]!r}"
    return None


def _read_frame(block: list[str], first_line: int) -> ase.Atoms:
    head, comment, *rows = block
    said = said_of(comment.strip())
    keys = said.keys or ""
    if "Properties=" not in keys and said.number is None:
        refuse_other_columns(rows)
    rows, isotopes = _plain_rows(rows, keys, first_line + 2)
    text = "".join([head, f"{keys}\n", *rows])
    atoms = cast(ase.Atoms, ase.io.read(io.StringIO(text), format="extxyz"))
    _refuse_two_elements(atoms, rows, keys, first_line + 2)
    set_isotopes(atoms, isotopes)
    for key in SOURCE_KEYS:  # of another reading
        atoms.info.pop(key, None)
    if said.foreign is not None:
        atoms.positions *= said.foreign.unit
        atoms.set_cell(said.foreign.cell)
        atoms.pbc = said.foreign.cell is not None
        atoms.info["reading"] = "units and cell are those of i-PI's comment line"
    elif said.number is not None:
        atoms.info["gdb"] = said.number
    elif said.json is not None:
        atoms.info |= {key: value for key, value in said.json.items() if key not in SOURCE_KEYS}
    else:
        _listen(atoms, keys)
        _call(atoms, comment.strip())
    return atoms


def _plain_rows(rows: list[str], keys: str, first_line: int) -> tuple[list[str], list[int]]:
    """Return the rows as ASE reads them, and the mass number of each atom, 0 for the mixture."""
    rows = [plain_numbers(row) if _MAY_HAVE_EXPONENT.search(row) else row for row in rows]
    _refuse_columns(keys, rows, first_line)
    _refuse_grouped(rows, first_line)
    column = _species_column(keys)
    isotopes = [0] * len(rows)
    if column is None:
        return rows, isotopes
    for index, row in enumerate(rows):
        words = row.split()
        symbol = words[column] if column < len(words) else ""
        if not symbol or symbol in _SYMBOLS:
            continue
        try:
            element = read_symbol(symbol)
        except UserError as error:
            raise UserError(f"line {first_line + index}: {error}") from error
        words[column], isotopes[index] = chemical_symbols[element.number], element.isotope
        rows[index] = " ".join(words) + "\n"
    return rows, isotopes


def _refuse_grouped(rows: list[str], first_line: int) -> None:
    """Refuse digits with _ between them, as in 1_000: a number to Python, and to nobody else."""
    for number, row in enumerate(rows, start=first_line):
        if "_" in row and _GROUPED.search(row):
            raise UserError(f"line {number}: {row.strip()[:60]!r} has digits with _")


def _refuse_columns(keys: str, rows: list[str], first_line: int) -> None:
    """Refuse a Properties= that names more columns than there are, or none: ASE makes them all."""
    found = _SPECIES.search(keys)
    if found is None or not rows:
        return
    widths = found[1].split(":")[2::3]
    if not all(width.isdecimal() and 0 < len(width) < _WIDEST for width in widths):
        raise UserError(f"line {first_line - 1}: Properties={found[1][:60]} is not NAME:TYPE:WIDTH")
    n_columns = sum(map(int, widths))
    if n_columns > len(rows[0].split()) and n_columns > max(len(row.split()) for row in rows):
        raise UserError(
            f"line {first_line - 1}: Properties names {n_columns} columns, more than any row has"
        )


def _species_column(keys: str) -> int | None:
    """Return the column of the symbols; None where the file has atomic numbers in their place."""
    found = _SPECIES.search(keys)
    if found is None:
        return 0
    fields = found[1].split(":")
    column = 0
    for name, width in zip(fields[::3], fields[2::3], strict=False):
        if name.lower() in {"species", "symbols", "element"}:
            return column
        column += int(width)
    return None


def _refuse_two_elements(atoms: ase.Atoms, rows: list[str], keys: str, first_line: int) -> None:
    """Refuse a row whose symbol and atomic number, in columns of their own, disagree."""
    column = _species_column(keys)
    if column is None or "Properties=" not in keys:
        return
    for number, (row, found) in enumerate(zip(rows, atoms.symbols, strict=False), first_line):
        symbol = row.split()[column]
        if symbol != found:
            raise UserError(f"line {number}: the symbol says {symbol}, the atomic number {found}")


def _call(atoms: ase.Atoms, comment: str) -> None:
    """Take a comment of words alone for the name, in the place of a flag for each word.

    What states charge or spin is no name.
    """
    is_statement = any(key in atoms.info for key in MAIN_KEYS)
    if "=" in comment or is_statement or not any(map(str.isalpha, comment)):
        return
    for word in [word for word, value in atoms.info.items() if value is True and word in comment]:
        del atoms.info[word]
    atoms.info["name"] = comment


def _listen(atoms: ase.Atoms, comment: str) -> None:
    """Add what words of the comment say about charge and spin, beside its keys.

    Raises UserError where words and keys disagree.
    """
    spoken = spoken_electrons(comment, int(atoms.numbers.sum()))
    places = (charge_statements, multiplicity_statements)
    for value, keyed, key, source in zip(spoken, places, MAIN_KEYS, SOURCE_KEYS, strict=True):
        if value is None:
            continue
        words = Statement(value, "the words of the comment line")
        statements = keyed(atoms)
        agreed([*statements, words], key.replace("_", " "), "say it once")
        if not statements:
            atoms.info[key], atoms.info[source] = words
    species = unread_species(comment) or charged_name(comment, atoms.numbers)
    if species and not any(statements(atoms) for statements in places):
        atoms.info["reading"] = (
            f"the comment line speaks of {species!r} but states no charge or multiplicity, which "
            "are taken as 0 and the lowest; write charge=-1 multiplicity=1 or the like"
        )
