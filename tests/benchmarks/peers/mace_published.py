"""Models of MACE with the sizes of published ones and random weights, and what MACE gives for them.

    python mace_published.py FOLDER NAME...

writes NAME.model and NAME.json: of each structure energy, eV, forces, eV/Å, and stress, eV/Å³, in
float64. Energies are scaled so that forces are as large as those of strained molecules. The models:
MACE-OFF23, Kovács et al., arXiv 2312.15211; MACE-MP-0, Batatia et al., arXiv 2401.00096;
MACE-MPA-0, taken as MACE-MP-0 medium with other blocks, distances and a repulsion. Their sizes have
not been compared with the released files.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from mace import modules
from mace.calculators import MACECalculator

# MACE lifts a restriction of torch.load that e3nn would meet otherwise, so it is imported first.
from e3nn import o3  # isort: skip

sys.path.append(str(Path(__file__).resolve().parents[1]))
from systems import aspirin, water_box

ORGANIC = (1, 6, 7, 8, 9, 15, 16, 17, 35, 53)
LARGEST_FORCE = 5.0  # eV/Å, of aspirin
MATERIALS = (*range(1, 84), *range(89, 95))
OFF = {"atomic_numbers": ORGANIC, "num_bessel": 8, "r_max": 5.0}
MP = {"atomic_numbers": MATERIALS, "num_bessel": 10, "r_max": 6.0}
DENSITY = "RealAgnosticDensityInteractionBlock", "RealAgnosticDensityResidualInteractionBlock"
PUBLISHED: dict[str, dict[str, Any]] = {
    "off23_small": {**OFF, "hidden": "96x0e", "r_max": 4.5},
    "off23_medium": {**OFF, "hidden": "128x0e+128x1o"},
    "off23_large": {**OFF, "hidden": "192x0e+192x1o+192x2e"},
    "mp0_small": {**MP, "hidden": "128x0e"},
    "mp0_medium": {**MP, "hidden": "128x0e+128x1o"},
    "mpa0": {
        **MP,
        "hidden": "128x0e+128x1o",
        "blocks": DENSITY,
        "distance_transform": "Agnesi",
        "pair_repulsion": True,
    },
}


def model_of(
    *,
    hidden: str,
    atomic_numbers: tuple[int, ...],
    blocks: tuple[str, str] = ("RealAgnosticResidualInteractionBlock",) * 2,
    **settings: Any,
) -> torch.nn.Module:
    """Return a model with random weights."""
    torch.manual_seed(0)
    first, others = (modules.interaction_classes[name] for name in blocks)
    return modules.ScaleShiftMACE(
        atomic_numbers=list(atomic_numbers),
        num_elements=len(atomic_numbers),
        hidden_irreps=o3.Irreps(hidden),
        interaction_cls_first=first,
        interaction_cls=others,
        atomic_energies=np.zeros(len(atomic_numbers)),
        num_polynomial_cutoff=5,
        max_ell=3,
        correlation=3,
        num_interactions=2,
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        avg_num_neighbors=15.0,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
        **settings,
    )


def scale(path: Path, atoms: Atoms) -> None:
    """Scale the energy of a model so that the largest component of the forces is 5 eV/Å."""
    largest = np.abs(values(path, atoms)["forces"]).max()
    model = torch.load(path, weights_only=False)
    model.scale_shift.scale *= LARGEST_FORCE / largest
    torch.save(model, path)


def structures(elements: tuple[int, ...]) -> dict[str, Atoms]:
    """Return those of a molecule, water and a metal whose elements the model knows."""
    metal = bulk("Cu", "fcc", a=3.6, cubic=True)
    metal.numbers[1] = 13
    metal.rattle(0.1, seed=2)
    found = {"aspirin": aspirin(), "water192": water_box(4), "metal": metal}
    return {name: atoms for name, atoms in found.items() if set(atoms.numbers) <= set(elements)}


def values(path: Path, atoms: Atoms) -> dict[str, Any]:
    """Return what MACE gives for a structure, and the structure."""
    atoms.calc = MACECalculator(model_paths=str(path), device="cpu", default_dtype="float64")
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces().tolist()}
    if atoms.pbc.all():
        results["stress"] = atoms.get_stress(voigt=False).tolist()
    shape = {"numbers": atoms.numbers.tolist(), "positions": atoms.positions.tolist()}
    return {**shape, "cell": atoms.cell[:].tolist(), "pbc": bool(atoms.pbc.all()), **results}


def main(folder: Path, names: list[str]) -> None:
    """Write the models and what they give."""
    warnings.filterwarnings("ignore")
    torch.set_default_dtype(torch.float64)
    for name in names:
        path = folder / f"{name}.model"
        torch.save(model_of(**PUBLISHED[name]), path)
        given = structures(PUBLISHED[name]["atomic_numbers"])
        scale(path, given["aspirin"])
        found = {system: values(path, atoms) for system, atoms in given.items()}
        path.with_suffix(".json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
