"""ωB97M-D3(BJ)/def2-TZVPP by PySCF, the teacher's own level: isolated atoms and spot checks.

The functional is ωB97M-V (doi:10.1063/1.4952647) without its VV10 term and with two-body D3(BJ)
instead (doi:10.1021/acs.jctc.8b00842). Iodine has the basis set's effective core
potential. Energies in eV, forces in eV/Å.
"""

import json
import logging
import time
from pathlib import Path

import numpy as np
from ase import units
from ase.data import chemical_symbols
from dftd3.interface import DispersionModel, RationalDampingParam
from pyscf import dft, gto

LOG = logging.getLogger("teacher")
BASIS = "def2-tzvpp"
FUNCTIONAL = "wb97m_v"
DAMPING = {"s6": 1.0, "s8": 0.3908, "s9": 0.0, "a1": 0.566, "a2": 3.128}
# Unpaired electrons of the neutral atoms' ground states (Hund).
UNPAIRED = {
    "H": 1, "B": 1, "C": 2, "N": 3, "O": 2, "F": 1, "Si": 2, "P": 3, "S": 2, "Cl": 1, "As": 3,
    "Se": 2, "Br": 1, "I": 1,
}  # fmt: skip


def field(z: np.ndarray, pos: np.ndarray, charge: int, unpaired: int, *, grid: int) -> dft.rks.RKS:
    """Set up the self-consistent field, without dispersion."""
    atoms = [(chemical_symbols[int(n)], tuple(p)) for n, p in zip(z, pos, strict=True)]
    mol = gto.M(
        atom=atoms,
        basis=BASIS,
        ecp={"I": BASIS},
        charge=charge,
        spin=unpaired,
        verbose=0,
        max_memory=2000,
    )
    method = dft.UKS(mol) if unpaired else dft.RKS(mol)
    method.xc, method.nlc, method.conv_tol, method.max_cycle = FUNCTIONAL, 0, 1e-8, 200
    method.grids.level = grid
    return method


def dispersion(z: np.ndarray, pos: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the D3(BJ) energy and forces (n, 3)."""
    model = DispersionModel(np.asarray(z, dtype=np.int32), pos / units.Bohr)
    found = model.get_dispersion(RationalDampingParam(**DAMPING), grad=True)
    return float(found["energy"]) * units.Hartree, -found["gradient"] * units.Hartree / units.Bohr


def single_point(z: np.ndarray, pos: np.ndarray, charge: int) -> tuple[float, np.ndarray]:
    """Return energy and forces (n, 3) of a closed shell, by density fitting."""
    method = converged(z, pos, charge)
    gradient = method.nuc_grad_method()
    gradient.grid_response = False
    forces = -gradient.kernel() * units.Hartree / units.Bohr
    pair_energy, pair_forces = dispersion(z, pos)
    return float(method.e_tot) * units.Hartree + pair_energy, forces + pair_forces


def energy(z: np.ndarray, pos: np.ndarray, charge: int) -> float:
    """Return the energy of a closed shell, by density fitting."""
    return float(converged(z, pos, charge).e_tot) * units.Hartree + dispersion(z, pos)[0]


def converged(z: np.ndarray, pos: np.ndarray, charge: int) -> dft.rks.RKS:
    """Return the self-consistent field of a closed shell. Raises RuntimeError where there is none.

    Where the first attempt fails, by Newton's method.
    """
    method = field(z, pos, charge, 0, grid=3).density_fit()
    method.kernel()
    if not method.converged:
        method = method.newton().run()
    if not method.converged:
        raise RuntimeError(f"the field of {len(z)} atoms did not converge")
    return method


def atom_energy(symbol: str) -> float:
    """Return the energy of an isolated atom in its ground state, the lowest of several solutions.

    An open p shell may settle in orbitals that point anywhere or along no axis at all, so each
    guess is followed to a stable solution. An atom has no dispersion energy.
    """
    z = np.array([chemical_symbols.index(symbol)])
    found = []
    for guess in ("minao", "atom"):
        method = field(z, np.zeros((1, 3)), 0, UNPAIRED[symbol], grid=5)
        method.init_guess = guess
        method.kernel()
        for _ in range(4):
            orbitals, _, stable, _ = method.stability(return_status=True)
            if stable:
                break
            method = method.newton().run(mo_coeff=orbitals, mo_occ=method.mo_occ)
        if method.converged:
            found.append(method.e_tot * units.Hartree)
    LOG.info("%s: %s eV", symbol, ", ".join(f"{e:.6f}" for e in found))
    return min(found)


def write_atoms(path: Path) -> None:
    """Write the energies of the isolated atoms as JSON, each as soon as it is there."""
    known = json.loads(path.read_text()) if path.exists() else {}
    for symbol in UNPAIRED:
        if symbol not in known:
            known[symbol] = atom_energy(symbol)
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(known, indent=1))
            partial.replace(path)


def choose_checks(spread: np.ndarray, n_atoms: np.ndarray, most_atoms: int, n: int) -> np.ndarray:
    """Choose n small frames whose spreads go up in even ratios from the least to the largest.

    Even ranks would leave out the rare large spreads, and with them where to draw the line.
    """
    small = np.flatnonzero(n_atoms <= most_atoms)
    left = np.log(spread[small])
    chosen = []
    for value in np.linspace(left.min(), left.max(), min(n, len(small))):
        nearest = int(np.argmin(np.abs(left - value)))
        chosen.append(small[nearest])
        left[nearest] = np.inf
    return np.array(chosen)


def check(
    z: np.ndarray, pos: np.ndarray, charge: int, energy: float, forces: np.ndarray
) -> dict[str, object]:
    """Compare one label with PySCF; errors of the energy in eV, of the forces in eV/Å."""
    begin = time.monotonic()
    exact, exact_forces = single_point(z, pos, charge)
    difference = np.linalg.norm(forces - exact_forces, axis=1)
    return {
        "n_atoms": len(z),
        "energy_error": energy - exact,
        "force_rmse": float(np.sqrt((difference**2).mean())),
        "force_worst": float(difference.max()),
        "force_rms": float(np.sqrt((exact_forces**2).sum(1).mean())),
        "seconds": round(time.monotonic() - begin, 1),
    }
