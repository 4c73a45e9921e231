"""D3(BJ)'s four numbers, of functionals by name."""

from __future__ import annotations

from typing import NamedTuple

from molequi.errors import UserError


class DispersionParameters(NamedTuple):
    """The damping of D3(BJ) that belongs to a functional: s6, s8, a1 and a2 (bohr)."""

    s6: float
    s8: float
    a1: float
    a2: float


# From `parameters.toml` of the package `dftd3` 1.7.0 (entries d3.bj), which names the paper of
# each. HF-3c and B97-3c lack here what is not pair energies: other corrections, three-body terms.
FUNCTIONALS: dict[str, DispersionParameters] = {
    name: DispersionParameters(*values)
    for name, values in {
        "b1b95": (1.0, 1.4507, 0.2092, 5.5545),
        "b2plyp": (0.64, 0.9147, 0.3065, 5.057),
        "b3lyp": (1.0, 1.9889, 0.3981, 4.4211),
        "b3pw91": (1.0, 2.8524, 0.4312, 4.4693),
        "b973c": (1.0, 1.5, 0.37, 4.1),
        "b97d": (1.0, 2.2609, 0.5545, 3.2297),
        "b97m": (1.0, 0.1384, -0.078, 5.5946),
        "bhlyp": (1.0, 1.0354, 0.2793, 4.9615),
        "blyp": (1.0, 2.6996, 0.4298, 4.2359),
        "bmk": (1.0, 2.086, 0.194, 5.9197),
        "bp": (1.0, 3.2822, 0.3946, 4.8516),
        "camb3lyp": (1.0, 2.0674, 0.3708, 5.4743),
        "hf": (1.0, 0.9171, 0.3385, 2.883),
        "hf3c": (1.0, 0.8777, 0.4171, 2.9149),
        "hse06": (1.0, 2.31, 0.383, 5.685),
        "lcwpbe": (1.0, 1.8541, 0.3919, 5.0897),
        "mpw1b95": (1.0, 1.0508, 0.1955, 6.4177),
        "olyp": (1.0, 2.6205, 0.5299, 2.8065),
        "pbe": (1.0, 0.7875, 0.4289, 4.4407),
        "pbe0": (1.0, 1.2177, 0.4145, 4.8593),
        "pbesol": (1.0, 2.9491, 0.4466, 6.1742),
        "pw6b95": (1.0, 0.7257, 0.2076, 6.375),
        "r2scan": (1.0, 0.78981345, 0.49484001, 5.73083694),
        "r2scan0": (1.0, 1.1846, 0.4534, 5.8972),
        "revpbe": (1.0, 2.355, 0.5238, 3.5016),
        "revpbe0": (1.0, 1.7588, 0.4679, 3.7619),
        "rpbe": (1.0, 0.8318, 0.182, 4.0094),
        "scan": (1.0, 0.0, 0.538, 5.42),
        "tpss": (1.0, 1.9435, 0.4535, 4.4752),
        "tpss0": (1.0, 1.2576, 0.3768, 4.5865),
        "tpssh": (1.0, 2.2382, 0.4529, 4.655),
        "wb97m": (1.0, 0.3908, 0.566, 3.128),
        "wb97x": (1.0, 0.2641, 0.0, 5.4959),
    }.items()
}


def dispersion_parameters(functional: str) -> DispersionParameters:
    """Return D3(BJ)'s parameters of a functional; case, `-`, `_` and `ω` for `w` do not matter.

    Raises UserError for one that is not in the table, naming those that are.
    """
    name = functional.lower().replace("ω", "w").replace("-", "").replace("_", "")
    if name not in FUNCTIONALS:
        raise UserError(
            f"no D3(BJ) parameters are known of the functional {functional!r}; known are "
            f"{', '.join(FUNCTIONALS)}; others can be given as s6, s8, a1 and a2 (bohr)"
        )
    return FUNCTIONALS[name]
