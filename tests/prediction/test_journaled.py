"""Predictions to files: as they come, in constant memory, and on from where they were stopped."""

import itertools
import os
import signal
import tracemalloc

import ase.io
import numpy as np
import pytest
from ase.build import molecule

from molequi.errors import RunInterruptedError, UserError
from molequi.prediction.predict import iter_records, predict
from molequi.runtime.journal import journal_path
from molequi.structures.inputs import read_inputs

NAMES = ("H2O", "CH4", "CH3CH2OH", "CH3Cl", "NH3", "C6H6", "H2O2", "CH3OH")  # Cl is not known


@pytest.fixture
def xyz(tmp_path):
    path = tmp_path / "molecules.xyz"
    ase.io.write(path, [molecule(name) for name in NAMES], format="extxyz")
    return path


def run(xyz, network, output, **options):
    return iter_records(read_inputs(xyz), network, batch_size=2, output=output, **options)


@pytest.mark.parametrize("suffix", ["xyz", "csv", "json", "extxyz.gz"])
def test_an_interrupted_run_goes_on_and_ends_the_same(network, xyz, tmp_path, suffix, monkeypatch):
    whole, output = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    expected = list(run(xyz, network.freeze(), whole))
    interrupted = run(xyz, network.freeze(), output)
    list(itertools.islice(interrupted, 5))  # in the third batch
    interrupted.close()
    assert not output.exists()
    with journal_path(output).open("ab") as file:
        file.write(b'{"name": "half a li')
    model, batches = network.freeze(), []
    compute = model.compute
    monkeypatch.setattr(model, "compute", lambda g, **k: batches.append(g) or compute(g, **k))
    found = list(run(xyz, model, output))
    assert len(batches) == len(NAMES) // 2 - 3
    assert ase.io.read(output, ":") == ase.io.read(whole, ":") if suffix == "xyz" else True
    if suffix != "extxyz.gz":  # which holds the time
        assert output.read_bytes() == whole.read_bytes()
    assert [list(record) for record in found] == [list(record) for record in expected]
    for record, other in zip(found, expected, strict=True):
        for name, value in record.items():
            assert type(value) is type(other[name]), name
            np.testing.assert_array_equal(value, other[name])
    assert not journal_path(output).exists()


def test_other_structures_or_settings_begin_anew_where_they_differ(network, xyz, tmp_path):
    output, frames = tmp_path / "out.csv", ase.io.read(xyz, ":")
    begun = run(xyz, network.freeze(), output)
    list(itertools.islice(begun, 6))
    begun.close()
    frames[2].positions[0] += 0.1
    ase.io.write(xyz, frames[:3], format="extxyz")
    list(run(xyz, network.freeze(), output))
    fresh = tmp_path / "fresh.csv"
    predict(xyz, network.freeze(), batch_size=2, output=fresh)
    assert output.read_bytes() == fresh.read_bytes()
    begun = run(xyz, network.freeze(), output, overwrite=True)
    next(begun)
    begun.close()
    list(run(xyz, network.freeze(), output, overwrite=True, unsafe=True))
    assert len(output.read_text().splitlines()) == 4


def test_a_signal_stops_after_the_batch_and_says_how_to_go_on(network, xyz, tmp_path):
    output = tmp_path / "out.json"
    records = run(xyz, network, output)
    next(records)
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(
        RunInterruptedError, match="by SIG.*; 2 structures are in .*the same command goes on"
    ):
        list(records)
    assert not output.exists()
    assert len(predict(xyz, network, batch_size=2, output=output)) == len(NAMES)
    assert output.exists()


def test_two_runs_into_one_file_are_refused(network, xyz, tmp_path):
    first = run(xyz, network, tmp_path / "out.xyz")
    next(first)
    with pytest.raises(UserError, match="another run is writing"):
        next(run(xyz, network, tmp_path / "out.xyz"))
    assert len(list(first)) == len(NAMES) - 1


def test_memory_does_not_grow(morse, tmp_path):
    """What is held does not grow from 40 molecules to 120: a batch, not the records."""
    model, peaks = morse(), []
    for number in (10, 40, 120):  # the first fills what is kept for good
        frames = (molecule("CH3CH2OH") for _ in range(number))
        structures = (one for frame in frames for one in read_inputs(frame))
        tracemalloc.start()
        for _ in iter_records(structures, model, batch_size=5, output=tmp_path / f"{number}.xyz"):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] - peaks[1] < 80 * 3000  # bytes; a record with its structure has over 10,000


def test_an_output_of_another_run_is_not_replaced(network, xyz, tmp_path):
    """One that began and ended after this one had looked for it."""
    output, model = tmp_path / "out.csv", network.freeze()
    late = run(xyz, model, output)
    list(run(tmp_path / xyz.name, model, output))
    before = output.read_bytes()
    with pytest.raises(UserError, match=r"out\.csv exists already"):
        list(late)
    assert output.read_bytes() == before
    assert not journal_path(output).exists()
    list(run(xyz, model, output, overwrite=True))
