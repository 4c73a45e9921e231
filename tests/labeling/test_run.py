"""Around the program: what is computed, kept, resumed, written and read back.

The program itself is ours.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.io import read, write

from molequi.datasets.formats.extxyz import read_frames
from molequi.datasets.load import load_dataset
from molequi.datasets.settings import DataSettings
from molequi.errors import RunInterruptedError, UserError
from molequi.labeling.inputs import gather
from molequi.labeling.journal import Journal
from molequi.labeling.run import RunSettings, label
from molequi.runtime.journal import journal_path
from molequi.structures.writers import write_results

ALL = ("energy", "forces", "dipole", "charges", "polarizability", "rosenfeld")


@pytest.fixture
def some(tmp_path: Path) -> Path:
    """Water, an ion, one that fails, a periodic one, methane with labels of another level."""
    water, ammonium, failing, crystal, methane = (
        molecule("H2O"),
        molecule("NH3"),
        molecule("C2H6"),
        molecule("CO"),
        molecule("CH4"),
    )
    water.positions += [0.3, -0.2, 0.1]
    ammonium += Atoms("H", [[0.1, 0.2, 1.4]])
    ammonium.info["charge"] = 1
    failing.info["charge"] = 2
    crystal.set_cell([9.0, 9.0, 9.0])
    crystal.pbc = True
    methane.info.update(energy=-1.0, rosenfeld=np.eye(3), name="methane")
    path = tmp_path / "some.xyz"
    write(path, [water, ammonium, failing, crystal, methane])
    return path


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Twelve different molecules of hydrogen."""
    path = tmp_path / "many.xyz"
    write(path, [Atoms("H2", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.7 + 0.01 * i]]) for i in range(12)])
    return path


def test_what_is_written_is_what_training_reads(program, some, tmp_path):
    output = tmp_path / "labels.xyz"
    result = label(some, "hf/6-31g", output, properties=ALL, run=RunSettings(2))
    assert (result.n_labelled, result.program, result.level) == (
        3,
        "program 1.0",
        "HF/6-31G, density fitting",
    )
    assert [where for where, _ in result.failures] == [
        f"structure 3 of {some}",
        f"structure 2 of {some}",
    ]
    assert "periodic" in result.failures[0][1]
    assert result.failures[1][1] == "no luck"
    assert not journal_path(output).exists()

    loaded = read_frames(output, targets=ALL)
    frames, report = loaded.frames, loaded.report
    assert report.warnings == ()
    assert frames.total_charge.tolist() == [0, 1, 0]
    originals = [read(some, index) for index in (0, 1, 4)]
    for row, original in enumerate(originals):
        first = torch.from_numpy(original.positions[0])
        atoms = slice(int(frames.offsets[row]), int(frames.offsets[row + 1]))
        assert float(frames.targets["energy"][row]) == pytest.approx(
            np.pi * float(first[0]) + len(original), abs=1e-12
        )
        torch.testing.assert_close(
            frames.positions[atoms], torch.from_numpy(original.positions), atol=1e-8, rtol=0
        )
        torch.testing.assert_close(
            frames.targets["forces"][atoms],
            torch.from_numpy(original.positions) / 3,
            atol=1e-8,
            rtol=0,
        )
        torch.testing.assert_close(
            frames.targets["charges"][atoms],
            torch.from_numpy(original.positions[:, 0]) / 11,
            atol=1e-8,
            rtol=0,
        )
        torch.testing.assert_close(frames.targets["dipole"][row], first / 7, atol=1e-12, rtol=0)
        torch.testing.assert_close(
            frames.targets["polarizability"][row], torch.diag(first), atol=1e-12, rtol=0
        )
        # Not symmetric: rows are the electric, columns the magnetic index, before as after.
        expected = torch.outer(first, torch.tensor([1.0, 0.1, -3.0], dtype=torch.float64))
        torch.testing.assert_close(frames.targets["rosenfeld"][row], expected, atol=1e-12, rtol=0)


def test_every_frame_says_where_its_labels_come_from(program, some, tmp_path):
    label(some, "hf/6-31g", tmp_path / "labels.xyz", properties=ALL, run=RunSettings(1))
    water, ammonium, methane = read(tmp_path / "labels.xyz", ":")
    for atoms in (water, ammonium, methane):
        assert atoms.info["level"] == "HF/6-31G, density fitting"
        assert atoms.info["program"] == "program 1.0"
    assert ammonium.info["dipole_origin"] == "center of mass"
    assert "dipole_origin" not in water.info
    # The labels of another level are gone, the name is kept.
    assert methane.info["name"] == "methane"
    assert methane.get_potential_energy() != -1.0


def test_a_config_trains_on_the_file(program, many, tmp_path):
    label(many, "hf/6-31g", tmp_path / "labels.extxyz.gz", run=RunSettings(1))
    settings = DataSettings(
        kind="frames",
        path=str(tmp_path / "labels.extxyz.gz"),
        targets=["rosenfeld", "energy"],
        split={"train": 8, "valid": 2},
    )
    dataset = load_dataset(settings)
    assert len(dataset.frames) == 12
    assert len(dataset.splits["train"]) == 8


def test_an_interrupted_run_goes_on(program, many, tmp_path):
    output = tmp_path / "labels.xyz"

    def stop(done: int, total: int, failed: int) -> None:
        if done == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(
        RunInterruptedError,
        match=r"stopped by SIG.*; [56] of 12 are in .*labels.xyz.journal, go on with --resume",
    ):
        label(many, "hf/6-31g", output, run=RunSettings(1, progress=stop))
    assert not output.exists()
    kept = len(journal_path(output).read_text().splitlines()) - 1
    assert kept in (5, 6)
    before = program()

    with pytest.raises(UserError, match="journal of an unfinished run: give --resume"):
        label(many, "hf/6-31g", output, run=RunSettings(1))
    seen = []
    label(
        many,
        "hf/6-31g",
        output,
        run=RunSettings(1, resume=True, progress=lambda *counts: seen.append(counts)),
    )
    assert program() - before == 12 - kept
    assert seen[0] == (kept, 12, 0)
    assert seen[-1] == (12, 12, 0)
    once = tmp_path / "once.xyz"
    label(many, "hf/6-31g", once, run=RunSettings(1))
    assert output.read_text() == once.read_text()


def test_resuming_with_other_settings_is_refused(program, many, tmp_path):
    output = tmp_path / "labels.xyz"
    journal_path(output).write_text(
        '{"format": 1, "level": "hf/sto-3g", "properties": ["energy"], "program": "program 1.0"}\n'
    )
    with pytest.raises(UserError, match="hf/sto-3g.*--overwrite"):
        label(many, "hf/6-31g", output, properties=["energy"], run=RunSettings(1, resume=True))
    label(many, "hf/6-31g", output, properties=["energy"], run=RunSettings(1, overwrite=True))
    assert len(read(output, ":")) == 12


def test_excluded_molecules_are_counted_and_never_computed(program, some, tmp_path):
    (tmp_path / "list.smi").write_text("C\n")
    result = label(
        [some],
        "hf/6-31g",
        tmp_path / "labels.xyz",
        exclude=tmp_path / "list.smi",
        run=RunSettings(1),
    )
    assert (result.n_labelled, result.n_excluded) == (2, 1)
    assert [len(atoms) for atoms in read(tmp_path / "labels.xyz", ":")] == [3, 5]
    assert program() == 2  # ethane with a wrong charge has no bonds that could be compared


def test_no_other_run_takes_the_journal_while_the_output_is_written(
    program, some, tmp_path, monkeypatch
):
    output = tmp_path / "labels.xyz"

    def write_beside_another(*arguments):
        with pytest.raises(UserError, match="another run is writing"):
            label(some, "hf/6-31g", output, run=RunSettings(1, resume=True))
        write_results(*arguments)

    monkeypatch.setattr("molequi.labeling.run.write_results", write_beside_another)
    label(some, "hf/6-31g", output, run=RunSettings(1))
    assert output.exists()
    assert not journal_path(output).exists()


def test_an_output_of_another_run_is_not_replaced(program, some, tmp_path, monkeypatch):
    """One that began and ended while this one read its inputs."""
    output = tmp_path / "labels.xyz"

    def gather_late(*arguments, **named):
        monkeypatch.setattr("molequi.labeling.run.gather", gather)
        label(some, "hf/6-31g", output, run=RunSettings(1))
        return gather(*arguments, **named)

    monkeypatch.setattr("molequi.labeling.run.gather", gather_late)
    with pytest.raises(UserError, match=r"labels\.xyz exists already"):
        label(some, "hf/6-31g", output, run=RunSettings(1))
    assert program() == 3 + 1  # one fails
    assert not journal_path(output).exists()


def test_a_molecule_whose_process_was_killed_is_tried_again(program, many, tmp_path):
    """As all are where a machine is shut down, some of them before the run that asks."""
    output = tmp_path / "labels.xyz"

    def stop(done: int, total: int, failed: int) -> None:
        if done == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunInterruptedError):
        label(many, "hf/6-31g", output, run=RunSettings(1, progress=stop))
    identity = json.loads(journal_path(output).read_text().splitlines()[0])
    with Journal(journal_path(output), {k: identity[k] for k in identity if k != "crc32"}) as kept:
        kept.add(next(iter(kept.answers)), {"error": "the computing process died: signal 15"})
    result = label(many, "hf/6-31g", output, run=RunSettings(1, resume=True))
    assert (result.n_labelled, result.failures) == (12, ())


def test_the_same_molecule_twice_is_computed_once(program, tmp_path):
    path = tmp_path / "twice.xyz"
    write(path, [molecule("H2O"), molecule("H2O")])
    assert label(path, "hf/6-31g", tmp_path / "labels.xyz", run=RunSettings(1)).n_labelled == 2
    assert program() == 1


def test_atoms_are_labelled_as_files_are(program, tmp_path):
    write(tmp_path / "methane.xyz", molecule("CH4"))
    hydroxide = molecule("OH", info={"charge": -1})
    crystal = molecule("CO", cell=[9.0, 9.0, 9.0], pbc=True)
    run = RunSettings(1)
    inputs = [hydroxide, tmp_path / "methane.xyz", crystal]
    found = label(inputs, "hf/6-31g", tmp_path / "labels.xyz", run=run)
    frames = read(tmp_path / "labels.xyz", ":")
    assert [str(frame.symbols) for frame in frames] == ["OH", "CH4"]
    assert frames[0].info["charge"] == -1
    assert [failure.structure for failure in found.failures] == ["structure 2 of atoms"]
    assert label(molecule("H2O"), "hf/6-31g", tmp_path / "one.xyz", run=run).n_labelled == 1


def test_what_no_program_computes_is_said_in_words(program, tmp_path):
    path = tmp_path / "odd.xyz"
    proton, twice = (
        Atoms("H", [[0.0, 0.0, 0.0]], info={"charge": 1}),
        Atoms("H2O", [[0.0, 0.0, 0.0], [0.0, 0.9, 0.0], [0.0, 0.0, 0.1]]),
    )
    write(path, [proton, twice, molecule("H2O")])
    result = label(path, "hf/6-31g", tmp_path / "labels.xyz", run=RunSettings(1))
    assert (result.n_labelled, program()) == (1, 1)
    first, second = (reason for _, reason in result.failures)
    assert first == "with charge +1 it has 0 electrons; at least 1 is needed"
    assert second.startswith("atoms 0 and 2 are 0.100 Å apart")


def test_where_all_fail_nothing_is_written(program, tmp_path):
    result = label(
        (), "hf/6-31g", tmp_path / "labels.xyz", smiles=["C"], charge=2, run=RunSettings(1)
    )
    assert result.n_labelled == 0
    assert len(result.failures) == 1
    assert not list(tmp_path.glob("labels*"))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("labels.csv", "no known format"),
        ("labels.txt", "no known format"),
        ("nowhere/labels.xyz", "does not exist"),
        ("there.xyz", "exists already"),
    ],
)
def test_the_output_is_looked_at_first(program, tmp_path, output, message):
    (tmp_path / "there.xyz").write_text("mine")
    with pytest.raises(UserError, match=message):
        label((), "hf/6-31g", tmp_path / output, smiles=["C"])
    assert program() == 0
    assert (tmp_path / "there.xyz").read_text() == "mine"


def test_an_impossible_level_stops_before_anything_runs(program, tmp_path):
    with pytest.raises(UserError, match="no basis nosuch"):
        label((), "hf/nosuch", tmp_path / "labels.xyz", smiles=["C"])
    assert program() == 0
    assert not list(tmp_path.glob("labels*"))
