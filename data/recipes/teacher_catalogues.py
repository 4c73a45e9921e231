"""Catalogues of molecules: read, or made and written where there is none.

settings: the command line of `teacher.py`: --work, --suites, --reserved, --seed.
"""

import argparse
import importlib.metadata
import json
from typing import NamedTuple

import teacher_identity as identity
import teacher_molecules as molecules
import teacher_plans as plans

PACKAGES = ("auto3d", "molsets", "qc-b3db", "qm9pack", "rdkit", "torch", "numpy", "ase")


def versions() -> dict[str, str]:
    """Return the versions of the packages that make the set."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def make_catalogue(settings: argparse.Namespace) -> identity.Reserved:
    """Write the catalogue where there is none; returns what is kept out of training."""
    reserved = identity.read_reserved(settings.suites, settings.reserved)
    path = settings.work / "catalogue.tsv"
    if not path.exists():
        entries, counts = molecules.build(settings.seed, reserved)
        notes = {
            "seed": settings.seed,
            "versions": versions(),
            "reserved": {name: len(value) for name, value in reserved._asdict().items()},
            "counts": dict(sorted(counts.items())),
        }
        (settings.work / "catalogue.json").write_text(json.dumps(notes, indent=1))
        molecules.write(entries, path)
    return reserved


def read_arenes(settings: argparse.Namespace, reserved: identity.Reserved) -> list[molecules.Entry]:
    """Read the catalogue of arenes; write it where there is none."""
    path = settings.work / "catalogue_arenes.tsv"
    if not path.exists():
        molecules.write(molecules.build_arenes(settings.seed, reserved), path)
    return molecules.read(path)


def read_chains(settings: argparse.Namespace, reserved: identity.Reserved) -> list[molecules.Entry]:
    """Read the catalogue of chains; write it where there is none."""
    import teacher_chains as chains  # noqa: PLC0415

    path = settings.work / "catalogue_chains.tsv"
    if not path.exists():
        molecules.write(chains.build(settings.seed, reserved), path)
    return molecules.read(path)


class Tiny(NamedTuple):
    """The smallest molecules, where further halides are found, and what is kept out."""

    entries: list[molecules.Entry]
    halides: list[molecules.Entry]
    kept_out: tuple[identity.Reserved, frozenset[identity.Composition]]


def read_tiny(settings: argparse.Namespace) -> Tiny:
    """Read the catalogue of the smallest molecules; write it where there is none."""
    import teacher_tiny as tiny  # noqa: PLC0415

    reserved, ions = make_catalogue(settings), identity.read_ions(settings.suites)
    path = settings.work / "catalogue_tiny.tsv"
    if not path.exists():
        molecules.write(tiny.build(reserved, ions), path)
    halogens = {f"element_{x}" for x in tiny.tables.HALOGENS}
    others = molecules.read(settings.work / "catalogue.tsv")
    others = [e for e in others if e.category in halogens] + read_arenes(settings, reserved)
    return Tiny(molecules.read(path), others, (reserved, ions))


def plan_complexes(settings: argparse.Namespace, found: Tiny) -> plans.Plan:
    """Plan shards of many complexes; write the catalogue of further ions where there is none."""
    import teacher_ions as ions  # noqa: PLC0415

    entries = molecules.read(settings.work / "catalogue.tsv")
    path = settings.work / "catalogue_tiny_ions.tsv"
    if not path.exists():
        neutral = [e for e in found.entries if e.category in ("tiny", "partner")]
        neutral += [e for e in entries if e.category == "qm9"]
        molecules.write(ions.build(neutral, found.entries, found.kept_out), path)
    small = found.entries + molecules.read(path)
    reserved = found.kept_out[0]
    return plans.make_complex_plan(
        plans.make_arene_plan(entries, read_arenes(settings, reserved), reserved),
        plans.make_tiny_plan(small, found.halides, found.kept_out, settings.seed),
    )
