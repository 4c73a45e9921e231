"""What symmetry buys: exact against approximate or missing symmetry, on the same data.

    python tests/benchmarks/symmetry_buys.py [--parts abcd] [--ethanol rmd17_ethanol.npz] [--steps
    N] [--picoseconds 10] [--seed 0] [--frames N] [--output FILE] [--json]

a: distances, angles and dihedrals beside features that turn; b: forces as a vector output beside
the gradient of an energy; c: `model.symmetry` by `molequi train`; d: stress and forces after
training along x only. With --output a run that was stopped goes on, row by row. --steps: of the
slower models, in every part (left out: 1200 in a, 3000 in b, 600 in c, 100 in d); networks on raw
numbers take ten times as many, alanine in part a 200 at most. --ethanol: the revised MD17 file
(doi 10.6084/m9.figshare.12672038): 500 frames of its first split to train on and 500 to test; left
out: 225 and 75 of the bundled sample. Seconds are processor seconds of one thread.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parent))
from buys.learn import Row, Rows, Settings

PARTS = {"a": "invariants", "b": "direct", "c": "soft", "d": "stress"}
STEPS = {"a": 1200, "b": 3000, "c": 600, "d": 100}


def show(name: str, rows: list[Row]) -> None:
    """Print a table."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [
        [
            f"{row[key]:.4g}" if isinstance(row.get(key), float) else str(row.get(key, ""))
            for key in columns
        ]
        for row in rows
    ]
    widths = [max(len(text) for text in column) for column in zip(columns, *cells, strict=True)]
    print(f"\n{name}")
    for line in (columns, *cells):
        print(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip(),
            flush=True,
        )


def main() -> None:
    """Run the parts and print their tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default="abcd")
    parser.add_argument("--steps", type=int, help="in every part")
    parser.add_argument("--picoseconds", type=float, default=10.0, help="of the dynamics of part b")
    parser.add_argument("--ethanol", type=Path, help="npz of revised MD17")
    parser.add_argument("--output", type=Path, help="file of finished rows")
    parser.add_argument("--seed", type=int, default=0, help="of part c")
    parser.add_argument("--frames", type=int, help="to train on in part c; 50 and 225 by default")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if set(arguments.parts) - set(PARTS):
        parser.error(f"--parts is {arguments.parts!r}; choose among {', '.join(PARTS)}")
    if arguments.ethanol is not None and not arguments.ethanol.is_file():
        parser.error(
            f"--ethanol: there is no file {arguments.ethanol}; give the npz of revised MD17, or "
            "leave it out for the bundled sample"
        )
    torch.set_num_threads(1)
    rows, tables = Rows(arguments.output, {}), {}
    for part in arguments.parts:
        settings = Settings(
            arguments.steps or STEPS[part],
            arguments.picoseconds,
            arguments.ethanol,
            arguments.seed,
            arguments.frames,
        )
        rows.settings = settings.kept
        found = importlib.import_module(f"buys.{PARTS[part]}").run(rows, settings)
        tables |= found
        if not arguments.json:
            for name, table in found.items():
                show(name, table)
    if arguments.json:
        print(json.dumps(tables))


if __name__ == "__main__":
    main()
