"""Part d: a material stretched along x only, and molecules distorted along x only.

Then the same along other axes.
"""

from __future__ import annotations

import numpy as np
import torch
from buys.learn import (
    CoordinateNetwork,
    Molecule,
    Row,
    Rows,
    Settings,
    batches,
    fit,
    mean_error,
    molecular_model,
    n_weights,
    predict,
    rotations,
    rotations_of_x,
    train_model,
)
from rdkit import Chem
from rdkit.Chem import AllChem, rdForceFieldHelpers
from torch import Tensor, nn

from molequi.nn.linear import Perceptron

# Lamé constants, GPa, of a stiff rubber; the order of magnitude plays no part.
MU, LAMBDA = 1.0, 2.0
KCAL = 0.0433641153087705  # eV in one kcal/mol (CODATA 2014, as ase.units)
N_AXES = 20


def stress_of(strain: Tensor) -> Tensor:
    """Second Piola-Kirchhoff stress of a compressible neo-Hookean solid from the Green strain E.

    (S, 3, 3) -> (S, 3, 3), GPa.

    S = mu (1 - C^-1) + lambda ln(J) C^-1, C = 1 + 2 E, J^2 = det C; it is dW/dE of W = mu/2 (tr C -
    3) - mu ln J + lambda/2 (ln J)^2 (Bonet and Wood, Nonlinear Continuum Mechanics for Finite
    Element Analysis, section 6.4).
    """
    one = torch.eye(3, dtype=strain.dtype)
    stretch = one + 2.0 * strain
    inverse, log_volume = torch.linalg.inv(stretch), 0.5 * torch.logdet(stretch)
    return MU * (one - inverse) + LAMBDA * log_volume[:, None, None] * inverse


def strains(stretches: Tensor, axes: Tensor) -> Tensor:
    """Green strain of stretches (S,) along unit vectors (S, 3): (s^2 - 1)/2 n n^T."""
    return 0.5 * (stretches.square() - 1.0)[:, None, None] * axes[:, :, None] * axes[:, None, :]


class IsotropicEnergy(nn.Module):
    """W(tr E, tr E^2, tr E^3) as a perceptron.

    The stress is dW/dE, so it turns with the strain and does no work in a cycle.
    """

    def __init__(self, *, n_hidden: int = 32) -> None:
        super().__init__()
        self.network = Perceptron((3, n_hidden, n_hidden, 1)).to(torch.float64)

    def forward(self, strain: Tensor) -> Tensor:
        """Return the stress (S, 3, 3)."""
        strain = strain.detach().requires_grad_(True)
        square = strain @ strain
        traces = [x.diagonal(dim1=1, dim2=2).sum(dim=1) for x in (strain, square, square @ strain)]
        with torch.enable_grad():
            energy = self.network(4.0 * torch.stack(traces, dim=1)).sum()
            return torch.autograd.grad(energy, strain, create_graph=True)[0]


class ComponentNetwork(nn.Module):
    """A perceptron from the six components of the strain to the six of the stress."""

    def __init__(self, *, n_hidden: int = 32) -> None:
        super().__init__()
        self.network = Perceptron((6, n_hidden, n_hidden, 6), last_bias=True).to(torch.float64)
        self.register_buffer("place", torch.tensor([[0, 1, 2], [1, 3, 4], [2, 4, 5]]))

    def forward(self, strain: Tensor) -> Tensor:
        """Return the stress (S, 3, 3)."""
        upper = strain[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]
        return self.network(4.0 * upper)[:, self.place]


def train_stress(model: nn.Module, *, steps: int, augmented: bool = False) -> float:
    """Train on 64 stretches between 0.75 and 1.4 along x.

    `augmented`: each turned at random at each step.
    """
    x = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    strain = strains(torch.linspace(0.75, 1.4, 64, dtype=torch.float64), x.expand(64, 3))
    stress = stress_of(strain)
    matrices = rotations(1, 64 * 16)

    def loss(step: int) -> Tensor:
        if not augmented:
            return (model(strain) - stress).square().mean()
        rows = torch.randint(len(matrices), (64,), generator=torch.Generator().manual_seed(step))
        turn = matrices[rows]
        return (model(turn @ strain @ turn.mT) - turn @ stress @ turn.mT).square().mean()

    return fit(model.parameters(), loss, steps)


def stress_row(model: nn.Module, seconds: float) -> Row:
    """Errors along x, along y and along random axes on 50 stretches that were not trained on.

    Mean Frobenius norm, MPa.
    """
    stretches = torch.linspace(0.753, 1.397, 50, dtype=torch.float64)
    errors = []
    for axis in test_axes():
        strain = strains(stretches, axis.expand(50, 3))
        errors.append(
            1e3 * torch.linalg.matrix_norm(model(strain).detach() - stress_of(strain)).mean().item()
        )
    return ratios(errors) | {"unit": "MPa", "weights": n_weights(model), "seconds": seconds}


def test_axes() -> Tensor:
    """Return x, y and 20 random unit vectors: (22, 3)."""
    random = torch.from_numpy(np.random.default_rng(7).standard_normal((N_AXES, 3)))
    return torch.cat(
        [torch.eye(3, dtype=torch.float64)[:2], torch.nn.functional.normalize(random, dim=1)]
    )


def ratios(errors: list[float]) -> Row:
    """Compare the errors along y and along the random axes with that along x."""
    others = np.array(errors[2:]) / errors[0]
    return {
        "error_x": errors[0],
        "error_y": errors[1],
        "ratio_y": errors[1] / errors[0],
        "ratio_axes_mean": float(others.mean()),
        "ratio_axes_min": float(others.min()),
        "ratio_axes_max": float(others.max()),
    }


def distorted(n: int, seed: int) -> Molecule:
    """Ethanol stretched by up to 8 % and shaken by 0.05 Å, along x only, with forces of MMFF94."""
    molecule = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    rdForceFieldHelpers.MMFFOptimizeMolecule(molecule, maxIters=2000)
    start = molecule.GetConformer().GetPositions()
    rng = np.random.default_rng(seed)
    positions = np.repeat(start[None], n, axis=0)
    positions[:, :, 0] = start[:, 0] * (
        1.0 + rng.uniform(-0.08, 0.08, (n, 1))
    ) + 0.05 * rng.standard_normal((n, len(start)))
    energies, forces = zip(*(mmff(molecule, frame) for frame in positions), strict=True)
    numbers = torch.tensor([atom.GetAtomicNum() for atom in molecule.GetAtoms()])
    return Molecule(
        torch.from_numpy(positions),
        torch.from_numpy(np.array(forces)),
        torch.tensor(energies, dtype=torch.float64),
        numbers,
    )


def mmff(molecule: Chem.Mol, positions: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy (eV) and forces (N, 3) (eV/Å) of RDKit's MMFF94."""
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(molecule)
    field = rdForceFieldHelpers.MMFFGetMoleculeForceField(molecule, properties)
    flat = positions.reshape(-1).tolist()
    return KCAL * field.CalcEnergy(flat), -KCAL * np.array(field.CalcGrad(flat)).reshape(
        positions.shape
    )


def molecule_row(kind: str, train: Molecule, test: Molecule, steps: int) -> Row:
    """Train on distortions along x, test them with molecule and axis turned together."""
    if kind == "exact":
        model = molecular_model(train, ["energy"], n_channels=16, l_max=1).to(torch.float64)
        seconds = train_model(model, train, steps)
        answer = lambda frames: predict(model, frames)[0]  # noqa: E731
    else:
        seen = train.turned(rotations(13, len(train.positions))) if kind == "augmented" else train
        model = CoordinateNetwork(seen.positions, train.forces)
        order, matrices = batches(len(train.positions), 32, 10 * steps), rotations(3, 4096)

        def loss(step: int) -> Tensor:
            frames = train.subset(order[step])
            frames = (
                frames.turned(matrices[(32 * step + torch.arange(32)) % len(matrices)])
                if kind == "augmented"
                else frames
            )
            return ((model(frames.positions) - frames.forces) / train.forces.std()).square().mean()

        seconds = fit(model.parameters(), loss, 10 * steps, 3e-3)
        answer = lambda frames: model(frames.positions).detach()  # noqa: E731
    frames = [test.turned(matrix) for matrix in rotations_of_x(test_axes()[1:], 5)]
    errors = [1e3 * mean_error(answer(each), each.forces) for each in (test, *frames)]
    return ratios(errors) | {"unit": "meV/Å", "weights": n_weights(model), "seconds": seconds}


def run(rows: Rows, settings: Settings) -> dict[str, list[Row]]:
    """Return the tables `stress` and `distorted_forces`."""
    steps, rows.settings = settings.steps, {"steps": settings.steps}
    materials = {
        "exact (energy of invariants)": lambda: (IsotropicEnergy(), False),
        "components": lambda: (ComponentNetwork(), False),
        "components, turned in training": lambda: (ComponentNetwork(), True),
    }
    table = []
    for name, make in materials.items():

        def compute(make=make) -> Row:
            torch.manual_seed(0)
            model, augmented = make()
            return stress_row(model, train_stress(model, steps=10 * steps, augmented=augmented))

        table.append(rows.get("stress", name, compute))
    train, test = distorted(200, 0), distorted(100, 1)
    names = {
        "exact (E(3) model)": "exact",
        "coordinates": "coordinates",
        "coordinates, turned in training": "augmented",
    }
    molecules = [
        rows.get("forces", name, lambda kind=kind: molecule_row(kind, train, test, steps))
        for name, kind in names.items()
    ]
    return {"stress": table, "distorted_forces": molecules}
