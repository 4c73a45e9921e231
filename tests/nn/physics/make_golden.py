"""Make `files/golden.json`: what other programs say of a few molecules.

Run in an environment with RDKit and the packages `Auto3D==2.3.1` (MIT, whose models have damped
Coulomb energy and D3(BJ) as terms of their own) and `dftd3==1.7.0`:
    python tests/nn/physics/make_golden.py

Charges are those of the first of the four networks; the terms are the modules `lrcoulomb` and
`d3bj` in double precision. From `dftd3` comes the same two-body energy, and that of molecules whose
coordination numbers are far from all reference systems, for which `d3bj` takes no dispersion.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import torch
from ase import units
from dftd3.interface import DispersionModel, RationalDampingParam
from rdkit import Chem
from rdkit.Chem import AllChem

HERE = Path(__file__).resolve().parent
MODEL = "models/aimnet2_wb97m_ens_f.jpt"
SMILES = {
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "glycine zwitterion": "[NH3+]CC(=O)[O-]",
    "ammonium acetate": "[NH4+].CC(=O)[O-]",
    "thiocyanate": "[S-]C#N",
    "silane and phosphine": "C[Si](C)(F)CP(C)Cl",
    "boronic acid with bromine and iodine": "OB(O)c1cc(Br)ccc1I",
    "arsenic and selenium": "C[As](C)C[Se]C",
}
HYPERVALENT = {"sulfone": "CS(=O)(=O)c1ccccc1", "phosphoric acid": "OP(=O)(O)O"}
WB97M = {"s6": 1.0, "s8": 0.3908, "a1": 0.566, "a2": 3.128}


def structure(smiles: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Return atomic numbers (N,), positions (N, 3), Å, and the charge; fragments 4 Å apart."""
    numbers, positions = [], []
    molecule = Chem.MolFromSmiles(smiles)
    for k, fragment in enumerate(Chem.GetMolFrags(molecule, asMols=True)):
        embedded = Chem.AddHs(fragment)
        AllChem.EmbedMolecule(embedded, randomSeed=7)
        numbers += [atom.GetAtomicNum() for atom in embedded.GetAtoms()]
        positions.append(embedded.GetConformer().GetPositions() + [4.0 * k, 0.0, 0.0])
    together = np.round(np.concatenate(positions), 4)
    return np.array(numbers), together, Chem.GetFormalCharge(molecule)


def network() -> torch.nn.Module:
    """Return the first network, in double precision."""
    folder = Path(importlib.util.find_spec("Auto3D").origin).parent
    return getattr(torch.jit.load(folder / MODEL, map_location="cpu").models, "0").module


def terms(model: torch.nn.Module, numbers: np.ndarray, positions: np.ndarray, charge: int) -> dict:
    """Return the charges and the two terms, eV."""
    data = {
        "coord": torch.tensor(positions[None], dtype=torch.float32),
        "numbers": torch.tensor(numbers[None]),
        "charge": torch.tensor([float(charge)]),
    }
    charges = np.round(model(dict(data))["charges"][0].detach().double().numpy(), 6)
    x = torch.tensor(positions)
    apart = torch.cdist(x, x) + torch.eye(len(x))
    ready = {
        "d_ij": apart[None],
        "numbers": data["numbers"],
        "charges": torch.tensor(charges[None]),
    }
    outputs = model.outputs.double()
    found = {
        "coulomb": outputs.lrcoulomb(dict(ready))["energy"].item(),
        "dispersion": outputs.d3bj(dict(ready))["energy"].item(),
    }
    outputs.float()
    return {"charges": charges.tolist(), **found}


def dftd3(numbers: np.ndarray, positions: np.ndarray) -> float:
    """Return the two-body energy, eV."""
    model = DispersionModel(numbers, positions / units.Bohr)
    energy = model.get_dispersion(RationalDampingParam(**WB97M, s9=0.0), grad=False)["energy"]
    return float(energy * units.Hartree)


def main() -> None:
    """Write the file."""
    model, golden = network(), {}
    for name, smiles in (SMILES | HYPERVALENT).items():
        numbers, positions, charge = structure(smiles)
        entry = {"numbers": numbers.tolist(), "positions": positions.tolist()}
        if name in SMILES:
            entry |= terms(model, numbers, positions, charge)
        golden[name] = entry | {"dftd3": dftd3(numbers, positions)}
    lines = [f'"{name}": {json.dumps(entry)}' for name, entry in golden.items()]
    (HERE / "files" / "golden.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
