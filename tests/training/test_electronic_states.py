"""States of one formula that a network cannot tell apart are told, those that it can are not."""

from __future__ import annotations

import logging

import pytest
import torch

from molequi.datasets.in_memory import Frames
from molequi.models.making import make_model
from molequi.models.physics import Physics
from molequi.training.electronic_states import unseen_states, warn_of_unseen_states

# O2 as a triplet and a singlet; water, its cation, hydroxide.
MOLECULES = [([8, 8], 0, 3), ([8, 8], 0, 1), ([8, 1, 1], 0, 1), ([1, 8, 1], 1, 2), ([8, 1], -1, 1)]


def frames(rows: list[int]) -> Frames:
    chosen = [MOLECULES[row] for row in rows]
    sizes = torch.tensor([0, *(len(numbers) for numbers, _, _ in chosen)])
    numbers = torch.tensor([number for numbers, _, _ in chosen for number in numbers])
    return Frames(
        positions=torch.arange(3 * len(numbers), dtype=torch.float64).reshape(-1, 3),
        atomic_numbers=numbers,
        offsets=sizes.cumsum(0),
        cell=torch.zeros(len(chosen), 3, 3, dtype=torch.float64),
        pbc=torch.zeros(len(chosen), 3, dtype=torch.bool),
        total_charge=torch.tensor([charge for _, charge, _ in chosen]),
        spin_multiplicity=torch.tensor([multiplicity for _, _, multiplicity in chosen]),
    )


def test_states_of_one_formula_are_found() -> None:
    found = unseen_states(frames([4, 2, 3, 0, 1]), sees_charge=False)
    assert found == [("total charges", "H2O", (0, 1)), ("multiplicities", "O2", (1, 3))]
    # The cation of water is a doublet, which its charge tells.
    assert unseen_states(frames([2, 3]), sees_charge=True) == []


def test_ions_of_other_formulas_pass() -> None:
    assert unseen_states(frames([0, 2, 4]), sees_charge=False) == []


@pytest.mark.parametrize(
    ("outputs", "charges", "said"),
    [
        ("energy", "flows", "H2O comes in several total charges (0, 1)"),
        ("energy", "equilibrated", None),
        ("dipole", "flows", None),
    ],
)
def test_a_model_that_sees_charges_is_told_nothing(caplog, outputs, charges, said) -> None:
    model = make_model([1, 8], [outputs], physics=Physics(charges=charges), n_channels=4)
    with caplog.at_level(logging.WARNING):
        warn_of_unseen_states(model, frames([2, 3]))
    assert (said is None) == (not caplog.records)
    if said:
        assert said in caplog.text
        assert "model.charges=equilibrated" in caplog.text
