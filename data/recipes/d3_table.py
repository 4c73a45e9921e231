"""Make `molequi/nn/physics/d3_table.npz`: what D3 knows of the elements up to 103.

The numbers are those of the package `tad-dftd3` 0.7.0 (Apache-2.0), which takes them from Grimme's
programs:
    pip install --no-deps tad-dftd3==0.7.0 tad-mctc==0.8.0
    python data/recipes/d3_table.py

Written in few bytes: every C6 has four decimals, so it is kept as a whole number of 1e-4, once for
each pair of reference systems, its bytes sorted by place so that they compress.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tad_dftd3.data import R4R2
from tad_dftd3.reference import Reference
from tad_mctc.data import radii

TABLE = Path(__file__).resolve().parents[2] / "molequi" / "nn" / "physics" / "d3_table.npz"
N_PLACES = 104  # by atomic number, place 0 empty
AU_PER_ANGSTROM = 1.8897261254535
RADII_FACTOR = 4.0 / 3.0  # k2 of J. Chem. Phys. 132, 154104 (2010)


def main() -> None:
    """Write the table and say how large it is."""
    reference = Reference(dtype=torch.float64)
    numbers = reference.cn.numpy()
    element, system = np.nonzero(numbers >= 0)
    c6 = reference.c6.numpy()[element[:, None], element, system[:, None], system]
    units = np.round(c6[np.triu_indices(len(element))] * 1e4).astype("<u4")
    covalent = radii.COV_D3(dtype=torch.float64)[:N_PLACES].numpy()
    r4_over_r2 = 2.0 * R4R2(dtype=torch.float64)[:N_PLACES].numpy() ** 2
    r4_over_r2[1:] /= np.sqrt(np.arange(1, N_PLACES))
    np.savez_compressed(
        TABLE,
        coordination=numbers[element, system],
        element=element.astype(np.uint8),
        c6_bytes=units.view(np.uint8).reshape(-1, 4).T.copy(),
        covalent_radii=np.round(covalent / RADII_FACTOR / AU_PER_ANGSTROM, 2),
        r4_over_r2=np.round(r4_over_r2, 4),
    )
    print(f"{len(element)} reference systems, {TABLE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
