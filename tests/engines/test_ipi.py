"""The i-PI driver: ASE's server and i-PI itself get the calculator's forces, beads and all."""

import json
import re
import socket
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.calculators.socketio import SocketIOCalculator

from molequi.cli.main import run
from molequi.engines.ipi_driver import IpiDriver
from molequi.engines.ipi_socket import IpiClient, connect
from molequi.errors import UserError
from molequi.models.checkpoint import save_model
from molequi.simulation.calculator import Calculator

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "engines.md"


def crystal():
    atoms = molecule("H2O")
    atoms.set_cell([[5.0, 0, 0], [1.0, 4.6, 0], [0.3, -0.4, 4.8]])
    atoms.pbc = True
    return atoms


def in_a_thread(driver, address):
    def serve():
        with connect(address, 20.0) as connection:
            IpiClient(connection, driver).run()

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.fixture
def name():
    return f"molequi-{uuid.uuid4().hex[:12]}"


@pytest.mark.parametrize("make", [lambda: molecule("CH3OH"), crystal], ids=["open", "periodic"])
def test_ase_as_the_server_gets_the_calculators_numbers(make, network, tmp_path, name):
    atoms = make()
    ase.io.write(tmp_path / "atoms.extxyz", atoms)
    thread = in_a_thread(IpiDriver(tmp_path / "atoms.extxyz", network), name)
    reference = Calculator(network)
    with SocketIOCalculator(unixsocket=name, timeout=20.0) as server:
        atoms.calc = server
        for step in range(3):
            atoms.positions += 0.02 * np.random.default_rng(step).normal(size=(len(atoms), 3))
            atoms.set_cell(atoms.cell.array * 1.01, scale_atoms=False)
            expected = atoms.copy()
            expected.calc = reference
            assert atoms.get_potential_energy() == pytest.approx(
                expected.get_potential_energy(), abs=1e-9
            )
            np.testing.assert_allclose(atoms.get_forces(), expected.get_forces(), atol=1e-9)
            if atoms.pbc.all():
                np.testing.assert_allclose(atoms.get_stress(), expected.get_stress(), atol=1e-11)
    thread.join(20.0)
    assert not thread.is_alive()


def test_beads_are_computed_together_as_one_by_one(network, tmp_path):
    atoms = molecule("CH3OH")
    ase.io.write(tmp_path / "atoms.xyz", atoms)
    driver, rng = IpiDriver(tmp_path / "atoms.xyz", network), np.random.default_rng(0)
    beads = [atoms.positions + 0.05 * rng.normal(size=(6, 3)) for _ in range(5)]
    found = driver([np.eye(3)] * 5, [bead / units.Bohr for bead in beads])
    for bead, one in zip(beads, found, strict=True):
        atoms.positions, atoms.calc = bead, Calculator(network)
        alone = driver(np.eye(3), bead / units.Bohr)
        assert one.energy * units.Hartree == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(
            one.forces * units.Hartree / units.Bohr, atoms.get_forces(), atol=1e-9
        )
        np.testing.assert_allclose(one.forces, alone.forces, atol=1e-12)
        dipole = np.array(json.loads(one.extras)["dipole"]) * units.Bohr
        np.testing.assert_allclose(dipole, atoms.get_dipole_moment(), atol=1e-9)
        assert not one.virial.any()


def test_what_cannot_be_driven_is_refused(network, tmp_path):
    slab = crystal()
    slab.pbc = (True, True, False)
    ase.io.write(tmp_path / "slab.extxyz", slab)
    with pytest.raises(UserError, match="all three directions or in none"):
        IpiDriver(tmp_path / "slab.extxyz", network)
    ase.io.write(tmp_path / "salt.xyz", molecule("NaCl"))
    with pytest.raises(UserError, match="element Na"):
        IpiDriver(tmp_path / "salt.xyz", network)
    ase.io.write(tmp_path / "ion.xyz", molecule("CH3OH"))
    with pytest.raises(UserError, match="outside"):
        IpiDriver(tmp_path / "ion.xyz", network, charge=1)
    with pytest.raises(UserError, match="multiplicity 2 does not go with the 18 electrons"):
        IpiDriver(tmp_path / "ion.xyz", network, spin_multiplicity=2)


def test_other_atoms_than_those_of_the_template_are_refused(network, tmp_path):
    ase.io.write(tmp_path / "water.xyz", molecule("H2O"))
    driver, sent = IpiDriver(tmp_path / "water.xyz", network), molecule("CH3OH").positions
    message = r"the server sends 6 atoms, .*water\.xyz has 3; give the structure that i-PI moves"
    for n_beads in (1, 2):
        with pytest.raises(UserError, match=message):
            driver([np.eye(3)] * n_beads, [sent] * n_beads)


def test_forces_that_are_no_numbers_are_not_sent(damaged, tmp_path):
    ase.io.write(tmp_path / "water.xyz", molecule("H2O"))
    driver = IpiDriver(tmp_path / "water.xyz", damaged)
    with pytest.raises(UserError, match="the model gives no finite forces for this geometry"):
        driver(np.eye(3), molecule("H2O").positions / units.Bohr)


def test_a_missing_server_is_said(tmp_path, capsys, name):
    ase.io.write(tmp_path / "atoms.xyz", molecule("H2O"))
    arguments = ["drive", str(tmp_path / "atoms.xyz"), "--address", name, "--wait", "0"]
    assert run(arguments) == 2
    assert "no i-PI at" in capsys.readouterr().err
    for port in ("http", "99999", "0", "-1", "", "9" * 5000):
        with pytest.raises(UserError, match="HOST:PORT, with a port from 1 to 65535"):
            connect(f"localhost:{port}", 0.0)
    arguments[3] = "localhost:99999"
    assert run(arguments) == 2
    assert "'localhost:99999'; give HOST:PORT" in capsys.readouterr().err


def test_a_message_that_is_not_of_the_protocol_is_said(network, tmp_path):
    ase.io.write(tmp_path / "atoms.xyz", molecule("H2O"))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"HELLO       ")
        with pytest.raises(UserError, match="HELLO"):
            IpiClient(ours, IpiDriver(tmp_path / "atoms.xyz", network)).run()


def test_the_path_integral_example_of_the_page_runs(charged_network, tmp_path, name):
    """Eight beads through i-PI's own process; energies of the beads, and a conserved quantity."""
    ipi = Path(sys.executable).with_name("i-pi")
    if not ipi.exists():
        pytest.skip("i-pi is not installed: pip install 'molequi[ipi]'")
    text = re.search(r"cat > input.xml <<'END'\n(.*?)END\n", PAGE.read_text(), re.DOTALL)[1]
    assert "<address>molequi</address>" in text and "nbeads='8'" in text
    (tmp_path / "input.xml").write_text(text.replace("<address>molequi<", f"<address>{name}<"))
    ase.io.write(tmp_path / "water.xyz", molecule("H2O"))
    save_model(charged_network, tmp_path / "model.safetensors")
    server = subprocess.Popen(
        [sys.executable, str(ipi), "input.xml"], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    try:
        arguments = ["drive", str(tmp_path / "water.xyz"), "--address", name]
        assert run([*arguments, "--model", str(tmp_path / "model.safetensors")]) == 0
        assert server.wait(30.0) == 0
    finally:
        server.kill()
    rows = np.loadtxt(tmp_path / "water.out")
    assert len(rows) == 21 and np.ptp(rows[:, 2]) < 2e-3  # conserved, eV
    frames = [ase.io.read(tmp_path / f"water.pos_{bead}.xyz", ":") for bead in range(8)]
    reference, mean = Calculator(charged_network), []
    for beads in zip(*frames, strict=True):
        mean.append(np.mean([reference.get_property("energy", bead) for bead in beads]))
    # The positions are written with few digits.
    np.testing.assert_allclose(rows[:, 4], mean, atol=2e-4)
