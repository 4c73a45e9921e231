"""How equivariant sampled lifts are.

Mean and spread of an output over resamplings, for a molecule and for its moved image.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from molequi.graphs.graph import collate
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.probes import built_in_probes
from molequi.models.structure import Structure, random_rotation

GROUPS, LIFTS, N_DRAWS, BATCH, ELEMENTS = (
    ("trivial", "T(3)", "SO(3)", "SE(3)"),
    (1, 4, 16),
    200,
    10,
    (1, 6, 7, 8),
)


def rows() -> list[dict[str, object]]:
    """Return a row for each group and number of lifts, of networks with random weights.

    scale: standard deviation of the output when atoms move by 0.2 Å. Relative to it: spread over
    resamplings, mean change of one draw and change of the mean under a random motion of the group,
    with its standard error.
    """
    molecule = built_in_probes(ELEMENTS)[1]
    rng = np.random.default_rng(0)
    turn = random_rotation(rng)
    image = {"SO(3)": molecule.mapped(turn), "trivial": molecule}
    table = []
    for group in GROUPS:
        # Each group is asked for its own motions.
        shift = rng.standard_normal(3)
        moved = image.get(group, molecule.mapped(turn if group == "SE(3)" else np.eye(3)))
        moved = moved if group in image else moved.at(moved.positions + shift)
        for n_lifts in LIFTS if group in {"SO(3)", "SE(3)"} else (1,):
            model = make_model(
                ELEMENTS,
                ["homo"],
                architecture="lieconv",
                group=group,
                n_lifts=n_lifts,
                n_channels=16,
            )
            table.append({"group": group, "lifts": n_lifts, **_measure(model, molecule, moved)})
    return table


def _measure(model: MolecularModel, molecule: Structure, moved: Structure) -> dict[str, float]:
    torch.manual_seed(0)
    rng = np.random.default_rng(1)
    shaken = [
        molecule.at(
            molecule.positions + 0.2 / np.sqrt(3) * rng.standard_normal(molecule.positions.shape)
        )
        for _ in range(20)
    ]
    scale = float(
        torch.stack([_draw(model, structure, BATCH).mean() for structure in shaken]).std()
    )
    first, second = _draw(model, molecule, N_DRAWS), _draw(model, moved, N_DRAWS)
    error = float(((first.var() + second.var()) / N_DRAWS).sqrt())
    return {
        "scale eV": scale,
        "spread": float(first.std()) / scale,
        "one draw": float((first - second).abs().mean()) / scale,
        "mean": abs(float(first.mean() - second.mean())) / scale,
        "mean ±": error / scale,
    }


def _draw(model: MolecularModel, structure: Structure, n_draws: int) -> Tensor:
    graph = collate([structure.graph(model.cutoff)] * BATCH)
    return torch.cat(
        [
            model.to(torch.float64).compute(graph, forces=False)["homo"]
            for _ in range(n_draws // BATCH)
        ]
    )
