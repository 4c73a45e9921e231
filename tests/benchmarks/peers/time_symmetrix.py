"""symmetrix: `pip install symmetrix-xl==0.1.1 mace-torch` (mace-torch converts the model).

Modes: serial (one core), direct and speed (threads; kernels compiled for the model, with a C++
compiler). Witt, Batatia et al.; radial functions are splines there too, of 256 knots.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import measure
import numpy as np
from ase import Atoms
from symmetrix import Symmetrix
from symmetrix.cli.extract_mace import main as extract

MODES = {
    "serial": {"use_kokkos": False, "streamed_edges": "non-compiled"},
    "direct": {"streamed_edges": "direct"},
    "speed": {"streamed_edges": "direct", "execution_profile": "speed"},
}
# Å between molecules that are one structure here, for there are no batches, and around them.
APART = 30.0
# Å by which its list of pairs reaches beyond the cutoff: pairs are known, and no others.
SKIN = 1e-6


def converted(file: Path) -> Path:
    """Return the model of a file of MACE in the form of symmetrix, made once."""
    output = file.with_suffix(".symmetrix")
    if not output.exists():
        extract(["--model", str(file), "--output", str(output)])
    return output


def joined(structures: Iterable[Atoms]) -> Atoms:
    """Return molecules far from each other in a cell, or the only periodic structure."""
    one, *others = structures
    if one.pbc.any():
        return one
    found = Atoms(cell=APART * np.eye(3))
    for number, atoms in enumerate([one, *others]):
        moved = atoms.copy()
        moved.positions += [APART * number, 0.0, 0.0]
        found += moved
    found.center(vacuum=APART / 2)
    return found


def main() -> None:
    """Time a model."""
    parser = measure.options(__doc__, modes=tuple(MODES))
    parser.add_argument("--file", type=Path, required=True, help="a model that MACE has saved")
    arguments = parser.parse_args()
    measure.start(arguments)
    calculator = Symmetrix(
        converted(arguments.file),
        dtype=arguments.dtype,
        neighbor_skin=SKIN,
        **MODES[arguments.mode],
    )
    subject = measure.Subject(
        "symmetrix",
        arguments.mode,
        {},
        joined,
        lambda atoms: calculator.calculate(atoms, ["energy", "forces"], ["positions"]),
        None,
        lambda: calculator,
    )
    measure.run(subject, arguments)


if __name__ == "__main__":
    main()
