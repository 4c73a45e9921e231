"""How many structures files hold, beside what reading them gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from molequi.structures.counting import count_structures
from molequi.structures.inputs import read_inputs


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.smi", "CCO a\n# none\n\nCO b\n"),
        ("a.smi", "SMILES Name\nCCO a\nCO b\n"),
        ("a.csv", "smiles,y\nCCO,1\nCO,2\n"),
        ("a.xyz", "1\n\nO 0 0 0\n\n1\n\nO 0 0 0\n"),
    ],
)
def test_as_many_as_are_read(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert count_structures([path]) == len(list(read_inputs(path))) == 2


def test_what_does_not_tell_it_quickly(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("1\n\nO 0 0 0\n>\n1\n\nO 0 0 0\n")
    assert count_structures([tmp_path / "a.xyz"]) is None
