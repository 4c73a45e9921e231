"""Files of programs that are not read are named, with what to give in their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from molequi.errors import UserError
from molequi.structures.readers import read_structures

FILES = {
    "a.out": ("                  Welcome to Q-Chem\n", "an output of Q-Chem"),
    "b.in": ("$molecule\n-1 1\nO 0 0 0\nH 0 0 1\n$end\n", "an input of Q-Chem"),
    "c.log": ("   Psi4: An Open-Source Ab Initio Electronic Structure Package\n", "of Psi4"),
    "d.dat": ("   Psi4: An Open-Source Ab Initio Electronic Structure Package\n", "of Psi4"),
    "e.out": (" CP2K| version string:              CP2K version 9.1\n", "an output of CP2K"),
    "f.inp": ("&FORCE_EVAL\n  METHOD QS\n&END\n", "an input of CP2K"),
    "g.out": ("   * xtb version 6.6.1 (8d0f1dd)\n", "an output of xtb"),
    "h.json": ('{"schema_name": "qcschema_output"}', "a record of QCSchema"),
    "k.inp": ("***,water\ngeometry={\nO 0 0 0\n}\nhf\n", "an input of Molpro"),
    "l.inp": (" $CONTRL ICHARG=-1 $END\n $DATA\nC1\nO 8.0 0 0 0\n $END\n", "an input of GAMESS"),
    "m.mop": ("PM7 CHARGE=-1\nhydroxide\n\nO 0 0 0\nH 0 0 0.96\n", "an input of MOPAC"),
    "n.res": (
        "TITL a\nCELL 0.71 9 9 9 90 90 90\nSFAC O H\nO1 1 0 0 0 11.0\nEND\n",
        "a file of SHELX",
    ),
    "o.cml": ('<molecule><atom id="a1" elementType="O" x3="0" y3="0"/></molecule>', "of CML"),
    "p.cif": (
        "data_a\nloop_\n_atom_site.id\n_atom_site.type_symbol\n_atom_site.Cartn_x\n"
        "_atom_site.Cartn_y\n_atom_site.Cartn_z\n1 O 0 0 0\n2 H 0 0 0.96\n",
        "an mmCIF, of molecules and no crystal",
    ),
    "i.engrad": ("#\n# The current gradient in Eh/bohr\n#\n 0.0\n", "a gradient of ORCA"),
}


@pytest.mark.parametrize("name", list(FILES))
def test_the_program_is_named(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    text, what = FILES[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=f"{what}, which is not read; (give|write)"):
        list(read_structures(tmp_path / name))
    assert not caplog.messages  # such as what ASE tells programmers of its own plans


@pytest.mark.parametrize(("part", "what"), [("frc", "forces"), ("vel", "velocities")])
def test_forces_and_velocities_are_no_positions(tmp_path: Path, part: str, what: str) -> None:
    rows = " O  0.001  0.0  0.019\n H  0.0  0.01  -0.009\n"
    text = f"       2\n i =        0, time =        0.000, E =       -17.2\n{rows}"
    (tmp_path / f"water-{part}-1.xyz").write_text(text)
    with pytest.raises(UserError, match=f"holds {what} of CP2K and no positions"):
        list(read_structures(tmp_path / f"water-{part}-1.xyz"))
    (tmp_path / "water-pos-1.xyz").write_text(text.replace("0.019", "1.019"))
    assert len(list(read_structures(tmp_path / "water-pos-1.xyz"))) == 1


def test_castep_is_not_looked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocks = "LATTICE_CART", "10 0 0\n0 10 0\n0 0 10\n", "POSITIONS_ABS", "O 0 0 0\nH 0 0 0.96\n"
    text = "".join(
        f"%BLOCK {name}\n{rows}%ENDBLOCK {name}\n"
        for name, rows in zip(blocks[::2], blocks[1::2], strict=True)
    )
    (tmp_path / "a.cell").write_text(text)
    ((_, found),) = read_structures(tmp_path / "a.cell")
    assert found.get_distance(0, 1) == pytest.approx(0.96)
    assert not caplog.messages


def test_a_folder_is_told_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder; give .*TEXT$"):
        list(read_structures(tmp_path))
    for name in ("a.xyz", "b.xyz", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"; for its files give .*/\*\.xyz$"):
        list(read_structures(tmp_path))
    (tmp_path / "water").mkdir()
    (tmp_path / "water" / "type.raw").touch()
    with pytest.raises(UserError, match=r"; for the systems of DeePMD-kit in it give .*/\*$"):
        list(read_structures(tmp_path))
