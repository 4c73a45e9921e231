"""Models of mace-torch with random weights, and what MACE's own calculator gives for structures.

It runs in the interpreter where mace-torch is installed. `mace_models.py FOLDER NAME...` writes
NAME.model and NAME.json: by head and structure the energy, forces, stress and dipole in float64.
`--pack` writes NAME.npz instead, as `tests/models/files/mace` has it: what the model holds, and
`model` and `golden`, the texts of model.json and of NAME.json.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import mace.modules
import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from e3nn import o3
from mace.calculators import MACECalculator

SCRIPTS = Path(__file__).resolve().parents[2] / "molequi" / "models" / "importers" / "scripts"
BLOCK = "RealAgnostic{}InteractionBlock"
DENSITY = {"block": "DensityResidual", "first_block": "DensityResidual"}
# Published shapes have few channels here; numbers of MACE-OFF23, MACE-MP-0 and MPA-0 otherwise.
OFF = {"max_ell": 3, "correlation": 3, "n_channels": 2}
MPA = {
    **OFF,
    "elements": (1, 8, 13, 29),
    "first_block": "Density",
    "block": "DensityResidual",
    "r_max": 6.0,
    "num_bessel": 10,
    "distance_transform": "Agnesi",
    "pair_repulsion": True,
    "scale": 0.01,
}
THREE = {"num_interactions": 3, "n_channels": 3}
# Where a calculator must be told what a model gives.
KINDS = {"AtomicDipolesMACE": "DipoleMACE", "EnergyDipolesMACE": "EnergyDipoleMACE"}
VARIANTS = {
    "first": {},
    "off_small": {**OFF, "hidden": "0e"},
    "off_medium": OFF,
    "off_large": {**OFF, "hidden": "0e+1o+2e"},
    # As off_large, with smaller tables.
    "three_irreps": {**OFF, "max_ell": 2, "hidden": "0e+1o+2e"},
    "mp": {**OFF, "first_block": "", "r_max": 6.0, "num_bessel": 10},
    "mpa": MPA,
    "heads": {"heads": ["dft", "cc"], "n_channels": 3},
    "plain": {"block": "", "first_block": "", "model": "MACE", "pair_repulsion": True},
    "parities": {
        "hidden": "0e+0o+1o+1e",
        "n_channels": 2,
        "correlation": 3,
        "radial_type": "gaussian",
        "distance_transform": "Soft",
        "apply_cutoff": False,
        **DENSITY,
    },
    "odd": {"hidden": "0e+1e+1o", "n_channels": 2, "correlation": 3},
    "chebyshev": {"radial_type": "chebyshev", "distance_transform": "Agnesi"},
    "float32": {"dtype": "float32", "n_channels": 2, "correlation": 3},
    "one_layer": {"num_interactions": 1},
    "three_layers": {"num_interactions": 3, "n_channels": 2},
    "linear": {"correlation": 1},
    "last_readout": {"use_last_readout_only": True},
    "all_irreps": {"keep_last_layer_irreps": True},
    "agnostic": {"use_agnostic_product": True},
    # The vectors of the last layer alone have no gates; a layer more, and scalars beside them.
    "dipoles": {"model": "AtomicDipolesMACE", "hidden": "0e+1o+2e", "mlp": "3x1o", **THREE},
    "energy_dipoles": {"model": "EnergyDipolesMACE", "mlp": "3x0e+4x1o", "n_channels": 3},
    # Refused.
    "edges": {"edge_irreps": o3.Irreps("3x0e+3x1o")},
    "fewer_edges": {"edge_irreps": o3.Irreps("4x0e")},
    "tanh": {"gate": torch.tanh},
    "lists": {"correlation": [2, 3]},
}


def model_of(
    *,
    elements: tuple[int, ...] = (1, 6, 7, 8),
    n_channels: int = 4,
    hidden: str = "0e+1o",
    block: str = "Residual",
    first_block: str = "Residual",
    model: str = "ScaleShiftMACE",
    mlp: str = "4x0e",
    heads: list[str] | None = None,
    scale: float = 0.8,
    dtype: str = "float64",
    **settings: object,
) -> torch.nn.Module:
    """Make a model with random weights."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    n_heads = len(heads or [""])
    energies = np.random.default_rng(0).normal(size=(n_heads, len(elements))) * 10 - 20
    arguments = {
        "r_max": 5.0,
        "num_bessel": 8,
        "num_polynomial_cutoff": 5,
        "max_ell": 2,
        "interaction_cls": mace.modules.interaction_classes[BLOCK.format(block)],
        "interaction_cls_first": mace.modules.interaction_classes[BLOCK.format(first_block)],
        "num_interactions": 2,
        "num_elements": len(elements),
        "hidden_irreps": o3.Irreps("+".join(f"{n_channels}x{x}" for x in hidden.split("+"))),
        "MLP_irreps": o3.Irreps(mlp),
        "atomic_energies": energies if heads else energies[0],
        "avg_num_neighbors": 11.3,
        "atomic_numbers": list(elements),
        "correlation": 2,
        "gate": torch.nn.functional.silu,
        "radial_MLP": [6, 5],
        "heads": heads,
        **settings,
    }
    if model == "ScaleShiftMACE":
        numbers = np.arange(n_heads) if heads else 0.0
        arguments |= {"atomic_inter_scale": scale + numbers, "atomic_inter_shift": 0.1 + numbers}
    if model in KINDS:
        del arguments["heads"]
    if model == "AtomicDipolesMACE":
        arguments["atomic_energies"] = None
    return getattr(mace.modules, model)(**arguments).to(getattr(torch, dtype))


def structures(elements: tuple[int, ...]) -> dict[str, Atoms]:
    """Return a molecule and a triclinic cell, or a metal, and an atom."""
    atom = Atoms(numbers=[elements[-1]], positions=[[0.0, 0.0, 0.0]])
    if 29 in elements:
        metal = bulk("Cu", "fcc", a=3.6, cubic=True)
        metal.numbers[1] = 13
        metal.rattle(0.1, seed=2)
        return {"metal": metal, "atom": atom}
    places = [[1.22, 0, 0], [0, 0, 0], [-0.7, 1.15, 0], [-0.6, -0.93, 0.1], [-0.2, 2.05, 0.1]]
    formamide = Atoms("OCNHHH", [*places, [-1.7, 1.1, -0.1]])
    points = np.random.default_rng(1).uniform(0, 1, (5, 3)) * [4.0, 3.7, 4.3]
    cell = Atoms("OCHHN", points, cell=[[4, 0.3, 0], [0, 3.7, 0.4], [0.2, 0, 4.3]], pbc=True)
    return {"formamide": formamide, "cell": cell, "atom": atom}


def golden(path: Path, elements: tuple[int, ...], heads: list[str], kind: str) -> list[dict]:
    """Return the structures with what MACE gives for them."""
    found = []
    for head in heads:
        chosen = {"head": head} if len(heads) > 1 else {}
        chosen["model_type"] = kind
        calculator = MACECalculator(
            model_paths=str(path), device="cpu", default_dtype="float64", **chosen
        )
        for name, atoms in structures(elements).items():
            atoms.calc = calculator
            pbc, shape = bool(atoms.pbc.all()), (atoms.numbers, atoms.positions, atoms.cell[:])
            results = dict(zip(("numbers", "positions", "cell"), shape, strict=True))
            if kind != "DipoleMACE":
                results |= {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
            if kind != "MACE":
                results["dipole"] = atoms.get_dipole_moment()
            arrays = {key: np.asarray(x).tolist() for key, x in results.items()}
            has_stress = pbc and kind != "DipoleMACE"
            stress = atoms.get_stress(voigt=False).tolist() if has_stress else None
            found.append({"head": head, "name": name, "pbc": pbc, **arrays, "stress": stress})
    return found


def write(folder: Path, name: str, *, packed: bool) -> None:
    """Write a model and what it gives, or what it holds and what it gives."""
    settings = dict(VARIANTS[name])
    path = folder / f"{name}.model"
    torch.save(model_of(**settings), path)
    heads = settings.get("heads") or ["Default"]
    kind = KINDS.get(settings.get("model", ""), "MACE")
    text = json.dumps(golden(path, settings.get("elements", (1, 6, 7, 8)), heads, kind))
    if not packed:
        path.with_suffix(".json").write_text(text)
        return
    sys.path.insert(0, str(SCRIPTS))
    import mace_model

    with tempfile.TemporaryDirectory() as place:
        mace_model.main(str(path), place)
        path.unlink()
        texts = {"model": (Path(place) / "model.json").read_bytes(), "golden": text.encode()}
        arrays = dict(np.load(Path(place) / "arrays.npz"))
    bytes_of = {name: np.frombuffer(text, dtype=np.uint8) for name, text in texts.items()}
    np.savez_compressed(path.with_suffix(".npz"), **arrays, **bytes_of)


if __name__ == "__main__":
    torch.set_num_threads(1)
    packed, names = "--pack" in sys.argv, [x for x in sys.argv[2:] if x != "--pack"]
    for name in names or VARIANTS:
        write(Path(sys.argv[1]), name, packed=packed)
