"""The face that PyTorch Geometric knows, against its own QM9 made from the same files."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from molequi import datasets
from molequi.datasets.npz import load_npz
from molequi.errors import UserError
from molequi.graphs.neighbors import build_graph

with warnings.catch_warnings():
    # PyTorch Geometric compiles with torch.jit.script when it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch_geometric.data import Batch, Data
    from torch_geometric.datasets import qm9 as pyg_qm9
    from torch_geometric.loader import DataLoader

    from molequi.datasets.qm9.pyg import COLUMNS, QM9, frames_from_data, graph_from_data

ATOMIZATION = slice(12, 16)


@pytest.fixture(scope="module")
def ours(sdf_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> QM9:
    root = tmp_path_factory.mktemp("ours")
    shutil.copytree(sdf_folder, root / "raw")
    return QM9(root)


@pytest.fixture(scope="module")
def theirs(sdf_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> pyg_qm9.QM9:
    root = tmp_path_factory.mktemp("theirs")
    shutil.copytree(sdf_folder, root / "raw")
    return pyg_qm9.QM9(str(root))


def test_columns_and_units_are_those_of_pyg(ours: QM9, theirs: pyg_qm9.QM9) -> None:
    assert len(ours) == len(theirs) == 212 - 5
    mine, other = torch.cat([data.y for data in ours]), torch.cat([data.y for data in theirs])
    assert mine.shape == other.shape == (207, len(COLUMNS))
    assert mine.dtype == other.dtype
    plain = [
        column for column in range(len(COLUMNS)) if column not in range(*ATOMIZATION.indices(19))
    ]
    torch.testing.assert_close(mine[:, plain], other[:, plain], rtol=1e-6, atol=1e-6)


def test_atomization_energies_of_methane(ours: QM9, theirs: pyg_qm9.QM9) -> None:
    """The fixture's table has DeepChem's values for methane, which stand for most molecules."""
    torch.testing.assert_close(
        ours[0].y[0, ATOMIZATION], theirs[0].y[0, ATOMIZATION], rtol=2e-6, atol=0.0
    )


def test_structures_are_those_of_pyg(ours: QM9, theirs: pyg_qm9.QM9) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine.z, other.z)
        torch.testing.assert_close(mine.pos, other.pos, rtol=0.0, atol=1e-6)
        assert mine.name == other.name
        assert int(mine.idx) == int(other.idx)
        assert mine.num_nodes == other.num_nodes


def test_atomref(ours: QM9, theirs: pyg_qm9.QM9) -> None:
    for column, name in enumerate(COLUMNS):
        mine = ours.atomref(column)
        assert (mine is not None) == (name in {"U0", "U", "H", "G"})
        if mine is not None:
            assert mine.shape == (100, 1)
            torch.testing.assert_close(mine, theirs.atomref(column), rtol=1e-6, atol=1e-5)
            assert mine[[1, 6, 7, 8, 9], 0].numpy() == pytest.approx(
                pyg_qm9.atomrefs[column], rel=1e-6
            )


def test_batches_of_pygs_loader_become_graphs(ours: QM9) -> None:
    batch = next(iter(DataLoader(ours, batch_size=6)))
    assert batch.y.shape == (6, 19)
    graph = graph_from_data(batch, cutoff=3.0)
    assert graph.n_molecules == 6
    assert torch.equal(graph.batch, batch.batch)
    offset = 0
    for index in range(6):
        data = ours[index]
        single = build_graph(data.pos.double().numpy(), data.z.numpy(), 3.0)
        mine = graph.batch[graph.edge_index[1]] == index
        assert torch.equal(graph.edge_index[:, mine] - offset, single.edge_index)
        torch.testing.assert_close(graph_from_data(data, 3.0).positions, single.positions)
        offset += data.num_nodes
    assert frames_from_data(batch).n_atoms.tolist() == [ours[index].num_nodes for index in range(6)]


def test_a_large_molecule_becomes_a_graph_without_a_matrix_of_all_pairs() -> None:
    positions = 30.0 * torch.rand(300, 3, generator=torch.Generator().manual_seed(0))
    data = Batch.from_data_list(
        [Data(z=torch.ones(n, dtype=torch.int64), pos=positions[:n]) for n in (300, 2)]
    )
    graph = graph_from_data(data, 4.0)
    single = build_graph(positions.double().numpy(), np.ones(300), 4.0)
    assert torch.equal(graph.edge_index[:, : single.edge_index.shape[1]], single.edge_index)
    assert graph.n_molecules == 2


def test_filter_and_transform(sdf_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(sdf_folder, tmp_path / "raw")

    def mark(data: object) -> object:
        data.marked = True
        return data

    small = QM9(tmp_path, transform=mark, pre_filter=lambda data: len(data.z) <= 4)
    assert {len(data.z) for data in small} == {3, 4}
    assert small[0].marked
    assert len(small.frames) == len(small)


def test_public_names_exist() -> None:
    for name in datasets.__all__:
        assert getattr(datasets, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        datasets.nothing  # noqa: B018


def test_bundled_sample_has_the_columns(checkout: Path, tmp_path: Path) -> None:
    shutil.copy(checkout / "data" / "samples" / "qm9_sample.npz", tmp_path / "qm9.npz")
    sample = QM9(tmp_path)
    assert len(sample) == len(load_npz(tmp_path / "qm9.npz").frames) == 3000
    assert sample[5].y.shape == (1, 19)


def _crystal(charge: int, side: float) -> Data:
    return Data(
        z=torch.tensor([8, 1, 1]),
        pos=torch.tensor([[0.0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]]),
        cell=torch.eye(3)[None] * side,
        pbc=torch.tensor([[True, True, False]]),
        charge=charge,
    )


def test_charge_spin_cell_and_pbc_are_kept() -> None:
    """They were dropped in silence: a cation in a cell became a neutral molecule."""
    one = graph_from_data(_crystal(1, 6.0), 5.0)
    assert one.pbc.tolist() == [[True, True, False]]
    assert (one.total_charge.tolist(), one.spin_multiplicity.tolist()) == ([1], [2])
    expected = build_graph(
        one.positions.numpy(),
        one.atomic_numbers.numpy(),
        5.0,
        cell=6.0 * np.eye(3),
        pbc=np.array([True, True, False]),
    )
    assert torch.equal(one.edge_index, expected.edge_index)
    assert torch.equal(one.shifts, expected.shifts)
    batch = Batch.from_data_list([_crystal(-1, 6.0), _crystal(2, 7.0)])
    frames = frames_from_data(batch)
    assert frames.total_charge.tolist() == [-1, 2]
    assert frames.spin_multiplicity.tolist() == [2, 1]
    assert frames.cell[:, 0, 0].tolist() == [6.0, 7.0]
    assert frames.pbc.tolist() == [[True, True, False]] * 2
    triplet = _crystal(0, 6.0)
    triplet.spin = torch.tensor([3])
    assert frames_from_data(triplet).spin_multiplicity.tolist() == [3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"charge": torch.zeros(3)}, "charge of the data has shape .3,."),
        ({"charge": torch.tensor(0.5)}, "not whole"),
        ({"pbc": None}, "have cell but no pbc"),
        ({"cell": None}, "have pbc but no cell"),
        ({"spin": 2}, "multiplicity 2 does not go with the 10 electrons of structure 0"),
        ({"spin": 13}, "multiplicity 13 does not go with the 10 electrons of structure 0"),
    ],
)
def test_fields_that_make_no_sense_are_refused(changes: dict, message: str) -> None:
    data = _crystal(0, 6.0)
    for name, value in changes.items():
        data[name] = value
    with pytest.raises(UserError, match=message):
        frames_from_data(data)
