"""Part b: forces as the gradient of an energy, and as a vector output of the same network.

Work around loops, drift of the energy.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from ase import units
from ase.data import atomic_masses
from buys.learn import (
    DIRECT,
    Molecule,
    Row,
    Rows,
    Settings,
    ethanol,
    mean_error,
    molecular_model,
    n_weights,
    predict,
    train_model,
)
from torch import Tensor

from molequi.models.molecular import MolecularModel

N_LOOPS, N_POINTS = 20, 128
RADIUS = 0.2  # Å, of a loop in the space of all coordinates
TIMESTEP, TEMPERATURE, TOO_HOT = 0.5, 300.0, 5000.0  # fs, K, K

Law = Callable[[Tensor], tuple[Tensor, float]]


def law_of(model: MolecularModel, frames: Molecule, *, direct: bool) -> Law:
    """Return the function from positions (N, 3) to forces (N, 3) and the energy."""
    graph = frames.graph(frames.positions[:1])

    def law(positions: Tensor) -> tuple[Tensor, float]:
        outputs = model.compute(graph._replace(positions=positions), forces=not direct)
        return outputs[DIRECT.name if direct else "forces"].detach().to(torch.float64), outputs[
            "energy"
        ].item()

    return law


def loop_work(model: MolecularModel, frames: Molecule, *, direct: bool) -> tuple[float, float]:
    """Work around circles in random planes of coordinate space.

    Mean of |W| in meV, and in % of the mean of the integral of |F||dx|.

    Equidistant points make the sum exact beyond all powers of their distance, so what is left is
    rounding where F is a gradient.
    """
    generator = torch.Generator().manual_seed(11)
    angle = 2.0 * math.pi * torch.arange(N_POINTS, dtype=torch.float64) / N_POINTS
    work, path = [], []
    for start in frames.positions[:N_LOOPS]:
        plane = torch.linalg.qr(
            torch.randn(start.numel(), 2, generator=generator, dtype=torch.float64)
        )[0].T.reshape(2, *start.shape)
        circle = RADIUS * (
            angle.cos()[:, None, None] * plane[0] + angle.sin()[:, None, None] * plane[1]
        )
        tangent = RADIUS * (
            -angle.sin()[:, None, None] * plane[0] + angle.cos()[:, None, None] * plane[1]
        )
        loop = Molecule(
            start + circle, torch.zeros_like(circle), torch.zeros(N_POINTS), frames.numbers
        )
        forces = predict(model, loop, direct=direct)[0]
        step = 2.0 * math.pi / N_POINTS
        work.append((forces * tangent).sum().item() * step)
        path.append(
            (forces.flatten(1).norm(dim=1) * tangent.flatten(1).norm(dim=1)).sum().item() * step
        )
    total = sum(abs(w) for w in work)
    return 1e3 * total / N_LOOPS, 100.0 * total / sum(path)


def nve(law: Law, start: Tensor, numbers: Tensor, picoseconds: float) -> Row:
    """Velocity Verlet from 300 K.

    Drift of the total energy by least squares, and the temperature of the last tenth.

    A run hotter than 5,000 K is stopped; its drift is that until then.
    """
    masses = torch.from_numpy(atomic_masses[numbers.numpy()])[:, None]
    generator = torch.Generator().manual_seed(2)
    velocities = (
        torch.randn(start.shape, generator=generator, dtype=torch.float64)
        * (units.kB * TEMPERATURE / masses).sqrt()
    )
    velocities = velocities - (masses * velocities).sum(dim=0) / masses.sum()
    positions, (forces, energy), step = start.clone(), law(start), TIMESTEP * units.fs
    n_steps, records = round(1000.0 * picoseconds / TIMESTEP), []
    for index in range(n_steps):
        velocities = velocities + 0.5 * step * forces / masses
        positions = positions + step * velocities
        forces, energy = law(positions)
        velocities = velocities + 0.5 * step * forces / masses
        kinetic = 0.5 * (masses * velocities.square()).sum().item()
        temperature = 2.0 * kinetic / ((3 * len(numbers) - 3) * units.kB)
        records.append((TIMESTEP * (index + 1) / 1000.0, kinetic + energy, temperature))
        if not temperature < TOO_HOT:
            break
    time, total, temperatures = torch.tensor(records, dtype=torch.float64).T
    centred = time - time.mean()
    slope = (
        ((centred * total).sum() / centred.square().sum()).item() if len(records) > 2 else math.nan
    )
    last = temperatures[-max(1, len(records) // 10) :].mean().item()
    return {
        "ps": time[-1].item(),
        "drift_mev_atom_ps": 1e3 * slope / len(numbers),
        "last_temperature_k": last,
    }


def row_of(train: Molecule, test: Molecule, steps: int, picoseconds: float, *, direct: bool) -> Row:
    """Train one of the twins and measure it."""
    model = molecular_model(
        train, ["energy", DIRECT] if direct else ["energy"], n_channels=16, l_max=1
    )
    seconds = train_model(model, train, steps, direct=direct)
    model = model.to(torch.float64)
    forces, energies = predict(model, test, direct=direct)
    work, share = loop_work(model, test, direct=direct)
    return {
        "force_error_norm_mev_a": 1e3 * mean_error(forces, test.forces),
        "energy_mae_mev": 1e3 * (energies - test.energies).abs().mean().item(),
        "loop_work_mev": work,
        "loop_work_percent": share,
        **nve(law_of(model, train, direct=direct), train.positions[0], train.numbers, picoseconds),
        "weights": n_weights(model),
        "seconds": seconds,
    }


def run(rows: Rows, settings: Settings) -> dict[str, list[Row]]:
    """Return the table `direct`."""
    (train, test), picoseconds, table = ethanol(settings.ethanol), settings.picoseconds, []
    for name, direct in (("gradient of an energy", False), ("vector output (1o)", True)):
        part = f"direct, {picoseconds:g} ps"
        table.append(
            rows.get(
                part,
                name,
                lambda d=direct: row_of(train, test, settings.steps, picoseconds, direct=d),
            )
        )
    return {"direct": table}
