"""Energies in closed form: Coulomb between charges, dispersion, the repulsion of nuclei."""

from molequi.nn.physics.coulomb import CoulombParameters
from molequi.nn.physics.dispersion_parameters import DispersionParameters, dispersion_parameters
from molequi.nn.physics.long_range import LongRange
from molequi.nn.physics.repulsion import Repulsion

__all__ = [
    "CoulombParameters",
    "DispersionParameters",
    "LongRange",
    "Repulsion",
    "dispersion_parameters",
]
