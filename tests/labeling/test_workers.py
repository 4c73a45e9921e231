import os
import time

import numpy as np
import pytest

from molequi.errors import UserError
from molequi.labeling.levels import Level, Molecule
from molequi.labeling.workers import Worker, answers

LEVEL = Level("hf", "6-31g")


def start(level=LEVEL, properties=("energy", "rosenfeld")):
    return Worker(level, properties, [1])


def hydrogen(x, charge=0):
    return Molecule(np.array([1, 1]), np.array([[x, 0.25, -1.0], [0.0, 0.0, 0.74]]), charge)


def test_answers_to_the_last_bit_in_spite_of_noise(program):
    worker = start()
    try:
        assert worker.program == "program 1.0"
        x = float(np.nextafter(0.1, 1.0))
        answer = worker.ask(hydrogen(x))["values"]
        assert list(answer) == ["energy", "rosenfeld"]
        assert answer["energy"] == np.pi * x + 2
        assert np.array_equal(answer["rosenfeld"], np.outer([x, 0.25, -1.0], [1.0, 0.1, -3.0]))
    finally:
        worker.close()


def test_one_molecule_fails_and_the_others_go_on(program):
    worker = start()
    try:
        assert worker.ask(hydrogen(1.0, 2)) == {"error": "no luck"}
        assert worker.ask(hydrogen(1.0, 3)) == {"error": "ZeroDivisionError: two lines"}
        assert worker.ask(hydrogen(1.0, 4)) == {"error": "energy not finite"}
        assert worker.ask(hydrogen(1.0, 5)) == {
            "error": "the computing process died: exit code 3 the last words"
        }
        assert worker.ask(hydrogen(1.0, 6)) == {
            "error": "the computing process died: signal 9 (out of memory?)"
        }
        assert "values" in worker.ask(hydrogen(1.0))
    finally:
        worker.close()


def test_modules_of_the_current_folder_are_not_run(program, tmp_path, monkeypatch):
    """What lay beside the structures under the name of a module of Python's was executed."""
    here = tmp_path / "here"
    here.mkdir()
    for name in ("random", "numpy", "json"):
        (here / f"{name}.py").write_text("open('executed', 'w'); raise SystemExit(7)\n")
    monkeypatch.chdir(here)
    worker = start()
    try:
        assert worker.ask(hydrogen(0.5))["values"]["energy"] == pytest.approx(np.pi * 0.5 + 2)
    finally:
        worker.close()
    assert not (here / "executed").exists()


def test_an_impossible_level_is_the_users_mistake(program):
    with pytest.raises(UserError, match=r"no basis nosuch for \[1\]"):
        start(Level("hf", "nosuch"))


def test_a_program_that_does_not_start(program, monkeypatch):
    monkeypatch.setattr("molequi.labeling.workers.MODULES", {"pyscf": "no_such_module"})
    with pytest.raises(
        RuntimeError, match=r"did not start: exit code 1 .*No module named no_such_module"
    ):
        start()


def test_several_processes_answer_everything_once(program):
    molecules = [hydrogen(float(x), 2 if x == 3 else 0) for x in range(9)]
    found = {}
    for item in answers(start(), molecules, 2, start):
        if item is not None:
            assert item[0] not in found
            found[item[0]] = item[1]
    assert sorted(found) == list(range(9))
    assert all(
        found[x] == {"error": "no luck"}
        if x == 3
        else found[x]["values"]["energy"] == np.pi * x + 2
        for x in found
    )
    assert program() == 9


def test_who_stops_waits_for_nobody(program):
    """A molecule that takes five minutes is given up, and no process is left."""
    worker = start()
    began, process = time.monotonic(), worker._process
    for item in answers(worker, [hydrogen(0.0), hydrogen(0.0, 7)], 1, start):
        if item is None:  # half a second without an answer
            break
    assert time.monotonic() - began < 60
    assert process.poll() is not None
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_worker_that_cannot_start_ends_the_run(program):
    def fail():
        raise RuntimeError("no more processes")

    with pytest.raises(RuntimeError, match="no more processes"):
        list(answers(start(), [hydrogen(float(x)) for x in range(50)], 2, fail))
