"""Text files that ASE reads, in encodings and spellings that it does not know."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from molequi.structures.inputs import read_inputs
from molequi.structures.readers import read_structures

SILICON = bulk("Si", "diamond", 5.43)


MARK = codecs.BOM_UTF8


def utf16(data: bytes) -> bytes:
    return data.decode().encode("utf-16")


def old_macs(data: bytes) -> bytes:
    return data.replace(b"\n", b"\r")


def fortran(data: bytes) -> bytes:
    return re.sub(rb"0\.250*", b"0.025D+01", data)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *((name, change) for name in ("a.cif", "POSCAR") for change in (utf16, old_macs, fortran)),
        *((name, lambda data: MARK + data) for name in ("a.cif", "a.gen")),
        ("a.gen", old_macs),
        ("POSCAR", lambda data: b"a cell in \xc5\n" + data.partition(b"\n")[2]),
    ],
)
def test_encodings_and_numbers(tmp_path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    path = tmp_path / name
    write(path, SILICON, **({"direct": True} if name == "POSCAR" else {}))
    data = path.read_bytes()
    assert change(data) != data
    path.write_bytes(change(data))
    ((_, atoms),) = read_structures(path)
    assert isinstance(atoms, Atoms), atoms
    assert atoms.get_chemical_formula() == "Si2"
    np.testing.assert_allclose(atoms.get_volume(), SILICON.get_volume(), rtol=1e-5)
    np.testing.assert_allclose(
        atoms.get_distance(0, 1, mic=True), SILICON.get_distance(0, 1, mic=True), rtol=1e-5
    )


CP2K = """&FORCE_EVAL
  &SUBSYS
    &CELL
      A 5.0 0.0 0.0
      B 0.0 5.0 0.0
      C 0.0 0.0 5.0
    &END CELL
    &COORD
      O 0.0 0.0 0.0
      H 0.0 0.0 0.96
      H 0.93 0.0 -0.24
    &END COORD
  &END SUBSYS
&END FORCE_EVAL
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not a structure", "no restart file of CP2K; of the dynamics"),
        (CP2K[: CP2K.index("&END COORD")], "cut off within &SUBSYS"),
        ("PK\x03\x04", "give the trajectory beside it"),
    ],
)
def test_a_restart_that_does_not_end_is_refused(text: str, said: str, tmp_path: Path) -> None:
    """ASE read on for ever behind the end of the file."""
    path = tmp_path / "md.xyz.restart"
    path.write_text(text, encoding="latin-1")
    (structure,) = read_inputs([path])
    assert structure.atoms is None
    assert said in structure.error
    path.write_text(CP2K)
    (structure,) = read_inputs([path])
    assert structure.require_atoms().get_chemical_formula() == "H2O"
