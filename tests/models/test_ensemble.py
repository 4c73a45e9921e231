"""Several models as one: its numbers are those of NumPy over the members, and its file is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.build import molecule

import molequi
from molequi.errors import UserError
from molequi.models.checkpoint import load_model, read_description, save_model
from molequi.models.dispersion import with_dispersion
from molequi.models.enlarged import with_elements
from molequi.models.ensemble import Ensemble, member
from molequi.models.making import make_model
from molequi.properties import declare

SIZE = {"n_layers": 1, "n_channels": 8, "l_max": 1}


def made(seed: int, elements=(1, 6, 8), properties=("energy", "forces", "dipole"), **others):
    model = make_model(elements, list(properties), seed=seed, **{**SIZE, **others})
    return model.to(torch.float64)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("ensemble") / "three.safetensors"
    save_model(Ensemble([made(seed) for seed in range(3)]), path)
    return path


@pytest.fixture(scope="module")
def calculated(file):
    """What the members give for ethanol, and what the file gives."""
    found = []
    for model in (*(made(seed) for seed in range(3)), file):
        atoms = molecule("CH3CH2OH")
        atoms.calc = molequi.Calculator(model)
        atoms.get_forces()
        found.append(atoms.calc.predictions)
    return found


def test_the_calculator_gives_the_spread_of_what_ase_has_no_name_for():
    ensemble = Ensemble([made(seed, properties=("gap",)) for seed in range(2)])
    calculator, atoms = molequi.Calculator(ensemble), molecule("CH3CH2OH")
    spread = calculator.get_property("gap_std", atoms)
    assert spread > 0
    assert calculator.get_property("gap_std") == calculator.predictions["gap_std"] == spread


@pytest.mark.parametrize("name", ["energy", "energies", "forces", "dipole"])
def test_values_are_the_means_of_the_members(calculated, name):
    *members, whole = calculated
    expected = np.mean([one[name] for one in members], axis=0)
    np.testing.assert_allclose(whole[name], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["energy", "forces", "dipole"])
def test_spreads_are_the_standard_deviations_of_the_members(calculated, name):
    """Of a vector its length: the root of the summed variances, n - 1 in the denominator."""
    *members, whole = calculated
    variance = np.var([one[name] for one in members], axis=0, ddof=1)
    expected = np.sqrt(variance if name == "energy" else variance.sum(axis=-1))
    np.testing.assert_allclose(whole[f"{name}_std"], expected, rtol=1e-10)
    assert np.ndim(whole[f"{name}_std"]) == (1 if name == "forces" else 0)


def test_forces_are_the_gradient_of_the_mean_energy(file):
    atoms = molecule("H2O")
    atoms.calc = molequi.Calculator(file)
    forces = atoms.get_forces()
    step, ends = 1e-4, []
    for sign in (1.0, -1.0):
        moved = atoms.copy()
        moved.positions[1, 2] += sign * step
        moved.calc = molequi.Calculator(file)
        ends.append(moved.get_potential_energy())
    assert forces[1, 2] == pytest.approx(-(ends[0] - ends[1]) / (2 * step), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1.0, 20.0, 1000.0])
def test_probability_is_the_mean_of_the_members(size, dtype):
    """Of all sizes: 1 minus a sigmoid is 0 from logits of 17 on in float32, of 37 in float64."""
    row = declare("active", unit="1", binary=True)
    models = [made(seed, properties=("energy", row)).to(dtype) for seed in range(3)]
    for model, logit in zip(models, (-1.0, 0.5, -3.0), strict=True):
        model.heads["active"].set_statistics(shift=logit * size)
    graph = molequi.Calculator(made(0)).graph(molecule("H2O"))
    logits = [float(model.freeze().compute(graph)["active"]) for model in models]
    outputs = Ensemble(models).freeze().compute(graph)
    mean = np.logaddexp.reduce(-np.logaddexp(0.0, -np.array(logits))) - np.log(3)
    rest = np.logaddexp.reduce(-np.logaddexp(0.0, np.array(logits))) - np.log(3)
    assert float(outputs["active"]) == pytest.approx(mean - rest, rel=1e-5, abs=1e-6)
    assert "energy_std" in outputs
    assert "active_std" not in outputs, "a logit has no error"


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["dipole", "charges"], "charges"),
        (["dipole_magnitude", "charges"], "charges"),
        (["energy", "short_range_energies"], "short_range_energies"),
        (["rosenfeld", "polarizability"], "polarizability"),
        (["rosenfeld", "specific_rotation"], "specific_rotation"),
    ],
)
def test_what_another_head_gives_has_a_mean_and_a_spread_too(names, shown):
    models = [made(seed, properties=names, parity="full", l_max=2, n_layers=3) for seed in range(2)]
    graph = molequi.Calculator(models[0]).graph(molecule("H2O2"))
    members = torch.stack([model.compute(graph)[shown] for model in models])
    found = Ensemble(models).compute(graph)
    torch.testing.assert_close(found[shown], members.mean(dim=0))
    spread = members.reshape(*members.shape[:2], -1).var(dim=0).sum(dim=1).sqrt()
    torch.testing.assert_close(found[f"{shown}_std"], spread)


def test_magnitude_is_that_of_the_mean_dipole():
    models = [made(seed, properties=("dipole",)) for seed in range(3)]
    graph = molequi.Calculator(made(0)).graph(molecule("H2O"))
    outputs = Ensemble(models).freeze().compute(graph)
    length = float(outputs["dipole"].norm()) / molequi.properties.DEBYE
    assert float(outputs["dipole_magnitude"]) == pytest.approx(length, rel=1e-12)


def test_file_says_how_many_and_holds_them_bit_for_bit(file):
    assert read_description(file)["members"] == 3
    whole = load_model(file)
    assert isinstance(whole, Ensemble)
    assert not whole.training
    for number in range(3):
        one = member(whole, number)
        assert not isinstance(one, Ensemble)
        for name, weight in made(number).state_dict().items():
            assert torch.equal(weight, one.state_dict()[name]), (number, name)
    assert member(whole, 4).state_dict().keys() == member(whole, 1).state_dict().keys()


def test_single_model_is_its_only_member():
    model = made(0)
    assert member(model, 3) is model


def test_cast_and_kernels_reach_every_member(file):
    graph = molequi.Calculator(made(0)).graph(molecule("CH3CH2OH"))
    exact = load_model(file).freeze(kernels="reference").compute(graph)
    for options in ({"dtype": torch.float32}, {"kernels": "generic"}):
        found = load_model(file).freeze(**options)
        assert found.dtype == options.get("dtype", torch.float64)
        outputs = found.compute(graph)
        for name in ("energy", "forces", "forces_std"):
            torch.testing.assert_close(
                outputs[name].double(), exact[name].double(), rtol=2e-4, atol=2e-4
            )


def test_dispersion_is_added_to_every_member(file):
    whole = load_model(file)
    graph = molequi.Calculator(made(0)).graph(molecule("CH3CH2OH"))
    plain, complete = whole.freeze(), with_dispersion(whole, "d3bj:pbe0").freeze()
    one = member(whole, 0)
    shift = (
        with_dispersion(one, "d3bj:pbe0").compute(graph)["energy"] - one.compute(graph)["energy"]
    )
    before, after = plain.compute(graph), complete.compute(graph)
    torch.testing.assert_close(after["energy"] - before["energy"], shift)
    torch.testing.assert_close(after["energy_std"], before["energy_std"])


def test_new_elements_change_nothing_for_the_old_ones(file):
    whole = load_model(file)
    grown = with_elements(whole, [7])
    graph = molequi.Calculator(made(0)).graph(molecule("CH3CH2OH"))
    assert isinstance(grown, Ensemble)
    for name in ("energy", "forces_std"):
        torch.testing.assert_close(grown.compute(graph)[name], whole.compute(graph)[name])


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"elements": (1, 6, 7)}, r"member 2 has the elements H C N, the first has H C O"),
        (
            {"properties": ("energy",)},
            "member 2 has the properties energy, the first has energy, f",
        ),
        ({"n_channels": 4}, "member 2 has the settings .*n_channels=4"),
        ({"correlation": 2}, "member 2 has the settings .*correlation=2"),
    ],
)
def test_member_of_another_kind_is_refused(others, message):
    model = make_model(
        **{"elements": (1, 6, 8), "properties": ["energy", "forces", "dipole"]}, **SIZE
    )
    with pytest.raises(UserError, match=message):
        Ensemble([model, made(1, **others)])


def test_one_is_no_ensemble_and_two_spreads_are_one_too_many():
    with pytest.raises(UserError, match="two members or more, got 1"):
        Ensemble([made(0)])
    knowing = [made(seed, properties=("energy", "energy_std")) for seed in range(2)]
    with pytest.raises(UserError, match="energy_std themselves"):
        Ensemble(knowing)


def test_damaged_file_is_refused(file, tmp_path):
    """A member lost, and a member more than there are."""
    whole = load_model(file)
    save_model(Ensemble([member(whole, 0), member(whole, 1)]), tmp_path / "two.safetensors")
    data = (tmp_path / "two.safetensors").read_bytes()
    (tmp_path / "two.safetensors").write_bytes(
        data.replace(b'\\"members\\": 2', b'\\"members\\": 3')
    )
    with pytest.raises(UserError, match=r"damaged"):
        load_model(tmp_path / "two.safetensors")


def test_export_names_what_can_be_exported(file):
    from molequi.engines.traced import refuse_export

    with pytest.raises(UserError, match="an ensemble of 3, of which one can be exported"):
        refuse_export(load_model(file))
