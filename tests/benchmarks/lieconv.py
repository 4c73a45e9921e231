"""LieConv beside its paper: reordered sums, QM9 tables, learning curves, turned digits.

    python tests/benchmarks/lieconv.py saving
    python tests/benchmarks/lieconv.py lifts
    python tests/benchmarks/lieconv.py homo --runs FOLDER --sizes 5000,20000
    python tests/benchmarks/lieconv.py ranking --runs FOLDER --sizes 500 --seeds 3
    python tests/benchmarks/lieconv.py curves --runs FOLDER --sizes 1000,5000,20000
    python tests/benchmarks/lieconv.py digits --runs FOLDER --scaled

saving: reordered sums beside those of the definition. lifts: equivariance over resamplings of 1, 4
and 16 lifts. homo: the four-by-four table and the E(3) model's row. ranking: groups, trained with
turned molecules. curves: alpha, mu and homo by LieConv-T(3) and the E(3) model. digits: turned 8x8
digits (needs scikit-learn).

Every run is kept under FOLDER: a finished one is read, an interrupted one goes on. `molequi data
prepare qm9` first. `--set key=value` changes the config of the QM9 runs, such as
training.epochs=100 or model.n_channels=256; the defaults are networks for a CPU, far smaller than
the paper's.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import lieconv_digits
import lieconv_lifts
import lieconv_qm9
import lieconv_saving

DEFAULT_SIZES = {"homo": "5000,20000", "ranking": "100000", "curves": "1000,5000,20000"}


def table_of(rows: list[dict[str, object]]) -> str:
    """Return rows of equal keys as text."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([_text(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )


def _text(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def rows_of(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Do what is asked for and return its table."""
    if arguments.what == "saving":
        return lieconv_saving.rows()
    if arguments.what == "lifts":
        return lieconv_lifts.rows()
    if arguments.runs is None:
        sys.exit("--runs names the folder that keeps the runs")
    if arguments.what == "digits":
        return lieconv_digits.rows(
            arguments.runs,
            scaled=arguments.scaled,
            epochs=arguments.epochs,
            groups=arguments.groups,
            seed=arguments.seed,
        )
    sizes = [int(size) for size in (arguments.sizes or DEFAULT_SIZES[arguments.what]).split(",")]
    if arguments.what == "ranking":
        groups = (arguments.groups or ",".join(lieconv_qm9.PUBLISHED_RANKING)).split(",")
        return lieconv_qm9.ranking_rows(
            arguments.runs, sizes, arguments.set, groups, range(arguments.seeds)
        )
    table = {
        "homo": lieconv_qm9.homo_rows,
        "curves": lieconv_qm9.curve_rows,
    }[arguments.what]
    return table(arguments.runs, sizes, arguments.set)


def main() -> None:
    """Print a table, or one JSON document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["saving", "lifts", *DEFAULT_SIZES, "digits"])
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--sizes", help="numbers of training molecules")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "--scaled", action="store_true", help="digits are scaled by 0.7 to 1.1 as well"
    )
    parser.add_argument("--epochs", type=int, default=20, help="of the digits")
    parser.add_argument(
        "--groups", help="of digits or ranking, separated by commas; all of them by default"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the digits")
    parser.add_argument("--seeds", type=int, default=1, help="so many trainings of the ranking")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = rows_of(arguments)
    sys.stdout.write((json.dumps(rows, indent=1) if arguments.json else table_of(rows)) + "\n")


if __name__ == "__main__":
    main()
