import json

import numpy as np
import pytest

from molequi.errors import UserError
from molequi.labeling.journal import Journal, name_of
from molequi.labeling.levels import Molecule
from molequi.runtime.journal import journal_path

IDENTITY = {"level": "hf/6-31g", "properties": ["energy"], "program": "program 1.0"}
HYDROGEN = Molecule(np.array([1, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]]))


def test_answers_survive(tmp_path):
    path = journal_path(tmp_path / "labels.xyz")
    assert path == tmp_path / "labels.xyz.journal"
    value = float(np.nextafter(1.0 / 3.0, 1.0))
    with Journal(path, IDENTITY) as journal:
        journal.add("a", {"values": {"energy": value}})
        # On disk at once, not when it is closed.
        assert len(path.read_text().splitlines()) == 2
        journal.add("b", {"error": "no luck"})
    with Journal(path, IDENTITY) as journal:
        assert journal.answers == {"a": {"values": {"energy": value}}, "b": {"error": "no luck"}}
        journal.add("c", {"error": "again"})
    with Journal(path, IDENTITY) as journal:
        assert list(journal.answers) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "tail", ['{"molecule": "b", "values": {"ener', '{"molecule": "b", "error": "x"}']
)
def test_an_unfinished_last_line_is_cut_off(tmp_path, tail):
    path = tmp_path / "x.journal"
    with Journal(path, IDENTITY) as journal:
        journal.add("a", {"error": "x"})
    whole = path.read_text()
    path.write_text(whole + tail)
    with Journal(path, IDENTITY) as journal:
        assert list(journal.answers) == ["a"]
        journal.add("c", {"error": "y"})
    assert [json.loads(line).get("molecule") for line in path.read_text().splitlines()] == [
        None,
        "a",
        "c",
    ]


def test_other_settings_are_refused(tmp_path):
    path = tmp_path / "x.journal"
    with Journal(path, IDENTITY):
        pass
    with pytest.raises(
        UserError, match=r"written for \{'level': 'hf/6-31g'\}, not \{'level': 'hf/sto-3g'\}"
    ):
        Journal(path, {**IDENTITY, "level": "hf/sto-3g"})


def test_another_file_is_refused_and_kept(tmp_path):
    path = tmp_path / "x.journal"
    path.write_text("a line of mine\n")
    with pytest.raises(UserError, match="no journal of molequi label"):
        Journal(path, IDENTITY)
    assert path.read_text() == "a line of mine\n"


@pytest.mark.parametrize(
    "other",
    [
        HYDROGEN._replace(numbers=np.array([1, 9])),
        HYDROGEN._replace(positions=np.nextafter(HYDROGEN.positions, 1.0)),
        HYDROGEN._replace(charge=1),
        HYDROGEN._replace(multiplicity=3),
    ],
)
def test_the_name_tells_questions_apart(other):
    assert name_of(other) != name_of(HYDROGEN)
    assert name_of(
        Molecule(HYDROGEN.numbers.astype(np.int32), HYDROGEN.positions.copy(order="F"))
    ) == name_of(HYDROGEN)


def test_a_journal_that_another_run_writes_is_refused_and_kept(tmp_path):
    path = tmp_path / "x.journal"
    with Journal(path, IDENTITY) as journal:
        journal.add("a", {"error": "x"})
        before = path.read_text()
        with pytest.raises(UserError, match="another run is writing to .*x.journal now"):
            Journal(path, IDENTITY)
        assert path.read_text() == before
