"""Systems of DeePMD-kit: folders of arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.lj import LennardJones

from molequi.datasets.base import Request
from molequi.datasets.formats.extxyz import read_frames
from molequi.datasets.registry import detect, find_source
from molequi.errors import UserError
from molequi.properties import get_property
from molequi.structures.readers import read_structures


def system(folder: Path, names: str | None = "O\nH\n", **arrays: np.ndarray) -> Path:
    """Write a system of water, or of the given arrays, in one set."""
    (folder / "set.000").mkdir(parents=True)
    (folder / "type.raw").write_text("0\n1\n1\n")
    if names is not None:
        (folder / "type_map.raw").write_text(names)
    for name, values in {"coord": WATER[None].repeat(2, axis=0), **arrays}.items():
        np.save(folder / "set.000" / f"{name}.npy", values.reshape(len(values), -1))
    return folder


WATER = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.96], [0.93, 0.0, -0.24]])


def test_labels_of_a_system(tmp_path: Path) -> None:
    forces = np.arange(18.0).reshape(2, 3, 3)
    path = system(tmp_path / "water", energy=np.array([-10.0, -11.0]), force=forces)
    assert detect(path) == "frames"
    loaded = read_frames(path, targets=["energy", "forces"])
    assert loaded.frames.targets["energy"].tolist() == [-10.0, -11.0]
    np.testing.assert_array_equal(loaded.frames.targets["forces"], forces.reshape(6, 3))
    assert [str(one.symbols) for _, one in read_structures(path)] == ["OH2", "OH2"]
    (told,) = {one.info["reading"] for _, one in read_structures(path)}
    assert told == "there is no box: the frames are taken for molecules"
    assert not any(one.pbc.any() for _, one in read_structures(path))


def test_the_virial_is_the_sum_of_positions_times_forces(tmp_path: Path) -> None:
    """A pair in a box, by ASE's potential; the virial by its definition, r_ij F_i."""
    pair = Atoms("ArH", [[1, 1, 1], [2, 1.2, 0.7]], cell=[20, 20, 20], pbc=True)
    pair.calc = LennardJones(rc=6.0)
    virial = np.outer(pair.positions[0] - pair.positions[1], pair.get_forces()[0])
    path = system(
        tmp_path / "pair",
        "Ar\nH\n",
        coord=pair.positions[None],
        box=pair.cell.array[None],
        virial=virial[None],
    )
    (path / "type.raw").write_text("0\n1\n")
    ((_, found),) = read_structures(path)
    assert found.get_stress() == pytest.approx(pair.get_stress())
    (path / "nopbc").touch()
    ((_, found),) = read_structures(path)
    assert not found.pbc.any()
    assert found.calc is None


def test_frames_of_mixed_type(tmp_path: Path) -> None:
    """A type of -1 is no atom."""
    types = np.array([[0, 1, 1], [0, 1, -1]])
    force = np.ones((2, 3, 3))
    path = system(tmp_path / "mixed", real_atom_types=types, force=force)
    water, hydroxide = (one for _, one in read_structures(path))
    assert str(water.symbols) == "OH2"
    assert str(hydroxide.symbols) == "OH"
    assert hydroxide.get_forces().shape == (2, 3)


@pytest.mark.parametrize(
    ("names", "arrays", "message"),
    [
        (None, {}, "tells types of atoms and no elements; write their symbols into type_map.raw"),
        ("O\n", {}, "type 1 has no symbol among 1"),
        ("O\nHW\n", {}, "'HW' is no element symbol"),
        ("O\nH\n", {"force": np.ones((2, 6))}, "holds no frames of DeePMD-kit"),
        ("O\nH\n", {"energy": np.ones(3)}, "holds no frames of DeePMD-kit"),
    ],
)
def test_damaged_systems(tmp_path: Path, names, arrays, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(read_structures(system(tmp_path / "a", names, **arrays)))


def test_a_system_of_raw_files(tmp_path: Path) -> None:
    (tmp_path / "type.raw").write_text("0 1 1\n")
    with pytest.raises(UserError, match="without sets"):
        list(read_structures(tmp_path))


def test_systems_by_a_pattern(tmp_path: Path) -> None:
    for name in ("a", "b"):
        system(tmp_path / name, energy=np.array([-10.0, -11.0]))
    spec, place = find_source(f"{tmp_path}/*")
    assert len(spec.read(Request(place, targets=(get_property("energy"),))).frames) == 4
    with pytest.raises(UserError, match="matches no file"):
        find_source(f"{tmp_path}/none*")
