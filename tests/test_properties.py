"""The table of properties: what its rows say, and how declared and saved rows are read."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from molequi.o3.irreps import Irreps
from molequi.properties import (
    PROPERTIES,
    Periodicity,
    Property,
    PropertyError,
    declare,
    from_dict,
    get_property,
    to_dict,
    with_company,
)

OPEN_ONLY = {
    "dipole",
    "dipole_magnitude",
    "r2",
    "rosenfeld",
    "rosenfeld_isotropic",
    "specific_rotation",
}
CELLS = np.array([[False] * 3, [True, True, False], [True] * 3])


@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_where_a_property_is_defined(name: str, kind) -> None:
    expected = [True, True, True]
    if name in OPEN_ONLY:
        expected = [True, False, False]
    if name == "stress":
        expected = [False, False, True]
    row = PROPERTIES[name]
    assert row.is_defined(kind(CELLS)).tolist() == expected
    assert [bool(row.is_defined(kind(pbc))) for pbc in CELLS] == expected
    assert bool(row.condition) == (not all(expected))


@pytest.mark.parametrize("name", PROPERTIES)
def test_rows_refer_to_rows(name: str) -> None:
    row = PROPERTIES[name]
    for other in (*row.gives, *row.serves, *filter(None, [row.derived_from])):
        assert other in PROPERTIES
        assert other != name
    assert set(Irreps(row.irreps)) <= set(Irreps(row.reads or row.irreps)) or (
        name == "dipole_magnitude"
    )


def test_company_stands_behind_what_was_asked() -> None:
    asked = [PROPERTIES[name] for name in ("rosenfeld", "energy", "dipole")]
    assert list(with_company(asked)) == [
        *("rosenfeld", "energy", "dipole", "forces", "stress"),
        *("dipole_magnitude", "charges", "rosenfeld_isotropic", "specific_rotation"),
    ]
    assert list(with_company([PROPERTIES["dipole_magnitude"]])) == ["dipole_magnitude"]


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_saved_row_is_read_back(name: str) -> None:
    row = PROPERTIES[name]
    assert from_dict(json.loads(json.dumps(to_dict(row)))) == row


def test_rows_of_older_files_take_what_they_lack_from_the_table() -> None:
    """Their keys were these, with a column of QM9 that is no longer kept."""
    old = ("name irreps unit description per_atom extensive has_reference binary aliases").split()
    for row in PROPERTIES.values():
        fields = to_dict(row)
        assert from_dict({**{key: fields[key] for key in old}, "qm9": ["mu", 1.0]}) == row
    own = from_dict({"name": "logp", "irreps": "0e", "unit": "1", "aliases": [], "qm9": None})
    assert own == Property("logp", "0e", "1")


def test_declared_rows() -> None:
    row = declare(
        "shift", irreps="0e+2e", unit="ppm", aliases=["Sigma"], head="sum", periodicity="open"
    )
    assert row.periodicity is Periodicity.OPEN
    assert row.aliases == ("sigma",)
    assert from_dict(json.loads(json.dumps(to_dict(row)))) == row
    assert get_property("shift", {"shift": row}) is row
    for fields, message in (
        ({"unit": "ppm", "periodicity": "slab"}, "any, open, full"),
        ({"unit": "ppm", "derived_from": "energy"}, "unknown field 'derived_from'"),
        ({"unit": "ppm", "reads": "0z"}, "'0z' is not an irrep"),
        ({"irreps": "0e"}, "no unit"),
    ):
        with pytest.raises(PropertyError, match=message):
            declare("shift", **fields)


def test_rows_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PROPERTIES["energy"].unit = "Ha"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"per_atom": -1}, "'energy': per_atom cannot be -1"),
        ({"per_atom": True}, "'energy' is written as 0e per atom, and is 0e per structure"),
        ({"irreps": "1o"}, "'energy' is written as 1o per structure, and is 0e per structure"),
        ({"unit": None}, "unit cannot be None"),
        ({"aliases": "abc"}, "aliases cannot be 'abc'"),
    ],
)
def test_rows_of_damaged_files(change: dict[str, object], message: str) -> None:
    with pytest.raises(PropertyError, match=message):
        from_dict({**to_dict(PROPERTIES["energy"]), **change})
