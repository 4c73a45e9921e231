"""The bundled files are those that data/README.md describes."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import units

from molequi.datasets.npz import load_npz
from molequi.datasets.qm9.columns import QM9_PROPERTIES, atom_references

_ROW = re.compile(r"^\| `(?P<file>[^`]+)` \|(?P<cells>.*)\| `(?P<sha>[0-9a-f]{64})` \|$")


@pytest.fixture(scope="module")
def described(checkout: Path) -> dict[str, tuple[list[str], str]]:
    lines = (checkout / "data" / "README.md").read_text(encoding="utf-8").splitlines()
    matches = [match for match in map(_ROW.match, lines) if match]
    return {
        match["file"]: ([cell.strip() for cell in match["cells"].split("|")], match["sha"])
        for match in matches
    }


def bundled(checkout: Path) -> list[str]:
    folders = [checkout / "data" / name for name in ("samples", "suites", "models")]
    return sorted(
        str(path.relative_to(checkout / "data"))
        for folder in folders
        if folder.is_dir()
        for path in folder.iterdir()
        if path.is_file()
    )


def test_every_file_is_described_with_its_checksum(
    checkout: Path, described: dict[str, tuple[list[str], str]]
) -> None:
    files = bundled(checkout)
    assert set(described) == set(files)
    for name in files:
        checksum = hashlib.sha256((checkout / "data" / name).read_bytes()).hexdigest()
        assert described[name][1] == checksum, (
            f"data/README.md: the checksum of {name} should be {checksum}"
        )
        cells = described[name][0]
        assert len(cells) == 4, f"data/README.md: {name} needs content, source, licence and units"
        assert all(cells), f"data/README.md: {name} has an empty cell"


def test_samples_come_from_the_recipe_or_are_said_to_be_copies(
    checkout: Path, described: dict[str, tuple[list[str], str]]
) -> None:
    recipe = (checkout / "data" / "recipes" / "samples.py").read_text(encoding="utf-8")
    made = set(re.findall(r'SAMPLES / "([^"]+)"', recipe))
    samples = {
        name.removeprefix("samples/"): cells
        for name, (cells, _) in described.items()
        if name.startswith("samples/")
    }
    assert made <= set(samples)
    for name, cells in samples.items():
        assert ("copied" in cells[1]) == (name not in made), f"data/README.md: the source of {name}"


def test_the_package_stays_small(checkout: Path) -> None:
    samples = [path for path in (checkout / "data" / "samples").iterdir() if path.is_file()]
    assert (checkout / "data" / "samples" / "qm9_sample.npz").stat().st_size < 1.5e6
    assert sum(path.stat().st_size for path in samples) < 3e6


def test_sample_of_qm9(checkout: Path) -> None:
    loaded = load_npz(checkout / "data" / "samples" / "qm9_sample.npz")
    frames = loaded.frames
    assert set(frames.targets) == set(QM9_PROPERTIES)
    assert not any(values.isnan().any() for values in frames.targets.values())
    torch.testing.assert_close(
        frames.targets["gap"], frames.targets["lumo"] - frames.targets["homo"], rtol=0.0, atol=0.006
    )
    # Atomization takes 3 to 7 eV per atom in any organic molecule; a unit or reference that is off
    # shows here.
    owners = torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)
    references = torch.zeros(len(frames), dtype=torch.float64).index_add_(
        0, owners, atom_references("u0")[frames.atomic_numbers]
    )
    per_atom = (references - frames.targets["u0"]) / frames.n_atoms
    assert 2.5 < float(per_atom.min()) < float(per_atom.max()) < 7.0
    # Known spans of QM9: 0 to 30 D, zero-point energies near 4 eV, polarizabilities near 11 Å³.
    assert float(frames.targets["isotropic_polarizability"].mean()) == pytest.approx(11.1, abs=0.3)
    assert float(frames.targets["zpve"].mean()) == pytest.approx(4.06, abs=0.15)


def test_sample_of_rmd17(checkout: Path) -> None:
    """Energies and forces belong together.

    Along the line between two close frames the energy changes by minus force times path.
    """
    structures = ase.io.read(checkout / "data" / "samples" / "ethanol.extxyz.gz", index=":")
    assert {str(atoms.symbols) for atoms in structures} == {"C2OH6"}
    energies = np.array([atoms.get_potential_energy() for atoms in structures])
    forces = np.stack([atoms.get_forces() for atoms in structures])
    positions = np.stack([atoms.positions for atoms in structures])
    assert np.abs(forces.sum(axis=1)).max() < 1e-2
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=(2, 3)) + 1e9 * np.eye(
        len(structures)
    )
    first, second = np.unravel_index(np.argsort(distances, axis=None)[:60], distances.shape)
    work = -((forces[first] + forces[second]) / 2 * (positions[second] - positions[first])).sum(
        axis=(1, 2)
    )
    change = energies[second] - energies[first]
    assert np.corrcoef(work, change)[0, 1] > 0.9
    assert np.polyfit(work, change, 1)[0] == pytest.approx(1.0, abs=0.25)
    # PBE/def2-SVP ethanol: -154.7 Ha.
    assert energies.mean() / units.Hartree == pytest.approx(-154.7, abs=0.1)
