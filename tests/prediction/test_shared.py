"""Several processes share a prediction: the output is that of one, whatever stops them."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import ase.io
import pytest
import torch
from ase.build import molecule

from molequi.errors import RunInterruptedError, UserError
from molequi.models.checkpoint import save_model
from molequi.prediction import shared
from molequi.prediction.predict import iter_records
from molequi.runtime import ranks
from molequi.runtime.journal import LineJournal, is_unfinished, journal_path, part_path
from molequi.runtime.ranks import Rank, first_node, launched_rank
from molequi.structures.inputs import read_inputs

# Cl is not known to the model.
NAMES = ("H2O", "CH4", "CH3CH2OH", "CH3Cl", "NH3", "C6H6", "H2O2", "CH3OH", "CO2", "N2O", "HCN")


@pytest.fixture
def xyz(tmp_path: Path) -> Path:
    path = tmp_path / "molecules.xyz"
    ase.io.write(path, [molecule(name) for name in NAMES], format="extxyz")
    return path


@pytest.fixture(autouse=True)
def one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes be calls of this one, the first of which comes last."""
    monkeypatch.setattr(shared, "together", lambda _rank: contextlib.nullcontext())
    monkeypatch.setattr(shared, "meet", lambda: None)


def run(xyz: Path, network, output: Path, rank: Rank = ranks.ALONE, model=None, **options):
    return iter_records(
        read_inputs(xyz), model or network.freeze(), batch_size=2, output=output, rank=rank,
        **options,
    )  # fmt: skip


def run_shared(xyz: Path, network, output: Path, of: int):
    for number in range(1, of):
        assert list(run(xyz, network, output, Rank(number, of))) == []
        assert not output.exists()
    return list(run(xyz, network, output, Rank(0, of)))


@pytest.mark.parametrize("suffix", ["xyz", "csv", "json"])
@pytest.mark.parametrize("of", [2, 3, 7])  # of seven, one has no batch at all
def test_output_and_records_are_those_of_one_process(network, xyz, tmp_path, suffix, of) -> None:
    whole, output = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    expected = list(run(xyz, network, whole))
    found = run_shared(xyz, network, output, of)
    assert output.read_bytes() == whole.read_bytes()
    assert [record.get("index") for record in found] == list(range(len(NAMES)))
    assert ["error" in record for record in found] == ["error" in record for record in expected]
    assert sum("error" in record for record in found) == 1
    assert {path.name for path in tmp_path.iterdir()} == {xyz.name, whole.name, output.name}


def test_each_process_computes_its_own_batches_and_counts_all(network, xyz, tmp_path) -> None:
    alone = network.freeze()
    list(run(xyz, network, tmp_path / "whole.csv", model=alone))
    for number in (1, 0):
        model, batches = network.freeze(), []
        compute = model.compute
        model.compute = lambda g, compute=compute, batches=batches, **k: (
            batches.append(g.n_molecules) or compute(g, **k)
        )
        list(run(xyz, network, tmp_path / "out.csv", Rank(number, 2), model=model))
        assert len(batches) == 3
        assert model.work == alone.work


def test_interrupted_processes_go_on(network, xyz, tmp_path) -> None:
    whole, output = tmp_path / "whole.xyz", tmp_path / "out.xyz"
    list(run(xyz, network, whole))
    list(run(xyz, network, output, Rank(1, 2)))
    calls = itertools.count()

    def stop_soon(_done: int) -> None:
        if next(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunInterruptedError, match="process 1 of 2"):
        list(run(xyz, network, output, Rank(0, 2), progress=stop_soon))
    assert is_unfinished(output)
    run_shared(xyz, network, output, 2)
    assert output.read_bytes() == whole.read_bytes()


def test_one_process_goes_on_alone_where_two_were_interrupted(network, xyz, tmp_path) -> None:
    output = tmp_path / "out.csv"
    list(run(xyz, network, output, Rank(1, 2)))
    list(run(xyz, network, output))
    assert not is_unfinished(output)
    run_shared(xyz, network, tmp_path / "again.csv", 2)
    assert output.read_bytes() == (tmp_path / "again.csv").read_bytes()


def test_no_other_run_takes_a_journal_that_is_removed(network, xyz, tmp_path, monkeypatch) -> None:
    output, remove = tmp_path / "out.csv", shared.remove_journals

    def remove_beside_another(path: Path) -> None:
        with pytest.raises(UserError, match="another run is writing"):
            list(run(xyz, network, output, Rank(1, 2)))
        remove(path)

    monkeypatch.setattr(shared, "remove_journals", remove_beside_another)
    run_shared(xyz, network, output, 2)
    assert not is_unfinished(output)


def test_one_process_and_several_do_not_write_into_one_place(network, xyz, tmp_path) -> None:
    output = tmp_path / "out.csv"
    alone = run(xyz, network, output)
    next(alone)
    with pytest.raises(UserError, match="another run is writing"):
        list(run(xyz, network, output, Rank(1, 2)))
    alone.close()
    with LineJournal(part_path(output, 1, 2), {"format": 1}, "another process", discard=True):
        with pytest.raises(UserError, match="another run is writing"):
            list(run(xyz, network, output))
    assert part_path(output, 1, 2).exists()
    assert not output.exists()


def test_progress_counts_all_structures(network, xyz, tmp_path) -> None:
    counted: list[int] = []
    list(run(xyz, network, tmp_path / "out.csv", Rank(1, 2), progress=counted.append))
    assert counted == [2, 4, 6, 8, 10, 11]


def test_an_input_that_changed_meanwhile_is_found(network, xyz, tmp_path) -> None:
    output = tmp_path / "out.csv"
    list(run(xyz, network, output, Rank(1, 2)))
    ase.io.write(xyz, [*ase.io.read(xyz, ":"), molecule("H2")], format="extxyz")
    with pytest.raises(UserError, match="input changed"):
        list(run(xyz, network, output, Rank(0, 2)))
    assert not output.exists()


def test_without_an_output_there_is_nothing_to_share(network, xyz) -> None:
    with pytest.raises(UserError, match="--output"):
        list(run(xyz, network, None, Rank(0, 2)))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ranks.ALONE),
        ({"RANK": "1", "WORLD_SIZE": "4"}, Rank(1, 4)),
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8"}, Rank(3, 8)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, ranks.ALONE),  # the script of a job
    ],
)
def test_a_launcher_says_which_process_this_is(monkeypatch, environment, expected) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched_rank() == expected


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("", ""),
        ("alone", "alone"),
        ("a1,a2", "a1"),
        ("node[03-05,9],gpu1", "node03"),
        ("n[7,9]-ib", "n7-ib"),
    ],
)
def test_first_node_of_a_list(nodes: str, first: str) -> None:
    assert first_node(nodes) == first


def test_journals_lie_beside_the_output(tmp_path: Path) -> None:
    path = part_path(tmp_path / "out.xyz", *Rank(0, 2))
    assert path.name == f"{journal_path(tmp_path / 'out.xyz').name}-1-of-2"


def test_processes_that_srun_starts_give_the_bytes_of_one(network, xyz, tmp_path) -> None:
    """Two commands with the environment of a step of SLURM's."""
    model = tmp_path / "model.safetensors"
    save_model(network, model)
    whole, output = tmp_path / "whole.xyz", tmp_path / "out.xyz"
    options = ["--model", str(model), "--batch-size", "2"]
    command = [sys.executable, "-m", "molequi.cli", "predict", str(xyz), *options]
    step = {
        **os.environ, "SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_STEP_NODELIST": "127.0.0.1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [*command, "--output", str(output)],
            env={**step, "SLURM_PROCID": str(number)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [1, 0], said  # CH3Cl has failed
    assert "10 of 11 structures written" in said[0]
    assert "written" not in said[1]
    list(iter_records(read_inputs(xyz), str(model), batch_size=2, output=whole))
    assert output.read_bytes() == whole.read_bytes()


def test_a_structure_too_large_for_the_memory_costs_only_itself(network, xyz, monkeypatch) -> None:
    model = network.freeze()
    compute = model.compute

    def small(graph, **how):
        if len(graph.atomic_numbers) > 10:  # benzene has 12
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return compute(graph, **how)

    expected = list(iter_records(read_inputs(xyz), network.freeze()))
    monkeypatch.setattr(model, "compute", small)
    found = list(iter_records(read_inputs(xyz), model))
    for record, other in zip(found, expected, strict=True):
        if record.get("formula") is None and record["index"] == 5:
            assert "memory" in record["error"]
        elif "error" in other:
            assert record["error"] == other["error"]
        else:
            assert record["energy"] == pytest.approx(other["energy"], rel=1e-12)
    assert sum("error" in record for record in found) == 2


def test_values_that_are_no_numbers_cost_only_their_structure(network, xyz, monkeypatch) -> None:
    model = network.freeze()
    compute = model.compute

    def damaged(graph, **how):
        outputs = compute(graph, **how)
        outputs["forces"][0] = torch.nan  # of the first molecule
        return outputs

    monkeypatch.setattr(model, "compute", damaged)
    found = list(iter_records(read_inputs(xyz), model))
    assert "no finite forces" in found[0]["error"]
    assert sum("error" in record for record in found) == 2
