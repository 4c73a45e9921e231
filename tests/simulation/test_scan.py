"""Scans against closed forms and ASE's constraints; coordinates; what interruption leaves."""

import csv
import dataclasses
import os
import signal

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixInternals

from molequi.errors import RunInterruptedError, UserError
from molequi.runtime.journal import journal_path
from molequi.simulation import scan
from molequi.simulation.calculator import Calculator
from molequi.simulation.coordinates import (
    bond_matrix,
    doubt_about_bonds,
    moving_side,
    parse_coordinate,
    set_value,
    value_of,
)
from molequi.simulation.movers import fingerprint
from molequi.simulation.scan import run_scan
from molequi.simulation.scan_order import Order
from molequi.simulation.scan_points import ScanSettings, moving_atoms


def test_a_rigid_scan_of_a_diatomic_is_its_curve(morse):
    """8 ((1 - exp(-2.3 (r - 1.16)))^2 - 1) (1 - (r / 5)^2)^3, of the analytic model."""
    atoms = Atoms("CO", positions=[[0, 0, 0], [0.3, 0.4, 1.0]])
    result = run_scan(atoms, morse(), ScanSettings("bond", "0-1", 0.9, 2.4, 7, rigid=True))
    r = np.linspace(0.9, 2.4, 7)
    curve = 8.0 * ((1 - np.exp(-2.3 * (r - 1.16))) ** 2 - 1) * (1 - (r / 5.0) ** 2) ** 3
    found = [point["relative_ev"] for point in result["points"]]
    np.testing.assert_allclose(found, curve - curve.min(), atol=1e-9)
    assert [point["value"] for point in result["points"]] == pytest.approx(r.tolist())
    assert result["range_kj_mol"] == pytest.approx(96.485 * np.ptp(curve), rel=1e-5)
    assert result["range_kcal_mol"] == pytest.approx(result["range_kj_mol"] / 4.184)


@pytest.mark.parametrize(
    ("kind", "numbers", "start", "stop"),
    [
        ("torsion", "2-0-1-3", 60.0, 180.0),
        ("angle", "0-1-3", 95.0, 120.0),
        ("bond", "0-1", 1.3, 1.6),
    ],
)
def test_a_relaxed_scan_holds_its_coordinate_and_lies_below_the_rigid_one(
    kind, numbers, start, stop
):
    atoms = molecule("H2O2")
    asked = (kind, numbers, start, stop, 3)
    coordinate = parse_coordinate(numbers, kind, 4)
    relaxed, rigid = (
        run_scan(atoms, "organic", ScanSettings(*asked, rigid=one, fmax=0.02))
        for one in (False, True)
    )
    for point, other in zip(relaxed["points"], rigid["points"], strict=True):
        moved = Atoms(atoms.numbers, point["positions"])
        off = value_of(moved, coordinate) - point["value"]
        assert (off + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=1e-3)
        assert point["converged"]
        assert point["energy"] <= other["energy"] + 1e-4


def test_the_side_beyond_a_bond_moves_as_a_piece():
    butane = molecule("trans-butane")
    bonds = bond_matrix(butane)
    carbons = np.flatnonzero(butane.numbers == 6)
    chain = [int(c) for c in carbons]
    ends = [c for c in chain if bonds[c][carbons].sum() == 1]
    middles = [c for c in chain if c not in ends]
    first, last = (next(e for e in ends if bonds[e, m]) for m in middles)
    coordinate = parse_coordinate(f"{first}-{middles[0]}-{middles[1]}-{last}", "torsion", 14)
    side = moving_side(butane, coordinate)
    assert side.sum() == 7  # half of the molecule
    before = butane.get_all_distances()
    set_value(butane, coordinate, 60.0, side)
    assert value_of(butane, coordinate) == pytest.approx(60.0)
    changed = np.abs(butane.get_all_distances() - before) > 1e-9
    assert not changed[np.ix_(side, side)].any()
    assert not changed[np.ix_(~side, ~side)].any()


def test_an_improper_torsion_is_where_the_table_says():
    """All four atoms of ammonia's umbrella are bonded to one; flat it is the top of inversion.

    The pieces beyond its bonds are no side of it: nothing moved, and all points were one.
    """
    ammonia = molecule("NH3")
    settings = ScanSettings("torsion", "1-0-2-3", -180.0, -120.0, 4, fmax=0.02)
    points = run_scan(ammonia, "organic", settings)["points"]
    for point in points:
        moved = Atoms(ammonia.numbers, point["positions"])
        off = moved.get_dihedral(1, 0, 2, 3) - point["value"]
        assert (off + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=1e-3)
    energies = [point["energy"] for point in points]
    assert energies == sorted(energies, reverse=True)
    assert energies[0] - energies[-1] > 0.15  # eV; inversion takes 0.25 in nature
    with pytest.raises(UserError, match="not bonded in a row"):
        run_scan(ammonia, "organic", dataclasses.replace(settings, rigid=True))


def test_a_ring_is_scanned_relaxed_and_refused_rigid(morse):
    ring = molecule("cyclobutane")
    numbers = [int(n) for n in np.flatnonzero(ring.numbers == 6)]
    bonds = bond_matrix(ring)
    second = next(n for n in numbers if bonds[numbers[0], n])
    text = f"{numbers[0]}-{second}"
    assert moving_side(ring, parse_coordinate(text, "bond", len(ring))) is None
    with pytest.raises(UserError, match="part of a ring"):
        run_scan(ring, morse(), ScanSettings("bond", text, None, 1.7, 3, rigid=True))
    result = run_scan(ring, "organic", ScanSettings("bond", text, 1.55, 1.6, 2, fmax=0.05))
    moved = result["points"][1]["positions"]
    assert np.linalg.norm(np.subtract(moved[numbers[0]], moved[second])) == pytest.approx(1.6)


def test_files(morse, tmp_path):
    atoms = Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.2]])
    folder = tmp_path / "scan"
    result = run_scan(
        atoms, morse(), ScanSettings("bond", "0-1", 1.0, 1.4, 5, rigid=True), output=folder
    )
    frames = ase.io.read(folder / "scan.xyz", ":")
    energies = [point["energy"] for point in result["points"]]
    assert [frame.get_potential_energy() for frame in frames] == pytest.approx(energies)
    with (folder / "scan.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["bond 0-1 (Å)"]) for row in rows] == pytest.approx([1.0, 1.1, 1.2, 1.3, 1.4])
    assert (folder / "scan.png").stat().st_size > 5_000
    assert not (tmp_path / "scan.journal").exists()


def test_an_interrupted_scan_goes_on(morse, tmp_path):
    atoms = Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.2]])
    settings = ScanSettings("bond", "0-1", 1.0, 1.6, 7, rigid=True)
    whole = run_scan(atoms, morse(), settings)
    folder, seen = tmp_path / "scan", []

    def interrupt(done, _total):
        if done == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunInterruptedError, match="after 3 points"):
        run_scan(atoms, morse(), settings, output=folder, progress=interrupt)
    assert not folder.exists()
    result = run_scan(
        atoms, morse(), settings, output=folder, progress=lambda done, _: seen.append(done)
    )
    assert seen == [4, 5, 6, 7]
    assert result["points"] == whole["points"]


def test_points_of_another_cell_are_computed_again(morse, tmp_path):
    atoms = Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.2]], cell=[8, 8, 8])
    settings = ScanSettings("bond", "0-1", 1.0, 1.2, 3, rigid=True)

    def interrupt(_done, _total):
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunInterruptedError):
        run_scan(atoms, morse(), settings, output=tmp_path / "scan", progress=interrupt)
    atoms.pbc, seen = True, []
    run_scan(
        atoms, morse(), settings, output=tmp_path / "scan", progress=lambda *now: seen.append(now)
    )
    assert [done for done, _ in seen] == [1, 2, 3]


def test_what_answers_depend_on_is_in_the_fingerprint(network):
    calculator, atoms = Calculator(network), molecule("H2O")
    others = [atoms.copy() for _ in range(5)]
    others[0].info["charge"] = -1
    others[1].info["spin_multiplicity"] = 3
    others[2].set_cell([9, 9, 9])
    others[3].set_masses([None, 2.0141, None])
    others[4].positions[0] += 1e-9
    found = {fingerprint(one, calculator) for one in (atoms, *others)}
    assert len(found) == 6
    assert fingerprint(atoms.copy(), calculator) in found


class Valleys:
    """Two curves over a turn of 12 points; a geometry stays on its own until it is 1 eV too high.

    Every other point lies lower on the second one, which a walk reaches late, and keeps too long.
    """

    first = np.array([0.0, 0.3, 0.8, 1.5, 2.5, 3.0, 3.2, 3.0, 2.5, 1.5, 0.8, 0.3])
    second = first[::-1].copy() * 0.5 + 0.4

    def __init__(self):
        self.curves = self.first, self.second
        self.on = {}

    def walk(self, order):
        kept = {}
        while (trial := order.following()) is not None:
            curve = 0 if trial.source is None else kept[trial.source][0]
            here, other = self.curves[curve][trial.point], self.curves[1 - curve][trial.point]
            if here > other + 1.0:
                curve, here = 1 - curve, other
            if order.take(trial, here):
                kept[trial.point] = curve, here
        return np.array([kept[point][1] for point in sorted(kept)])


@pytest.mark.parametrize("first", [0, 3, 11])
def test_both_ways_a_turn_ends_on_the_lower_of_two_curves_that_it_met(first):
    lowest = np.minimum(Valleys.first, Valleys.second)
    found = Valleys().walk(Order(12, first, is_circle=True, both_ways=True))
    np.testing.assert_allclose(found, lowest)
    once = Order(12, first, is_circle=True, both_ways=False)
    assert (Valleys().walk(once) > lowest + 0.1).any()
    assert once.made == once.expected == 12


def test_both_ways_a_line_is_nowhere_higher_than_in_one_walk():
    both, once = (
        Valleys().walk(Order(12, 0, is_circle=False, both_ways=one)) for one in (True, False)
    )
    assert (both <= once).all()
    assert (both < once - 0.4).any()


def test_a_full_turn_meets_itself_and_is_even():
    """The profile of a molecule that is its own mirror image at 0 and 180 degrees."""
    atoms = molecule("H2O2")
    settings = ScanSettings("torsion", "2-0-1-3", points=9, fmax=0.02)
    result = run_scan(atoms, "organic", settings)
    values = [point["value"] for point in result["points"]]
    energies = np.array([point["energy"] for point in result["points"]])
    assert values == np.linspace(-180.0, 180.0, 9).tolist()
    np.testing.assert_allclose(energies, energies[::-1], atol=2e-3)
    assert np.ptp(energies) > 0.1


def test_an_interrupted_scan_of_both_ways_goes_on_to_the_same_points(tmp_path):
    atoms, folder = molecule("H2O2"), tmp_path / "scan"
    settings = ScanSettings("torsion", "2-0-1-3", 60.0, 180.0, 3, fmax=0.05)
    whole = run_scan(atoms, "organic", settings)

    def interrupt(done, _total):
        if done == 4:  # the three points are there, and one was tried again
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunInterruptedError, match="after 4 points"):
        run_scan(atoms, "organic", settings, output=folder, progress=interrupt)
    assert run_scan(atoms, "organic", settings, output=folder)["points"] == whole["points"]


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("bond", "0", "is no bond"),
        ("torsion", "0-1-2", "4 atoms, from 0"),
        ("bond", "0-9", "among 0 to 3"),
        ("bond", "1-1", "2 different atoms"),
        ("angle", "a-b-c", "is no angle"),
    ],
)
def test_wrong_coordinates_are_refused(kind, text, said):
    with pytest.raises(UserError, match=said):
        parse_coordinate(text, kind, 4)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("FixInternals.adjust_positions did not converge."),
        ZeroDivisionError("Undefined derivative for undefined dihedral with planar inner angle"),
    ],
)
def test_atoms_that_are_not_bonded_in_a_row_are_told_and_what_cannot_be_held_is_refused(
    caplog, monkeypatch, error
):
    """ASE's constraint may find no positions; whether it does depends on the forces."""

    def fail(*_args):
        raise error

    atoms = molecule("CH3OH")
    monkeypatch.setattr(FixInternals, "adjust_positions", fail)
    with pytest.raises(UserError, match=r"2-0-3-4 cannot be held at .* bonded in a row"):
        run_scan(atoms, "organic", ScanSettings("torsion", "2-0-3-4", points=4, fmax=0.05))
    assert "C 0 to H 3, which are not bonded; bonded to C 0: O 1, H 2, H 4, H 5" in caplog.text
    for text, kind in (("2-0-1-3", "torsion"), ("0-1-3", "angle"), ("0-3", "bond")):
        assert doubt_about_bonds(atoms, parse_coordinate(text, kind, 6)) is None


def test_a_torsion_about_a_straight_line_is_refused():
    atoms = molecule("C2H2")
    ends = [int(n) for n in np.flatnonzero(atoms.numbers == 1)]
    ends.sort(key=lambda n: atoms.get_distance(n, 0))
    with pytest.raises(UserError, match="straight line"):
        value_of(atoms, parse_coordinate(f"{ends[0]}-0-1-{ends[1]}", "torsion", 4))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "bond", "atoms": "0-1"}, "needs its end"),
        ({"kind": "ring", "atoms": "0-1"}, "'ring' is unknown"),
        ({"kind": "torsion", "atoms": "0-1-2-3", "points": 1}, "points is 1"),
        ({"kind": "bond", "atoms": "0-1", "stop": 0.1}, "lies between 0.3 and 100"),
        ({"kind": "torsion", "atoms": "0-1-2-3", "fmax": 0.0}, "fmax is 0"),
    ],
)
def test_impossible_scans_are_refused(settings, said):
    with pytest.raises(UserError, match=said):
        ScanSettings(**settings)


def test_rigid_needs_bonds_and_no_ring():
    ethanol, bond = molecule("CH3CH2OH"), parse_coordinate("0-3", "bond", 9)
    with pytest.raises(UserError, match="in one piece but not bonded in a row"):
        moving_atoms(ethanol, bond, rigid=True)
    with pytest.raises(UserError, match="is part of a ring"):
        moving_atoms(molecule("C6H6"), parse_coordinate("0-1", "bond", 12), rigid=True)


def test_no_two_scans_write_into_one_place(morse, tmp_path, monkeypatch):
    atoms = Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.2]])
    settings, output = ScanSettings("bond", "0-1", 1.0, 1.4, 3, rigid=True), tmp_path / "scan"
    write = scan._write

    def write_beside_another(*arguments, **named):
        with pytest.raises(UserError, match="another run is writing"):
            run_scan(atoms, morse(), settings, output=output)
        write(*arguments, **named)

    def come_up(done, _total):
        output.mkdir(exist_ok=True)
        (output / "scan.csv").write_text("of another run")

    with monkeypatch.context() as patched:
        patched.setattr(scan, "_write", write_beside_another)
        run_scan(atoms, morse(), settings, output=output)
    assert not journal_path(output).exists()
    output = tmp_path / "late"
    with pytest.raises(UserError, match="late exists already"):
        run_scan(atoms, morse(), settings, output=output, progress=come_up)
    assert (output / "scan.csv").read_text() == "of another run"
    assert journal_path(output).exists(), "its points are not lost"


def methanol_in_a_cell(*, wrapped):
    atoms = molecule("CH3OH")
    atoms.set_cell([10.0, 10.0, 10.0])
    atoms.pbc = True
    if wrapped:
        atoms.wrap()
    return atoms


@pytest.mark.parametrize(
    "asked", [("bond", "0-1", 1.35, 1.55), ("angle", "0-1-3", 105.0, 111.0),
              ("torsion", "2-0-1-3", 60.0, 180.0)],
)  # fmt: skip
def test_a_molecule_that_was_wrapped_into_its_cell_is_the_same(morse, asked):
    settings = ScanSettings(*asked, 3, rigid=True)
    found = [
        run_scan(methanol_in_a_cell(wrapped=wrapped), morse(), settings)["points"]
        for wrapped in (False, True)
    ]
    energies = np.array([[point["energy"] for point in points] for points in found])
    np.testing.assert_allclose(energies[1], energies[0], atol=1e-9)


def test_an_angle_opens_from_a_straight_line(morse):
    result = run_scan(
        molecule("CO2"), morse(), ScanSettings("angle", "1-0-2", 150.0, 170.0, 3, rigid=True)
    )
    for point in result["points"]:
        moved = Atoms("CO2", point["positions"])
        assert moved.get_angle(1, 0, 2) == pytest.approx(point["value"])
        assert moved.get_distance(0, 2) == pytest.approx(molecule("CO2").get_distance(0, 2))
