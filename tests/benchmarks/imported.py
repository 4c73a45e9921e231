"""Imported MACE models of published sizes beside MACE itself: agreement and speed.

    python tests/benchmarks/imported.py --mace PYTHON [--models off23_small,mpa0]
    [--parts agreement,times] [--threads 2] [--rounds 3] [--json]

PYTHON has mace-torch. `peers/mace_published.py` makes the models there, with random weights, and
computes structures in float64; `molequi import` reads them. Agreement is that of the model with its
radial networks, and of the one that predictions take, with splines. Times are of energy and forces
of known pairs; medians over rounds of the medians in a process, ours and MACE's in turn. MACE
counts in its fastest mode.
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

from molequi.models.checkpoint import load_model
from molequi.models.freeze import FrozenModel
from molequi.models.importers.mace import import_mace
from molequi.models.molecular import MolecularModel
from molequi.structures.atoms import graph_from_atoms

MODELS = "off23_small,off23_medium,off23_large,mp0_small,mp0_medium,mpa0"
MAKER = HERE / "peers" / "mace_published.py"
DTYPES = "float32,float64"
TIMEOUT = 1800.0  # s, of a process


def make(python: str, name: str, folder: Path) -> Path:
    """Make a model and what MACE gives for it, import it, and return our file."""
    subprocess.run([python, str(MAKER), str(folder), name], check=True)
    original = folder / f"{name}.model"
    output = original.with_suffix(".safetensors")
    import_mace(original, output, python=python)
    return output


def agreement(path: Path) -> list[dict[str, Any]]:
    """Return a row for each structure: what differs from MACE with networks and with splines."""
    model = load_model(path)
    given = json.loads(path.with_suffix(".json").read_text())
    forms = {"networks": model, "splines": model.freeze()}
    return [
        {
            "model": path.stem,
            "system": system,
            "form": form,
            "largest_force": float(np.abs(one["forces"]).max()),
            **differences(network, one),
        }
        for system, one in given.items()
        for form, network in forms.items()
    ]


def differences(model: MolecularModel | FrozenModel, one: Mapping[str, Any]) -> dict[str, float]:
    """Return those of the energy, eV, of forces, eV/Å, and of the stress, eV/Å³."""
    atoms = Atoms(one["numbers"], one["positions"], cell=one["cell"], pbc=one["pbc"])
    found = model.compute(graph_from_atoms(atoms, model.cutoff), stress=one["pbc"])
    pairs = {"energy": found["energy"][0], "forces": found["forces"]}
    if one["pbc"]:
        pairs["stress"] = found["stress"][0]
    return {
        name: float((value - torch.tensor(one[name], dtype=torch.float64)).abs().max())
        for name, value in pairs.items()
    }


def times(python: str, path: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each system and dtype: ours beside MACE in its fastest mode."""
    rows = []
    shared = ["--tasks", "energy_forces", "--systems", arguments.systems]
    shared += ["--elements", "1,6,7,8,9"]
    if arguments.repeats:
        shared += ["--repeats", str(arguments.repeats)]
    for dtype in arguments.dtypes.split(","):
        options = [*shared, "--dtype", dtype]
        lines: tuple[list[dict], list[dict]] = [], []
        for _ in range(arguments.rounds):
            mine = [*options, "--model", str(path), "--mode", arguments.kernels]
            limits = arguments.threads, TIMEOUT
            lines[0].extend(measured(sys.executable, "time_ours.py", mine, *limits))
            for mode in arguments.modes.split(","):
                theirs = [*options, "--file", str(path.with_suffix(".model")), "--mode", mode]
                lines[1].extend(measured(python, "time_mace.py", theirs, *limits))
        ours, mace = (collect(of_side) for of_side in lines)
        rows += _rows(path.stem, dtype, ours, mace)
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
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--parts", default="agreement,times")
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
    agreements, durations = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models.split(","):
            path = make(arguments.mace, name, Path(folder))
            agreements += agreement(path) if "agreement" in parts else []
            durations += times(arguments.mace, path, arguments) if "times" in parts else []
            print(f"{name} done", file=sys.stderr)
    if arguments.json:
        print(json.dumps({"agreement": agreements, "times": durations}))
        return
    sizes = dict.fromkeys(("largest_force", "energy", "forces", "stress"), ".2g")
    show(
        agreements,
        "differences from MACE in float64: eV, eV/Å, eV/Å³",
        {"model": "", "system": "", "form": "", **sizes},
    )
    show(
        durations,
        f"energy and forces, ms, {arguments.threads} threads",
        {
            **dict.fromkeys(("model", "dtype", "system"), ""),
            **dict.fromkeys(("ours_ms", "peer_ms"), ".2f"),
            "peer_mode": "",
            "ratio": ".1f",
        },
    )


if __name__ == "__main__":
    main()
