"""Models of MACE with the sizes of published ones and random weights, and what MACE gives for them.

    python mace_published.py FOLDER NAME [STRUCTURE,STRUCTURE]

writes NAME.model, where it is not there, and to NAME.json of each structure energy, eV, forces,
eV/Å, and stress, eV/Å³, in float64, and the dipole in debye where there is one. Energies are scaled
so that forces are as large as those of strained molecules. Sizes:

- MACE-OFF23 (Kovács et al., arXiv 2312.15211): medium by ACEsuit/mace-off,
  mace_off23/train_scripts/medium.sh, which asks for --model=MACE: mace-torch then takes a first
  block without residual (`tools.model_script_utils`). Small as it is built again to load
  SPICE_sm_inv_neut_E0.model in the tests of the package moldiff. Of large no script is published;
  224 channels are what descriptors of the file have (mace issue 1192).
- MACE-MP-0 (Batatia et al., arXiv 2401.00096): ACEsuit/mace-mp,
  mace_mp_0/2023-12-10-mace-128-L0.sh and 2023-12-03-mace-128-L1.sh.
- MACE-MPA-0: ACEsuit/mace-foundations, mace_omat/mace-omat-medium.sh, the input of MPA-0 but for
  its data (mace-foundations issue 29). What its config-omat.yaml may add is not published; defaults
  of mace-torch stand for it.
- Dipoles and two heads: those of MACE-OFF23 small, with vectors for dipoles.

None has been compared with the released files.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule
from mace import modules
from mace.calculators import MACECalculator

# MACE lifts a restriction of torch.load that e3nn would meet otherwise, so it is imported first.
from e3nn import o3  # isort: skip

sys.path.append(str(Path(__file__).resolve().parents[1]))
from systems import aspirin, water_box

ORGANIC = (1, 6, 7, 8, 9, 15, 16, 17, 35, 53)
LARGEST_FORCE = 5.0  # eV/Å, of aspirin
MATERIALS = (*range(1, 84), *range(89, 95))
PLAIN = "RealAgnosticInteractionBlock", "RealAgnosticResidualInteractionBlock"
RESIDUAL = ("RealAgnosticResidualInteractionBlock",) * 2
DENSITY = "RealAgnosticDensityInteractionBlock", "RealAgnosticDensityResidualInteractionBlock"
OFF = {"atomic_numbers": ORGANIC, "num_bessel": 8, "r_max": 5.0, "blocks": PLAIN}
MP = {"atomic_numbers": MATERIALS, "num_bessel": 10, "r_max": 6.0, "blocks": RESIDUAL}
SMALL = {**OFF, "hidden": "96x0e", "r_max": 4.5}
PUBLISHED: dict[str, dict[str, Any]] = {
    "off23_small": SMALL,
    "off23_medium": {**OFF, "hidden": "128x0e+128x1o"},
    "off23_large": {**OFF, "hidden": "224x0e+224x1o+224x2e"},
    "mp0_small": {**MP, "hidden": "128x0e"},
    "mp0_medium": {**MP, "hidden": "128x0e+128x1o"},
    "mpa0": {
        **MP,
        "hidden": "128x0e+128x1o",
        "num_bessel": 8,
        "blocks": DENSITY,
        "distance_transform": "Agnesi",
        "pair_repulsion": True,
    },
    "two_heads": {**SMALL, "heads": ["dft", "cc"]},
    "dipoles": {**SMALL, "hidden": "96x0e+96x1o", "model": "EnergyDipolesMACE"},
}


def model_of(
    *,
    hidden: str,
    atomic_numbers: tuple[int, ...],
    blocks: tuple[str, str],
    model: str = "ScaleShiftMACE",
    heads: Sequence[str] = (),
    **settings: Any,
) -> torch.nn.Module:
    """Return a model with random weights."""
    torch.manual_seed(0)
    first, others = (modules.interaction_classes[name] for name in blocks)
    settings |= dict(
        atomic_numbers=list(atomic_numbers),
        num_elements=len(atomic_numbers),
        hidden_irreps=o3.Irreps(hidden),
        interaction_cls_first=first,
        interaction_cls=others,
        num_polynomial_cutoff=5,
        max_ell=3,
        correlation=3,
        num_interactions=2,
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        avg_num_neighbors=15.653135,
    )
    n_heads = max(1, len(heads))
    energies = np.zeros((n_heads, len(atomic_numbers)) if heads else len(atomic_numbers))
    settings["atomic_energies"] = energies
    if model == "EnergyDipolesMACE":
        return modules.EnergyDipolesMACE(**settings | {"MLP_irreps": o3.Irreps("16x0e+16x1o")})
    scale, shift = (np.ones(n_heads), np.zeros(n_heads)) if heads else (1.0, 0.0)
    if heads:
        settings["heads"] = list(heads)
    return modules.ScaleShiftMACE(atomic_inter_scale=scale, atomic_inter_shift=shift, **settings)


def scale(path: Path, atoms: Atoms, heads: Sequence[str]) -> None:
    """Scale the energy of a model so that the largest component of the forces is 5 eV/Å."""
    largest = np.abs(values(path, atoms, "MACE", heads)["forces"]).max()
    model = torch.load(path, weights_only=False)
    model.scale_shift.scale *= LARGEST_FORCE / largest
    torch.save(model, path)


def structures(elements: tuple[int, ...], names: Sequence[str]) -> dict[str, Atoms]:
    """Return those of molecules, water, ice and a metal whose elements the model knows."""
    metal = bulk("Cu", "fcc", a=3.6, cubic=True)
    metal.numbers[1] = 13
    metal.rattle(0.1, seed=2)
    every = {
        "aspirin": aspirin(),
        "acetamide": molecule("CH3CONH2"),
        "atom": Atoms("O"),
        "water192": water_box(4),
        "ice": ice(),
        "metal": metal,
    }
    every["acetamide"].rattle(0.05, seed=1)
    return {
        name: atoms
        for name, atoms in every.items()
        if set(atoms.numbers) <= set(elements) and (name in names or not names)
    }


def ice() -> Atoms:
    """Return eight molecules of ice on a diamond lattice, all dipoles along one axis.

    Each oxygen gives its hydrogens to the two neighbours above it, so that every bond has one.
    """
    oxygen = bulk("C", "diamond", a=6.36, cubic=True)
    positions = [oxygen.positions]
    for atom in range(len(oxygen)):
        vectors = oxygen.get_distances(atom, range(len(oxygen)), mic=True, vector=True)
        near = vectors[np.linalg.norm(vectors, axis=1).round(3) < 3.0]
        near = near[np.linalg.norm(near, axis=1) > 0.1]
        above = near[np.argsort(near[:, 2])[2:]]
        positions.append(oxygen.positions[atom] + 0.98 * above / np.linalg.norm(above[0]))
    found = Atoms("O8H16", np.concatenate(positions), cell=oxygen.cell, pbc=True)
    found.rattle(0.03, seed=3)
    return found


def values(path: Path, atoms: Atoms, kind: str, heads: Sequence[str] = ()) -> dict[str, Any]:
    """Return what MACE gives for a structure, for the last head where there are several."""
    head = {"head": heads[-1]} if heads else {}
    atoms.calc = MACECalculator(
        model_paths=str(path), device="cpu", default_dtype="float64", model_type=kind, **head
    )
    shape = {"numbers": atoms.numbers.tolist(), "positions": atoms.positions.tolist()}
    shape |= {"cell": atoms.cell[:].tolist(), "pbc": bool(atoms.pbc.all())}
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces().tolist()}
    if kind == "EnergyDipoleMACE" and not atoms.pbc.any():
        results["dipole"] = atoms.get_dipole_moment().tolist()
    if atoms.pbc.all():
        results["stress"] = atoms.get_stress(voigt=False).tolist()
    return {**shape, **results}


def main(folder: Path, name: str, names: Sequence[str]) -> None:
    """Write a model and what it gives."""
    warnings.filterwarnings("ignore")
    torch.set_default_dtype(torch.float64)
    path, settings = folder / f"{name}.model", PUBLISHED[name]
    kind = "EnergyDipoleMACE" if "model" in settings else "MACE"
    heads = settings.get("heads", ())
    if not path.exists():
        torch.save(model_of(**settings), path)
        if kind == "MACE":
            scale(path, aspirin(), heads)
    record = path.with_suffix(".json")
    found = json.loads(record.read_text()) if record.exists() else {}
    for system, atoms in structures(settings["atomic_numbers"], names).items():
        if system not in found:
            found[system] = values(path, atoms, kind, heads)
    record.write_text(json.dumps(found))


if __name__ == "__main__":
    chosen = sys.argv[3].split(",") if len(sys.argv) > 3 and sys.argv[3] else []
    main(Path(sys.argv[1]), sys.argv[2], chosen)
