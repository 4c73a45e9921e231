"""Models of random settings on random molecules and cells, and the laws of physics they must obey.

The laws are written out here as formulas; no helper of the physics report is used.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from molequi.errors import UserError
from molequi.graphs.graph import collate
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.physics import NO_PHYSICS, Physics
from molequi.models.structure import Structure
from molequi.nn.physics import dispersion_parameters

ELEMENTS = (1, 6, 7, 8, 9, 16)
D3 = dispersion_parameters("wb97m")
PHYSICS = (
    NO_PHYSICS,
    NO_PHYSICS,
    Physics("equilibrated"),
    Physics("equilibrated", "damped"),
    Physics("flows", "damped"),
    Physics(dispersion=D3, functional="wb97m"),
    Physics(repulsion="zbl"),
    Physics("equilibrated", "damped", D3, "wb97m", "zbl"),
)
# Of the size of what is compared: rounding, and the truncation of differences.
LIMITS = {"float64": 1e-9, "float32": 5e-4, "differences": 1e-6, "far": 1e-8}
# Å; the potential of a dipole, which changes charges, is 1e-10 V there, and positions are good to
# 6e-11 Å, which forces, being slopes, show some tens of times larger: hence the limit `far`.
_FAR = 3e5
# Å; radial functions are splines, whose third derivatives jump: a knot within the differences of
# the forces costs about the step times the jump, 3e-6 of the size at 1e-4, 3e-7 here.
_STEP = 1e-5


class Drawn(NamedTuple):
    """A model in float64, the number type it runs in, a molecule and a crystal, and their names."""

    model: MolecularModel
    dtype: torch.dtype
    molecule: Structure
    crystal: Structure
    text: str


class Violation(NamedTuple):
    """How far a law is broken, relative to the size of what it is about, and how far it may be."""

    law: str
    error: float
    limit: float


def draw(seed: int) -> Drawn:
    """Draw settings and structures; those that cannot reach an output are drawn again."""
    rng = np.random.default_rng(seed)
    while True:
        settings = _settings(rng)
        physics = PHYSICS[rng.integers(len(PHYSICS))]
        targets = ["energy", "dipole"]
        if settings["architecture"] == "spherical" and settings["l_max"] >= 2:
            targets += ["polarizability"] * bool(rng.integers(2))
        try:
            model = make_model(ELEMENTS, targets, seed=seed, physics=physics, **settings)
        except UserError:  # an output out of reach
            continue
        break
    model = model.double()
    if model.equilibration is not None:
        with torch.no_grad():
            last = model.equilibration.network.weights[-1]
            last.copy_(torch.randn(last.shape, generator=torch.Generator().manual_seed(seed)))
            model.equilibration.scale.fill_(0.5)
    dtype = (torch.float64, torch.float32)[int(rng.random() < 0.3)]
    text = f"seed {seed}: {settings}, {physics}, {dtype}"
    return Drawn(model, dtype, _molecule(rng), _crystal(rng), text)


def _settings(rng: np.random.Generator) -> dict[str, object]:
    shared = {
        "cutoff": float(rng.uniform(3.0, 5.0)),
        "n_layers": int(rng.integers(1, 4)),
        "n_channels": int(rng.choice([2, 4, 6])),
        "parity": str(rng.choice(["natural", "full"])),
    }
    if rng.random() < 0.2:
        return {"architecture": "invariants", **shared}
    return {
        "architecture": "spherical",
        **shared,
        "l_max": int(rng.integers(1, 4)),
        "correlation": int(rng.integers(1, 4)),
        "mixing": str(rng.choice(["merged", "separate"])),
        "self_connection": str(rng.choice(["factors", "matrices"])),
    }


def _molecule(rng: np.random.Generator) -> Structure:
    number = int(rng.integers(2, 9))
    return Structure(
        "molecule",
        _apart(rng, np.eye(3) * (1.2 + 0.7 * number), number),
        rng.choice(ELEMENTS, number),
        total_charge=int(rng.integers(-1, 2)),
    )


def _crystal(rng: np.random.Generator) -> Structure:
    """Return one to six atoms in a skew cell, often smaller than the cutoff."""
    number = int(rng.integers(1, 7))
    cell = np.diag(rng.uniform(1.0, 1.5, 3)) * (2.2 + 0.5 * number)
    cell += 0.15 * cell.max() * rng.uniform(-1, 1, (3, 3))
    return Structure(
        "crystal",
        _apart(rng, cell, number, periodic=True),
        rng.choice(ELEMENTS, number),
        cell=cell,
        pbc=np.ones(3, dtype=bool),
    )


def _apart(
    rng: np.random.Generator, cell: np.ndarray, number: int, *, periodic: bool = False
) -> np.ndarray:
    """Place atoms in a cell, none closer than 0.9 Å to another or its image."""
    images = np.array(list(np.ndindex(3, 3, 3))) - 1 if periodic else np.zeros((1, 3))
    placed: list[np.ndarray] = []
    while len(placed) < number:
        trial = rng.random(3) @ cell
        others = np.array(placed).reshape(-1, 1, 3) + images @ cell
        if np.linalg.norm(others - trial, axis=-1).min(initial=9.0) > 0.9:
            placed.append(trial)
    return np.array(placed)


def violations(drawn: Drawn, seed: int) -> Iterator[Violation]:
    """Measure every law on the molecule and the crystal."""
    rng = np.random.default_rng([seed, 1])
    model = drawn.model
    run = model if drawn.dtype == torch.float64 else copy.deepcopy(model).to(drawn.dtype)
    limit = LIMITS[str(drawn.dtype).removeprefix("torch.")]
    for structure in (drawn.molecule, drawn.crystal):
        for law, error in (*_motions(run, structure, rng), *_sums(run, structure)):
            is_far = law == "forces of two" and structure.is_open
            allowed = max(limit, LIMITS["far"]) if is_far else limit
            yield Violation(f"{law}, {structure.name}", error, allowed)
        frozen = run.freeze(kernels="reference")
        found, expected = (
            network.compute(structure.graph(model.cutoff)) for network in (frozen, run)
        )
        for name in ("energy", "forces"):
            yield Violation(f"frozen {name}", _error(found[name], expected[name]), limit)
        for law, error in _derivatives(model, structure, rng):
            yield Violation(f"{law}, {structure.name}", error, LIMITS["differences"])


def _compute(model: MolecularModel, *structures: Structure) -> list[dict[str, Tensor]]:
    """Compute some structures in one batch, each with its own outputs."""
    graph = collate([structure.graph(model.cutoff) for structure in structures])
    outputs = model.compute(graph, stress=bool(graph.pbc.all()))
    ends = np.cumsum([len(structure.positions) for structure in structures])
    return [
        {
            name: value[end - len(one.positions) : end]
            if len(value) == graph.n_atoms and name in {"forces", "energies", "charges"}
            else value[index]
            for name, value in outputs.items()
        }
        for index, (one, end) in enumerate(zip(structures, ends, strict=True))
    ]


def _error(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference, relative to the largest value and not to nothing."""
    size = max(float(expected.abs().max()), 0.1)
    return float((found - expected).abs().max()) / size


def _motions(
    model: MolecularModel, structure: Structure, rng: np.random.Generator
) -> Iterator[tuple[str, float]]:
    """Yield the errors under rotations, reflections, translations and another order of atoms."""
    rotation = _rotation(rng)
    mirror = rotation @ np.diag([1.0, -1.0, 1.0]) @ rotation.T
    order = rng.permutation(len(structure.positions))
    images = {
        "rotation": structure.mapped(rotation),
        "reflection": structure.mapped(mirror),
        "translation": structure.at(structure.positions + rng.uniform(-9, 9, 3)),
        "permutation": structure.permuted(order),
    }
    before, *after = _compute(model, structure, *images.values())
    for law, found in zip(images, after, strict=True):
        matrix = torch.as_tensor({"rotation": rotation, "reflection": mirror}.get(law, np.eye(3)))
        places = torch.as_tensor(order if law == "permutation" else np.arange(len(order)))
        for name in sorted(before.keys() & _LAWS.keys()):
            value = before[name]
            if bool(torch.isnan(value).any()):  # a dipole of a crystal
                continue
            value = value[places] if name in {"forces", "charges"} else value
            expected = _LAWS[name](value.double(), matrix)
            yield f"{law} of {name}", _error(found[name].double(), expected)


_LAWS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "energy": lambda x, m: x,
    "charges": lambda x, m: x,
    "forces": lambda x, m: x @ m.T,
    "dipole": lambda x, m: m @ x,
    "polarizability": lambda x, m: m @ x @ m.T,
    "stress": lambda x, m: m @ x @ m.T,
}


def _rotation(rng: np.random.Generator) -> np.ndarray:
    """Draw a rotation: by an angle about an axis (Rodrigues)."""
    axis, angle = rng.normal(size=3), rng.uniform(0.3, 2.8)
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _sums(model: MolecularModel, structure: Structure) -> Iterator[tuple[str, float]]:
    """Yield the errors of sums: forces, charges, and two of the same."""
    if structure.is_open:
        neutral = Structure("one", structure.positions, structure.atomic_numbers)
        two = neutral.beside(neutral, _FAR)
    else:
        neutral, two = structure, structure.doubled()
    (own,), (one,), (double,) = (_compute(model, item) for item in (structure, neutral, two))
    yield "sum of forces", float(own["forces"].sum(dim=0).abs().max()) / _size(own["forces"])
    if "charges" in own:
        total = float(own["charges"].double().sum())
        yield "sum of charges", abs(total - structure.total_charge)
    yield "energy of two", _error(double["energy"], 2.0 * one["energy"])
    yield "forces of two", _error(double["forces"], one["forces"].repeat(2, 1))
    if "stress" in double:
        yield "stress of two cells", _error(double["stress"], one["stress"])
        yield "symmetry of the stress", _error(own["stress"], own["stress"].mT)


def _size(values: Tensor) -> float:
    return max(float(values.abs().max()), 0.1)


def _derivatives(
    model: MolecularModel, structure: Structure, rng: np.random.Generator
) -> Iterator[tuple[str, float]]:
    """Yield the errors of derivatives, by differences of fourth and second order."""
    u, v = (x / np.linalg.norm(x) for x in rng.normal(size=(2, *structure.positions.shape)))
    steps = (1, -1, 2, -2)
    at_zero, *along = _compute(
        model, structure, *(structure.at(structure.positions + k * _STEP * u) for k in steps)
    )
    forces = at_zero["forces"].numpy()
    slope = _slope([float(one["energy"]) for one in along])
    yield "forces", abs(slope + float((forces * u).sum())) / _size(at_zero["forces"])

    across = _compute(model, *(structure.at(structure.positions + k * _STEP * v) for k in steps))
    along_u, along_v = (
        _slope([one["forces"].numpy() for one in found]) for found in (along, across)
    )
    size = max(np.abs(along_u).max(), np.abs(along_v).max(), 1.0)
    yield "symmetry of the Jacobian", abs((v * along_u).sum() - (u * along_v).sum()) / size

    if structure.is_periodic:
        strain = rng.normal(size=(3, 3))
        strain = 0.5 * (strain + strain.T)
        strained = _compute(
            model, *(structure.mapped(np.eye(3) + k * _STEP * strain) for k in steps)
        )
        slope = _slope([float(one["energy"]) for one in strained], step=_STEP)
        work = structure.volume * float((at_zero["stress"].numpy() * strain).sum())
        yield "stress", abs(slope - work) / max(abs(work), 1.0)


def _slope(values: list, step: float = _STEP):
    """Return the derivative from values at h, -h, 2h and -2h."""
    plus, minus, plus_two, minus_two = values
    return (8.0 * (plus - minus) - (plus_two - minus_two)) / (12.0 * step)
