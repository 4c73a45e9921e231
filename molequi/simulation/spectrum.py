"""Vibrational spectra: infrared and Raman from harmonic modes, infrared from a trajectory."""

from __future__ import annotations

import dataclasses
import logging
import os
from typing import Any

import numpy as np
import torch
from ase import Atoms

from molequi.errors import UserError
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import frozen_model
from molequi.prediction.records import level_text
from molequi.runtime.folders import check_folder
from molequi.simulation.bands import Bands, Spectrum
from molequi.simulation.calculator import Calculator
from molequi.simulation.conformers import conformer_pool
from molequi.simulation.constraints import lift_constraints
from molequi.simulation.intensities import POLARIZABILITY
from molequi.simulation.lines import KINDS, How, Lines, lines_of, lines_of_pool, sticks
from molequi.simulation.movers import as_calculator, first_computable
from molequi.simulation.spectrum_files import UNITS, write_spectrum
from molequi.simulation.thermochemistry import check_state
from molequi.structures.inputs import Input, one_structure, read_inputs
from molequi.structures.molecules import is_from_smiles
from molequi.structures.structure import Structure
from molequi.structures.symbols import formula, has_isotopes

logger = logging.getLogger(__name__)

# The bundled model with a polarizability, where the model of the forces has none.
_OPTICS = "chiroptical"
# What `chiroptical` cannot know of Raman scattering: tests/benchmarks/spectra.py measures it.
_AT_REST = (
    "chiroptical learned polarizabilities of relaxed molecules alone, not how they change as atoms "
    "move: Raman activities are often several times too weak, each line by another factor; take a "
    "model trained on displaced geometries (--optics) for more"
)
_NO_VCD = (
    "vcd is not available: it needs atomic axial tensors, which no bundled model gives and "
    "`molequi label` does not make yet (PySCF assembles none); choose ir or raman"
)


@dataclasses.dataclass(frozen=True)
class SpectrumSettings:
    """What is asked of the modes.

    kind: ir or raman. relax_first, fmax (eV/Å): of the geometry. conformers: how many to make; 1
    takes the structure alone. temperature: K, of their Boltzmann mean. gibbs: weigh by Gibbs
    energies rather than electronic ones. scale: of the frequencies. seed: of the conformers.
    Raises UserError for what is not available.
    """

    kind: str = "ir"
    relax_first: bool = True
    fmax: float = 1e-3
    conformers: int = 1
    temperature: float = 298.15
    gibbs: bool = False
    scale: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_kind(self.kind)
        check_state(self.temperature, 1.0)
        if self.conformers < 1:
            raise UserError(f"conformers is {self.conformers}; it must be at least 1")
        if self.conformers > 1 and not self.relax_first:
            raise UserError("conformers are relaxed; without relaxation there is one geometry")
        if not 0.5 < self.scale < 1.5:
            raise UserError(f"scale is {self.scale}; frequencies are scaled by 0.9 to 1.1")


def check_kind(kind: str) -> None:
    """Raise UserError for a kind of spectrum that is not available."""
    if kind == "vcd":
        raise UserError(_NO_VCD)
    if kind not in KINDS:
        raise UserError(f"kind {kind!r} is unknown; choose {' or '.join(KINDS)}")


def spectrum(
    structure: Input,
    model: str | os.PathLike[str] | MolecularModel | FrozenModel | Calculator = "organic",
    settings: SpectrumSettings | None = None, bands: Bands | None = None, *,
    optics: str | os.PathLike[str] | MolecularModel | FrozenModel | None = None,
    output: str | os.PathLike[str] | None = None, overwrite: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Compute the spectrum of the first structure of an input from its harmonic modes.

    A model given by name or path runs in float64. optics: the model of the polarizability, for
    Raman; by default the model itself where it has one, else the bundled chiroptical. output: a
    folder. Returns kind, unit, sticks (wavenumber_cm1, strength, depolarisation of Raman),
    conformers (weight, relative_energy, n_imaginary), left_out, temperature, levels, labels, and
    optics_limit where Raman activities are known to be rough.
    """
    settings, bands = settings or SpectrumSettings(), bands or Bands()
    if output is not None:
        check_folder(output, overwrite=overwrite)
    read = next(iter(read_inputs(one_structure(structure))))
    calculator = as_calculator(model, dtype=torch.float64)
    atoms = _vibrating(read, calculator, settings)
    scattering = _optics(optics, calculator) if settings.kind == "raman" else None
    how = _how(settings, scattering)
    if settings.conformers > 1:
        pool = conformer_pool(read, settings.conformers, settings.seed, calculator)
        (lines, weights), left_out = lines_of_pool(pool, calculator, how), pool.left_out
    else:
        lines, weights, left_out = [lines_of(atoms, calculator, how)], np.ones(1), []
    result = {
        **calculator.labels(lines[0].found.atoms),
        **_described(settings, scattering, bands),
        "sticks": sticks(lines, weights, settings.scale),
        "conformers": _conformers(lines, weights),
        "left_out": left_out,
        "output": None if output is None else str(output),
    }
    _warn(lines, result, bands)
    if output is not None:
        write_spectrum(output, broadened(result, bands), result, overwrite=overwrite)
    return result


def _how(settings: SpectrumSettings, optics: FrozenModel | None) -> How:
    return How(
        settings.kind, optics, settings.relax_first, settings.fmax, settings.temperature,
        settings.gibbs,
    )  # fmt: skip


def broadened(result: dict[str, Any], bands: Bands) -> Spectrum:
    """Return the bands of a result's sticks."""
    rows = result["sticks"]
    return bands.broadened(
        np.array([row["wavenumber_cm1"] for row in rows]),
        np.array([row["strength"] for row in rows]),
    )


def _optics(
    given: str | os.PathLike[str] | MolecularModel | FrozenModel | None, calculator: Calculator
) -> FrozenModel:
    if given is None and POLARIZABILITY in calculator.model.outputs:
        return calculator.model
    if isinstance(given, FrozenModel | MolecularModel):
        return frozen_model(given)
    return frozen_model(given or _OPTICS, dtype=torch.float64)


def _described(
    settings: SpectrumSettings, optics: FrozenModel | None, bands: Bands
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": settings.kind,
        "method": "harmonic modes",
        "unit": UNITS[settings.kind],
        "width_cm1": bands.width,
        "shape": bands.shape,
        "scale": settings.scale,
        "temperature": settings.temperature,
        "weights_by": "Gibbs energies" if settings.gibbs else "electronic energies",
    }
    if optics is not None:
        level = optics.metadata.level_of(POLARIZABILITY) or level_text(optics)
        found |= {"optics": optics.metadata.name, "optics_level": level}
        if optics.metadata.name == _OPTICS:
            found["optics_limit"] = _AT_REST
    return found


def _conformers(lines: list[Lines], weights: np.ndarray) -> list[dict[str, Any]]:
    lowest = min(one.energy for one in lines)
    return [
        {
            "weight": weight,
            "relative_energy": one.energy - lowest,
            "gibbs_energy": one.gibbs_energy,
            "n_imaginary": int((one.frequencies < 0).sum()),
            "converged": one.found.converged,
            "fmax": one.found.fmax,
            "atomic_numbers": one.found.atoms.numbers,
            "positions": one.found.atoms.positions,
        }
        for one, weight in zip(lines, weights.tolist(), strict=True)
    ]


def _vibrating(read: Structure, calculator: Calculator, settings: SpectrumSettings) -> Atoms:
    atoms = read.require_atoms()
    if settings.conformers > 1:
        _refuse_lost_isotopes(atoms)
    if len(atoms) == 1:
        raise UserError(f"a lone atom, here {atoms.symbols}, has no vibrations and so no spectrum")
    found = first_computable(read, calculator)
    lift_constraints(found, "a spectrum is")
    return found


def _refuse_lost_isotopes(atoms: Atoms) -> None:
    """Raise UserError where conformers would not have the isotopes of the structure."""
    if has_isotopes(atoms) and not is_from_smiles(atoms):
        raise UserError(
            f"{formula(atoms)} names isotopes, which its conformers lose where they are made from "
            "coordinates; give a SMILES with them, such as [2H]OC, or leave out --conformers"
        )


def _warn_of_range(result: dict[str, Any], bands: Bands) -> None:
    """Log that the range asked for shows no line at all."""
    if not any(bands.low <= row["wavenumber_cm1"] <= bands.high for row in result["sticks"]):
        logger.warning(
            "no line lies from %g to %g cm⁻¹: the curve shows the feet of bands beyond, if "
            "anything", bands.low, bands.high,
        )  # fmt: skip


def _warn(lines: list[Lines], result: dict[str, Any], bands: Bands) -> None:
    """Log the limit of the optics, what is no line, and a range without lines."""
    if "optics_limit" in result:
        logger.warning(result["optics_limit"])
    _warn_of_range(result, bands)
    for number, one in enumerate(lines):
        count = int((one.frequencies < 0).sum())
        if count:
            logger.warning(
                "conformer %d has %d imaginary frequencies, which are no lines: it is no minimum; "
                "`molequi relax --minimum` leads to one",
                number, count,
            )  # fmt: skip
