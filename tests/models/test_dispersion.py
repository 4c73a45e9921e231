"""D3(BJ) beside models that were trained without it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from ase.build import molecule

from molequi.errors import UserError
from molequi.models.dispersion import with_dispersion
from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import frozen_model
from molequi.nn.physics import LongRange, dispersion_parameters
from molequi.simulation.calculator import Calculator
from molequi.structures.atoms import graph_from_atoms


def made(level: str | dict[str, str] = "B3LYP/6-31G(2df,p)") -> MolecularModel:
    metadata = ModelMetadata(name="made", level=level)
    return make_model((1, 6), ["energy", "dipole"], n_channels=4, metadata=metadata).double()


@pytest.mark.parametrize(
    ("level", "wish", "functional"),
    [
        ("B3LYP/6-31G(2df,p)", "d3bj", "b3lyp"),
        ("PBE/def2-SVP", "d3bj", "pbe"),
        ("ωB97X/6-31G(d)", "d3bj", "wb97x"),
        ("PBE0/def2-TZVPD", "d3bj", "pbe0"),
        ("HF/cc-pVDZ", "d3bj", "hf"),
        ("CCSD(T)/CBS", "d3bj:pbe0", "pbe0"),
        ("", "d3bj:b3lyp", "b3lyp"),
    ],
)
def test_the_functional_is_that_of_the_level_or_of_the_wish(level, wish, functional) -> None:
    model, graph = made({"energy": level}), graph_from_atoms(molecule("C6H6"), 5.0)
    before = model.compute(graph)
    after = with_dispersion(model, wish).compute(graph)
    expected = LongRange(None, dispersion_parameters(functional))(graph)
    torch.testing.assert_close(after["energies"] - before["energies"], expected, rtol=0, atol=1e-9)
    assert float(after["energy"] - before["energy"]) == pytest.approx(float(expected.sum()))
    assert float((after["forces"] - before["forces"]).abs().max()) > 1e-3
    assert torch.equal(after["dipole"], before["dipole"])
    assert model.physics.dispersion is None


def test_name_and_level_say_so() -> None:
    complete = with_dispersion(made({"energy": "PBE/def2-SVP", "dipole": "HF"}), "d3bj")
    assert complete.metadata.name == "made + d3bj:PBE"
    assert complete.metadata.level == {
        "energy": "PBE/def2-SVP + D3(BJ) of PBE",
        "dipole": "HF",
    }
    assert (
        with_dispersion(made(), "d3bj:pbe").metadata.level == "B3LYP/6-31G(2df,p) + D3(BJ) of pbe"
    )


def test_calculators_and_frozen_models_take_it() -> None:
    atoms = molecule("C6H6")
    energies = []
    for model, wish in ((made(), "d3bj"), (with_dispersion(made(), "d3bj"), None)):
        atoms.calc = Calculator(model, dispersion=wish)
        energies.append(atoms.get_potential_energy())
    assert energies[0] == energies[1]
    with pytest.raises(UserError, match="dispersion of a frozen model"):
        frozen_model(made().freeze(), dispersion="d3bj")


@pytest.mark.parametrize(
    ("level", "wish", "message"),
    [
        ("B3LYP/6-31G(2df,p)", "d4", "use d3bj or d3bj:FUNCTIONAL"),
        ("B3LYP/6-31G(2df,p)", "d3bj:b3lip", "no D3.* parameters"),
        ("ANI-1ccx (mean of 8 networks, near CCSD(T)/CBS)", "d3bj", "names no functional"),
        ("", "d3bj", "does not state its level"),
        ("PBE-D3(BJ)/def2-SVP", "d3bj", "holds dispersion already"),
        ("ωB97M-D3(BJ)/def2-TZVPP, by networks", "d3bj", "holds dispersion already"),
        ("B97M-V/def2-TZVPP", "d3bj", "holds dispersion already"),
        ("GFN2-xTB", "d3bj", "holds dispersion already"),
        *(
            (level, "d3bj", "holds dispersion already")
            for level in (
                "B97-3c",
                "HF-3c",
                "r2SCAN-3c",
                "B97-D/def2-TZVP",
                "wB97X-D/6-31G*",
                "B97M-rV",
                "B3LYP/def2-TZVP-D3BJ",
                "B3LYP/6-31G* + D3BJ",
                "PBE/def2-SVP (D3BJ)",
                "TPSS/def2-SVP+D3bj",
                "PBE/def2, d3zero",
                "PBE/PAW+TS",
                "PBE/light, vdW-TS",
                "B3LYP-D3BJ/def2-TZVP",
                "PBE D2",
                "revPBE-D4",
            )
        ),
    ],
)
def test_what_cannot_be_added_is_refused(level: str, wish: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        with_dispersion(made(level), wish)


def test_twice_is_refused_and_so_is_a_model_without_an_energy() -> None:
    complete = with_dispersion(made(), "d3bj")
    with pytest.raises(UserError, match="has dispersion already.*B3LYP"):
        with_dispersion(complete, "d3bj:pbe")
    with pytest.raises(UserError, match="dispersion is an energy"):
        with_dispersion(make_model((1, 6), ["dipole"]), "d3bj:pbe")
    numbered = make_model(
        (1, 6), ["energy"], physics=dataclasses.replace(complete.physics, functional=None)
    )
    with pytest.raises(UserError, match="has dispersion already.*s6 1, s8 1.9889"):
        with_dispersion(numbered, "d3bj:pbe")
