"""Frames: flat tensors with offsets, their batches and their file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from molequi.datasets.array_files import open_arrays
from molequi.datasets.in_memory import Frames
from molequi.datasets.making import Electrons, Periodicity, join_frames, make_frames
from molequi.datasets.npz import load_npz, save_npz
from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph, collate
from molequi.graphs.neighbors import build_graph
from molequi.properties import PROPERTIES, declare

CUTOFF = 3.0


def random_frames(
    counts: tuple[int, ...] = (3, 1, 0, 5, 4), *, periodic: bool = False, seed: int = 0
) -> Frames:
    generator = torch.Generator().manual_seed(seed)
    n_atoms, n_frames = sum(counts), len(counts)
    cell = (4.0 * torch.eye(3, dtype=torch.float64)).expand(n_frames, 3, 3).clone()
    return make_frames(
        2.0 * torch.randn(n_atoms, 3, generator=generator, dtype=torch.float64),
        torch.randint(1, 9, (n_atoms,), generator=generator),
        torch.tensor(counts),
        periodic=Periodicity(cell, torch.arange(3 * n_frames).reshape(n_frames, 3) % 2 == 0)
        if periodic
        else None,
        electrons=Electrons(torch.arange(n_frames) - 1, torch.arange(n_frames) + 1),
        targets={
            "energy": torch.randn(n_frames, generator=generator),
            "forces": torch.randn(n_atoms, 3, generator=generator),
            "polarizability": torch.randn(n_frames, 3, 3, generator=generator),
        },
        properties={name: PROPERTIES[name] for name in ("energy", "forces", "polarizability")},
        source=[f"a.xyz:{index}" for index in range(n_frames)],
    )


def single(frames: Frames, index: int) -> AtomGraph:
    atoms = slice(int(frames.offsets[index]), int(frames.offsets[index + 1]))
    return build_graph(
        frames.positions[atoms].numpy(),
        frames.atomic_numbers[atoms].numpy(),
        CUTOFF,
        cell=frames.cell[index].numpy(),
        pbc=frames.pbc[index].numpy(),
        total_charge=int(frames.total_charge[index]),
        spin_multiplicity=int(frames.spin_multiplicity[index]),
    )


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("rows", [[3], [4, 0, 3], [2, 1], []])
def test_batch_is_the_collated_singles(periodic: bool, rows: list[int]) -> None:
    frames = random_frames(periodic=periodic)
    graph, targets = frames.batch(torch.tensor(rows, dtype=torch.int64), CUTOFF)
    assert graph.n_molecules == len(rows)
    if rows:
        expected = collate([single(frames, row) for row in rows])
        for name, mine, other in zip(AtomGraph._fields, graph, expected, strict=True):
            assert mine.dtype == other.dtype, name
            assert torch.equal(mine, other), name
    assert targets["energy"].tolist() == frames.targets["energy"][rows].tolist()
    forces = [
        frames.targets["forces"][int(frames.offsets[row]) : int(frames.offsets[row + 1])]
        for row in rows
    ]
    assert torch.equal(
        targets["forces"], torch.cat([torch.zeros(0, 3, dtype=torch.float64), *forces])
    )


@pytest.mark.parametrize("cutoff", [0.5, 2.0, 5.0, 100.0])
def test_fast_batch_is_the_plain_one(cutoff: float) -> None:
    frames = random_frames((7, 30, 1, 2, 0, 12), seed=3)
    graph, _ = frames.batch(torch.arange(6), cutoff)
    plain = collate([frames.graph(row, cutoff) for row in range(6)])
    for name, mine, other in zip(AtomGraph._fields, graph, plain, strict=True):
        assert torch.equal(mine, other), name


def test_large_open_structures_take_the_cell_list() -> None:
    generator = torch.Generator().manual_seed(0)
    positions = 30.0 * torch.rand(400, 3, generator=generator, dtype=torch.float64)
    frames = make_frames(
        torch.cat([positions, positions[:5]]), torch.ones(405), torch.tensor([400, 5])
    )
    graph, _ = frames.batch(torch.tensor([0, 1]), 4.0)
    distances = torch.cdist(positions, positions)
    expected = ((distances < 4.0) & ~torch.eye(400, dtype=torch.bool)).nonzero()
    mine = graph.edge_index[:, graph.edge_index[1] < 400]
    assert torch.equal(mine[[1, 0]].T, expected)


def test_subset_concatenate_and_targets() -> None:
    frames = random_frames()
    parts = [frames.subset(torch.tensor([row])) for row in (3, 0)]
    again = join_frames(parts)
    direct = frames.subset(torch.tensor([3, 0]))
    assert torch.equal(again.positions, direct.positions)
    assert again.source == direct.source == ("a.xyz:3", "a.xyz:0")
    assert torch.equal(
        frames.subset(torch.tensor([True, False, False, True, False])).n_atoms, torch.tensor([3, 5])
    )
    mixed = join_frames([frames.with_targets(["energy"]), frames.with_targets(["forces"])])
    assert mixed.targets["energy"].isnan().tolist() == [False] * 5 + [True] * 5
    assert mixed.targets["forces"].isnan().all(dim=1).tolist() == [True] * 13 + [False] * 13
    assert frames.label(3) == "a.xyz:3"
    assert make_frames(torch.zeros(1, 3), torch.ones(1), torch.ones(1)).label(0) == "structure 0"


def test_frames_of_differentiable_tensors_are_data(tmp_path: Path) -> None:
    positions, energy = (torch.ones(*shape, requires_grad=True) for shape in ((2, 3), (1,)))
    frames = make_frames(
        positions * torch.arange(2.0)[:, None],
        torch.tensor([1, 8]),
        torch.tensor([2]),
        targets={"energy": energy},
        properties={"energy": PROPERTIES["energy"]},
    )
    assert not frames.positions.requires_grad
    assert not frames.targets["energy"].requires_grad
    save_npz(frames, tmp_path / "a.npz")


def test_mistakes_are_named() -> None:
    frames = random_frames()
    with pytest.raises(UserError, match="structure 5 is not in the data; it has 5"):
        frames.batch(torch.tensor([5]), CUTOFF)
    with pytest.raises(UserError, match="structure -1 is not in the data"):
        frames.subset(torch.tensor([-1]))
    with pytest.raises(
        UserError, match="target 'dipole' is not in the data; it has energy, forces"
    ):
        frames.with_targets(["dipole"])
    with pytest.raises(UserError, match=r"'energy' has shape \(2,\); expected \(1,\)"):
        make_frames(
            torch.zeros(1, 3),
            torch.ones(1),
            torch.ones(1),
            targets={"energy": torch.zeros(2)},
            properties={"energy": PROPERTIES["energy"]},
        )
    with pytest.raises(UserError, match="add up to 3"):
        make_frames(torch.zeros(1, 3), torch.ones(1), torch.tensor([3]))
    with pytest.raises(UserError, match="position of atom 1 of the set is not finite"):
        make_frames(
            torch.tensor([[0.0, 0, 0], [0, float("nan"), 0]]), torch.ones(2), torch.tensor([2])
        )
    with pytest.raises(UserError, match="more than a centimetre from the origin"):
        make_frames(torch.full((1, 3), 1e30), torch.ones(1), torch.ones(1))
    with pytest.raises(UserError, match="no frames to join"):
        join_frames([])
    atom = torch.zeros(1, 3), torch.ones(1), torch.ones(1)
    clash = [
        make_frames(
            *atom, targets={"tox": torch.zeros(1)}, properties={"tox": declare("tox", unit=unit)}
        )
        for unit in ("1", "eV")
    ]
    with pytest.raises(UserError, match="property 'tox' means"):
        join_frames(clash)


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("compress", [False, True])
def test_file_round_trip(tmp_path: Path, periodic: bool, compress: bool) -> None:
    frames = random_frames(periodic=periodic)
    splits = {"train": torch.tensor([0, 3]), "valid": torch.tensor([1]), "test": torch.tensor([4])}
    save_npz(frames, tmp_path / "a.npz", splits=splits, notes={"level": "none"}, compress=compress)
    loaded = load_npz(tmp_path / "a.npz")
    for name in (
        "positions",
        "atomic_numbers",
        "offsets",
        "cell",
        "pbc",
        "total_charge",
        "spin_multiplicity",
    ):
        mine, other = getattr(loaded.frames, name), getattr(frames, name)
        assert mine.dtype == other.dtype
        assert torch.equal(mine, other), name
    assert loaded.frames.properties == frames.properties
    assert all(
        torch.equal(loaded.frames.targets[name], values) for name, values in frames.targets.items()
    )
    assert loaded.frames.source == frames.source
    assert {name: rows.tolist() for name, rows in loaded.splits.items()} == {
        "train": [0, 3],
        "valid": [1],
        "test": [4],
    }
    assert loaded.notes == {"level": "none"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        save_npz(random_frames(), tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_declared_property_survives(tmp_path: Path) -> None:
    row = declare("melting_point", unit="K", binary=False, aliases=["mp"])
    frames = make_frames(
        torch.zeros(1, 3),
        torch.ones(1),
        torch.ones(1),
        targets={row.name: torch.tensor([273.0])},
        properties={row.name: row},
    )
    save_npz(frames, tmp_path / "a.npz")
    assert load_npz(tmp_path / "a.npz").frames.properties == {"melting_point": row}


def test_a_file_without_rows_takes_those_of_the_table(tmp_path: Path) -> None:
    """Sets made by other programs.

    Arrays named as in the table, and one number per structure for the split.
    """
    np.savez(
        tmp_path / "a.npz",
        n_atoms=np.array([1, 2]),
        z=np.array([1, 6, 8]),
        pos=np.zeros((3, 3), dtype=np.float32),
        energy=np.array([1.0, np.nan]),
        forces=np.ones((3, 3), dtype=np.float32),
        split=np.array([0, 2]),
        source=np.array([0, 1]),
        meta=json.dumps({"note": "mine", "more": {}}),
    )
    loaded = load_npz(tmp_path / "a.npz")
    assert set(loaded.frames.targets) == {"energy", "forces"}
    assert loaded.frames.targets["forces"].dtype == torch.float64
    assert {name: rows.tolist() for name, rows in loaded.splits.items()} == {
        "train": [0],
        "valid": [],
        "test": [1],
    }
    assert loaded.notes == {"note": "mine"}


def two_structures(path: Path, **arrays: np.ndarray) -> Path:
    """Write a flat npz by hand: an atom of hydrogen, and carbon monoxide."""
    z, pos = np.array([1, 6, 8]), np.arange(9.0).reshape(3, 3)
    np.savez(path, n_atoms=np.array([1, 2]), z=z, pos=pos, meta="{}", **arrays)
    return path


def test_charges_and_multiplicities_may_stand_alone(tmp_path: Path) -> None:
    frames = load_npz(two_structures(tmp_path / "a.npz", charge=np.array([1, -1]))).frames
    assert (frames.total_charge.tolist(), frames.spin_multiplicity.tolist()) == ([1, -1], [1, 1])
    frames = load_npz(two_structures(tmp_path / "a.npz", multiplicity=np.array([2, 3]))).frames
    assert (frames.total_charge.tolist(), frames.spin_multiplicity.tolist()) == ([0, 0], [2, 3])


def test_a_cell_and_what_is_periodic_belong_together(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.npz has pbc but no cell; write cell"):
        load_npz(two_structures(tmp_path / "a.npz", pbc=np.ones((2, 3), dtype=bool)))
    with pytest.raises(UserError, match=r"a\.npz has cell but no pbc; write cell"):
        load_npz(two_structures(tmp_path / "a.npz", cell=np.ones((2, 3, 3))))


@pytest.mark.parametrize("split", [[0, 2], [[0], [2]], [[0, 2]]])
def test_a_split_has_one_number_for_each_structure(tmp_path: Path, split: list) -> None:
    loaded = load_npz(two_structures(tmp_path / "a.npz", split=np.array(split)))
    assert {name: rows.tolist() for name, rows in loaded.splits.items()} == {
        "train": [0], "valid": [], "test": [1],
    }  # fmt: skip
    unused = load_npz(two_structures(tmp_path / "b.npz", split=np.array([0, -1])))
    assert unused.splits["train"].tolist() == [0]


def test_a_property_may_be_called_split(tmp_path: Path) -> None:
    """What is written is read again, whole numbers that are no parts among them."""
    row = declare("split", irreps="0e", unit="1", extensive=False)
    values = torch.tensor([5.0, 6.0], dtype=torch.float64)
    frames = make_frames(
        torch.zeros(2, 3), torch.ones(2), torch.ones(2),
        targets={"split": values}, properties={"split": row},
    )  # fmt: skip
    save_npz(frames, tmp_path / "a.npz")
    loaded = load_npz(tmp_path / "a.npz")
    assert loaded.frames.targets["split"].tolist() == [5.0, 6.0]
    assert not loaded.splits


@pytest.mark.parametrize("split", [[0], [0, 3], [0, 1, 2]])
def test_a_split_that_leaves_structures_out_is_refused(tmp_path: Path, split: list[int]) -> None:
    path = two_structures(tmp_path / "a.npz", split=np.array(split))
    with pytest.raises(UserError, match=r"a\.npz: split has .* for each of the 2 structures"):
        load_npz(path)


def test_a_file_without_rows_may_hold_declared_ones(tmp_path: Path) -> None:
    row = declare("dipole_gfn2", irreps="1o", unit="e·Å", extensive=True)
    np.savez(
        tmp_path / "a.npz",
        n_atoms=np.array([1]),
        z=np.array([1]),
        pos=np.zeros((1, 3)),
        dipole_gfn2=np.ones((1, 3)),
        meta="{}",
    )
    assert load_npz(tmp_path / "a.npz").frames.targets == {}
    assert load_npz(tmp_path / "a.npz", [row]).frames.properties == {"dipole_gfn2": row}


def test_foreign_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.npz does not exist"):
        load_npz(tmp_path / "none.npz")
    np.savez(tmp_path / "foreign.npz", x=np.zeros(2))
    with pytest.raises(UserError, match="it has no `meta`, only x"):
        load_npz(tmp_path / "foreign.npz")
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    with pytest.raises(UserError, match="Python objects"):
        open_arrays(tmp_path / "objects.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(UserError, match=r"text\.npz"):
        open_arrays(tmp_path / "text.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(UserError, match="holds one array"):
        open_arrays(tmp_path / "one.npy")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(UserError, match="holds no plain arrays"):
        open_arrays(tmp_path / "broken.npz")
    np.savez(tmp_path / "newer.npz", meta=json.dumps({"format": 99, "properties": []}))
    with pytest.raises(UserError, match="has format 99; this version reads format 1"):
        load_npz(tmp_path / "newer.npz")
    np.savez(
        tmp_path / "partial.npz",
        meta=json.dumps({"format": 1, "properties": [], "notes": {}}),
        n_atoms=np.zeros(1),
    )
    with pytest.raises(UserError, match="array 'z' is missing"):
        load_npz(tmp_path / "partial.npz")
    row = declare("pos", unit="1")
    frames = make_frames(
        torch.zeros(1, 3),
        torch.ones(1),
        torch.ones(1),
        targets={"pos": torch.zeros(1)},
        properties={"pos": row},
    )
    with pytest.raises(UserError, match="'pos' cannot be stored"):
        save_npz(frames, tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"atomic_numbers": torch.tensor([1.5, 1.0])}, "atomic numbers are no whole numbers"),
        ({"atomic_numbers": torch.tensor([torch.nan, 1.0])}, "atomic numbers are no whole numbers"),
        ({"atomic_numbers": torch.tensor([True, True])}, "atomic numbers are no whole numbers"),
        ({"n_atoms": torch.tensor([2.2])}, "numbers of atoms are no whole numbers"),
        ({"positions": torch.zeros(2, 3, dtype=torch.complex64)}, "positions are complex numbers"),
        ({"electrons": Electrons(torch.tensor([0.4]), torch.ones(1))}, "charges are no whole"),
        (
            {"targets": {"energy": torch.tensor([1e300], dtype=torch.float64)}},
            r"energy of structure 0 is 1e\+300, which",
        ),
        ({"targets": {"energy": torch.tensor([-torch.inf])}}, "energy of structure 0 is -inf"),
        ({"targets": {"energy": torch.tensor([1j])}}, "energy are complex numbers"),
        ({"periodic": Periodicity(torch.full((1, 3, 3), 1e30), torch.zeros(1, 3))}, "the cell of"),
    ],
)
def test_numbers_that_no_structure_or_label_has(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "positions": torch.eye(2, 3),
        "atomic_numbers": torch.ones(2),
        "n_atoms": torch.tensor([2]),
        "targets": {"energy": torch.tensor([torch.nan])},
        "properties": {"energy": PROPERTIES["energy"]},
    }
    make_frames(**given)
    with pytest.raises(UserError, match=message):
        make_frames(**given | change)


def test_arrays_of_other_types_are_refused(tmp_path: Path) -> None:
    for values in (np.ones(2, complex), np.array(["2020-01-01"], "M8[s]")):
        np.savez(tmp_path / "a.npz", x=values)
        with pytest.raises(UserError, match=r"x is of type .*, no numbers or text"):
            open_arrays(tmp_path / "a.npz")
