"""Labels beside PySCF at the teacher's own level: of frames, and of interactions.

Both choose small ones and write a line of JSON for each, in the order of the frames.
"""

import argparse
import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import teacher_assemble as assembly
import teacher_dft as dft
import teacher_journal as journal
from teacher_aimnet import Structure, Teacher
from teacher_moves import distances, offsets
from teacher_pieces import molecules_of

LOG = logging.getLogger("teacher")
KCAL = 23.060548


def frames(shards: Iterable[Path], path: Path, settings: argparse.Namespace) -> None:
    """Compare `settings.checks` frames whose spreads go up in even ratios."""
    arrays = assembly.read_shards(shards)
    off = offsets(arrays["n_atoms"])
    spread = assembly.per_frame(arrays["forces_std"], arrays["n_atoms"])
    rows = dft.choose_checks(spread, arrays["n_atoms"], settings.most_atoms, settings.checks)
    for row in sorted(set(rows.tolist()) - journal.rows_of(path)):
        atoms = slice(off[row], off[row + 1])
        z, pos = arrays["z"][atoms].astype(int), arrays["pos"][atoms].astype(np.float64)
        charge, forces = int(arrays["charge"][row]), arrays["forces"][atoms]
        try:
            found = dft.check(z, pos, charge, float(arrays["energy"][row]), forces)
        except RuntimeError as error:
            LOG.warning("row %d: %s", row, error)
            continue
        known = _known(arrays, row) | {"spread": float(spread[row])}
        known["energy_std"] = float(arrays["energy_std"][row])
        journal.append(path, known | found)
        LOG.info("%s", known | found)


def interactions(
    shards: Iterable[Path], path: Path, settings: argparse.Namespace, teacher: Teacher
) -> None:
    """Compare `settings.checks` pairs of molecules, one of them charged at least.

    Their shortest contacts go up in even ratios. Energies are in kcal/mol.
    """
    arrays = assembly.read_shards(shards)
    found = pairs_with_an_ion(arrays, settings.most_atoms)
    rows, contacts = np.array(list(found)), np.array([shortest_contact(s) for s in found.values()])
    chosen = dft.choose_checks(
        contacts, arrays["n_atoms"][rows], settings.most_atoms, settings.checks
    )
    for k in sorted(set(chosen.tolist())):
        row, structures = int(rows[k]), found[rows[k]]
        if row in journal.rows_of(path):
            continue
        try:
            exact = [dft.energy(s.z, s.pos, s.charge) for s in structures]
        except RuntimeError as error:
            LOG.warning("row %d: %s", row, error)
            continue
        labels = [label.energy for label in teacher.label(structures)]
        known = _known(arrays, row) | {"contact": round(float(contacts[k]), 3)}
        for name, (whole, *alone) in (("exact", exact), ("teacher", labels)):
            known[name] = round((whole - sum(alone)) * KCAL, 3)
        journal.append(path, known)
        LOG.info("%s", known)


def pairs_with_an_ion(arrays: assembly.Arrays, most_atoms: int) -> dict[int, list[Structure]]:
    """Return frames of two molecules with a charge: the complex, and each molecule alone."""
    off, found = offsets(arrays["n_atoms"]), {}
    for row, name in enumerate(arrays["name"].tolist()):
        if name.count(".") != 1 or arrays["n_atoms"][row] > most_atoms:
            continue
        (first, q_first), (_, q_second) = molecules_of(name)
        if q_first == q_second == 0:
            continue
        z = arrays["z"][off[row] : off[row + 1]].astype(int)
        pos = arrays["pos"][off[row] : off[row + 1]].astype(np.float64)
        parts = ((slice(None), q_first + q_second),
                 (slice(len(first)), q_first), (slice(len(first), None), q_second))  # fmt: skip
        found[row] = [Structure(z[atoms], pos[atoms], q) for atoms, q in parts]
    return found


def shortest_contact(structures: list[Structure]) -> float:
    """Return the shortest distance, Å, between the molecules of a pair."""
    whole, first, _ = structures
    return float(distances(whole.pos)[: len(first.z), len(first.z) :].min())


def _known(arrays: assembly.Arrays, row: int) -> dict[str, object]:
    sampler = assembly.SAMPLERS[arrays["sampler"][row]]
    return {"row": row, "name": str(arrays["name"][row]), "sampler": sampler}
