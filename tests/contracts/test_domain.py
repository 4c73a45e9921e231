"""Fragments, periods and the edges of the domain: far, alone, coincident, many, dense, unknown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molequi.errors import UserError
from molequi.graphs.neighbors import build_graph
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.probes import built_in_probes
from molequi.models.structure import Structure

ORGANIC = (1, 6, 7, 8)
CUTOFF = 4.5  # Å, of the models in conftest.py
*MOLECULES, CRYSTAL = built_in_probes(ORGANIC)


def test_far_neutral_fragments_add_up(
    model: MolecularModel, outputs_of, rows_of, assert_same
) -> None:
    """Extensive outputs add, per-atom ones stand side by side.

    Left out: means over atoms, and what depends on the origin, the centre of mass, which moves when
    a fragment is added: the spatial extent grows with the distance of the fragments. The trace of
    the Rosenfeld tensor does not.
    """
    first, second = MOLECULES[1], MOLECULES[2]
    alone, joined = (
        [outputs_of(model, s) for s in (first, second)],
        outputs_of(model, first.beside(second, 40.0)),
    )
    expected = {}
    for name, row in rows_of(model).items():
        if name in joined and row.per_atom:
            expected[name] = torch.cat([outputs[name] for outputs in alone])
        elif name in joined and row.extensive and name not in {"r2", "rosenfeld"}:
            expected[name] = alone[0][name] + alone[1][name]
    assert {"energy", "energies", "forces"} <= set(expected)
    assert_same(model, {name: joined[name] for name in expected}, expected)
    assert "rosenfeld_isotropic" in expected or "rosenfeld" not in joined
    if "r2" in joined:
        assert joined["r2"] > 100.0 + alone[0]["r2"] + alone[1]["r2"]


@pytest.mark.parametrize(
    "pbc", [(True, False, False), (False, True, True), (True, True, True)], ids=str
)
def test_periodic_structures_are_their_images(pbc: tuple[bool, ...], outputs_of) -> None:
    """A cell among its explicit images has the atomic energies of the periodic structure.

    Also where the cell is smaller than the cutoff.
    """
    network = make_model(ORGANIC, ["energy"], cutoff=4.0, n_layers=1, n_channels=4, l_max=1).to(
        torch.float64
    )
    unit = CRYSTAL
    periodic = Structure(
        "periodic",
        unit.positions,
        unit.atomic_numbers,
        unit.cell * np.array(pbc)[:, None],
        np.array(pbc),
    )
    counts = [range(-2, 3) if flag else (0,) for flag in pbc]
    shifts = sorted(
        ((i, j, k) for i in counts[0] for j in counts[1] for k in counts[2]),
        key=lambda shift: shift != (0, 0, 0),
    )
    positions = np.concatenate([unit.positions + np.array(shift) @ unit.cell for shift in shifts])
    images = Structure("images", positions, np.tile(unit.atomic_numbers, len(shifts)))
    central = outputs_of(network, images)["energies"][: len(unit.positions)]
    torch.testing.assert_close(
        outputs_of(network, periodic)["energies"], central, atol=1e-12, rtol=1e-12
    )


def test_nothing_comes_out_as_nan(model: MolecularModel, outputs_of) -> None:
    """One atom, two beyond the cutoff, none, an ion, a dense heap: every output is a number."""
    structures = [
        Structure("one atom", np.zeros((1, 3)), np.array([8])),
        Structure(
            "beyond the cutoff",
            np.array([[0.0, 0.0, 0.0], [CUTOFF + 0.1, 0.0, 0.0]]),
            np.array([8, 1]),
        ),
        Structure("nothing", np.zeros((0, 3)), np.zeros(0, dtype=int)),
        Structure(
            "on the cutoff", np.array([[0.0, 0.0, 0.0], [CUTOFF, 0.0, 0.0]]), np.array([8, 1])
        ),
        Structure(
            "anion",
            np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.97]]),
            np.array([8, 1]),
            total_charge=-1,
        ),
        Structure(
            "radical",
            np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.97]]),
            np.array([8, 1]),
            spin_multiplicity=2,
        ),
    ]
    for structure in structures:
        for name, value in outputs_of(model, structure).items():
            assert torch.isfinite(value).all(), f"{name} of {structure.name}"
    one, apart = outputs_of(model, structures[0]), outputs_of(model, structures[1])
    assert not one["forces"].any()
    assert not apart["forces"].any()
    assert float(apart["energies"][0]) == pytest.approx(float(one["energy"]), abs=1e-5)
    assert model.hessian(structures[0].graph(CUTOFF)).abs().max() == 0.0
    assert model.hessian(structures[2].graph(CUTOFF)).shape == (0, 0)


def test_coincident_atoms_are_refused_and_where_forced_finite(model: MolecularModel) -> None:
    graph = build_graph([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [8, 1, 1], CUTOFF)
    with pytest.raises(UserError, match=r"atom [01] and atom [01] are 0.000 Å apart"):
        model.check_input(graph)
    assert all(torch.isfinite(value).all() for value in model.compute(graph).values())


def test_unseen_element_is_named(model: MolecularModel) -> None:
    with pytest.raises(
        UserError, match=r"element Cl \(atom 1\) is not in this model; it knows H C N O"
    ):
        model.check_input(build_graph([[0.0, 0.0, 0.0], [0.0, 0.0, 1.3]], [1, 17], CUTOFF))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_positions_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="position of atom 1 is not finite"):
        build_graph([[0.0, 0.0, 0.0], [0.0, bad, 1.3]], [1, 1], CUTOFF)


def test_a_thousand_atoms(model_of, outputs_of) -> None:
    """No limit on atoms or neighbours.

    The sum over a large box is the sum of its parts, far apart.
    """
    network = model_of("products", torch.float32)
    unit = MOLECULES[1]
    grid = np.array(list(np.ndindex(5, 5, 4))) * 20.0
    many = Structure(
        "many",
        (unit.positions + grid[:, None]).reshape(-1, 3),
        np.tile(unit.atomic_numbers, len(grid)),
    )
    assert len(many.positions) == 1000
    one, outputs = outputs_of(network, unit), outputs_of(network, many)
    assert float(outputs["energy"]) == pytest.approx(1e2 * float(one["energy"]), rel=1e-6)
    torch.testing.assert_close(
        outputs["forces"].reshape(100, -1, 3)[57],
        one["forces"],
        atol=1e-4 * float(one["forces"].abs().max()),
        rtol=0.0,
    )


def test_dense_neighbourhoods_are_not_truncated(outputs_of) -> None:
    """Sixty neighbours of one atom all count: moving the farthest changes its energy."""
    rng = np.random.default_rng(0)
    shell = rng.standard_normal((60, 3))
    shell *= np.linspace(3.0, 4.2, 60)[:, None] / np.linalg.norm(shell, axis=1, keepdims=True)
    heap = Structure("heap", np.concatenate([np.zeros((1, 3)), shell]), np.full(61, 6))
    assert heap.graph(CUTOFF).receiver_ptr[1] == 60
    network = make_model(ORGANIC, ["energy"], cutoff=CUTOFF, n_layers=1, n_channels=4, l_max=1).to(
        torch.float64
    )
    before = outputs_of(network, heap)["energies"][0]
    positions = heap.positions.copy()
    positions[-1] *= 0.95
    assert abs(float(outputs_of(network, heap.at(positions))["energies"][0] - before)) > 1e-9
