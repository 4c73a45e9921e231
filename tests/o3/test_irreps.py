"""The value class of irreps, against e3nn's."""

import copy
import json
import pickle

import pytest
import torch
from e3nn import o3

from molequi.errors import UserError
from molequi.o3.irreps import Irrep, Irreps
from molequi.o3.wigner import wigner_matrices

LAYOUTS = ["0e", "1o", "0e+1o+2e", "2o+0e+1e", "0e+0o+1o+1e", "0e+0e+3o"]


@pytest.mark.parametrize("text", LAYOUTS)
def test_layout_is_that_of_e3nn(text: str) -> None:
    ours, theirs = Irreps(text), o3.Irreps(text)
    assert ours.dim == theirs.dim
    assert list(ours.slices()) == theirs.slices()
    assert ours.degrees == tuple(theirs.ls)
    assert [(irrep.l, irrep.p, irrep.dim) for irrep in ours] == [
        (ir.l, ir.p, ir.dim) for _, ir in theirs
    ]


@pytest.mark.parametrize("first", ["0e", "0o", "1o", "2e", "3o"])
@pytest.mark.parametrize("second", ["0e", "0o", "1e", "2o"])
def test_product_is_that_of_e3nn(first: str, second: str) -> None:
    ours = Irrep.parse(first) * Irrep.parse(second)
    assert isinstance(ours, Irreps)
    assert [str(irrep) for irrep in ours] == [str(ir) for ir in o3.Irrep(first) * o3.Irrep(second)]


@pytest.mark.parametrize("text", LAYOUTS)
def test_components_turn_as_those_of_e3nn(text: str) -> None:
    # Away from the poles, where e3nn's angles lose digits.
    rotation = o3.angles_to_matrix(*torch.tensor([0.4, -1.2, 2.0]))
    for sign in (1.0, -1.0):
        blocks = [
            (irrep.p if sign < 0 else 1) * wigner_matrices(rotation, irrep.l)[irrep.l]
            for irrep in Irreps(text)
        ]
        torch.testing.assert_close(
            torch.block_diag(*blocks),
            o3.Irreps(text).D_from_matrix(sign * rotation),
            atol=1e-12,
            rtol=0.0,
        )


@pytest.mark.parametrize("text", LAYOUTS)
def test_conversions_to_and_from_e3nn_and_text_return(text: str) -> None:
    irreps = Irreps(text)
    assert Irreps(str(irreps)) == irreps
    assert Irreps.from_e3nn(o3.Irreps(irreps.to_e3nn())) == irreps
    wide = o3.Irreps(irreps.to_e3nn(16))
    assert wide.dim == 16 * irreps.dim
    assert Irreps.from_e3nn(wide) == irreps
    assert Irreps.from_e3nn(irreps.to_e3nn(4)) == irreps
    assert eval(repr(irreps)) == irreps


def test_unequal_channels_are_refused() -> None:
    with pytest.raises(UserError, match="same number of channels, as in 8x0e"):
        Irreps.from_e3nn(o3.Irreps("8x0e+4x1o"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8x0e", "'8x0e' has a multiplicity: .* write 0e and give the number of channels apart"),
        ("0e+8x1o", "irreps '0e\\+8x1o': '8x1o' has a multiplicity"),
        ("", "'' is not an irrep; write for example 0e, 1o or 0e"),
        ("0e+", "'' is not an irrep"),
        ("1", "'1' is not an irrep"),
        ("1u", "'1u' is not an irrep"),
        ("-1o", "'-1o' is not an irrep"),
        ("0e,1o", "'0e,1o' is not an irrep"),
    ],
)
def test_bad_text_is_refused_with_what_is_right(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Irreps(text)


@pytest.mark.parametrize("pair", [(-1, 1), (1, 0), (1, 2), (1.5, -1), (1,), 1, "1o"])
def test_bad_pairs_are_refused(pair: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="is not an irrep: the degree l is 0 or more"):
        Irreps([pair])


def test_one_of_each_is_no_multiplicity() -> None:
    assert Irreps(" 1x0e + 1x1o ") == Irreps("0e+1o")


def test_a_value_that_cannot_be_changed() -> None:
    irreps = Irreps("0e+1o")
    with pytest.raises(AttributeError):
        irreps.dim = 3  # type: ignore[misc]
    with pytest.raises(AttributeError):
        irreps.name = "mine"  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        irreps[0] = Irrep(1, 1)  # type: ignore[index]
    with pytest.raises(AttributeError):
        irreps[0].l = 2  # type: ignore[misc]


def test_equal_values_are_one_key() -> None:
    irreps = Irreps("0e+1o")
    assert irreps == Irreps([(0, 1), (1, -1)]) == ((0, 1), (1, -1))
    assert irreps != Irreps("1o+0e")
    assert len({irreps, Irreps([(0, 1), (1, -1)]), Irreps(irreps)}) == 1


def test_copies_are_the_same_value_of_the_same_class() -> None:
    irreps = Irreps("0e+1o")
    for other in (copy.deepcopy(irreps), pickle.loads(pickle.dumps(irreps))):
        assert other == irreps
        assert isinstance(other, Irreps)
        assert isinstance(other[1], Irrep)
    assert Irreps(json.loads(json.dumps(irreps))) == irreps


def test_membership_places_and_parts() -> None:
    irreps = Irreps("0e+1o+2e")
    assert "1o" in irreps
    assert Irrep(1, -1) in irreps
    assert (1, -1) in irreps
    assert "1e" not in irreps
    assert irreps[1] == Irrep.parse("1o")
    assert irreps[1:] == Irreps("1o+2e")
    assert isinstance(irreps[1:], Irreps)
    assert irreps + Irreps("0o") == Irreps("0e+1o+2e+0o")
    assert irreps.slice_of("1o") == irreps.slice_of((1, -1)) == slice(1, 4)
    assert irreps.of_components() == (0, 1, 1, 1, 2, 2, 2, 2, 2)
    with pytest.raises(ValueError, match="not in tuple"):
        irreps.slice_of("1e")


def test_natural_and_full_layouts() -> None:
    assert str(Irreps.natural(3)) == "0e+1o+2e+3o"
    assert str(Irreps.full(2)) == "0e+0o+1o+1e+2e+2o"
    assert [irrep.is_scalar for irrep in Irreps.full(1)] == [True, False, False, False]


def test_no_irreps_have_no_components() -> None:
    empty = Irreps()
    assert (empty.dim, empty.slices(), empty.of_components(), str(empty)) == (0, (), (), "")
