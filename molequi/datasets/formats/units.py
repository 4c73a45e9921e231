"""Reads units as chemists write them, and the factor from one to another."""

from __future__ import annotations

import difflib
import re
import unicodedata

from ase import units

from molequi.errors import UserError

# Dimensions are counted as powers of (energy, length, charge, temperature, mass, time).
_Dimension = tuple[int, int, int, int, int, int]
_NONE: _Dimension = (0, 0, 0, 0, 0, 0)
_ENERGY: _Dimension = (1, 0, 0, 0, 0, 0)
_LENGTH: _Dimension = (0, 1, 0, 0, 0, 0)
_CHARGE: _Dimension = (0, 0, 1, 0, 0, 0)
_DIPOLE: _Dimension = (0, 1, 1, 0, 0, 0)
_KELVIN: _Dimension = (0, 0, 0, 1, 0, 0)
_MASS: _Dimension = (0, 0, 0, 0, 1, 0)
_TIME: _Dimension = (0, 0, 0, 0, 0, 1)
_PRESSURE: _Dimension = (1, -3, 0, 0, 0, 0)

# Value in eV, Å, e, K, amu, fs, so that a factor is a plain ratio; "mol" counts Avogadro's number.
_UNITS: dict[str, tuple[float, _Dimension]] = {
    "eV": (1.0, _ENERGY),
    "meV": (1e-3, _ENERGY),
    "Ha": (units.Hartree, _ENERGY),
    "mHa": (1e-3 * units.Hartree, _ENERGY),
    "Ry": (units.Rydberg, _ENERGY),
    "J": (units.J, _ENERGY),
    "kJ": (units.kJ, _ENERGY),
    "cal": (units.kcal / 1000, _ENERGY),
    "kcal": (units.kcal, _ENERGY),
    "cm-1": (units.invcm, _ENERGY),
    "mol": (units.mol, _NONE),
    "Å": (1.0, _LENGTH),
    "bohr": (units.Bohr, _LENGTH),
    "nm": (units.nm, _LENGTH),
    "pm": (1e-2, _LENGTH),
    "m": (units.m, _LENGTH),
    "e": (1.0, _CHARGE),
    "C": (units.C, _CHARGE),
    "D": (units.Debye, _DIPOLE),
    "K": (1.0, _KELVIN),
    "amu": (1.0, _MASS),
    "fs": (1.0, _TIME),
    "ps": (1e3, _TIME),
    "Pa": (units.Pascal, _PRESSURE),
    "GPa": (units.GPa, _PRESSURE),
    "bar": (units.bar, _PRESSURE),
    "1": (1.0, _NONE),
}
_SPELLINGS = {
    "hartree": "Ha", "hartrees": "Ha", "ha": "Ha", "eh": "Ha", "mhartree": "mHa", "ev": "eV",
    "mev": "meV", "rydberg": "Ry", "angstrom": "Å", "angstroms": "Å", "ang": "Å", "a": "Å",
    "å": "Å", "a0": "bohr", "bohrs": "bohr", "debye": "D", "debyes": "D", "invcm": "cm-1",
    "u": "amu", "da": "amu", "gpa": "GPa", "kelvin": "K", "joule": "J", "electron": "e",
}  # fmt: skip
_LOWER = {name.lower(): name for name in _UNITS}
_ATOMIC = {"au", "a.u.", "atomicunits"}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
# One factor of a unit: a name, a pure number or a bracket, each with its power; anything else is a
# token that fails.
_TOKEN = re.compile(r"cm(?:\^|\*\*)?-1|a0|[A-Za-zÅ]+|(?:\^|\*\*)-?\d+|-?\d+|\S")
_EXAMPLE = "write for example eV, kcal/mol/Å or e*bohr"


def conversion_factor(given: str, wanted: str) -> float:
    """Return the factor that turns numbers in `given` into numbers in `wanted`.

    `a.u.` is the atomic unit of the same thing.

    Raises UserError for a unit that cannot be read or measures something else.
    """
    if _plain(given) == _plain(wanted):
        return 1.0
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


def _plain(text: str) -> str:
    return "".join(text.split())


def _parse(text: str) -> tuple[float, _Dimension]:
    """Evaluate products, quotients, brackets and whole powers of known units.

    A space multiplies.
    """
    spelled = (
        unicodedata.normalize("NFC", text)
        .replace("\u212b", "Å")
        .replace("[", "(")
        .replace("]", ")")
    )
    spelled = re.sub(
        "[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda match: "^" + match.group().translate(_SUPERSCRIPTS), spelled
    )
    factor, dimension, rest = _product(_TOKEN.findall(spelled), text)
    if rest or not spelled.strip():
        raise UserError(f"unit {text!r} cannot be read; {_EXAMPLE}")
    return factor, dimension


def _product(tokens: list[str], text: str) -> tuple[float, _Dimension, list[str]]:
    factor, dimension = 1.0, _NONE
    while tokens and tokens[0] != ")":
        sign = -1 if tokens[0] == "/" else 1
        if tokens[0] in {"*", "·", "⋅", "/"}:
            tokens = tokens[1:]
        value, power, tokens = _term(tokens, text)
        if tokens and re.fullmatch(r"(?:\^|\*\*)?-?\d+", tokens[0]):
            sign, tokens = sign * int(tokens[0].lstrip("^*")), tokens[1:]
        factor *= value**sign
        dimension = tuple(a + sign * b for a, b in zip(dimension, power, strict=True))  # type: ignore[assignment]
    return factor, dimension, tokens


def _term(tokens: list[str], text: str) -> tuple[float, _Dimension, list[str]]:
    if not tokens:
        raise UserError(f"unit {text!r} ends too early; {_EXAMPLE}")
    if tokens[0] == "(":
        factor, dimension, rest = _product(tokens[1:], text)
        if not rest:
            raise UserError(f"unit {text!r} has an open bracket; {_EXAMPLE}")
        return factor, dimension, rest[1:]
    return *_lookup(tokens[0], text), tokens[1:]


def _lookup(token: str, text: str) -> tuple[float, _Dimension]:
    name = "cm-1" if token.startswith("cm") and token.endswith("1") else token
    name = name if name in _UNITS else _SPELLINGS.get(name.lower(), _LOWER.get(name.lower(), name))
    if name in _UNITS:
        return _UNITS[name]
    near = difflib.get_close_matches(name, [*_UNITS, *_SPELLINGS], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_UNITS)}"
    raise UserError(f"unit {text!r}: {token!r} is not known; {hint}")
