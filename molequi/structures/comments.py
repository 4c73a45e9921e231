"""What the comment line of an XYZ file says, in the spellings of several programs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase import units
from ase.geometry import cellpar_to_cell

from molequi.errors import UserError
from molequi.structures.electrons import whole_number
from molequi.structures.keys import QUOTED

_KEY_VALUE = re.compile(r"\S+=\S*")
_VALUE = r"([+-]?\d+(?:\.0*)?(?![\w.])|\d+[+-](?!\w)|[+-]\d+e?(?![\w.]))"
_WHOLE = r"(?<![\w-])(?:(?:tot(?:al)?|net|mol(?:ecul(?:e|ar))?|system)[\s_-]*)?"
_CHARGE = re.compile(
    rf"(?i){_WHOLE}(?:charge|chrg|chg)(?:\s*[:(]\s*|\s+(?:is\s+|of\s+)?){_VALUE}"
    rf"|(?<![\w-])q(?:tot)?\s*:\s*{_VALUE}"
)
_SPIN = re.compile(
    rf"(?i)(?<![\w-])(?:spin[\s_-]*)?(?:multiplicity|mult|2s\+1)(?:\s*:\s*|\s+(?:is\s+|of\s+)?)"
    rf"{_VALUE}|{_WHOLE}spin\s*:\s*{_VALUE}|(?:charge|chg)\W*\d+[\s,;]+spin\s+{_VALUE}"
)
_UNPAIRED = re.compile(rf"(?i)(?<![\w-])(?:uhf|nopen)\s*:\s*{_VALUE}")
_UNREAD = re.compile(
    r"(?i)(?<![\w-])(?:(?:charge|chrg|multiplicity)\s*:\s*(?![\s+-]*\d)\S+|spin\s*:\s*\d+/\d+)"
)
_BOTH = re.compile(
    r"(?i)(?<![\w-])charge\s*(?:/|,|&|and|\s)\s*(?:spin[\s-]*)?mult(?:iplicity)?\s*[:=]?\s*"
    r"([+-]?\d+)[\s,;/]+(\d+)(?![\w.])"
)
_PAIR = re.compile(r"\s*([+-]?\d+)[\s,;]+(\d+)\s*|\s*([+-]\d+)[\s,;]+(\d+)(?![\d.]).*")
_SPECIES = re.compile(
    r"(?i)\b(mono|di|tri)?(anion|cation)s?(ic)?\b|\b(de)?protonated\b|\bradical\b"
    r"|\b(doublet|triplet|quartet|quintet)\b"
    r"|\w*charge\s*:\s*[+-]?[1-9]\d*(?![\w.])"
)
_SIGNED = re.compile(r"\s*([+-]\d+|\d+[+-])\s*")
# Larger numbers in a comment are steps or times, not a charge and a multiplicity.
_LARGEST = 9
# The numbers of an XYZ file by i-PI: a cell by lengths and angles, or as a diagonal matrix.
_IPI_CELL = re.compile(r"CELL[(\[{](abcABC|GENH|H)[)\]}]:?\s*((?:[-+0-9.eE]+\s+){5,8}[-+0-9.eE]+)")
_IPI_UNIT = re.compile(r"\b(positions|cell)[({](\w+)[)}]")
_IPI_OTHER = re.compile(r"\b(velocities|momenta|forces|energy)[({]\w+[)}]")
_LENGTHS = {
    "angstrom": 1.0,
    "atomic_unit": units.Bohr,
    "automatic": units.Bohr,
    "bohr": units.Bohr,
    "nanometer": units.nm,
    "picometer": 1e-2,
    "meter": units.m,
}


class SpokenElectrons(NamedTuple):
    """Charge (e) and multiplicity as words of a comment state them, None where they do not."""

    charge: int | None = None
    multiplicity: int | None = None


def spoken_electrons(comment: str, n_protons: int) -> SpokenElectrons:
    """Read `-2 1`, `charge: -2`, `charge -2 multiplicity 1`, `-2` and the like.

    What stands with `=` is a key, and not looked at.

    A word without a value says nothing. n_protons: sum of the atomic numbers.
    Raises UserError for what seems to state a charge and cannot be read.
    """
    words = _KEY_VALUE.sub(" ", QUOTED.sub("''", comment))
    both = _BOTH.search(words)
    if both:
        return SpokenElectrons(int(both[1]), int(both[2]))
    pair, signed = _PAIR.fullmatch(words), _SIGNED.fullmatch(words)
    if pair:
        return _from_pair(int(pair[1] or pair[3]), int(pair[2] or pair[4]), n_protons)
    if signed:
        return SpokenElectrons(whole_number(signed[1], "the comment"))
    unread = _UNREAD.search(words)
    if unread:
        raise UserError(
            f"the comment line seems to state a charge or multiplicity that cannot be read "
            f"({unread[0]!r}); write charge=-2 multiplicity=1"
        )
    spin, unpaired = _first(_SPIN, words), _first(_UNPAIRED, words)
    if spin is None and unpaired is not None:
        spin = unpaired + 1
    return SpokenElectrons(_first(_CHARGE, words), spin)


def unread_species(comment: str) -> str:
    """Return the word of a comment that names an ion or a spin without a number, or nothing."""
    found = _SPECIES.search(comment)
    return found[0] if found else ""


def _from_pair(charge: int, multiplicity: int, n_protons: int) -> SpokenElectrons:
    if abs(charge) > _LARGEST or not 1 <= multiplicity <= _LARGEST:
        return SpokenElectrons()
    if (n_protons - charge + multiplicity) % 2 == 0:
        raise UserError(
            f"the comment line {charge} {multiplicity} looks like a charge and a multiplicity, but "
            f"{multiplicity} does not go with {n_protons - charge} electrons; write "
            f"charge={charge} multiplicity=2S+1, or a comment of another kind"
        )
    return SpokenElectrons(charge, multiplicity)


def _first(pattern: re.Pattern[str], words: str) -> int | None:
    match = pattern.search(words)
    if match is None:
        return None
    return whole_number(next(text for text in match.groups() if text), match[0])


class ForeignGeometry(NamedTuple):
    """What i-PI's comment says: the cell (3, 3), Å, or None, and one unit of the file in Å."""

    cell: np.ndarray | None
    unit: float


def ipi_geometry(comment: str) -> ForeignGeometry | None:
    """Read `# CELL(abcABC): a b c alpha beta gamma ... positions{unit} cell{unit}`.

    Without a unit i-PI means bohr. None where the comment is none of i-PI's.
    Raises UserError for a cell matrix that is not diagonal, whose order of rows and columns
    programs write either way, for unknown units, and for what are not positions.
    """
    cell = _IPI_CELL.search(comment)
    named = dict(_IPI_UNIT.findall(comment))
    if cell is None and "positions" not in named:
        return None
    other = _IPI_OTHER.search(comment)
    if other:
        raise UserError(f"the frame holds {other[1]} by i-PI, no positions")
    unit, cell_unit = (_length(named.get(name, "atomic_unit")) for name in ("positions", "cell"))
    if cell is None:
        return ForeignGeometry(None, unit)
    numbers = np.array(cell[2].split(), dtype=np.float64)
    return ForeignGeometry(_matrix(cell[1], numbers) * cell_unit, unit)


def cell_of(lengths: Sequence[float], angles: Sequence[float]) -> np.ndarray:
    """Return the cell vectors, (3, 3), of three lengths and three angles, degrees.

    Raises UserError where no parallelepiped has them.
    """
    try:
        with np.errstate(all="ignore"):
            cell = np.asarray(cellpar_to_cell([*lengths, *angles]))
    except AssertionError:  # ASE finds no third vector
        cell = np.full((3, 3), np.nan)
    if not np.isfinite(cell).all() or min(lengths) <= 0.0:
        sizes, between = (", ".join(f"{x:g}" for x in part) for part in (lengths, angles))
        raise UserError(f"no cell has the lengths {sizes} and the angles {between}°")
    return cell


def _matrix(kind: str, numbers: np.ndarray) -> np.ndarray:
    if kind == "abcABC":
        return cell_of(numbers[:3].tolist(), numbers[3:6].tolist())
    matrix = numbers.reshape(3, 3) if numbers.size == 9 else np.ones((3, 3))
    if np.abs(matrix - np.diag(np.diag(matrix))).max() > 0.0:
        raise UserError(
            f"the cell CELL({kind}) is not diagonal, and its order is not certain; write "
            'Lattice="ax ay az bx by bz cx cy cz" in Å'
        )
    return matrix


def _length(name: str) -> float:
    if name not in _LENGTHS:
        raise UserError(f"the unit of length {name!r} is not known; known: {', '.join(_LENGTHS)}")
    return _LENGTHS[name]
