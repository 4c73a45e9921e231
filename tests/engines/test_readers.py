"""Trajectories of `molequi md` in programs that analyse them."""

import ase.io
import numpy as np
import pytest
from ase.build import molecule

from molequi.cli.main import run
from molequi.models.checkpoint import save_model

pytestmark = pytest.mark.filterwarnings("ignore")  # of the readers' own imports and guesses


@pytest.fixture(scope="module")
def trajectory(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("md")
    save_model(network, folder / "model.safetensors")
    ase.io.write(folder / "start.xyz", molecule("CH3OH"))
    arguments = ["--ensemble", "nve", "--steps", "6", "--interval", "2", "--temperature", "300"]
    model = ["--model", str(folder / "model.safetensors"), "--timestep", "0.2"]
    output = ["--output", str(folder / "run.extxyz")]
    assert run(["md", str(folder / "start.xyz"), *arguments, *model, *output]) == 0
    return folder / "run.extxyz"


def test_mdanalysis_reads_it(trajectory):
    mdanalysis = pytest.importorskip("MDAnalysis")
    universe = mdanalysis.Universe(str(trajectory), format="XYZ", topology_format="XYZ")
    frames = ase.io.read(trajectory, ":")
    assert len(universe.trajectory) == len(frames) == 4
    assert [*universe.atoms.names] == [*frames[0].symbols]
    for step, atoms in zip(universe.trajectory, frames, strict=True):
        np.testing.assert_allclose(step.positions, atoms.positions, atol=1e-5)  # float32 there


def test_mdtraj_reads_it(trajectory, tmp_path):
    """Through a PDB file of the first frame, which names the atoms; nm there."""
    mdtraj = pytest.importorskip("mdtraj")
    frames = ase.io.read(trajectory, ":")
    ase.io.write(tmp_path / "top.pdb", frames[0])
    (tmp_path / "run.xyz").write_bytes(trajectory.read_bytes())
    read = mdtraj.load_xyz(str(tmp_path / "run.xyz"), top=str(tmp_path / "top.pdb"))
    positions = np.array([atoms.positions for atoms in frames])
    np.testing.assert_allclose(10.0 * read.xyz, positions, atol=1e-5)
