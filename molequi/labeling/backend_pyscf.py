"""Labels by PySCF: Hartree-Fock, density functionals and MP2 in any basis that it has.

Molecules are shifted to their centre of mass first: dipoles of ions and Rosenfeld tensors refer to
it. Closed-shell Hartree-Fock of small molecules takes the quick way of `hartree_fock` and
`response_direct`; everything else PySCF's own fields, density-fitted but for MP2.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyscf
from ase import units
from ase.data import atomic_masses, chemical_symbols
from pyscf import dft, gto, lib, mp, scf
from pyscf.lib.exceptions import BasisNotFoundError
from pyscf.scf.dispersion import parse_disp

from molequi.errors import UserError
from molequi.graphs.elements import about_centre_of_mass
from molequi.labeling import hartree_fock
from molequi.labeling.backend import LabelBackend, Values
from molequi.labeling.levels import RESPONSE, LabelError, Level, Molecule, ResponseTensors
from molequi.labeling.protocol import serve
from molequi.labeling.response_direct import static_response
from molequi.labeling.response_iterative import response
from molequi.properties import DEBYE

# Up to so many basis functions and pairs of occupied and virtual orbitals the direct solution fits
# into about 1 GB.
_MOST_FUNCTIONS = 300
_MOST_PAIRS = 8000
_MAX_CYCLES = 100


class PySCF(LabelBackend):
    """Hartree-Fock, density functionals and MP2, on one thread."""

    def check(self, level: Level, elements: Sequence[int]) -> str:
        """Return the program and its version.

        Raises UserError where the functional does not exist, or where the basis does not, or has
        none of the elements.
        """
        if level.kind == "dft":
            _check_functional(level)
        if elements and not any(_has_basis(level.basis, number) for number in elements):
            symbols = ", ".join(chemical_symbols[number] for number in elements)
            raise UserError(
                f"{level}: PySCF has no basis {level.basis!r} for {symbols}; names are such as "
                "6-31g, def2-svp, cc-pvdz"
            )
        return f"PySCF {pyscf.__version__}"

    def compute(self, level: Level, properties: Sequence[str], molecule: Molecule) -> Values:
        """Return the properties in the units of the table.

        Raises LabelError where this molecule cannot be computed.
        """
        wanted = set(properties)
        if wanted & RESPONSE and molecule.multiplicity != 1:
            raise LabelError(
                f"open shell (multiplicity {molecule.multiplicity}): response properties are for "
                "closed shells only; --properties energy leaves them out"
            )
        mol = build(level, molecule)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if level.kind == "mp2":
                return _mp2(mol, wanted)
            if level.kind == "hf" and molecule.multiplicity == 1 and _is_small(mol):
                return _quick(level, mol, wanted)
            field = converge(level, mol)
            values = _of_density(mol, field.make_rdm1(), float(field.e_tot)) | _of_levels(
                *_frontier(field)
            )
            if "forces" in wanted:
                values["forces"] = _forces(field)
            if wanted & RESPONSE:
                values |= _tensors(_iterated(field))
            return values


def build(level: Level, molecule: Molecule) -> gto.Mole:
    """Return PySCF's molecule at its centre of mass.

    Raises LabelError where the basis lacks an element.
    """
    symbols = [chemical_symbols[number] for number in molecule.numbers]
    for number in np.unique(molecule.numbers):
        if not _has_basis(level.basis, int(number)):
            raise LabelError(
                f"the basis {level.basis} has no functions for {chemical_symbols[number]}"
            )
    masses = atomic_masses[molecule.numbers]
    centred = about_centre_of_mass(molecule.positions, masses)
    cores = {symbol: level.basis for symbol in set(symbols) if _has_core(level.basis, symbol)}
    atoms = list(zip(symbols, centred.tolist(), strict=True))
    return gto.M(
        atom=atoms,
        basis=level.basis,
        ecp=cores,
        charge=molecule.charge,
        spin=molecule.multiplicity - 1,
        verbose=0,
    )


def converge(level: Level, mol: gto.Mole, density: np.ndarray | None = None) -> Any:
    """Return PySCF's converged field, restricted for closed shells and unrestricted else.

    Raises LabelError where it does not converge.
    """
    if level.kind == "dft":
        field = (dft.UKS if mol.spin else dft.RKS)(mol, xc=level.method)
    else:
        field = (scf.UHF if mol.spin else scf.RHF)(mol)
    field.chkfile = None
    field._chkfile.close()  # an empty file per field that would stay open
    if level.kind != "mp2":
        field = field.density_fit()
    field.conv_tol, field.conv_tol_grad, field.max_cycle = 1e-10, 1e-6, _MAX_CYCLES
    field.kernel(density)
    if not field.converged:
        raise LabelError(f"the self-consistent field did not converge in {_MAX_CYCLES} cycles")
    return field


def _quick(level: Level, mol: gto.Mole, wanted: set[str]) -> Values:
    field = hartree_fock.solve(mol)
    o = field.n_occupied
    values = _of_density(mol, field.density, field.energy) | _of_levels(
        field.levels[:o], field.levels[o:]
    )
    if wanted & RESPONSE:
        values |= _tensors(static_response(field))
    if "forces" in wanted:
        values["forces"] = _forces(converge(level, mol, field.density))
    return values


def _mp2(mol: gto.Mole, wanted: set[str]) -> Values:
    perturbed = mp.MP2(converge(Level("mp2", "-"), mol))
    perturbed.kernel()
    values: Values = {"energy": float(perturbed.e_tot) * units.Hartree}
    if "forces" in wanted:
        values["forces"] = _forces(perturbed)
    return values


def _iterated(field: Any) -> ResponseTensors:
    if isinstance(field, dft.rks.KohnShamDFT) and field.do_nlc():
        raise LabelError(f"the response of the non-local functional {field.xc} is not available")
    return response(field)


def _forces(method: Any) -> np.ndarray:
    return -method.nuc_grad_method().kernel() * units.Hartree / units.Bohr


def _of_density(mol: gto.Mole, density: np.ndarray, energy: float) -> Values:
    """Return energy, dipole and Mulliken charges."""
    density = density if density.ndim == 2 else density.sum(axis=0)
    charges = mol.atom_charges()
    dipole = (
        charges @ mol.atom_coords()
        - np.einsum("xij,ji->x", mol.intor_symmetric("int1e_r", comp=3), density)
    ) * units.Bohr
    populations = np.einsum("ij,ji->i", density, mol.intor_symmetric("int1e_ovlp"))
    owned = np.array([populations[start:stop].sum() for _, _, start, stop in mol.aoslice_by_atom()])
    return {
        "energy": energy * units.Hartree,
        "dipole": dipole,
        "dipole_magnitude": float(np.linalg.norm(dipole)) / DEBYE,
        "charges": charges - owned,
    }


def _frontier(field: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the levels of filled and of empty orbitals, of both spins."""
    levels, filled = np.asarray(field.mo_energy), np.asarray(field.mo_occ) > 0
    return levels[filled], levels[~filled]


def _of_levels(filled: np.ndarray, empty: np.ndarray) -> Values:
    homo = float(filled.max()) * units.Hartree
    if not len(empty):  # a minimal basis may be full
        return {"homo": homo}
    lumo = float(empty.min()) * units.Hartree
    return {"homo": homo, "lumo": lumo, "gap": lumo - homo}


def _tensors(tensors: ResponseTensors) -> Values:
    alpha, beta = tensors.polarizability * units.Bohr**3, tensors.rosenfeld
    return {
        "polarizability": alpha,
        "isotropic_polarizability": float(np.trace(alpha)) / 3.0,
        "rosenfeld": beta,
        "rosenfeld_isotropic": float(np.trace(beta)) / 3.0,
    }


def _is_small(mol: gto.Mole) -> bool:
    occupied = mol.nelectron // 2
    return (
        0 < occupied < mol.nao <= _MOST_FUNCTIONS and occupied * (mol.nao - occupied) <= _MOST_PAIRS
    )


def _check_functional(level: Level) -> None:
    name = level.method
    try:
        dispersion = parse_disp(name)[1]
        known = bool(re.fullmatch("[a-z][a-z0-9_,-]*", name)) and _is_sum(name)
    except (KeyError, ValueError, AssertionError, NotImplementedError):
        dispersion, known = None, False
    if dispersion or name.endswith(("-d", "_d")):
        raise UserError(
            f"{level}: dispersion corrections are not available; take the functional without one, "
            "or one such as wb97m-v"
        )
    if not known:
        raise UserError(
            f"{level}: {name!r} is no method that PySCF knows; give hf, mp2, or a functional such "
            "as b3lyp, pbe0, wb97x-v, r2scan"
        )


def _is_sum(name: str) -> bool:
    """Tell whether a functional adds up: to PySCF wb97x-2 is wb97x less twice Slater exchange."""
    exact, parts = dft.libxc.parse_xc(name)
    return bool(parts) and min(exact) >= 0 and all(weight > 0 for _, weight in parts)


@functools.lru_cache(maxsize=256)
def _has_basis(name: str, number: int) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return bool(gto.basis.load(name, chemical_symbols[number]))
        except (BasisNotFoundError, KeyError):
            return False


@functools.lru_cache(maxsize=256)
def _has_core(name: str, symbol: str) -> bool:
    """Tell whether the basis comes with an effective core potential for the element.

    PySCF uses it only where told.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return bool(gto.basis.load_ecp(name, symbol))
        # Basis sets that have no file of cores end in TypeError or OSError.
        except (BasisNotFoundError, KeyError, RuntimeError, TypeError, OSError):
            return False


if __name__ == "__main__":
    lib.num_threads(1)
    serve(PySCF())
