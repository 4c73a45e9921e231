"""Text files that ASE reads, in encodings and spellings that it does not know."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from molequi.structures.readers import read_structures

SILICON = bulk("Si", "diamond", 5.43)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: codecs.BOM_UTF8 + data,
        lambda data: data.decode().encode("utf-16"),
        lambda data: data.replace(b"\n", b"\r"),
        lambda data: data.replace(b"Si", b"Si \xc5 Si", 1) if b"data_" not in data else data,
        lambda data: data.replace(b".25", b".025D+01"),
    ],
    ids=["mark", "utf-16", "ends of old Macs", "latin-1", "Fortran"],
)
@pytest.mark.parametrize("name", ["a.cif", "POSCAR", "a.gen"])
def test_encodings_and_numbers(tmp_path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    path = tmp_path / name
    write(path, SILICON)
    if name == "a.gen" and b"Si" in change(b"Si ")[2:]:
        pytest.skip("its second line names elements alone")
    path.write_bytes(change(path.read_bytes()))
    ((_, atoms),) = read_structures(path)
    assert isinstance(atoms, Atoms), atoms
    assert atoms.get_chemical_formula() == "Si2"
    np.testing.assert_allclose(atoms.get_volume(), SILICON.get_volume(), rtol=1e-5)
    np.testing.assert_allclose(
        atoms.get_distance(0, 1, mic=True), SILICON.get_distance(0, 1, mic=True), rtol=1e-5
    )
