"""Crystals that ASE would take for others."""

from __future__ import annotations

from pathlib import Path

import pytest

from molequi.structures.readers import read_structures

HEAD = """data_x
_cell_length_a 8
_cell_length_b 8
_cell_length_c 8
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
"""
SITES = """loop_
_atom_site_label
{extra}_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
"""
P1 = "_symmetry_space_group_name_H-M 'P 1'\n"
WATER = "O1 {}0.1 0.1 0.1\nH1 {}0.1 0.2 0.1\nH2 {}0.2 0.1 0.1\n"


def read(tmp_path: Path, text: str):
    (tmp_path / "a.cif").write_text(text)
    return [found for _, found in read_structures(tmp_path / "a.cif")]


def sites(rows: str, extra: str = "") -> str:
    return SITES.format(extra=extra) + rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("_space_group_name_Hall '-P 2ybc'\n" + sites(WATER.replace("{}", "")), "'-P 2ybc'|-P 2"),
        (P1 + sites("CL1 0.1 0.1 0.1\nH1 0.1 0.2 0.1\n"), "CL1 is not certain (Cl or C?)"),
        (P1 + sites("FE1 0.1 0.1 0.1\n"), "FE1 is not certain (Fe or F?)"),
        (
            P1 + sites("C1 CL 0.1 0.1 0.1\nH1 H 0.1 0.2 0.1\n", "_atom_site_type_symbol\n"),
            "the type symbol CL is read as C; write Cl",
        ),
        (
            P1 + sites(WATER.replace("{}", "1 ", 1).replace("{}", "2 ", 1).replace("{}", ". "),
                       "_atom_site_disorder_group\n"),
            "the disorder groups 1, 2",
        ),
        (
            P1 + sites(WATER.replace("{}", ". ", 1).replace("{}", "-1 "),
                       "_atom_site_disorder_group\n"),
            "the disorder groups -1",
        ),
    ],
)  # fmt: skip
def test_what_is_not_read_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (found,) = read(tmp_path, HEAD + text)
    assert any(part in found for part in message.split("|"))


def test_a_site_without_coordinates(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"site H1 has no coordinates \(\?\)"):
        read(tmp_path, HEAD + P1 + sites("O1 0.1 0.1 0.1\nH1 ? ? ?\n"))


def test_labels_in_capitals_of_which_one_element_is_likely(tmp_path: Path) -> None:
    rows = "OW 0.1 0.1 0.1\nHO1 0.1 0.2 0.1\nHW2 0.2 0.1 0.1\n"
    (found,) = read(tmp_path, HEAD + P1 + sites(rows))
    assert found.symbols.get_chemical_formula() == "H2O"


def test_one_group_of_alternatives_and_no_symmetry(tmp_path: Path) -> None:
    text = HEAD + sites(WATER.replace("{}", "1 "), "_atom_site_disorder_group\n")
    (found,) = read(tmp_path, text)
    assert len(found) == 3
    assert found.info["reading"].startswith("the CIF states no symmetry")
    (found,) = read(tmp_path, text.replace("loop_", P1 + "loop_"))
    assert "reading" not in found.info
