"""Reads units as chemists write them, and the factor from one to another."""

from __future__ import annotations

import difflib
import re
import unicodedata
from typing import NamedTuple

from ase import units

from molequi.errors import UserError

# Powers of (energy, length, charge, temperature, mass, time).
_Dimension = tuple[int, ...]
_NONE: _Dimension = (0, 0, 0, 0, 0, 0)
_ENERGY: _Dimension = (1, 0, 0, 0, 0, 0)
_LENGTH: _Dimension = (0, 1, 0, 0, 0, 0)
_CHARGE: _Dimension = (0, 0, 1, 0, 0, 0)
_DIPOLE: _Dimension = (0, 1, 1, 0, 0, 0)
_KELVIN: _Dimension = (0, 0, 0, 1, 0, 0)
_MASS: _Dimension = (0, 0, 0, 0, 1, 0)
_TIME: _Dimension = (0, 0, 0, 0, 0, 1)
_PRESSURE: _Dimension = (1, -3, 0, 0, 0, 0)
_PER_VOLUME: _Dimension = (0, -3, 0, 0, 0, 0)
_LITRE = 1e27  # Å³


class _Unit(NamedTuple):
    """A unit as so many eV, Å, e, K, amu, fs, and what it measures."""

    size: float
    dimension: _Dimension

    def times(self, other: _Unit, power: int) -> _Unit:
        """Multiply with a power of another unit."""
        powers = zip(self.dimension, other.dimension, strict=True)
        dimension = tuple(mine + power * theirs for mine, theirs in powers)
        return _Unit(self.size * other.size**power, dimension)


class _Parsed(NamedTuple):
    """A unit, and the tokens behind it that are still to be read."""

    unit: _Unit
    rest: list[str]


# A factor is a plain ratio of sizes; "mol" counts Avogadro's number.
_UNITS: dict[str, _Unit] = {
    "eV": _Unit(1.0, _ENERGY),
    "meV": _Unit(1e-3, _ENERGY),
    "Ha": _Unit(units.Hartree, _ENERGY),
    "mHa": _Unit(1e-3 * units.Hartree, _ENERGY),
    "uHa": _Unit(1e-6 * units.Hartree, _ENERGY),
    "Ry": _Unit(units.Rydberg, _ENERGY),
    "J": _Unit(units.J, _ENERGY),
    "aJ": _Unit(1e-18 * units.J, _ENERGY),
    "kJ": _Unit(units.kJ, _ENERGY),
    "cal": _Unit(units.kcal / 1000, _ENERGY),
    "kcal": _Unit(units.kcal, _ENERGY),
    "cm-1": _Unit(units.invcm, _ENERGY),
    "mol": _Unit(units.mol, _NONE),
    "M": _Unit(units.mol / _LITRE, _PER_VOLUME),
    "mM": _Unit(1e-3 * units.mol / _LITRE, _PER_VOLUME),
    "uM": _Unit(1e-6 * units.mol / _LITRE, _PER_VOLUME),
    "nM": _Unit(1e-9 * units.mol / _LITRE, _PER_VOLUME),
    "L": _Unit(_LITRE, (0, 3, 0, 0, 0, 0)),
    "Å": _Unit(1.0, _LENGTH),
    "bohr": _Unit(units.Bohr, _LENGTH),
    "nm": _Unit(units.nm, _LENGTH),
    "pm": _Unit(1e-2, _LENGTH),
    "cm": _Unit(1e8, _LENGTH),
    "m": _Unit(units.m, _LENGTH),
    "e": _Unit(1.0, _CHARGE),
    "C": _Unit(units.C, _CHARGE),
    "D": _Unit(units.Debye, _DIPOLE),
    "mD": _Unit(1e-3 * units.Debye, _DIPOLE),
    "K": _Unit(1.0, _KELVIN),
    "kB": _Unit(units.kB, (1, 0, 0, -1, 0, 0)),
    "amu": _Unit(1.0, _MASS),
    "fs": _Unit(1.0, _TIME),
    "ps": _Unit(1e3, _TIME),
    "Pa": _Unit(units.Pascal, _PRESSURE),
    "GPa": _Unit(units.GPa, _PRESSURE),
    "bar": _Unit(units.bar, _PRESSURE),
    "kbar": _Unit(1e3 * units.bar, _PRESSURE),
    "1": _Unit(1.0, _NONE),
}
_SPELLINGS = {
    "hartree": "Ha", "hartrees": "Ha", "ha": "Ha", "eh": "Ha", "mhartree": "mHa", "meh": "mHa",
    "ueh": "uHa", "ev": "eV", "mev": "meV", "rydberg": "Ry", "angstrom": "Å", "angstroms": "Å",
    "ang": "Å", "a": "Å", "å": "Å", "a0": "bohr", "bohrs": "bohr", "debye": "D", "debyes": "D",
    "invcm": "cm-1", "u": "amu", "da": "amu", "gpa": "GPa", "kelvin": "K", "joule": "J",
    "electron": "e",
}  # fmt: skip
# Concentrations differ from lengths by case alone.
_AS_WRITTEN = {"M", "mM", "uM", "nM", "L"}
_LOWER = {name.lower(): name for name in _UNITS if name not in _AS_WRITTEN}
_ATOMIC = {"au", "a.u.", "a.u", "atomicunits"}
# Their zero is not that of K, so that no factor turns them into it.
_DEGREES = {"°c", "℃", "degc", "celsius", "°f", "℉", "degf", "fahrenheit"}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
# One factor of a unit: a name, a pure number or a bracket, each with its power; anything else is a
# token that fails.
_TOKEN = re.compile(
    r"1/cm\b(?!\^|\*\*)|cm(?:\^|\*\*)?-1|10(?:\^|\*\*)-?\d\d?|e(?=a0|[ÅA]\b)|a0|[A-Za-zÅ]+"
    r"|(?:\^|\*\*)-?\d+|-?\d+|\S"
)
_OF_ONE = re.compile(r"/\s*(?:particle|molecule)\b", re.IGNORECASE)  # as all are without mol
_MICRO = re.compile("[\u03bc\u00b5](?=[A-Za-z])")  # the letter mu, and the sign
_EXAMPLE = "write for example eV, kcal/mol/Å or e*bohr"


def conversion_factor(given: str, wanted: str) -> float:
    """Return the factor that turns numbers in `given` into numbers in `wanted`.

    `a.u.` is the atomic unit of the same thing. A minus before the unit turns the sign, as
    programs do that give a pressure for a stress: `-kbar`.

    Raises UserError for a unit that cannot be read or measures something else.
    """
    if given.strip().startswith("-"):
        return -conversion_factor(given.strip()[1:], wanted)
    if _plain(given) == _plain(wanted):
        return 1.0
    if _plain(given).lower() in _DEGREES:
        raise UserError(f"unit {given!r} has another zero than {wanted!r}; convert the numbers")
    _refuse_without_mole(given, wanted)
    reference, expected = _parse(wanted)
    if _plain(given).lower() in _ATOMIC and not any(expected[3:]):
        return units.Hartree ** expected[0] * units.Bohr ** expected[1] / reference
    factor, dimension = _parse(given)
    if dimension != expected:
        raise UserError(
            f"unit {given!r} does not measure the same thing as {wanted!r}; give a unit that "
            f"converts to {wanted!r}"
        )
    return factor / reference


def is_unit(text: str) -> bool:
    """Tell whether a text is a unit that can be read, and no mere number."""
    if not any(map(str.isalpha, text)):
        return False
    try:
        _parse(text)
    except UserError:
        return _plain(text).lower() in _ATOMIC | _DEGREES
    return True


def _refuse_without_mole(given: str, wanted: str) -> None:
    """Refuse kcal and kJ for one molecule: nobody has computed 1e22 eV."""
    words = set(re.findall("[a-z]+", given.lower()))
    molar = words & {"kcal", "cal", "kj"}
    if molar and "mol" not in words and not molar & set(re.findall("[a-z]+", wanted.lower())):
        raise UserError(
            f"unit {given!r} without mol would be that of a single molecule; write for example "
            "kcal/mol or kJ/mol/Å"
        )


def _plain(text: str) -> str:
    return "".join(text.split())


def _parse(text: str) -> _Unit:
    """Evaluate products, quotients, brackets and whole powers of known units.

    A space multiplies.
    """
    spelled = (
        unicodedata.normalize("NFC", text)
        .replace("\u212b", "Å")
        .replace("[", "(")
        .replace("]", ")")
        .replace("E_h", "Eh")
    )
    spelled = _OF_ONE.sub("", _MICRO.sub("u", spelled))
    spelled = re.sub(
        "[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda match: "^" + match.group().translate(_SUPERSCRIPTS), spelled
    )
    unit, rest = _product(_TOKEN.findall(spelled), text)
    if rest or not spelled.strip():
        raise UserError(f"unit {text!r} cannot be read; {_EXAMPLE}")
    return unit


def _product(tokens: list[str], text: str) -> _Parsed:
    product = _Unit(1.0, _NONE)
    while tokens and tokens[0] != ")":
        sign = -1 if tokens[0] == "/" else 1
        if tokens[0] in {"*", "·", "⋅", ".", "/"}:
            tokens = tokens[1:]
        unit, tokens = _term(tokens, text)
        if tokens and re.fullmatch(r"(?:\^|\*\*)?-?\d+", tokens[0]):
            sign, tokens = sign * int(tokens[0].lstrip("^*")), tokens[1:]
        product = product.times(unit, sign)
    return _Parsed(product, tokens)


def _term(tokens: list[str], text: str) -> _Parsed:
    if not tokens:
        raise UserError(f"unit {text!r} ends too early; {_EXAMPLE}")
    if tokens[0] == "(":
        unit, rest = _product(tokens[1:], text)
        if not rest:
            raise UserError(f"unit {text!r} has an open bracket; {_EXAMPLE}")
        return _Parsed(unit, rest[1:])
    return _Parsed(_lookup(tokens[0], text), tokens[1:])


def _lookup(token: str, text: str) -> _Unit:
    if token.startswith(("10^", "10*")):
        return _Unit(10.0 ** int(token[2:].lstrip("^*")), _NONE)
    name = "cm-1" if token == "1/cm" or re.fullmatch(r"cm\W+1", token) else token
    name = name if name in _UNITS else _SPELLINGS.get(name.lower(), _LOWER.get(name.lower(), name))
    if name in _UNITS:
        return _UNITS[name]
    near = difflib.get_close_matches(name, [*_UNITS, *_SPELLINGS], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_UNITS)}"
    raise UserError(f"unit {text!r}: {token!r} is not known; {hint}")
