"""Small molecules whose bonds are known, and flat rings: what a model must get right at least.

Bond lengths at equilibrium, from experiment. Diatomic molecules: K. P. Huber, G. Herzberg,
Constants of Diatomic Molecules (1979). Others: r_e from rotational and vibrational spectra, rounded
to 0.01 Å, to which determinations agree; K. Kuchitsu (ed.), Structure of Free Polyatomic Molecules
(1998).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from ase.data import atomic_numbers

from molequi.models.structure import Structure


class Bond(NamedTuple):
    """Numbers of two bonded atoms, and the length of their bond in nature, Å."""

    i: int
    j: int
    length: float


class KnownMolecule(NamedTuple):
    """A molecule near its geometry of least energy, and what is known of its bonds."""

    structure: Structure
    bonds: tuple[Bond, ...]


# Å.
_DIATOMIC = {
    "H H": 0.7414, "N N": 1.0977, "C O": 1.1283, "F F": 1.4119, "H F": 0.9168, "Cl Cl": 1.9879,
    "H Cl": 1.2746, "Cl F": 1.6283, "Br Br": 2.2811, "H Br": 1.4144, "I I": 2.6663, "H I": 1.6092,
}  # fmt: skip

# name: atoms with positions in Å; bonds between numbers of atoms, their lengths in Å.
_POLYATOMIC: dict[str, tuple[str, tuple[Bond, ...]]] = {
    "water": (
        "O 0 0 0.40; H 0 0.76 -0.20; H 0 -0.76 -0.20",
        (Bond(0, 1, 0.96),),
    ),
    "ammonia": (
        "N 0 0 0.29; H 0 0.94 -0.10; H 0.81 -0.47 -0.10; H -0.81 -0.47 -0.10",
        (Bond(0, 1, 1.01),),
    ),
    "methane": (
        "C 0 0 0; H 0.63 0.63 0.63; H -0.63 -0.63 0.63; H 0.63 -0.63 -0.63; H -0.63 0.63 -0.63",
        (Bond(0, 1, 1.09),),
    ),
    "ethyne": (
        "C 0 0 0.61; C 0 0 -0.61; H 0 0 -1.67; H 0 0 1.67",
        (Bond(0, 1, 1.20), Bond(1, 2, 1.06)),
    ),
    "ethene": (
        "C 0 0 0.67; C 0 0 -0.67; H 0 0.92 1.24; H 0 -0.92 1.24; H 0 0.92 -1.24; H 0 -0.92 -1.24",
        (Bond(0, 1, 1.33), Bond(0, 2, 1.08)),
    ),
    "ethane": (
        "C 0 0 0.76; C 0 0 -0.76; H 0 1.02 1.16; H -0.88 -0.51 1.16; H 0.88 -0.51 1.16; "
        "H 0 -1.02 -1.16; H -0.88 0.51 -1.16; H 0.88 0.51 -1.16",
        (Bond(0, 1, 1.52), Bond(0, 2, 1.09)),
    ),
    "hydrogen cyanide": (
        "C 0 0 -0.04; N 0 0 1.14; H 0 0 -1.10",
        (Bond(0, 1, 1.15), Bond(0, 2, 1.07)),
    ),
    "formaldehyde": (
        "O 0 0 1.21; C 0 0 -0.01; H 0 0.93 -0.60; H 0 -0.93 -0.60",
        (Bond(0, 1, 1.20), Bond(1, 2, 1.10)),
    ),
    "carbon dioxide": ("C 0 0 0; O 0 0 1.18; O 0 0 -1.18", (Bond(0, 1, 1.16),)),
    "fluoromethane": (
        "C 0 0 -0.63; F 0 0 0.76; H 0 1.03 -0.99; H 0.89 -0.52 -0.99; H -0.89 -0.52 -0.99",
        (Bond(0, 1, 1.38), Bond(0, 2, 1.09)),
    ),
    "chloromethane": (
        "C 0 0 -0.14; Cl 0 0 1.63; H 0 1.03 -0.50; H 0.89 -0.51 -0.50; H -0.89 -0.51 -0.50",
        (Bond(0, 1, 1.78), Bond(0, 2, 1.08)),
    ),
    "bromomethane": (
        "C 0 0 -0.19; Br 0 0 1.74; H 0 1.03 -0.52; H 0.89 -0.52 -0.52; H -0.89 -0.52 -0.52",
        (Bond(0, 1, 1.93), Bond(0, 2, 1.08)),
    ),
    "iodomethane": (
        "C 0 0 -0.20; I 0 0 1.93; H 0 1.03 -0.53; H 0.89 -0.52 -0.53; H -0.89 -0.52 -0.53",
        (Bond(0, 1, 2.13), Bond(0, 2, 1.08)),
    ),
    "boron trifluoride": (
        "B 0 0 0; F 0 1.32 0; F 1.14 -0.66 0; F -1.14 -0.66 0",
        (Bond(0, 1, 1.31),),
    ),
    "silane": (
        "Si 0 0 0; H 0.86 0.86 0.86; H -0.86 -0.86 0.86; H -0.86 0.86 -0.86; H 0.86 -0.86 -0.86",
        (Bond(0, 1, 1.47),),
    ),
    "phosphane": (
        "P 0 0 0.56; H 0 1.20 -0.19; H 1.04 -0.60 -0.19; H -1.04 -0.60 -0.19",
        (Bond(0, 1, 1.41),),
    ),
    "hydrogen sulfide": (
        "S 0 0 0.61; H 0 0.97 -0.31; H 0 -0.97 -0.31",
        (Bond(0, 1, 1.34),),
    ),
    "sulfur dioxide": (
        "S 0 0 0.49; O 0 1.28 -0.25; O 0 -1.28 -0.25",
        (Bond(0, 1, 1.43),),
    ),
    "carbon disulfide": ("C 0 0 0; S 0 0 1.56; S 0 0 -1.56", (Bond(0, 1, 1.55),)),
    "arsane": (
        "As 0 0 0.60; H 0 1.26 -0.20; H 1.09 -0.63 -0.20; H -1.09 -0.63 -0.20",
        (Bond(0, 1, 1.51),),
    ),
    "hydrogen selenide": (
        "Se 0 0 0.61; H 0 1.04 -0.42; H 0 -1.04 -0.42",
        (Bond(0, 1, 1.46),),
    ),
}

# Rings that are flat in nature.
_FLAT: dict[str, str] = {
    "benzene": (
        "C 0 1.40 0; C 1.21 0.70 0; C 1.21 -0.70 0; C 0 -1.40 0; C -1.21 -0.70 0; C -1.21 0.70 0; "
        "H 0 2.48 0; H 2.15 1.24 0; H 2.15 -1.24 0; H 0 -2.48 0; H -2.15 -1.24 0; H -2.15 1.24 0"
    ),
    "pyridine": (
        "N 0 0 1.61; C 0 0 -1.20; C 0 1.14 0.91; C 0 -1.14 0.91; C 0 -1.20 -0.48; C 0 1.20 -0.48; "
        "H 0 0 -2.28; H 0 2.06 1.50; H 0 -2.06 1.50; H 0 -2.16 -0.99; H 0 2.16 -0.99"
    ),
    "pyrrole": (
        "N 0 0 1.14; C 0 1.12 0.35; C 0 -1.12 0.35; C 0 0.71 -0.96; C 0 -0.71 -0.96; H 0 0 2.15; "
        "H 0 2.11 0.79; H 0 -2.11 0.79; H 0 1.36 -1.83; H 0 -1.36 -1.83"
    ),
    "furan": (
        "O 0 0 1.39; C 0 1.09 0.57; C 0 -1.09 0.57; C 0 0.71 -0.74; C 0 -0.71 -0.74; "
        "H 0 2.05 1.07; H 0 -2.05 1.07; H 0 1.37 -1.60; H 0 -1.37 -1.60"
    ),
    "thiophene": (
        "S 0 0 1.76; C 0 1.23 0.57; C 0 -1.23 0.57; C 0 0.71 -0.70; C 0 -0.71 -0.70; "
        "H 0 2.28 0.86; H 0 -2.28 0.86; H 0 1.32 -1.60; H 0 -1.32 -1.60"
    ),
    "naphthalene": (
        "C 2.31 0.98 0.33; C 2.49 -0.39 0.19; C 1.39 -1.23 -0.01; C 0.09 -0.70 -0.07; "
        "C -1.02 -1.52 -0.27; C -2.31 -0.98 -0.33; C -2.49 0.39 -0.19; C -1.39 1.23 0.01; "
        "C -0.09 0.70 0.07; C 1.02 1.52 0.27; H 3.17 1.63 0.49; H 3.49 -0.81 0.24; "
        "H 1.56 -2.30 -0.12; H -0.90 -2.60 -0.39; H -3.17 -1.63 -0.49; H -3.49 0.81 -0.24; "
        "H -1.56 2.30 0.12; H 0.90 2.60 0.39"
    ),
}


def known_molecules(elements: Collection[int]) -> list[KnownMolecule]:
    """Return the molecules of known bonds that are made of `elements` alone."""
    diatomic = {
        text.replace(" ", ""): ("{} 0 0 0; {} 0 0 {}".format(*text.split(), length), length)
        for text, length in _DIATOMIC.items()
    }
    everything = [
        *(KnownMolecule(_structure(n, t), (Bond(0, 1, b),)) for n, (t, b) in diatomic.items()),
        *(KnownMolecule(_structure(n, t), bonds) for n, (t, bonds) in _POLYATOMIC.items()),
    ]
    return [one for one in everything if set(one.structure.atomic_numbers.tolist()) <= {*elements}]


def flat_rings(elements: Collection[int]) -> list[Structure]:
    """Return the flat rings that are made of `elements` alone."""
    rings = [_structure(name, text) for name, text in _FLAT.items()]
    return [ring for ring in rings if set(ring.atomic_numbers.tolist()) <= {*elements}]


def _structure(name: str, text: str) -> Structure:
    words = [atom.split() for atom in text.split(";")]
    return Structure(
        name,
        np.array([[float(x) for x in position] for _, *position in words]),
        np.array([atomic_numbers[symbol] for symbol, *_ in words]),
    )
