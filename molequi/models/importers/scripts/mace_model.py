"""Write what a MACE model file holds as plain arrays and JSON: python mace_model.py MODEL FOLDER.

It runs alone, in the interpreter where mace-torch is installed: reading the file executes what is
in it, and here is the only place where that is done. FOLDER gets arrays.npz, every tensor by its
name, and model.json: versions, the modules with what they hold beside tensors, the couplings of
e3nn, and what the model gives for a structure in float64.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import mace
import numpy as np
import torch
from e3nn import o3

# What the structure has at least, and its screw: Å, radians and Å an atom.
FEWEST, RADIUS, TURN, RISE = 4, 1.6, 1.1, 0.7
# What a gate holds under private names.
GATE = "act_scalar", "scalar_cst", "act_gate", "gate_cst"


def main(path: str, folder: str) -> None:
    """Read the model at `path` and write what it holds to `folder`."""
    torch.set_num_threads(1)
    model = torch.load(path, map_location="cpu", weights_only=False)
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError("it is a compiled model; give the one that was saved beside it")
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"it holds no model but a {type(model).__name__}")
    tensors = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    content = {
        "versions": {"mace-torch": mace.__version__, "torch": torch.__version__},
        "modules": {name: described(module) for name, module in model.named_modules()},
        "couplings": couplings(model),
        "reference": reference(model) if {"r_max", "atomic_numbers"} <= set(tensors) else None,
    }
    np.savez(Path(folder) / "arrays.npz", **tensors)
    (Path(folder) / "model.json").write_text(json.dumps(content), encoding="utf-8")


def described(module: torch.nn.Module) -> dict[str, Any]:
    """Return the class of a module and those of its attributes that `plain` has words for."""
    held = {name: plain(value) for name, value in vars(module).items() if not name.startswith("_")}
    known = {name: value for name, value in held.items() if value is not None}
    if type(module).__name__ == "GatedEquivariantBlock":
        known |= {name: plain(vars(module)[f"_{name}"]) for name in GATE}
    return {"class": type(module).__name__, **known}


def plain(value: Any) -> Any:
    """Return numbers, texts, irreps, instructions, names of functions and lists; None for others.

    Irreps are lists of (channels, l, parity).
    """
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, o3.Irreps):
        return [[count, irrep.l, irrep.p] for count, irrep in value]
    if type(value).__name__ == "Instruction":
        return {name: plain(field) for name, field in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType | type):
        return value.__name__
    return None


def couplings(model: torch.nn.Module) -> dict[str, Any]:
    """Return the invariant tensors of e3nn by their degrees, `1 2 1`, of all tensor products."""
    found = {}
    for module in model.modules():
        if isinstance(module, o3.TensorProduct):
            for path in module.instructions:
                sides = (module.irreps_in1[path.i_in1], module.irreps_in2[path.i_in2])
                degrees = [irrep.l for _, irrep in (*sides, module.irreps_out[path.i_out])]
                tensor = o3.wigner_3j(*degrees, dtype=torch.float64)
                found[" ".join(map(str, degrees))] = tensor.tolist()
    return found


def reference(model: Any) -> dict[str, Any]:
    """Return a structure, and of every head its energy, eV, forces, eV/Å, and dipole.

    An atom of every element along a screw, 1.8 Å apart, nearer where the cutoff is short.
    """
    torch.set_default_dtype(torch.float64)
    model = model.double().eval()
    elements, cutoff = model.atomic_numbers.numpy(), float(model.r_max)
    numbers = np.resize(elements, max(len(elements), FEWEST))
    k = np.arange(len(numbers))
    screw = np.stack([RADIUS * np.cos(TURN * k), RADIUS * np.sin(TURN * k), RISE * k], axis=1)
    positions = (screw * min(1.0, cutoff / 5.0)).round(3)
    one_hot = (numbers[:, None] == elements).astype(float)
    heads = range(len(vars(model).get("heads", ["Default"])))
    of_heads = [computed(model, positions, one_hot, cutoff, head) for head in heads]
    values = {name: [of_head[name] for of_head in of_heads] for name in of_heads[0]}
    return {"numbers": numbers.tolist(), "positions": positions.tolist(), **values}


def computed(
    model: Any, positions: np.ndarray, one_hot: np.ndarray, cutoff: float, head: int
) -> dict[str, Any]:
    """Return the energy, the forces and the dipole, as far as the model has them."""
    gaps = np.linalg.norm(positions[:, None] - positions, axis=2)
    edges = np.array(np.nonzero((gaps < cutoff) & (gaps > 0.0)))
    data = {
        "positions": torch.tensor(positions),
        "node_attrs": torch.tensor(one_hot),
        "edge_index": torch.tensor(edges),
        "shifts": torch.zeros(edges.shape[1], 3),
        "unit_shifts": torch.zeros(edges.shape[1], 3),
        "cell": torch.zeros(3, 3),
        "batch": torch.zeros(len(positions), dtype=torch.int64),
        "ptr": torch.tensor([0, len(positions)]),
        "head": torch.tensor([head]),
        "charges": torch.zeros(len(positions)),
    }
    outputs, values = model(data, compute_force=False), {}
    if outputs.get("energy") is not None:
        energy = outputs["energy"].sum()
        values["energies"] = energy.item()
        values["forces"] = (-torch.autograd.grad(energy, data["positions"])[0]).tolist()
    if outputs.get("dipole") is not None:
        values["dipoles"] = outputs["dipole"][0].tolist()
    return values


if __name__ == "__main__":
    main(*sys.argv[1:])
