"""Rosenfeld tensors joined with the geometries of QM9."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.data import atomic_masses
from ase.io import write

from molequi.datasets.catalog import inspect, prepare
from molequi.datasets.chirality.qm9_labels import constitution_split
from molequi.datasets.chirality.rosenfeld import load_rosenfeld
from molequi.datasets.load import load_dataset
from molequi.datasets.npz import load_npz
from molequi.datasets.qm9.qm9 import load_qm9
from molequi.datasets.settings import DataSettings
from molequi.datasets.splits import hashed_split
from molequi.errors import UserError
from molequi.labeling.run import labelled
from molequi.structures.structure import Structure


def tensors(numbers: list[int], seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    alpha = generator.normal(size=(len(numbers), 3, 3))
    return {
        "index": np.array(numbers, dtype=np.int32),
        "smiles": np.array(["C" * number for number in numbers]),
        "energy": generator.normal(size=len(numbers)),
        "dipole": generator.normal(size=(len(numbers), 3)),
        "alpha": alpha + alpha.swapaxes(1, 2),
        "beta": generator.normal(size=(len(numbers), 3, 3)),
    }


@pytest.fixture
def numbers(molecules: list[dict[str, Any]]) -> list[int]:
    return [molecule["index"] for molecule in molecules if molecule["index"] != 58]


def test_units_and_order(
    tmp_path: Path, flat_qm9: Path, numbers: list[int], molecules: list[dict[str, Any]]
) -> None:
    wanted = numbers[4:1:-1]
    raw = tensors(wanted)
    np.savez(tmp_path / "r.npz", **raw)
    loaded = load_rosenfeld(tmp_path / "r.npz", flat_qm9)
    frames = loaded.frames
    assert frames.source == tuple(f"gdb {number}" for number in wanted)
    assert loaded.groups == tuple("C" * number for number in wanted)
    by_number = {molecule["index"]: molecule for molecule in molecules}
    expected = [[float(x) for x in atom] for number in wanted for atom in by_number[number]["xyz"]]
    np.testing.assert_allclose(frames.positions.numpy(), expected, atol=1e-9)
    np.testing.assert_array_equal(frames.targets["rosenfeld"].numpy(), raw["beta"])
    np.testing.assert_allclose(
        frames.targets["rosenfeld_isotropic"].numpy(),
        [sum(beta[k][k] for k in range(3)) / 3 for beta in raw["beta"]],
    )
    np.testing.assert_allclose(
        frames.targets["polarizability"].numpy(), raw["alpha"] * 0.529177210903**3, rtol=1e-7
    )
    np.testing.assert_allclose(
        frames.targets["dipole"].numpy(), raw["dipole"] * 0.529177210903, rtol=1e-7
    )
    np.testing.assert_allclose(
        frames.targets["energy"].numpy(), raw["energy"] * 27.211386245988, rtol=1e-7
    )


def labelled_frames(flat_qm9: Path, raw: dict[str, np.ndarray]) -> list[Atoms]:
    """What `molequi label` writes of molecules of QM9 with these tensors."""
    frames, made = load_qm9(flat_qm9).frames, []
    for k, number in enumerate(raw["index"].tolist()):
        row = frames.source.index(f"gdb {number}")
        rows = slice(int(frames.offsets[row]), int(frames.offsets[row + 1]))
        atoms = Atoms(
            frames.atomic_numbers[rows].numpy(),
            frames.positions[rows].numpy(),
            info={"gdb": number, "smiles": str(raw["smiles"][k])},
        )
        values = {
            "energy": raw["energy"][k] * units.Hartree,
            "dipole": raw["dipole"][k] * units.Bohr,
        }
        values |= {"polarizability": raw["alpha"][k] * units.Bohr**3, "rosenfeld": raw["beta"][k]}
        atoms.info |= {"charge": 0, "spin_multiplicity": 1}
        structure, marks = (
            Structure("qm9", number, atoms),
            {"level": "HF/6-31G, density fitting", "program": "PySCF"},
        )
        made.append(labelled(structure, values, marks))
    return made


def test_labels_of_the_label_command_join_the_set(
    tmp_path: Path, flat_qm9: Path, numbers: list[int]
) -> None:
    raw = tensors(numbers)
    np.savez(tmp_path / "all.npz", **raw)
    np.savez(tmp_path / "first.npz", **{name: array[:4] for name, array in raw.items()})
    write(
        tmp_path / "more.xyz.gz",
        labelled_frames(flat_qm9, {name: array[4:] for name, array in raw.items()}),
        format="extxyz",
    )
    whole = load_rosenfeld(tmp_path / "all.npz", flat_qm9)
    grown = load_rosenfeld([tmp_path / "first.npz", tmp_path / "more.xyz.gz"], flat_qm9)
    assert grown.frames.source == whole.frames.source
    assert grown.groups == whole.groups
    for name, values in whole.frames.targets.items():
        torch.testing.assert_close(grown.frames.targets[name], values, rtol=1e-12, atol=1e-7)
    sources = [tmp_path / "first.npz", tmp_path / "more.xyz.gz"]
    prepared = prepare("rosenfeld", tmp_path, sources=sources, structures=flat_qm9)
    assert len(load_npz(prepared).frames) == len(numbers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda atoms: atoms.info.pop("gdb"),
            r"frame 1 has no gdb; expected what `molequi label qm9` writes",
        ),
        (lambda atoms: atoms.info.pop("rosenfeld"), "frame 1 has no rosenfeld"),
        (
            lambda atoms: atoms.info.update(level="HF/6-31G*"),
            r"frame 1 was labelled at HF/6-31G\*; the set is HF/6-31G throughout",
        ),
        (lambda atoms: atoms.rattle(0.01), "labels of other geometries than those of QM9"),
    ],
)
def test_labels_of_something_else_are_refused(
    tmp_path: Path,
    flat_qm9: Path,
    numbers: list[int],
    change: Callable[[Atoms], object],
    message: str,
):
    frames = labelled_frames(flat_qm9, tensors(numbers[:3]))
    change(frames[1])
    write(tmp_path / "a.xyz", frames, format="extxyz")
    with pytest.raises(UserError, match=message):
        load_rosenfeld(tmp_path / "a.xyz", flat_qm9)


def test_several_files_and_a_set_that_grows(
    tmp_path: Path, flat_qm9: Path, numbers: list[int]
) -> None:
    np.savez(tmp_path / "r1.npz", **tensors(numbers[:5]))
    np.savez(tmp_path / "r2.npz", **tensors(numbers[5:], 1))
    small, grown = (
        load_rosenfeld(tmp_path / "r1.npz", flat_qm9),
        load_rosenfeld([tmp_path / "r1.npz", tmp_path / "r2.npz"], flat_qm9),
    )
    assert len(grown.frames) == len(numbers)
    for name, rows in small.splits.items():
        assert set(rows.tolist()) == {row for row in grown.splits[name].tolist() if row < 5}
    fields = {
        "kind": "rosenfeld",
        "structures": str(flat_qm9),
        "targets": ["rosenfeld"],
        "split": {"train": 5, "valid": 1, "test": 1},
    }
    for path in (f"{tmp_path}/r1.npz, {tmp_path}/r2.npz", f"{tmp_path}/r*.npz"):
        assert len(
            load_dataset(DataSettings.model_validate({**fields, "path": path})).frames
        ) == len(numbers)
    with pytest.raises(
        UserError, match=rf"number {numbers[0]} stands there and in .*r1.npz; keep one"
    ):
        load_rosenfeld([tmp_path / "r1.npz", _copy(tmp_path)], flat_qm9)


def _copy(folder: Path) -> Path:
    path = folder / "again.npz"
    path.write_bytes((folder / "r1.npz").read_bytes())
    return path


def test_smiles_beside_the_structures(
    tmp_path: Path, flat_qm9: Path, numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("molequi.datasets.chirality.qm9_labels.qm9pack_folder", lambda: None)
    raw = tensors(numbers)
    del raw["smiles"]
    np.savez(tmp_path / "r.npz", **raw)
    with pytest.raises(UserError, match=f"no SMILES for number {numbers[0]}, .*put qm9_extra.npz"):
        load_rosenfeld(tmp_path / "r.npz", flat_qm9)
    np.savez(
        tmp_path / "qm9_extra.npz",
        index=np.array(numbers[::-1]),
        smiles=np.array(["[C@](F)(Cl)(Br)" + "C" * n for n in range(len(numbers))]),
    )
    loaded = load_rosenfeld(tmp_path / "r.npz", flat_qm9)
    assert loaded.groups[-1] == "F[C](Cl)Br"
    assert loaded.groups[0] == f"{'C' * (len(numbers) - 1)}C(F)(Cl)Br"
    np.savez(tmp_path / "qm9_extra.npz", index=np.array(numbers))
    with pytest.raises(UserError, match="expected the arrays index and smiles"):
        load_rosenfeld(tmp_path / "r.npz", flat_qm9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta": None}, "holds no Rosenfeld tensors: array 'beta' is missing"),
        (
            {"dipole": np.zeros((3, 2))},
            r"dipole has shape \(3, 2\); expected \(3, 3\) for 3 numbers",
        ),
        ({"energy": np.array([0.0, np.nan, 0.0])}, "energy of number 2 .row 1. is not finite"),
        (
            {"alpha": np.arange(27.0).reshape(3, 3, 3)},
            "alpha of number 1 differs from its transpose by 4",
        ),
        ({"index": np.array([1, 2, 77777])}, "number 77777 .1 in all. is not among"),
    ],
)
def test_damaged_files(
    tmp_path: Path, flat_qm9: Path, change: dict[str, np.ndarray | None], message: str
) -> None:
    arrays = {**tensors([1, 2, 3]), **change}
    np.savez(
        tmp_path / "r.npz",
        **{name: values for name, values in arrays.items() if values is not None},
    )
    with pytest.raises(UserError, match=message):
        load_rosenfeld(tmp_path / "r.npz", flat_qm9)


def test_qm9_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molequi.datasets.chirality.qm9_labels.qm9pack_folder", lambda: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    np.savez(tmp_path / "r.npz", **tensors([1, 2, 3]))
    with pytest.raises(
        UserError, match="names molecules of QM9, which is not prepared; .*set data.structures"
    ):
        load_rosenfeld(tmp_path / "r.npz")


def test_reserved_constitutions_only_test(tmp_path: Path) -> None:
    names = [f"C{'C' * length}O" for length in range(40)]
    free = constitution_split(names, tmp_path)
    assert all(
        torch.equal(free[name], rows)
        for name, rows in hashed_split(names, "molequi:chiral").items()
    )
    (tmp_path / "reserved.txt").write_text(f"O{'C' * 8}\n{names[20]}\n\n")
    parts = constitution_split(names, tmp_path)
    assert {7, 20} <= set(parts["test"].tolist())
    assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(40))
    assert set(free["test"].tolist()) <= set(parts["test"].tolist())
    (tmp_path / "reserved.txt").write_text(f"# a remark\n{names[20]} its name\n")
    assert len(constitution_split(names, tmp_path)["test"]) == len(
        set(free["test"].tolist()) | {20}
    )
    (tmp_path / "reserved.txt").write_text("CO\nC1CC\n")
    with pytest.raises(UserError, match=r"reserved.txt, line 2: SMILES 'C1CC' cannot be read"):
        constitution_split(names, tmp_path)


def test_sample_belongs_together(checkout: Path) -> None:
    """The energies are those of the elements to a few eV, the polarizabilities of bound electrons.

    The isotropic part is a third of the trace of beta.
    """
    frames = load_npz(checkout / "data" / "samples" / "rosenfeld_sample.npz").frames
    owners = torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)
    counts = torch.zeros(len(frames), 119, dtype=torch.float64)
    counts.index_put_(
        (owners, frames.atomic_numbers),
        torch.ones(len(owners), dtype=torch.float64),
        accumulate=True,
    )
    counts = counts[:, [1, 6, 7, 8, 9]].numpy()
    energies = frames.targets["energy"].numpy()
    fitted, *_ = np.linalg.lstsq(counts, energies, rcond=None)
    assert np.abs(energies - counts @ fitted).max() < 5.0
    # Energies of the atoms: -0.5, -37.7, -54.4, -74.8 Ha at Hartree-Fock.
    np.testing.assert_allclose(fitted[:4] / units.Hartree, [-0.5, -37.7, -54.4, -74.8], atol=0.3)
    assert (torch.linalg.eigvalsh(frames.targets["polarizability"]) > 0).all()
    trace = frames.targets["rosenfeld"].diagonal(dim1=1, dim2=2).sum(dim=1)
    torch.testing.assert_close(frames.targets["rosenfeld_isotropic"], trace / 3)
    assert frames.properties["rosenfeld_isotropic"].unit == "bohr⁴"


def test_dipoles_lie_in_the_frame_of_the_positions(reference_data: Callable[[str], Path]) -> None:
    """QM9's Mulliken charges at its positions give the direction of the HF dipole.

    A frame that does not belong would give any direction.
    """
    core, extra = reference_data("qm9/qm9_core.npz"), reference_data("qm9/qm9_extra.npz")
    loaded = load_rosenfeld(reference_data("chirality/qm9_rosenfeld.npz"), core)
    frames = loaded.frames
    assert len(frames) == 3441
    assert {name: len(rows) for name, rows in loaded.splits.items()} == {
        "train": 2721,
        "valid": 356,
        "test": 364,
    }
    with np.load(extra, allow_pickle=False) as arrays:
        offsets = dict(
            zip(
                arrays["index"].tolist(),
                np.concatenate([[0], np.cumsum(arrays["n_atoms"])[:-1]]).tolist(),
                strict=True,
            )
        )
        charges = arrays["mulliken"]
    isotropic = frames.targets["polarizability"].diagonal(dim1=1, dim2=2).mean(dim=1).numpy()
    whole = load_qm9(core).frames
    published = whole.targets["isotropic_polarizability"].numpy()
    rows_of = {text: row for row, text in enumerate(whole.source)}
    cosines = []
    for index in range(0, 3441, 10):
        rows = slice(int(frames.offsets[index]), int(frames.offsets[index + 1]))
        start = offsets[int(frames.source[index].split()[1])]
        x = frames.positions[rows].numpy()
        masses = atomic_masses[frames.atomic_numbers[rows].numpy()]
        classical = charges[start : start + len(x)] @ (x - masses @ x / masses.sum())
        dipole = frames.targets["dipole"][index].numpy()
        cosines.append(classical @ dipole / np.linalg.norm(classical) / np.linalg.norm(dipole))
    # B3LYP in a larger basis gives larger polarizabilities of the same order.
    assert np.corrcoef(isotropic, published[[rows_of[text] for text in frames.source]])[0, 1] > 0.95
    assert np.mean(cosines) > 0.8
    assert np.median(cosines) > 0.95


def test_inspect(reference_data: Callable[[str], Path]) -> None:
    report = inspect(reference_data("chirality/qm9_rosenfeld.npz"))
    assert (report.kind, report.n_structures) == ("rosenfeld", 3441)
    assert [row.name for row in report.labels.rows] == [
        "rosenfeld",
        "rosenfeld_isotropic",
        "polarizability",
        "dipole",
        "energy",
    ]
