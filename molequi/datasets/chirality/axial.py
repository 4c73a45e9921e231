"""Conformers of axially chiral molecules, labelled M or P by their own coordinates."""

from __future__ import annotations

import ast
import csv
import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rdkit import Chem

from molequi.datasets.chirality.sources import molecules
from molequi.datasets.in_memory import Frames
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.making import Electrons, make_frames
from molequi.datasets.prepared import PreparedSet, one_file
from molequi.datasets.report import describe_frames
from molequi.datasets.splits import hashed_split
from molequi.errors import UserError
from molequi.properties import PROPERTIES
from molequi.runtime.files import no_file
from molequi.structures.cip import Axis, StereoLabels, axis_label, constitution_of
from molequi.structures.csv_files import open_table, table_reader
from molequi.structures.formats import UNREADABLE, format_of, open_binary

_FIELD = "axes"
_SALT = "molequi:axial"
_HEAD = 1 << 18  # more bytes than a record has


def load_axial(path: str | Path, table: str | Path | None = None) -> LabelledSet:
    """Read conformers and the labels of their axes.

    The target is `axial_handedness` at both ends of an axis.

    path: an SDF in whose field `axes` stand the two atoms (0-based) of each axis, such as `[(5, 6),
    (17, 18)]`. table: a CSV with the columns SMILES and label, which must name the same axes for a
    record whose title is that SMILES. Only single bonds between planar atoms have a label: allenes,
    spiro atoms, pairs of stereocentres and ends whose substituents rank alike are counted in the
    notes, and conformers without any label are left out. Hydrogens are not added: a record without
    them stays a frame of heavy atoms, taken as closed-shell. Conformers are grouped by the
    stereo-free SMILES; the split is 80/10/10 by its name. Raises UserError where nothing can be
    used.
    """
    found = _read(path, {} if table is None else _table_axes(Path(table)))
    frames = _frames(found)
    senses = Counter(sense for label in found.labels for sense in label.axes.values())
    return LabelledSet(
        frames,
        describe_frames(frames, "axial"),
        hashed_split(found.groups, _SALT),
        tuple(found.groups),
        tuple(found.failures),
        {
            "set": "axial",
            "M": senses["M"],
            "P": senses["P"],
            "axes_without_label": dict(found.unlabelled),
        },
    )


@dataclasses.dataclass
class _Found:
    """Molecules with at least one label, what each came from, and what could not be used."""

    molecules: list[Chem.Mol] = dataclasses.field(default_factory=list)
    sources: list[str] = dataclasses.field(default_factory=list)
    groups: list[str] = dataclasses.field(default_factory=list)
    labels: list[StereoLabels] = dataclasses.field(default_factory=list)
    failures: list[str] = dataclasses.field(default_factory=list)
    unlabelled: Counter[str] = dataclasses.field(default_factory=Counter)


def _frames(found: _Found) -> Frames:
    conformers = found.molecules
    charges = torch.tensor([Chem.GetFormalCharge(molecule) for molecule in conformers])
    values = np.concatenate([label.axial_handedness for label in found.labels])
    return make_frames(
        torch.from_numpy(
            np.concatenate([molecule.GetConformer().GetPositions() for molecule in conformers])
        ),
        torch.tensor(
            [atom.GetAtomicNum() for molecule in conformers for atom in molecule.GetAtoms()]
        ),
        torch.tensor([molecule.GetNumAtoms() for molecule in conformers]),
        electrons=Electrons(charges, torch.ones_like(charges)),
        targets={"axial_handedness": torch.from_numpy(values)},
        properties={"axial_handedness": PROPERTIES["axial_handedness"]},
        source=found.sources,
    )


def _read(path: str | Path, expected: dict[str, list[Axis]]) -> _Found:
    found = _Found()
    for where, item in molecules(path):
        try:
            if isinstance(item, str):
                raise UserError(item)
            labels = _labels(item, _axes(item, expected), found.unlabelled)
        except UserError as error:
            found.failures.append(f"{where}: {error}")
            continue
        if any(label in {"M", "P"} for label in labels.axes.values()):
            found.molecules.append(item)
            found.groups.append(constitution_of(item))
            found.sources.append(f"{where} {found.groups[-1]}")
            found.labels.append(labels)
    if not found.molecules:
        why = found.failures[0] if found.failures else dict(found.unlabelled) or "it is empty"
        raise UserError(f"{path}: no conformer has an axis with a label M or P; {why}")
    return found


def _labels(molecule: Chem.Mol, axes: Sequence[Axis], unlabelled: Counter[str]) -> StereoLabels:
    found = {}
    for axis in axes:
        try:
            label = axis_label(molecule, axis) if len(axis) == 2 else ""
            reason = (
                "substituents rank alike, or are flat on each other"
                if len(axis) == 2
                else "an axis through one atom"
            )
        except UserError:
            label, reason = "", "no single bond between planar atoms"
        if label:
            found[axis] = label
        else:
            unlabelled[reason] += 1
    return StereoLabels(("",) * molecule.GetNumAtoms(), found, "chiral" if found else "unknown")


def _axes(molecule: Chem.Mol, expected: dict[str, list[Axis]]) -> list[Axis]:
    if not molecule.GetNumConformers() or not molecule.GetConformer().Is3D():
        raise UserError("has no coordinates in space, which M and P are read from")
    if not molecule.HasProp(_FIELD):
        raise UserError(f"has no field {_FIELD!r} with the atoms of its axes, such as [(5, 6)]")
    axes = _parse(molecule.GetProp(_FIELD))
    outside = [
        axis for axis in axes if any(not 0 <= atom < molecule.GetNumAtoms() for atom in axis)
    ]
    if outside:
        raise UserError(
            f"names the axis {outside[0]}, but its atoms run from 0 to {molecule.GetNumAtoms() - 1}"
        )
    name = molecule.GetProp("_Name") if molecule.HasProp("_Name") else ""
    if name in expected and sorted(expected[name]) != sorted(axes):
        raise UserError(f"has the axes {axes} but the table has {expected[name]}")
    return axes


def _parse(text: str) -> list[Axis]:
    try:
        axes = ast.literal_eval(text)
        # The published table also names single atoms, the centres of spiro compounds.
        return [tuple(int(atom) for atom in axis) for axis in axes]  # type: ignore[misc]
    except (ValueError, SyntaxError, TypeError):
        raise UserError(
            f"the axes {text[:60]!r} cannot be read; write for example [(5, 6), (17, 18)]"
        ) from None


def _table_axes(path: Path) -> dict[str, list[Axis]]:
    if not path.is_file():
        raise UserError(f"{no_file(path)}; expected a CSV with the columns SMILES and label")
    try:
        with open_table(path) as handle:
            reader = table_reader(handle, path)
            if not {"SMILES", "label"} <= set(reader.fieldnames or ()):
                raise UserError(
                    f"{path}: expected the columns SMILES and label, found "
                    f"{', '.join(reader.fieldnames or ()) or 'none'}"
                )
            return {line["SMILES"]: _parse(line["label"]) for line in reader}
    except (*UNREADABLE, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a table ({error})") from error


class Axial(PreparedSet):
    """The sense of chiral axes, such as those of hindered biaryls."""

    name = "axial"
    description = "conformers of axially chiral molecules, heavy atoms; axial handedness; MIT"
    targets = ("axial_handedness",)
    file = "rota_axial_conformers.sdf.gz"

    def recognises(self, path: Path) -> bool:
        """Recognise the field `axes` of the first record."""
        if format_of(path) != "sdf":
            return False
        try:
            with open_binary(path) as handle:
                head = handle.read(_HEAD)
        except UNREADABLE:
            return False
        return f"<{_FIELD}>".encode() in head.partition(b"$$$$")[0]

    def read_source(self, paths: Sequence[Path], structures: str | Path | None) -> LabelledSet:
        """Read an SDF; see `load_axial`."""
        return load_axial(one_file(paths, self.name))
