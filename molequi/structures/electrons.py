"""Where a structure states its charge and spin, and what follows when two places disagree."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import ase
import numpy as np

from molequi.errors import UserError

# Names of a total charge and of a multiplicity, in lower case, without separators.
CHARGE_NAMES = frozenset(
    "charge totalcharge netcharge molecularcharge molcharge systemcharge chrg chg qtot q "
    "pubchemtotalcharge".split()
)
# The keys under which readers leave what they found, with its place in `<what>_source`.
MAIN_KEYS = ("charge", "spin_multiplicity")
SOURCE_KEYS = ("charge_source", "multiplicity_source")
# 2S + 1; so do `spin` in FAIR chemistry's data sets and `total_spin` in MACE's.
_MULTIPLICITY_NAMES = frozenset("spinmultiplicity multiplicity mult 2s+1".split())
_SPIN_NAMES = frozenset("spin totalspin".split())
_SHORT_NAMES = frozenset("m")  # beside q; alone it may be anything
_UNPAIRED_NAMES = frozenset("uhf nopen nunpaired unpairedelectrons numunpairedelectrons".split())
# What a file says about its electrons within a twentieth of e is rounding; more is no total charge.
_TOLERANCE = 0.05
# Far beyond those of any molecule: a larger number is something else, or damage.
_MOST = 1_000_000
_SHOWN = 80  # characters of what a file states
_WRITTEN = re.compile(r"([+-]?)(\d+)([+-]?)\s*e?")


class Statement(NamedTuple):
    """A charge (e) or multiplicity, and the place that states it, in words for people."""

    value: int
    source: str


def charge_statements(atoms: ase.Atoms) -> list[Statement]:
    """Return what each place says about the total charge, e.

    Keys of `info`, the formal charges of a record with bonds, and the initial charges. Charges
    that are all zero say nothing; those that add up to no whole number are partial charges, which
    are a statement only where it is the only one.
    Raises UserError for a stated charge that is no whole number.
    """
    found = list(_stated(atoms.info, CHARGE_NAMES, "charge", int))
    if "formal_charge" in atoms.info:
        formal = whole_number(atoms.info["formal_charge"], "formal_charge")
        found.append(Statement(formal, "the formal charges of the atoms"))
    initial = atoms.get_initial_charges()
    total = total_of(initial)
    whole = nearest_whole(total)
    if whole is not None:
        if initial.any():
            found.append(Statement(whole, "the sum of the initial charges"))
    elif not found:
        raise UserError(
            f"the initial charges add up to {_shown(total)} e, not a whole number; write charge=0 "
            "or the like in the comment line"
        )
    return found


def multiplicity_statements(atoms: ase.Atoms) -> list[Statement]:
    """Return what each place says about the multiplicity, 2S + 1.

    Keys of `info` for 2S + 1 (`spin` and `total_spin` among them, as in published data sets) and
    for the number of unpaired electrons (`uhf`). Raises UserError for what cannot be one.
    """
    info = atoms.info
    return [
        *_stated(info, _MULTIPLICITY_NAMES, "multiplicity", int),
        *_stated(info, _SPIN_NAMES, "multiplicity", _from_spin),
        *_stated(info, _UNPAIRED_NAMES, "multiplicity", _from_unpaired),
        *(_stated(info, _SHORT_NAMES, "multiplicity", int) if "q" in info else ()),
    ]


def moment_statements(atoms: ase.Atoms, n_electrons: int) -> list[Statement]:
    """Return the multiplicity of the initial magnetic moments, where they are one.

    Those of a crystal are starting guesses for bands, and so are those that do not go with the
    number of electrons, as after an atom or molecule was charged. Moments that are all zero say
    nothing. Raises UserError for a molecule whose moments add up to no whole number.
    """
    moments = atoms.get_initial_magnetic_moments()
    if moments.ndim != 1 or not moments.any() or atoms.pbc.any():
        return []
    unpaired = abs(total_of(moments))
    n_unpaired = whole_number(
        unpaired, f"the sum {_shown(unpaired)} of the initial magnetic moments"
    )
    if (n_electrons + n_unpaired) % 2:
        return []
    return [Statement(1 + n_unpaired, "the initial magnetic moments")]


def agreed(statements: list[Statement], what: str, advice: str) -> Statement | None:
    """Return the first statement, None where there is none.

    Raises UserError where two differ, naming both places; `what` names the thing, `advice` says
    how to settle it.
    """
    for other in statements[1:]:
        first = statements[0]
        if other.value != first.value:
            raise UserError(
                f"two places disagree about the {what}: {first.source} says {first.value}, "
                f"{other.source} says {other.value}; {advice}"
            )
    return statements[0] if statements else None


def forget_statements(atoms: ase.Atoms) -> None:
    """Remove every statement of charge and spin from `info`, where one will be written anew."""
    for key in [key for key in atoms.info if is_electron_key(key) or key == "formal_charge"]:
        del atoms.info[key]


def is_charge_key(key: object) -> bool:
    """Tell whether `info[key]` is a total charge."""
    return _plain(key) in CHARGE_NAMES


def is_electron_key(key: object) -> bool:
    """Tell whether `info[key]` is a total charge, a multiplicity or a number of unpaired electrons.

    Of these `m`, which is one beside `q` alone, is none.
    """
    return is_charge_key(key) or _plain(key) in _MULTIPLICITY_NAMES | _SPIN_NAMES | _UNPAIRED_NAMES


def whole_number(value: object, what: str) -> int:
    """Return a whole number, also written as `2-`, `+1` or `-1 e`.

    Raises UserError that names `what`.
    """
    if isinstance(value, str):
        written = _WRITTEN.fullmatch(value.strip())
        if written and not (written[1] and written[3]):
            value = f"{written[1]}{written[3]}{written[2]}"
    if isinstance(value, bool):
        raise UserError(f"{what[:_SHOWN]} is no number")
    number = _as_float(value, what)
    whole = nearest_whole(number)
    if whole is None:
        problem = f"beyond {_MOST:,}" if abs(number) > _MOST else "not a whole number"
        raise UserError(f"{what[:_SHOWN]} is {problem}")
    return whole


def nearest_whole(value: float) -> int | None:
    """Return the whole number that a value is but for rounding; None where it is none.

    None too for one that is larger than any charge or number of unpaired electrons.
    """
    if not abs(value) <= _MOST or abs(value - round(value)) > _TOLERANCE:
        return None
    return round(value)


def total_of(values: np.ndarray | Sequence[float]) -> float:
    """Return the sum of values of atoms, infinite or NaN where damaged ones have none."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sum(values))


def _shown(total: float) -> str:
    return f"{total:.3f}" if abs(total) <= _MOST else f"{total:g}"


def _as_float(value: object, what: str) -> float:
    try:
        return float(np.asarray(value).item())
    except OverflowError:  # a whole number of hundreds of digits
        return float("inf")
    except (TypeError, ValueError):
        raise UserError(f"{what[:_SHOWN]} is not a number") from None


def _stated(
    info: Mapping[Any, Any], names: frozenset[str], what: str, convert: Callable[[float], int]
) -> Iterator[Statement]:
    """Yield the statements of the keys that are named so; `<what>_source` words the main key's."""
    for key, value in info.items():
        name = _plain(key)
        # A key without a value stands for true, which is no number; a vector is something else.
        if name not in names or isinstance(value, bool | np.bool_) or np.size(value) != 1:
            continue
        if name == "q" and not _is_whole(value):  # a coordinate, perhaps
            continue
        source = f"{key}={value}"
        if key in MAIN_KEYS:
            source = str(info.get(f"{what}_source", source))
        shown = value.item() if isinstance(value, np.generic | np.ndarray) else value
        yield Statement(_convert(value, f"{what} {shown!r} ({key})", convert), source)


def _convert(value: object, wanted: str, convert: Callable[[float], int]) -> int:
    if convert is _from_spin and not isinstance(value, str) and not _is_whole(value):
        return 1 + whole_number(2.0 * _as_float(value, wanted), wanted)  # S, a half
    return convert(whole_number(value, wanted))


def _from_spin(value: float) -> int:
    """Read 2S + 1; zero can only be S."""
    return int(value) or 1


def _from_unpaired(value: float) -> int:
    return int(value) + 1


def _plain(key: object) -> str:
    return re.sub(r"[\s_:-]+", "", str(key).lower())


def _is_whole(value: object) -> bool:
    try:
        whole_number(value, "")
    except UserError:
        return False
    return True
