"""The pure functions behind the training set of the bundled `organic` model."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

GOLDEN = {"CCO": 0, "c1nncnn1": 1, "c1cocn1": 2}
RECIPES = Path(__file__).parents[2] / "data" / "recipes"
WATER = (
    np.array([8, 1, 1]),
    np.array([[0.0, 0.0, 0.0], [0.0, 0.757, 0.587], [0.0, -0.757, 0.587]]),
)
# Ethanol, staggered, Å.
ETHANOL = (
    np.array([6, 6, 8, 1, 1, 1, 1, 1, 1]),
    np.array(
        [
            [1.17, -0.40, 0.00],
            [0.00, 0.56, 0.00],
            [-1.19, -0.21, 0.00],
            [2.12, 0.16, 0.00],
            [1.14, -1.04, 0.89],
            [1.14, -1.04, -0.89],
            [0.05, 1.20, 0.89],
            [0.05, 1.20, -0.89],
            [-1.95, 0.38, 0.00],
        ]
    ),
)


def recipe(name: str) -> ModuleType:
    """Import a module of data/recipes; skip where a package it needs is absent."""
    if not RECIPES.exists():
        pytest.skip("data/recipes is only in the checkout")
    sys.path.insert(0, str(RECIPES))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        pytest.skip(f"{name} needs {error.name}")
    finally:
        sys.path.remove(str(RECIPES))


@pytest.fixture(scope="module")
def frames() -> ModuleType:
    """Return the module of frame generators."""
    return recipe("organic_frames")


@pytest.fixture(scope="module")
def molecules() -> ModuleType:
    """Return the module that chooses molecules."""
    pytest.importorskip("pandas")
    return recipe("organic_molecules")


def test_split_is_stable_and_balanced(molecules: ModuleType) -> None:
    names = ["C" * n + "O" * m for n in range(1, 60) for m in range(60)]
    splits = [molecules.split_of(name) for name in names]
    assert splits == [molecules.split_of(name) for name in names]
    assert [molecules.split_of(s) for s in GOLDEN] == list(GOLDEN.values())
    shares = np.bincount(splits, minlength=3) / len(splits)
    np.testing.assert_allclose(shares, [0.90, 0.05, 0.05], atol=0.012)


def test_stereoisomers_and_spellings_share_a_split(molecules: ModuleType) -> None:
    names = {
        molecules.constitution_of(s) for s in ("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "OC(=O)C(C)N")
    }
    assert len(names) == 1
    assert molecules.constitution_of("not a molecule") == ""


def test_excluded_file_matches_any_spelling(molecules: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "excluded.txt"
    path.write_text("OCC\n\nC1=CC=CC=C1\n")
    excluded = molecules.read_excluded(path)
    assert {"CCO", "c1ccccc1"} <= excluded
    assert molecules.read_excluded(None) == set()
    assert molecules.common_molecules(excluded, ("CCO",)) == []


def test_common_molecules_are_neutral_and_train(molecules: ModuleType) -> None:
    found = molecules.common_molecules(set(), ("O", "[C-]#[O+]"))
    assert [m.z.tolist() for m in found] == [[8, 1, 1], [6, 8]]
    assert {m.split for m in found} == {molecules.TRAIN}


@pytest.mark.parametrize(
    ("distance", "above", "disagreement", "force", "reason"),
    [
        (0.97, 0.0, 0.1, 1.0, ""),
        (0.59, 0.0, 0.1, 1.0, "close"),
        (0.61, 15.1, 0.1, 1.0, "energy"),
        (0.61, float("nan"), 0.1, 1.0, "energy"),
        (0.97, 0.0, 1.6, 1.0, "disagreement"),
        (0.97, 0.0, 1.6, 20.0, ""),
        (0.97, 0.0, float("nan"), 20.0, "disagreement"),
    ],
)
def test_rejection(
    frames: ModuleType,
    distance: float,
    above: float,
    disagreement: float,
    force: float,
    reason: str,
) -> None:
    pos = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, distance]])
    assert frames.rejection(pos, above, disagreement, force) == reason


def test_a_single_atom_is_never_too_close(frames: ModuleType) -> None:
    assert frames.rejection(np.zeros((1, 3)), 0.0, 0.0, 0.0) == ""


@pytest.mark.parametrize("name", ["rattle", "stretch", "xh", "twist", "pair"])
def test_generators_are_deterministic_under_a_seed(frames: ModuleType, name: str) -> None:
    z, pos = ETHANOL
    before = pos.copy()
    make = {
        "rattle": lambda rng: frames.rattle(pos, 0.05, rng),
        "stretch": lambda rng: frames.stretch(z, pos, 0.8, 1.4, rng, only_xh=False),
        "xh": lambda rng: frames.stretch(z, pos, 0.75, 1.6, rng, only_xh=True),
        "twist": lambda rng: frames.twist(z, pos, rng),
        "pair": lambda rng: frames.place_pair(ETHANOL, WATER, rng)[1],
    }[name]
    first, again, other = (make(np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    np.testing.assert_array_equal(pos, before)


def test_stretch_changes_one_bond_and_keeps_both_sides_rigid(frames: ModuleType) -> None:
    z, pos = ETHANOL
    moved = frames.stretch(z, pos, 1.5, 1.5, np.random.default_rng(0), only_xh=True)
    change = (
        frames.distances(moved)[frames.bonds(z, pos)] / frames.distances(pos)[frames.bonds(z, pos)]
    )
    assert np.count_nonzero(change > 1.3) == 2  # one bond, seen from both ends
    assert np.abs(change[change < 1.3] - 1.0).max() < 0.12


def test_ring_bonds_are_not_open(frames: ModuleType) -> None:
    angle = np.arange(6) * np.pi / 3
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    z = np.array([6] * 6 + [1] * 6)
    benzene = np.concatenate([1.39 * ring, 2.48 * ring])
    assert len(frames.open_bonds(z, benzene)) == 6  # the C-H bonds
    assert frames.twist(z, benzene, np.random.default_rng(0)) is None


def test_twist_keeps_bond_lengths(frames: ModuleType) -> None:
    z, pos = ETHANOL
    moved = frames.twist(z, pos, np.random.default_rng(1))
    bonded = frames.bonds(z, pos)
    assert np.abs(frames.distances(moved)[bonded] - frames.distances(pos)[bonded]).max() < 0.15
    assert np.abs(frames.distances(moved)[~bonded & np.isfinite(frames.distances(pos))]).min() > 0.6


def test_pairs_touch_but_do_not_overlap(frames: ModuleType) -> None:
    for seed in range(20):
        z, pos = frames.place_pair(WATER, ETHANOL, np.random.default_rng(seed))
        gap = np.linalg.norm(pos[:3, None] - pos[None, 3:], axis=-1).min()
        assert 1.5 < gap < 5.0
        np.testing.assert_array_equal(z, np.concatenate([WATER[0], ETHANOL[0]]))
        np.testing.assert_allclose(
            frames.distances(pos[:3])[0, 1:], frames.distances(WATER[1])[0, 1:], rtol=1e-12
        )


def test_flat_arrays_round_trip(frames: ModuleType) -> None:
    items = [
        frames.Frame(*WATER, "O", 0, 0, 1.85),
        frames.Frame(*ETHANOL, "CCO", 2, 1, float("nan")),
    ]
    flat = frames.flatten(items)
    off = frames.offsets(flat["n_atoms"])
    np.testing.assert_array_equal(flat["pos"][off[1] : off[2]], ETHANOL[1])
    assert flat["constitution"].tolist() == ["O", "CCO"]
    assert flat["split"].tolist() == [0, 2]


def test_checkpoint_lines_that_were_cut_off_are_ignored(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    path = tmp_path / "dft.txt"
    path.write_text("3 0.1 0.2 0.3 ;\n4 0.1 0.2 0.\n\n5 nan nan nan ;\n")
    rows = recipe("organic").read_rows(path)
    assert sorted(rows) == [3, 5]
    np.testing.assert_allclose(rows[3], [0.1, 0.2, 0.3])


def test_dft_order_is_stable_and_starts_with_small_molecules() -> None:
    pytest.importorskip("pandas")
    sampling = recipe("organic_sampling")
    n_atoms = np.repeat([3, 9, 24], 4)
    arrays = {
        "n_atoms": n_atoms,
        "constitution": np.repeat(["O", "CCO", "CCCCCCCO"], 4),
        "source": np.tile([0, 1, 2, 9], 3),
        "split": np.zeros(12, dtype=np.uint8),
    }
    order = sampling.dft_order(arrays, [], np.random.default_rng(0))
    np.testing.assert_array_equal(order, sampling.dft_order(arrays, [], np.random.default_rng(0)))
    assert sorted(order) == [i for i in range(12) if i % 4 != 3]  # never the extra equilibria
    assert n_atoms[order[0]] == 3
    assert n_atoms[order[-1]] == 24
    resumed = sampling.dft_order(arrays, [order[0]], np.random.default_rng(1))
    assert resumed[0] == order[0]


def test_relaxed_energies_of_pairs_add_up() -> None:
    pytest.importorskip("pandas")
    arrays = {
        "constitution": np.array(["O", "CCO", "CCO.O", "O"]),
        "source": np.array([8, 0, 6, 1]),
    }
    energies = recipe("organic_sampling").relaxed_energies(
        arrays, np.array([-1.0, -3.0, -4.5, -0.2])
    )
    np.testing.assert_allclose(energies, [-1.0, -3.0, -4.0, -1.0])


def test_dipole_points_from_minus_to_plus() -> None:
    pytest.importorskip("tblite")
    pytest.importorskip("torchani")
    dipole = recipe("organic_teachers").gfn2_dipole(*WATER)
    assert 0.40 < dipole[2] < 0.55  # e·Å, from oxygen to the hydrogens
    np.testing.assert_allclose(dipole[:2], 0.0, atol=1e-6)


def test_fitted_coulomb_and_exchange_agree_between_their_two_forms() -> None:
    pytest.importorskip("pyscf")
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(7, 5, 5))
    factors += factors.transpose(0, 2, 1)
    occupied = rng.normal(size=(5, 2))
    density = occupied @ occupied.T
    quick = recipe("organic_dft").coulomb_exchange(factors, density, occupied)
    plain = recipe("organic_dft").coulomb_exchange(factors, density, None)
    for got, same, indices in zip(quick, plain, ("lij,lkm,km->ij", "lik,ljm,km->ij"), strict=True):
        expected = np.einsum(indices, factors, factors, density)
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(same, expected, rtol=1e-12, atol=1e-12)


def test_dft_dipole_reproduces_qm9_water() -> None:
    pytest.importorskip("pyscf")
    pos = np.array(
        [
            [-0.0343605, 0.9775396, 0.0076016],
            [0.0647665, 0.0205722, 0.0015346],
            [0.8717904, 1.3007925, 0.0006931],
        ]
    )
    dipole = recipe("organic_dft").dft_dipole(WATER[0], pos)
    assert np.linalg.norm(dipole) * 4.8032 == pytest.approx(1.8511, abs=0.01)  # D, entry 3 of QM9
    assert dipole @ (pos[1] + pos[2] - 2 * pos[0]) > 0
