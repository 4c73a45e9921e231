"""What is added to the 0e part of a tensor keeps its symmetry, and is read back as it was set."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molequi.graphs.graph import collate
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.probes import built_in_probes
from molequi.models.structure import Structure, random_rotation
from molequi.properties import PROPERTIES, Property, declare

ELEMENTS = (1, 6, 7, 8)
ROWS = [
    PROPERTIES["polarizability"],
    declare("screening", irreps="0e+2e", unit="1"),
    declare("shielding", irreps="0e+2e", unit="1", per_atom=True),
    declare("mixture", irreps="0e+1o", unit="1", extensive=True),
]


def shifted_model(row: Property) -> MolecularModel:
    torch.manual_seed(0)
    model = make_model(ELEMENTS, [row], n_layers=2, n_channels=8, cutoff=4.0).to(torch.float64)
    head = model.heads[row.name]
    reference = torch.arange(len(head.reference), dtype=torch.float64)
    head.set_statistics(head.scale, 5.0, reference if row.extensive else None)
    return model


def outputs(model: MolecularModel, row: Property, structures: list[Structure]) -> torch.Tensor:
    graph = collate([structure.graph(4.0) for structure in structures])
    return model.compute(graph)[row.name].detach()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("sign", [1, -1])
def test_shifted_tensors_turn_with_the_molecule(row: Property, sign: int) -> None:
    model, structures = shifted_model(row), built_in_probes(ELEMENTS)[:3]
    matrix = sign * random_rotation(np.random.default_rng(0))
    turned = [one.at(one.positions @ matrix.T) for one in structures]
    R = torch.as_tensor(matrix)
    before, after = (outputs(model, row, some) for some in (structures, turned))
    if row.shape == (3, 3):
        expected = R @ before @ R.T
    else:
        expected = torch.cat([before[:, :1], before[:, 1:] @ R.T], dim=1)
    torch.testing.assert_close(after, expected, rtol=0, atol=1e-11 * float(before.abs().max()))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_shift_moves_the_scalar_part_alone(row: Property) -> None:
    model, structures = shifted_model(row), built_in_probes(ELEMENTS)[:3]
    shifted = outputs(model, row, structures)
    head = model.heads[row.name]
    head.set_statistics(head.scale, 0.0, torch.zeros_like(head.reference))
    change = shifted - outputs(model, row, structures)
    amounts = torch.full((len(change),), 5.0, dtype=torch.float64)
    if row.extensive:  # an atom of element Z brings 5 + Z
        counts = torch.tensor([len(one.atomic_numbers) for one in structures])
        sums = [int(one.atomic_numbers.sum()) for one in structures]
        amounts = (5 * counts + torch.tensor(sums)).to(torch.float64)
    if row.shape == (3, 3):
        eye = torch.eye(3, dtype=torch.float64) * 3**-0.5
        expected = amounts[:, None, None] * eye
    else:
        expected = torch.nn.functional.pad(amounts[:, None], (0, 3))
    torch.testing.assert_close(change, expected, rtol=1e-12, atol=1e-12)


def test_the_tensor_of_rosenfeld_begins_its_polarizability_at_references() -> None:
    model = make_model(
        ELEMENTS, ["rosenfeld", "polarizability"], n_layers=3, n_channels=8, parity="full"
    ).to(torch.float64)
    head, structures = model.heads["rosenfeld"], built_in_probes(ELEMENTS)[:3]
    row = PROPERTIES["polarizability"]
    before = outputs(model, row, structures)
    reference = torch.zeros_like(head.reference)
    reference[8] = 3**0.5
    head.set_companion_statistics("polarizability", head.alpha_scale, reference)
    oxygens = torch.tensor([int((one.atomic_numbers == 8).sum()) for one in structures])
    change = outputs(model, row, structures) - before
    expected = oxygens[:, None, None] * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(change, expected, rtol=1e-9, atol=1e-9)
