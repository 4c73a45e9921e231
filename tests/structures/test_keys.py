"""Keys of a comment line that would be lost, or read as something else."""

from __future__ import annotations

import pytest
from ase.io.extxyz import key_val_str_to_dict

from molequi.errors import UserError
from molequi.structures.keys import tidy_keys

CELL = 'Lattice="9 0 0 0 9 0 0 0 9"'


@pytest.mark.parametrize(
    ("written", "flags"),
    [
        ('pbc="T T F"', "T T F"),
        ('pbc="1 1 0"', "T T F"),
        ("pbc=T,T,F", "T T F"),
        ("PBC = [True, True, False]", "T T F"),
        ("pbc={true true false}", "T T F"),
        ("pbc=TTF", "T T F"),
        ("pbc='F'", "F F F"),
        ("pbc=1", "T T T"),
    ],
)
def test_periodicities(written: str, flags: str) -> None:
    assert tidy_keys(f"{CELL} {written} energy=1") == f'{CELL} pbc="{flags}" energy=1'


@pytest.mark.parametrize("value", ["xy", "none", '"p p f"', '"T T"', '"T T F F"', "2", '""', ""])
def test_words_are_no_periodicity(value: str) -> None:
    """ASE takes every word for periodic along all axes."""
    with pytest.raises(UserError, match=r"pbc=.* is no periodicity; write pbc=\"T T F\""):
        tidy_keys(f"{CELL} pbc={value}")


@pytest.mark.parametrize("pair", ['periodic="T T F"', "boundary=ppf", 'Periodicity="1 1 0"'])
def test_a_periodicity_by_another_name(pair: str) -> None:
    with pytest.raises(UserError, match="which is not read; write pbc="):
        tidy_keys(f"{CELL} {pair}")
    assert tidy_keys(pair) == pair  # without a cell there is nothing to repeat
    assert tidy_keys(f'{CELL} pbc="T T F" {pair}').endswith(pair)


def test_two_values_of_a_key() -> None:
    """ASE takes the last."""
    with pytest.raises(UserError, match="charge= twice, as 0 and -1; keep the right one"):
        tidy_keys("charge=0 energy=2 charge=-1")
    with pytest.raises(UserError, match="Lattice= twice"):
        tidy_keys(f'lattice="8 0 0 0 8 0 0 0 8" {CELL}')
    assert tidy_keys("charge=1 energy=2 charge=1") == "charge=1 energy=2 charge=1"


def test_what_stands_in_quotes_is_no_key() -> None:
    comment = "name=\"pbc=xy charge=1\" charge=0 note='a=1 a=2'"
    assert tidy_keys(comment) == comment


@pytest.mark.parametrize(
    ("comment", "found"),
    [
        ("5'-carbonate charge=-2", {"5'-carbonate": True, "charge": -2}),
        ('6" ring charge=-2', {'6"': True, "ring": True, "charge": -2}),
        ("name=5'-AMP charge=-2", {"name": "5'-AMP", "charge": -2}),
        ('name="5\'-AMP x" charge=-2', {"name": "5'-AMP x", "charge": -2}),
        ('name="a \\" b" charge=-2', {"name": 'a " b', "charge": -2}),
        ("from [1,2) charge=-2", {"from": True, "[1,2)": True, "charge": -2}),
        ("smiles=[O-]C(=O)[O-] charge=-2", {"smiles": "[O-]C(=O)[O-]", "charge": -2}),
        (r"smiles=F/C=C\[C@H](O)C q=1", {"smiles": r"F/C=C\[C@H](O)C", "q": 1}),
    ],
)
def test_marks_that_quote_nothing(comment: str, found: dict[str, object]) -> None:
    """ASE leaves brackets and backslashes out, and takes what follows a mark for quoted."""
    assert key_val_str_to_dict(tidy_keys(comment)) == found


@pytest.mark.parametrize("comment", ["name='a b charge=-2", "d=[1 2 charge=-2"])
def test_a_quotation_without_an_end(comment: str) -> None:
    with pytest.raises(UserError, match="has a quotation without an end"):
        tidy_keys(comment)
    assert tidy_keys("5 ' ring") == r"5 \' ring"
