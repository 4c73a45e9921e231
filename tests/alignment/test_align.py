"""Alignment by turned features, against other ways to the same overlaps.

The network run again on turned molecules, overlaps of pairs of atoms, and known answers.
"""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms

from molequi.alignment.align import align
from molequi.alignment.fields import (
    L_MAX,
    Multipoles,
    exact_overlaps,
    fields_of,
    multipoles,
    radial_functions,
    shells_for,
)
from molequi.alignment.orientations import angle_between, grid_rotations, score_at
from molequi.alignment.scoring import (
    Pair,
    best_pose,
    ranking,
    scan_orientations,
    unit_features,
)
from molequi.datasets.npz import load_npz
from molequi.datasets.places import find_data
from molequi.errors import UserError
from molequi.graphs.graph import collate
from molequi.graphs.neighbors import build_graph
from molequi.models.making import make_model
from molequi.models.structure import random_rotation
from molequi.models.zoo import load
from molequi.o3.irreps import Irreps
from molequi.o3.wigner import rotate
from molequi.structures.molecules import atoms_from_smiles

CHIRAL = ("C[C@H](N)C(=O)O", "C[C@H](O)C#N", "C[C@H]1CO1")


@pytest.fixture(scope="module")
def organic():
    return load("organic", dtype="float64")


@pytest.fixture(scope="module")
def molecules():
    return {smiles: atoms_from_smiles(smiles, 0) for smiles in ("CCO", "C=O", *CHIRAL)}


def described(model, *poses: Atoms) -> Multipoles:
    return multipoles(
        model,
        collate([build_graph(atoms.positions, atoms.numbers, model.cutoff) for atoms in poses]),
    )


def turned(atoms: Atoms, matrix, shift=(0.0, 0.0, 0.0)) -> Atoms:
    return Atoms(atoms.numbers, atoms.positions @ np.asarray(matrix).T + np.asarray(shift))


def test_radial_functions_are_bessel_functions():
    from scipy.special import spherical_in

    distances, exponents, radii = (
        torch.tensor(x, dtype=torch.float64)
        for x in ([0.05, 0.7, 9.0], [0.5, 0.8, 1.7], [0.2, 2.0, 11.0])
    )
    found = radial_functions(distances, exponents, radii, 13)
    d, a, r = distances.numpy()[:, None], exponents.numpy()[:, None], radii.numpy()
    for l in range(14):
        x = 2 * a * r * d
        expected = np.exp(-a * (r - d) ** 2) * np.exp(-x) * spherical_in(l, x) / d**l
        np.testing.assert_allclose(found[l], expected, rtol=1e-9)
    at_centre = radial_functions(torch.zeros(1, dtype=torch.float64), exponents[:1], radii, 2)
    np.testing.assert_allclose(at_centre[0, 0], np.exp(-0.5 * r**2), rtol=1e-14)
    np.testing.assert_allclose(at_centre[2, 0], np.exp(-0.5 * r**2) * r**2 / 15, rtol=1e-12)


def test_products_of_rows_are_overlaps_of_atoms(organic, molecules):
    """Both fields of two molecules against sums over pairs of atoms, for which nothing is expanded.

    Those of charge against a grid in space.
    """
    a, b = described(organic, molecules["CCO"]), described(organic, molecules["C=O"])
    shells = shells_for(a, b)
    fields = [fields_of(molecule, shells, 16) for molecule in (a, b)]
    exact = exact_overlaps(a, b)
    expanded = [float((x[0] * y[0]).sum()) for x, y in zip(*fields, strict=True)]
    np.testing.assert_allclose(expanded, exact, rtol=2e-5, atol=1e-9)
    step = 0.4
    axis = np.arange(-9.0, 9.0, step)
    points = torch.tensor(
        np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    )
    charges = [_charge_density(molecule, points) for molecule in (a, b)]
    assert float((charges[0] * charges[1]).sum()) * step**3 == pytest.approx(exact[1], rel=1e-6)
    # The charge field has the model's own dipole: centre of mass and centre of shape differ, which
    # a neutral molecule does not feel.
    moment = (charges[0][:, None] * points).sum(dim=0) * step**3
    graph = build_graph(molecules["CCO"].positions, molecules["CCO"].numbers, organic.cutoff)
    np.testing.assert_allclose(moment, organic.compute(graph, forces=False)["dipole"][0], atol=1e-6)


def _charge_density(molecule: Multipoles, points: torch.Tensor) -> torch.Tensor:
    """The density in space, e/Å³; an atomic dipole as two charges a little apart."""
    density, half = torch.zeros(len(points), dtype=torch.float64), 1e-4
    for position, charge, dipole in zip(
        molecule.positions[0], molecule.charges[0], molecule.dipoles[0], strict=True
    ):
        for weight, place in (
            (charge, position),
            (1 / (2 * half), position + half * dipole),
            (-1 / (2 * half), position - half * dipole),
        ):
            density += (
                weight
                * (0.5 / np.pi) ** 1.5
                * torch.exp(-0.5 * (points - place).square().sum(dim=1))
            )
    return density


def test_fields_of_a_turned_molecule_are_the_turned_fields(organic, molecules):
    atoms, matrix = molecules["CCO"], -random_rotation(np.random.default_rng(2))
    before, after = (
        described(organic, atoms),
        described(organic, turned(atoms, matrix, (3.0, -1.0, 2.0))),
    )
    shells = shells_for(before)
    for old, new in zip(fields_of(before, shells), fields_of(after, shells), strict=True):
        expected = rotate(old[0], torch.as_tensor(matrix), Irreps.natural(L_MAX))
        torch.testing.assert_close(
            new[0], expected, atol=1e-12 * float(old.abs().max()) + 1e-13, rtol=0.0
        )


def test_ranking_is_that_of_running_the_network_again(organic, molecules):
    """On every 25th pose; `tests/benchmarks/align.py` takes all 10,000."""
    a, b = molecules["CCO"], molecules["C[C@H](O)C#N"]
    parts = [described(organic, x) for x in (a, b)]
    shells = shells_for(*parts)
    pair = Pair(*(unit_features(fields_of(part, shells), 0.5) for part in parts))
    rotations, chosen = grid_rotations(), torch.arange(0, 10_000, 25)
    scores = scan_orientations(pair)[chosen]
    again = []
    for some in chosen.split(50):
        fields = fields_of(described(organic, *(turned(a, rotations[k]) for k in some)), shells)
        again += [
            float((unit_features(fields, 0.5, pose) * pair.b).sum()) for pose in range(len(some))
        ]
    again = torch.tensor(again, dtype=torch.float64)
    torch.testing.assert_close(scores, again, atol=1e-12, rtol=0.0)
    assert torch.equal(ranking(scores)[:100], ranking(again)[:100])
    assert float(scores.std()) > 0.02


def test_equal_scores_keep_the_order_of_the_grid():
    scores = torch.tensor([0.2, 0.5, 0.5 + 1e-13, 0.1], dtype=torch.float64)
    assert ranking(scores).tolist() == [1, 2, 0, 3]


def test_random_rotations_are_found_again(organic):
    """Of 50 molecules of QM9.

    Where a symmetry maps a molecule on itself, the atoms' places are what must agree.
    """
    frames = load_npz(find_data("samples/qm9_sample.npz")).frames
    known = [
        k
        for k in range(120)
        if set(frames.batch(torch.tensor([k]), 5.0)[0].atomic_numbers.tolist())
        <= set(organic.elements)
    ][:50]
    assert len(known) == 50
    rng, unlike = np.random.default_rng(0), 0
    for k in known:
        graph = frames.batch(torch.tensor([k]), 5.0)[0]
        atoms, rotation = (
            Atoms(graph.atomic_numbers.numpy(), graph.positions.numpy()),
            random_rotation(rng),
        )
        parts = [described(organic, x) for x in (atoms, turned(atoms, rotation))]
        shells = shells_for(*parts)
        pose = best_pose(Pair(*(unit_features(fields_of(part, shells), 0.5) for part in parts)))
        assert pose.score == pytest.approx(
            1.0, abs=1e-6
        )  # a symmetry of QM9's geometries holds to about 1e-4 Å
        if float(angle_between(pose.rotation, torch.as_tensor(rotation))) < 2.0:
            continue
        unlike += 1
        laid = parts[0].positions[0] @ pose.rotation.T
        for number in set(atoms.numbers):
            mine = torch.as_tensor(atoms.numbers) == int(number)
            nearest = torch.cdist(parts[1].positions[0][mine], laid[mine]).min(dim=1).values
            assert float(nearest.max()) < 0.05, f"molecule {k}"
    assert unlike <= 12


@pytest.mark.parametrize("smiles", CHIRAL)
def test_the_wrong_hand_scores_lower(organic, molecules, smiles):
    target = molecules[smiles]
    matrix = random_rotation(np.random.default_rng(7))
    same, wrong = (align(turned(target, sign * matrix), target, organic) for sign in (1, -1))
    assert same["score"] == pytest.approx(1.0, abs=1e-9)
    assert wrong["score"] < 0.97
    # The parity of the features says the same as the network on the mirror image.
    assert same["mirror_score"] == pytest.approx(wrong["score"], abs=1e-6)
    assert wrong["mirror_score"] == pytest.approx(1.0, abs=1e-9)


def test_a_planar_molecule_has_no_hand(organic, molecules):
    record = align(
        molecules["C=O"],
        turned(molecules["C=O"], random_rotation(np.random.default_rng(8))),
        organic,
    )
    assert record["mirror_score"] == pytest.approx(record["score"], abs=1e-9)


def test_the_record_lays_the_atoms_and_writes_them(organic, molecules, tmp_path):
    a = molecules["CCO"]
    b = turned(a, random_rotation(np.random.default_rng(3)), (4.0, 5.0, -6.0))
    record = align(a, b, organic, output=tmp_path / "laid.xyz", n_poses=3)
    laid, target = ase.io.read(tmp_path / "laid.xyz", index=":")
    np.testing.assert_allclose(laid.positions, b.positions, atol=1e-6)
    np.testing.assert_allclose(target.positions, b.positions, atol=1e-6)
    np.testing.assert_allclose(
        (a.positions - record["centre_a"]) @ record["rotation"].T + record["centre_b"],
        b.positions,
        atol=1e-7,
    )
    assert laid.info["molequi_score"] == pytest.approx(1.0)
    assert [record["shape"], record["electrostatic"]] == pytest.approx([1.0, 1.0])
    assert record["top"][0]["score"] >= record["top"][1]["score"] >= record["top"][2]["score"]
    assert record["n_poses"] == 10_000
    assert 0.999 < record["resolved"]["shape"] < 1.001
    assert record["level"] == organic.metadata.level["dipole"]


def test_the_parts_of_the_score_follow_its_weight(organic, molecules):
    a, b = molecules["CCO"], molecules["C[C@H](O)C#N"]
    shape, both, charge = (align(a, b, organic, charge_weight=weight) for weight in (0.0, 0.5, 1.0))
    assert shape["score"] == pytest.approx(shape["shape"])
    assert both["score"] == pytest.approx((both["shape"] + both["electrostatic"]) / 2)
    assert charge["score"] == pytest.approx(charge["electrostatic"])
    assert shape["shape"] >= both["shape"]
    assert charge["electrostatic"] >= both["electrostatic"]


def test_refinement_does_not_lose_to_the_scan(organic, molecules):
    record = align(molecules["CCO"], molecules["C[C@H]1CO1"], organic, n_poses=1)
    assert record["score"] >= record["top"][0]["score"]


def test_single_atoms_and_lines_have_no_best_orientation_and_no_trouble(organic):
    nitrogen = Atoms("N2", [[0, 0, 0], [0, 0, 1.1]])
    assert align(nitrogen, turned(nitrogen, random_rotation(np.random.default_rng(1))), organic)[
        "score"
    ] == pytest.approx(1.0, abs=1e-9)
    assert align(Atoms("O"), nitrogen, organic, charge_weight=0.0)["score"] < 1.0


def test_a_model_of_charges_alone_will_do(molecules):
    model = make_model([1, 6, 7, 8], ["charges"], n_layers=1, n_channels=4).to(torch.float64)
    record = align(
        molecules["CCO"], turned(molecules["CCO"], random_rotation(np.random.default_rng(1))), model
    )
    assert record["score"] == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(
    ("atoms", "options", "message"),
    [
        (
            Atoms("N2", [[0, 0, 0], [0, 0, 1.1]], cell=[9, 9, 9], pbc=True),
            {},
            "structure 0 of atoms is periodic; align compares molecules",
        ),
        (Atoms(), {}, "structure 0 of atoms"),
        (
            Atoms("NaH", [[0, 0, 0], [0, 0, 1.9]]),
            {},
            r"structure 0 of atoms: element Na \(atom 0\) is not in this model",
        ),
        (Atoms("N2", [[0, 0, 0], [0, 0, 1.1]]), {"charge": 1}, "charge"),
        (
            Atoms("O"),
            {"charge_weight": 0.5},
            "finds no charges in it, so there is no electrostatic overlap; use a charge weight of "
            "0",
        ),
        (
            Atoms("N2", [[0, 0, 0], [0, 0, 1.1]]),
            {"charge_weight": 1.5},
            "the charge weight is 1.5; it must lie between 0",
        ),
        (
            Atoms("N2", [[0, 0, 0], [0, 0, 1.1]]),
            {"charge_weight": float("nan")},
            "the charge weight is nan",
        ),
        (Atoms("N2", [[0, 0, 0], [0, 0, 1.1]]), {"n_poses": -1}, "number of poses to list is -1"),
        (Atoms("N2", [[0, 0, 0], [0, 0, 1.1]]), {"n_poses": 1.5}, "must be a whole number"),
        (
            Atoms("N2", [[0, 0, 0], [0, 0, 1.1]]),
            {"output": "x.csv"},
            "x.csv holds two molecules; use .xyz or .extxyz",
        ),
        (
            Atoms("N2", [[0, 0, 0], [0, 0, 60.0]]),
            {},
            "an atom is 30.0 Å from the centre of its molecule; alignment reaches to 25 Å",
        ),
    ],
    ids=[
        "periodic",
        "empty",
        "element",
        "charge",
        "no charges",
        "weight",
        "nan weight",
        "poses",
        "half a pose",
        "format",
        "large",
    ],
)
def test_what_cannot_be_aligned_is_refused(organic, molecules, atoms, options, message):
    with pytest.raises(UserError, match=message):
        align(molecules["CCO"], atoms, organic, **options)


def test_elements_without_a_radius_are_refused():
    atoms = Atoms("FeO", [[0, 0, 0], [0, 0, 1.5]])
    model = make_model([8, 26], ["charges"], n_layers=1, n_channels=4)
    with pytest.raises(UserError, match=r"no van der Waals radius is known for Fe \(atom 0\)"):
        align(atoms, atoms, model)


def test_a_model_without_charges_is_refused(molecules):
    model = make_model([1, 6, 7, 8], ["energy"], n_layers=1, n_channels=4)
    with pytest.raises(
        UserError, match="aligning needs a model with charges or a dipole; this one gives energy"
    ):
        align(molecules["CCO"], molecules["CCO"], model)


def test_scores_at_the_grid_are_scores(organic, molecules):
    """The refined score is that of its rotation, computed by turning."""
    parts = [described(organic, molecules[smiles]) for smiles in ("CCO", "C=O")]
    shells = shells_for(*parts)
    pair = Pair(*(unit_features(fields_of(part, shells), 0.3) for part in parts))
    pose = best_pose(pair)
    assert float(
        (rotate(pair.a, pose.rotation, Irreps.natural(L_MAX)) * pair.b).sum()
    ) == pytest.approx(pose.score, abs=1e-12)
    from molequi.alignment.orientations import correlations

    assert bool(
        (score_at(correlations(*pair, L_MAX), grid_rotations()[::101]) <= pose.score + 1e-12).all()
    )
