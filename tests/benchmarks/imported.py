"""Imported MACE models of published sizes beside MACE itself: agreement, dynamics and speed.

    python tests/benchmarks/imported.py --mace PYTHON [--symmetrix PYTHON] [--models mpa0]
    [--parts agreement,nve,times] [--structures aspirin,ice] [--systems aspirin] [--keep FOLDER]
    [--threads 2] [--rounds 3] [--json]

PYTHON has mace-torch. `peers/mace_published.py` makes the models there, with random weights, and
computes structures in float64; `molequi import` reads them. Agreement is that of the model with its
radial networks, and of the one that predictions take, with splines and kernels; `nve` the largest
distance from MACE's own trajectory of aspirin in float64. Times are of energy and forces of known
pairs; medians over rounds of the medians in a process, each side in turn, a peer in its fastest
mode. With --keep what is made, or computed by MACE, stays, so that one model and one structure or
system can be had per call.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from against_peers import HERE, Times, collect, measured, rows_of
from ase import Atoms
from peers.nve import trajectory

from molequi import Calculator
from molequi.models.checkpoint import load_model
from molequi.models.freeze import FrozenModel
from molequi.models.importers.mace import import_mace
from molequi.models.molecular import MolecularModel
from molequi.properties import DEBYE
from molequi.structures.atoms import graph_from_atoms

MODELS = "off23_small,off23_medium,off23_large,mp0_small,mp0_medium,mpa0,two_heads,dipoles"
# The structures that dynamics and times need of MACE.
NONE = "none"
# Which head is read of a model that has several.
HEADS = {"two_heads": "cc"}
# Models of the sizes of another one, whose dynamics and times say nothing new.
FOR_AGREEMENT = {"two_heads", "dipoles"}
SYMMETRIX_MODES = "serial,direct,speed"
MAKER = HERE / "peers" / "mace_published.py"
DTYPES = "float32,float64"
TIMEOUT = 1800.0  # s, of a process


def make(python: str, name: str, structures: str, folder: Path) -> Path:
    """Make a model and what MACE gives for it, import it, and return our file."""
    original = folder / f"{name}.model"
    if structures != NONE or not original.exists():
        subprocess.run([python, str(MAKER), str(folder), name, structures], check=True)
    output = original.with_suffix(".safetensors")
    if not output.exists():
        import_mace(original, output, python=python, head=HEADS.get(name))
    return output


def agreement(path: Path, structures: str) -> list[dict[str, Any]]:
    """Return a row for each structure: what differs from MACE with networks and with splines."""
    model, chosen = load_model(path), structures.split(",") if structures else ()
    given = json.loads(path.with_suffix(".json").read_text())
    forms = {"networks": model, "splines": model.freeze(kernels="generic")}
    return [
        {"model": path.stem, "system": system, "form": form, **differences(network, one)}
        for system, one in given.items()
        for form, network in forms.items()
        if system in chosen or not chosen
    ]


def differences(model: MolecularModel | FrozenModel, one: Mapping[str, Any]) -> dict[str, float]:
    """Return those of the energy, eV, of forces, eV/Å, stress, eV/Å³, and dipole, e·Å.

    Also the largest force.
    """
    atoms = Atoms(one["numbers"], one["positions"], cell=one["cell"], pbc=one["pbc"])
    found = model.compute(graph_from_atoms(atoms, model.cutoff), stress=one["pbc"])
    units_of = {"energy": 1.0, "forces": 1.0, "stress": 1.0, "dipole": DEBYE}
    known = {name: unit * np.array(one[name]) for name, unit in units_of.items() if name in one}
    return {"largest_force": float(np.abs(known["forces"]).max())} | {
        name: float(np.abs((found[name] if name == "forces" else found[name][0]).numpy() - x).max())
        for name, x in known.items()
    }


def nve(python: str, path: Path, n_steps: int) -> list[dict[str, Any]]:
    """Return how far our trajectories of aspirin go from MACE's, Å, at most."""
    record = path.with_suffix(f".{n_steps}.npy")
    if not record.exists():
        command = [python, str(HERE / "peers" / "nve.py"), str(path.with_suffix(".model"))]
        subprocess.run([*command, str(record), str(n_steps)], check=True)
    right, rows = np.load(record), []
    for form, kernels in (("networks", None), ("splines", "generic")):
        model = load_model(path).to(torch.float64)
        if kernels is None:
            model.backbone.settings["radial_splines"] = False
        found = trajectory(Calculator(model, dtype="float64", kernels=kernels), n_steps)
        distance = np.linalg.norm(found - right, axis=2).max()
        rows.append({"model": path.stem, "form": form, "steps": n_steps, "distance": distance})
    return rows


def times(path: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each system, dtype and peer: ours beside it in its fastest mode."""
    rows, limits = [], (arguments.threads, TIMEOUT)
    shared = ["--tasks", "energy_forces", "--systems", arguments.systems]
    shared += ["--elements", "1,6,7,8,9"]
    if arguments.repeats:
        shared += ["--repeats", str(arguments.repeats)]
    peers = {"mace": (arguments.mace, arguments.modes)}
    if arguments.symmetrix:
        peers["symmetrix"] = arguments.symmetrix, SYMMETRIX_MODES
    for dtype in arguments.dtypes.split(","):
        options, ours = [*shared, "--dtype", dtype], []
        theirs: dict[str, list[dict]] = {peer: [] for peer in peers}
        for _ in range(arguments.rounds):
            mine = [*options, "--model", str(path), "--mode", arguments.kernels]
            ours.extend(measured(sys.executable, "time_ours.py", mine, *limits))
            for peer, (python, modes) in peers.items():
                for mode in modes.split(","):
                    own = [*options, "--file", str(path.with_suffix(".model")), "--mode", mode]
                    theirs[peer].extend(measured(python, f"time_{peer}.py", own, *limits))
        for lines in theirs.values():
            rows += _rows(path.stem, dtype, collect(ours), collect(lines))
    return rows


def _rows(name: str, dtype: str, ours: Times, mace: Times) -> list[dict[str, Any]]:
    return [{"model": name, "dtype": dtype, **row} for row in rows_of(ours, mace)]


def show(rows: Sequence[Mapping[str, Any]], title: str, columns: Mapping[str, str]) -> None:
    """Print a table; columns: of each its format."""
    if not rows:
        return
    cells = [
        [format(row[name], form) if name in row else "" for name, form in columns.items()]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    print(f"\n{title}")
    for line in (list(columns), *cells):
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mace", metavar="PYTHON", required=True, help="it has mace-torch")
    parser.add_argument("--symmetrix", metavar="PYTHON", help="it has symmetrix-xl")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--parts", default="agreement,nve,times")
    parser.add_argument("--structures", default="", help="for agreement; all by default")
    parser.add_argument("--steps", type=int, default=200, help="of the dynamics")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where models stay")
    parser.add_argument("--systems", default="aspirin,water192,molecules64", help="to be timed")
    parser.add_argument("--dtypes", default=DTYPES)
    parser.add_argument("--modes", default="eager,script", help="of MACE; compile is one more")
    parser.add_argument("--kernels", default="specialized", help="ours")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, help="calls in a process")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    rows: dict[str, list[dict[str, Any]]] = {"agreement": [], "nve": [], "times": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in arguments.models.split(","):
            structures = arguments.structures if "agreement" in parts else NONE
            path = make(arguments.mace, name, structures, folder)
            if "agreement" in parts:
                rows["agreement"] += agreement(path, arguments.structures)
            if "nve" in parts and name not in FOR_AGREEMENT:
                rows["nve"] += nve(arguments.mace, path, arguments.steps)
            if "times" in parts and name not in FOR_AGREEMENT:
                rows["times"] += times(path, arguments)
            print(f"{name} done", file=sys.stderr)
    if arguments.json:
        print(json.dumps(rows))
        return
    show_all(rows, arguments.threads)


def show_all(rows: Mapping[str, Sequence[Mapping[str, Any]]], n_threads: int) -> None:
    """Print the tables."""
    numbers = dict.fromkeys(("largest_force", "energy", "forces", "stress", "dipole"), ".2g")
    show(
        rows["agreement"],
        "differences from MACE in float64: eV, eV/Å, eV/Å³, e·Å",
        {"model": "", "system": "", "form": "", **numbers},
    )
    show(
        rows["nve"],
        "largest distance from MACE's trajectory of aspirin, Å",
        {"model": "", "form": "", "steps": "", "distance": ".2g"},
    )
    show(
        rows["times"],
        f"energy and forces, ms, {n_threads} threads",
        {
            **dict.fromkeys(("model", "dtype", "system"), ""),
            **dict.fromkeys(("ours_ms", "peer_ms"), ".2f"),
            **dict.fromkeys(("peer", "peer_mode"), ""),
            "ratio": ".1f",
        },
    )


if __name__ == "__main__":
    main()
