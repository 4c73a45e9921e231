"""QM9: the same molecules and units from every form it is distributed in."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import units

from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.qm9 import qm9
from molequi.datasets.qm9.columns import QM9_PROPERTIES, atom_references
from molequi.datasets.qm9.qm9 import load_qm9, prepare_qm9
from molequi.datasets.qm9.sources import parse_number, parse_uncharacterized
from molequi.errors import UserError

FORMS = ("archive", "sdf_folder", "qm9pack_data", "flat_qm9")


def check_methane(loaded: LabelledSet) -> None:
    """The numbers that DATA.md gives for methane, converted by ASE's constants."""
    frames = loaded.frames
    index = frames.source.index("gdb 1")
    expected = {
        "u0": -40.47893 * units.Hartree,
        "gap": 0.5048 * units.Hartree,
        "dipole_magnitude": 0.0,
        "isotropic_polarizability": 13.21 * units.Bohr**3,
        "homo": -0.3877 * units.Hartree,
        "r2": 35.3641 * units.Bohr**2,
        "cv": 6.469,
    }
    for name, value in expected.items():
        assert float(frames.targets[name][index]) == pytest.approx(value, rel=1e-12, abs=1e-12), (
            name
        )
    atoms = slice(int(frames.offsets[index]), int(frames.offsets[index + 1]))
    assert frames.atomic_numbers[atoms].tolist() == [6, 1, 1, 1, 1]
    bonds = torch.linalg.norm(frames.positions[atoms][1:] - frames.positions[atoms][0], dim=1)
    assert bonds.numpy() == pytest.approx(1.092, abs=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_methane_is_the_same_from_every_form(form: str, request: pytest.FixtureRequest) -> None:
    check_methane(load_qm9(request.getfixturevalue(form)))


@pytest.mark.parametrize("form", ["archive", "qm9pack_data", "flat_qm9"])
def test_forms_agree(form: str, request: pytest.FixtureRequest, sdf_folder: Path) -> None:
    frames = load_qm9(request.getfixturevalue(form)).frames
    assert frames.source == tuple(f"gdb {number}" for number in (1, 2, 3, 4, 5, 6, 57, 212))
    others = load_qm9(sdf_folder).frames
    others = others.subset(torch.tensor([others.source.index(source) for source in frames.source]))
    assert torch.equal(frames.atomic_numbers, others.atomic_numbers)
    # The SDF has four decimals.
    assert float((frames.positions - others.positions).abs().max()) < 6e-5
    for name in QM9_PROPERTIES:
        torch.testing.assert_close(
            frames.targets[name], others.targets[name], rtol=1e-12, atol=1e-12
        )


def test_exponent_of_mathematica(archive: Path) -> None:
    assert parse_number("2.1997*^-6") == 2.1997e-6
    frames = load_qm9(archive).frames
    last = frames.positions[frames.offsets[-2] :]
    assert (last - 2.1997e-6).abs().min() == 0.0


@pytest.mark.parametrize(
    ("form", "removed"), [("archive", 1), ("flat_qm9", 1), ("qm9pack_data", 0)]
)
def test_uncharacterized_are_removed_and_counted(
    form: str, removed: int, request: pytest.FixtureRequest
) -> None:
    loaded = load_qm9(request.getfixturevalue(form))
    assert "gdb 58" not in loaded.frames.source
    assert loaded.notes["uncharacterized_removed"] == removed
    assert loaded.notes["uncharacterized_absent"] == 3054 - removed
    assert loaded.notes["molecules"] == 8


def test_uncharacterized_list_as_distributed(uncharacterized_text: str) -> None:
    numbers = parse_uncharacterized(uncharacterized_text)
    assert len(numbers) == 3054
    assert numbers[:3].tolist() == [58, 61, 80]


def test_a_short_list_of_uncharacterized_is_refused(flat_qm9: Path, tmp_path: Path) -> None:
    (tmp_path / "qm9_core.npz").write_bytes(flat_qm9.read_bytes())
    (tmp_path / "uncharacterized.txt").write_text("58\n61\n", encoding="utf-8")
    with pytest.raises(UserError, match="names 2 molecules.* has 3054"):
        load_qm9(tmp_path)


def test_atom_references_exist_for_total_energies_only() -> None:
    for name in ("u0", "u298", "h298", "g298"):
        references = atom_references(name)
        assert (~references.isnan()).nonzero()[:, 0].tolist() == [1, 6, 7, 8, 9]
    assert float(atom_references("u0")[1]) == pytest.approx(-0.500273 * units.Hartree)
    with pytest.raises(UserError, match="it has them for u0, u298, h298, g298"):
        atom_references("gap")


def test_prepare_prefers_files_then_the_package(
    archive: Path, qm9pack_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qm9, "qm9pack_folder", lambda: qm9pack_data)
    packaged = prepare_qm9(tmp_path / "package")
    assert load_qm9(packaged).notes["uncharacterized_removed"] == 0
    local = tmp_path / "local"
    local.mkdir()
    (local / archive.name).write_bytes(archive.read_bytes())
    prepared = prepare_qm9(local)
    assert load_qm9(local).notes["uncharacterized_removed"] == 1
    check_methane(load_qm9(prepared))
    before = prepared.stat().st_mtime_ns
    assert prepare_qm9(local).stat().st_mtime_ns == before


def test_without_any_source_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qm9, "qm9pack_folder", lambda: None)
    monkeypatch.setattr(qm9, "_ARCHIVE_MIRRORS", ("http://localhost:9/none",))
    with pytest.raises(
        UserError, match=r"no mirror gave dsgdb9nsd.*localhost.*pip install qm9pack"
    ):
        prepare_qm9(tmp_path)
    assert not any(tmp_path.iterdir())
    with pytest.raises(UserError, match="no download was asked for"):
        prepare_qm9(tmp_path, offline=True)


def test_load_without_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qm9pack_data: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(qm9, "qm9pack_folder", lambda: None)
    with pytest.raises(UserError, match="molequi data prepare qm9"):
        load_qm9()
    monkeypatch.setattr(qm9, "qm9pack_folder", lambda: qm9pack_data)
    check_methane(load_qm9())
    assert (tmp_path / "molequi" / "qm9.npz").is_file()


def test_the_installed_package_is_found_without_importing_it() -> None:
    pytest.importorskip("pandas", reason="qm9pack is not installed")
    folder = qm9.qm9pack_folder()
    if folder is None:
        pytest.skip("qm9pack is not installed")
    assert (folder / "qm9_part1.csv").is_file()


def test_a_file_of_another_kind_is_refused(tmp_path: Path, sdf_folder: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(UserError, match="array 'index' is missing; it has x"):
        load_qm9(tmp_path / "a.npz")
    (tmp_path / "note.txt").write_text("hello")
    with pytest.raises(UserError, match="is not QM9: expected"):
        load_qm9(tmp_path / "note.txt")
    with pytest.raises(UserError, match="does not exist"):
        load_qm9(tmp_path / "nowhere")
    (tmp_path / "gdb9.sdf").write_bytes((sdf_folder / "gdb9.sdf").read_bytes())
    with pytest.raises(UserError, match="its table gdb9.sdf.csv is not beside it"):
        load_qm9(tmp_path / "gdb9.sdf")


def test_an_incomplete_table_is_refused(tmp_path: Path, sdf_folder: Path) -> None:
    (tmp_path / "gdb9.sdf").write_bytes((sdf_folder / "gdb9.sdf").read_bytes())
    lines = (sdf_folder / "gdb9.sdf.csv").read_text().splitlines(keepends=True)
    (tmp_path / "gdb9.sdf.csv").write_text("".join(lines[:20]))
    with pytest.raises(UserError, match="different numbers of molecules"):
        load_qm9(tmp_path)
    (tmp_path / "gdb9.sdf.csv").write_text("".join([lines[0], *lines[2:]]))
    with pytest.raises(
        UserError, match="molecule 1 is 'gdb_1' but its row in gdb9.sdf.csv is 'gdb_2'"
    ):
        load_qm9(tmp_path)


def test_a_damaged_archive_is_refused(tmp_path: Path, archive: Path) -> None:
    damaged = tmp_path / "dsgdb9nsd.xyz.tar.bz2"
    damaged.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(UserError, match="damaged or holds no archive of QM9"):
        load_qm9(damaged)
    with tarfile.open(tmp_path / "b.tar.bz2", "w:bz2") as tar:
        (tmp_path / "x.xyz").write_text("3\nwater\nO 0 0 0\n")
        tar.add(tmp_path / "x.xyz", "x.xyz")
    with pytest.raises(UserError, match=r"x\.xyz: not a QM9 file"):
        load_qm9(tmp_path / "b.tar.bz2")


def test_full_set_agrees_with_the_reference(reference_data: Callable[[str], Path]) -> None:
    loaded = load_qm9(reference_data("qm9/qm9_core.npz"))
    assert len(loaded.frames) == 130_831
    check_methane(loaded)
    assert loaded.frames.elements() == (1, 6, 7, 8, 9)


def packed(folder: Path, archive: Path, change: Callable[[str], str]) -> Path:
    """QM9's archive with another text in the file of methane."""
    with tarfile.open(archive) as old, tarfile.open(folder / "c.tar", "w") as new:
        for member in old.getmembers():
            text = old.extractfile(member).read().decode()  # type: ignore[union-attr]
            data = (change(text) if "gdb 1\t" in text else text).encode()
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    return folder / "c.tar"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("-40.47893\t", "", 1), "14 of 15 properties"),
        (lambda text: "\n".join(text.split("\n")[:4]), "2 lines for 5 atoms"),
        (lambda text: text.replace("5\n", "-5\n", 1), "lines for -5 atoms"),
        (lambda text: text.replace("gdb 1\t", "gdb " + "9" * 30 + "\t"), "its number is 999"),
        (lambda text: re.sub(r"(C\t\S+\t\S+)\t.*", r"\1", text, count=1), "not a QM9 file"),
    ],
)  # fmt: skip
def test_files_that_are_not_whole_are_named(
    tmp_path: Path, archive: Path, change: Callable[[str], str], message: str
) -> None:
    with pytest.raises(UserError, match=f"000001.xyz: .*{message}"):
        load_qm9(packed(tmp_path, archive, change))


def test_damage_in_the_other_forms_is_named(
    tmp_path: Path, sdf_folder: Path, qm9pack_data: Path, flat_qm9: Path
) -> None:
    for path in (*sdf_folder.iterdir(), *qm9pack_data.iterdir()):
        (tmp_path / path.name).write_bytes(path.read_bytes().replace(b"\n", b"\xff\n"))
    with pytest.raises(UserError, match=r"gdb9\.sdf is damaged or holds no QM9 beside"):
        load_qm9(tmp_path / "gdb9.sdf")
    (tmp_path / "gdb9.sdf").unlink()
    with pytest.raises(UserError, match=r"qm9_part1\.csv is damaged or holds no part of QM9"):
        load_qm9(tmp_path)
    with np.load(flat_qm9) as archive:
        arrays = dict(archive)
    for change, message in (
        ({"index": arrays["index"][:-1]}, "not all of"),
        ({"gap": arrays["gap"].astype("U4")}, "gap is of type <U4, no numbers"),
        ({"z": arrays["z"] + 0.5}, "z holds numbers that are not whole"),
        ({"pos": arrays["pos"] * 1j}, "pos is of type complex"),
    ):
        np.savez(tmp_path / "a.npz", **arrays | change)
        with pytest.raises(UserError, match=message):
            load_qm9(tmp_path / "a.npz")
