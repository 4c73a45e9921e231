"""Rotations, mirror images, translations, the order of atoms and batches.

Outputs follow by the law of their irreps.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from molequi.graphs.graph import collate
from molequi.models.molecular import MolecularModel
from molequi.models.probes import built_in_probes
from molequi.models.structure import Structure, random_rotation
from molequi.properties import Property

ORGANIC = (1, 6, 7, 8)
CUTOFF = 4.5  # Å, of the models in conftest.py
MOLECULES = built_in_probes(ORGANIC)[:3]
DTYPES = (torch.float64, torch.float32)


def output_name(irreps: str) -> str:
    return f"out_{irreps.replace('+', '_')}"


def turned(row: Property, value: Tensor, matrix: np.ndarray) -> Tensor:
    """Apply an orthogonal matrix to a Cartesian output.

    X -> O x, tensors O T O^T, and det(O) for what is odd as its degree does not say.
    """
    operation = torch.as_tensor(matrix, dtype=value.dtype)
    sign = torch.linalg.det(operation).round()
    handed = {"0o": sign, "1e": sign, "0o+1o+2o": sign}.get(row.irreps, 1.0)
    if row.irreps in {"0e", "0o"}:
        return handed * value
    if row.irreps in {"1o", "1e"}:
        return handed * value @ operation.T
    return handed * operation @ value @ operation.T


CARTESIAN = {"0e", "0o", "1o", "1e", "0e+2e", "0o+1o+2o", "0e+1e+2e"}


@pytest.mark.parametrize("operation", ["rotation", "inversion", "reflection", "rotated reflection"])
def test_outputs_follow_orthogonal_maps(
    model: MolecularModel, operation: str, outputs_of, rows_of, assert_same
) -> None:
    """Rotations, and the mirror law of every irrep: 0e 0o 1o 1e 0e+2e 0o+1o+2o."""
    rotation = random_rotation(np.random.default_rng(1))
    mirror = np.diag([1.0, 1.0, -1.0])
    matrix = {
        "rotation": rotation,
        "inversion": -np.eye(3),
        "reflection": mirror,
        "rotated reflection": rotation @ mirror,
    }[operation]
    before = outputs_of(model, *MOLECULES)
    after = outputs_of(model, *(structure.mapped(matrix) for structure in MOLECULES))
    rows = {
        name: row
        for name, row in rows_of(model).items()
        if name in before and row.irreps in CARTESIAN
    }
    expected = {name: turned(row, before[name], matrix) for name, row in rows.items()}
    assert_same(model, {name: after[name] for name in rows}, expected)


@pytest.mark.parametrize("irreps", ["0e", "0o", "1o", "1e", "2e", "0e+2e", "0o+1o+2o"])
def test_mirror_law_holds_to_the_last_bit(irreps: str, model_of) -> None:
    """x -> -x: even outputs tie exactly, odd ones flip exactly, in both number types.

    No output is zero, so none passes by absence.
    """
    name = {"0e": "energy"}.get(irreps, output_name(irreps))
    for dtype in DTYPES:
        network = model_of("full", dtype)
        graph = collate([structure.graph(CUTOFF) for structure in MOLECULES])
        value, image = (
            network.compute(graph)[name],
            network.compute(graph._replace(positions=-graph.positions))[name],
        )
        assert value.abs().max() > 1e-4
        assert torch.equal(image, -value if irreps.endswith("o") else value)


def test_components_of_high_degree_turn_by_the_matrices_of_e3nn(model_of, outputs_of) -> None:
    """Outputs that have no Cartesian form.

    2e, 2o and 3o. e3nn's matrices are good to 1e-5 under a float32 default.
    """
    from e3nn import o3

    rotation = random_rotation(np.random.default_rng(2))
    for kind, irreps in (("full", "2e"), ("full", "2o"), ("natural", "3o")):
        network, name = model_of(kind), output_name(irreps)
        matrix = o3.Irrep(irreps).D_from_matrix(torch.as_tensor(rotation)).to(torch.float64)
        before, after = (
            outputs_of(network, *MOLECULES)[name],
            outputs_of(network, *(s.mapped(rotation) for s in MOLECULES))[name],
        )
        torch.testing.assert_close(
            after, before @ matrix.T, atol=1e-5 * float(before.abs().max()), rtol=0.0
        )


def test_handed_outputs_vanish_where_a_mirror_plane_says_so(model_of, outputs_of) -> None:
    """Formamide is planar: pseudoscalars are zero; a dipole lies in the plane.

    The parts of a tensor need not vanish.
    """
    planar = MOLECULES[2]
    outputs, chiral = (
        outputs_of(model_of("full"), planar),
        outputs_of(model_of("full"), MOLECULES[0]),
    )
    for name in ("out_0o", "out_0o_mean", "out_0o_atom", "is_right"):
        assert chiral[name].abs().max() > 1e-4
        assert outputs[name].abs().max() < 1e-13 * chiral[name].abs().max() * 100
    assert outputs["out_0o_1o_2o"].abs().max() > 1e-4
    assert outputs_of(model_of("natural"), planar)["dipole"][0, 2].abs() < 1e-14


def test_translation_changes_nothing(model: MolecularModel, outputs_of, assert_same) -> None:
    shift = np.array([31.0, -17.0, 5.0])
    before = outputs_of(model, *MOLECULES)
    assert_same(
        model,
        outputs_of(model, *(structure.at(structure.positions + shift) for structure in MOLECULES)),
        before,
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_translation_changes_no_dipole_of_an_ion(
    dtype: torch.dtype, model_of, outputs_of, assert_same
) -> None:
    """The origin of an ion's dipole is its centre of mass, so it does not depend on the frame."""
    model = model_of("natural", dtype)
    structure = MOLECULES[1]
    ion = Structure("cation", structure.positions, structure.atomic_numbers, total_charge=1)
    before, after = outputs_of(model, ion), outputs_of(model, ion.at(ion.positions + 20.0))
    assert float(before["charges"].sum()) == pytest.approx(1.0, abs=1e-5)
    assert_same(model, after, before)


def test_order_of_atoms_changes_nothing(
    model: MolecularModel, outputs_of, rows_of, assert_same
) -> None:
    structure = MOLECULES[1]
    order = np.random.default_rng(0).permutation(len(structure.positions))
    before, after = outputs_of(model, structure), outputs_of(model, structure.permuted(order))
    rows = rows_of(model)
    assert_same(
        model,
        after,
        {
            name: value[torch.as_tensor(order)] if rows[name].per_atom else value
            for name, value in before.items()
        },
    )


def test_batch_equals_singles(model: MolecularModel, outputs_of, assert_same) -> None:
    empty = Structure("nothing", np.zeros((0, 3)), np.zeros(0, dtype=int))
    structures = [*MOLECULES, empty, MOLECULES[0]]
    singles = [outputs_of(model, structure) for structure in structures]
    assert_same(
        model,
        outputs_of(model, *structures),
        {name: torch.cat([single[name] for single in singles]) for name in singles[0]},
    )


def test_invariant_features_are_invariant(model: MolecularModel, tolerance) -> None:
    matrix = -random_rotation(np.random.default_rng(4))
    before, after = (
        model.embed(s.graph(CUTOFF)) for s in (MOLECULES[1], MOLECULES[1].mapped(matrix))
    )
    assert before.shape[0] == len(MOLECULES[1].positions)
    assert float((after - before).abs().max()) <= tolerance[model.dtype] * float(before.abs().max())
