"""Crystallographic files whose crystal ASE would take for another one.

Names of data: International Union of Crystallography, core CIF dictionary.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers
from ase.io.cif import parse_cif

from molequi.errors import UserError
from molequi.structures.formats import open_binary
from molequi.structures.text import decode

# What ASE reads symmetry from.
_SYMMETRY = (
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
    "_space_group.it_number",
    "_space_group_it_number",
    "_symmetry_int_tables_number",
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group.patterson_name_h-m",
)
_NAMED = re.compile(r"_(?:symmetry|space_group)[._].*(?:name|number).*")
_NONE = (".", "?", "", "0")
# Never meant by a label in capitals: HO1 is a hydrogen at an oxygen.
_UNLIKELY = ("He", "Ho", "Hf")
_HEAVIEST = 94


def crystal_faults(path: Path) -> list[tuple[str | None, str | None]]:
    """Return for each structure of a CIF what is wrong with it, and what is to be said of it.

    Raises UserError for a site without coordinates, at which ASE stumbles.
    """
    with open_binary(path) as handle:
        text = decode(handle.read())
    blocks = [block for block in parse_cif(io.StringIO(text)) if block.has_structure()]
    for block in blocks:
        _refuse_unknown_coordinates(block)
    return [(_fault(block), _without_symmetry(block)) for block in blocks]


def _refuse_unknown_coordinates(block: Mapping[str, Any]) -> None:
    for axis in ("fract_x", "fract_y", "fract_z", "cartn_x", "cartn_y", "cartn_z"):
        for index, value in enumerate(_column(block, f"_atom_site_{axis}")):
            if value in _NONE[:2]:
                label = [*_column(block, "_atom_site_label"), *[str(index)] * (index + 1)][index]
                raise UserError(f"site {label} has no coordinates ({value}); complete or remove it")


def _fault(block: Mapping[str, Any]) -> str | None:
    return _unread_symmetry(block) or _uncertain_element(block) or _alternatives(block)


def _unread_symmetry(block: Mapping[str, Any]) -> str | None:
    """Refuse a space group that is stated by a name that ASE does not read."""
    if any(name in block for name in _SYMMETRY):
        return None
    for name, value in block.items():
        group = str(value).replace(" ", "").strip("'\"").upper()
        if _NAMED.fullmatch(name) and group not in {"P1", "1", "?", "."}:
            return (
                f"{name} states the space group {value}, whose operations are not read; add them "
                "as _space_group_symop_operation_xyz"
            )
    return None


def _without_symmetry(block: Mapping[str, Any]) -> str | None:
    if any(name in _SYMMETRY or _NAMED.fullmatch(name) for name in block):
        return None
    return "the CIF states no symmetry: its sites are taken for all atoms of the cell"


def _uncertain_element(block: Mapping[str, Any]) -> str | None:
    """Refuse an element in capitals, of which ASE takes the first letter."""
    name = "_atom_site_type_symbol" if "_atom_site_type_symbol" in block else "_atom_site_label"
    for label in _column(block, name):
        found = re.match(r"[A-Z][A-Z](?![a-z])", label)
        element = found[0].capitalize() if found else ""
        if not 0 < atomic_numbers.get(element, 0) <= _HEAVIEST:
            continue
        if name == "_atom_site_type_symbol":
            return f"the type symbol {label} is read as {label[0]}; write {element}"
        if label[0] in atomic_numbers and element not in _UNLIKELY:
            return (
                f"the element of site {label} is not certain ({element} or {label[0]}?); add "
                "_atom_site_type_symbol"
            )
    return None


def _alternatives(block: Mapping[str, Any]) -> str | None:
    """Refuse alternatives of a disordered crystal, where all of them stand side by side."""
    groups = _column(block, "_atom_site_disorder_group")
    assemblies = _column(block, "_atom_site_disorder_assembly") or ["."] * len(groups)
    found: dict[str, set[str]] = defaultdict(set)
    for assembly, group in zip(assemblies, groups, strict=False):
        if group not in _NONE:
            found[assembly].add(group)
    for members in found.values():
        if len(members) > 1 or any(group.startswith("-") for group in members):
            return (
                f"sites stand in the disorder groups {', '.join(sorted(members))}: a disordered "
                "crystal is no single structure; keep one group"
            )
    return None


def _column(block: Mapping[str, Any], name: str) -> list[str]:
    values = block.get(name)
    if values is None:
        return []
    is_one = isinstance(values, str) or not isinstance(values, Iterable)
    return [str(value) for value in ([values] if is_one else values)]
