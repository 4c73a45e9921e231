"""LieConv as a backbone: what the group promises, the physics report, and the refusals."""

from __future__ import annotations

import ase.build
import numpy as np
import pytest
import torch

from molequi.diagnostics.check import check_model
from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph, collate
from molequi.models.checkpoint import load_model, save_model
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.probes import built_in_probes
from molequi.models.structure import Structure, random_rotation
from molequi.simulation.calculator import Calculator
from molequi.simulation.md import run_md
from molequi.simulation.md_settings import MDSettings
from molequi.simulation.relaxation import relax
from molequi.simulation.vibrations import vibrations

ORGANIC = (1, 6, 7, 8)
MOLECULES = [probe for probe in built_in_probes(ORGANIC) if probe.is_open]
TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-5}


def make(
    *properties: str, dtype: torch.dtype = torch.float64, **settings: object
) -> MolecularModel:
    settings = {"n_channels": 16, "n_hidden": 8, "n_middle": 4, **settings}
    return make_model(
        ORGANIC, properties or ("energy", "homo"), architecture="lieconv", **settings
    ).to(dtype)


def graph_of(*structures: Structure) -> AtomGraph:
    return collate([structure.graph(5.0) for structure in structures or MOLECULES])


def moved(rotation: np.ndarray, shift: np.ndarray) -> AtomGraph:
    return graph_of(
        *(molecule.at(molecule.positions @ rotation.T + shift) for molecule in MOLECULES)
    )


def homo(model: MolecularModel, graph: AtomGraph) -> torch.Tensor:
    return model.compute(graph, forces=False)["homo"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_translations_are_exact_for_t3_and_not_for_the_trivial_group(dtype):
    change = {}
    for group in ("T(3)", "trivial"):
        model = make(group=group, dtype=dtype)
        change[group] = float(
            (homo(model, moved(np.eye(3), np.array([0.5, -2.0, 1.0]))) - homo(model, graph_of()))
            .abs()
            .max()
        )
    assert change["T(3)"] < TOLERANCE[dtype]
    assert change["trivial"] > 1e-3


def test_frames_leave_nothing_of_se3_to_chance():
    """Molecules of one piece turn and move, with lifts of their own in each call; one is chiral."""
    model = make(group="SE(3)", lifts="frames", n_lifts=4)
    here, again, there = (
        homo(model, graph)
        for graph in (
            graph_of(),
            graph_of(),
            moved(random_rotation(np.random.default_rng(0)), np.array([0.5, -2.0, 1.0])),
        )
    )
    assert torch.equal(here, again)
    assert float((here - there)[:3].abs().max()) < 1e-10
    assert "jump" in model.capabilities.no_forces_reason
    with pytest.raises(UserError, match="model.lifts=frames"):
        make("energy", "forces", group="SE(3)", lifts="frames", n_lifts=4)


@pytest.mark.parametrize("group", ["SO(3)", "SE(3)"])
def test_sampled_lifts_are_equivariant_in_distribution(group):
    """The means over resamplings of a molecule and of its image agree.

    A single resampling does not.
    """
    model = make(group=group, n_channels=8)
    rotation = random_rotation(np.random.default_rng(0))
    shift = np.array([0.5, -2.0, 1.0]) if group == "SE(3)" else np.zeros(3)
    molecule, n = MOLECULES[2], 200
    torch.manual_seed(0)
    first = homo(model, graph_of(*[molecule] * n))
    second = homo(model, graph_of(*[molecule.at(molecule.positions @ rotation.T + shift)] * n))
    error = float(torch.sqrt((first.var() + second.var()) / n))
    assert abs(float(first.mean() - second.mean())) < 4 * error
    assert float((first - second).abs().mean()) > 5 * error


def test_more_lifts_spread_less():
    spreads = []
    for n_lifts in (1, 4, 16):
        torch.manual_seed(1)
        spreads.append(
            float(
                homo(
                    make(group="SE(3)", n_lifts=n_lifts, n_channels=8),
                    graph_of(*[MOLECULES[2]] * 50),
                ).std()
            )
        )
    assert spreads[0] > 1.3 * spreads[1] > 1.3**2 * spreads[2] > 0


def test_lifts_are_drawn_in_every_call_or_never():
    sampled, fixed = (make(group="SE(3)", n_lifts=3, lifts=lifts) for lifts in ("sampled", "fixed"))
    assert not torch.equal(homo(sampled, graph_of()), homo(sampled, graph_of()))
    assert torch.equal(homo(fixed, graph_of()), homo(fixed, graph_of()))


@pytest.mark.parametrize(
    "settings",
    [{"group": "T(3)"}, {"group": "trivial"}, {"group": "SE(3)", "n_lifts": 3, "lifts": "fixed"}],
)
def test_fixed_lifts_without_a_radius_have_consistent_forces(settings):
    model = make(**settings)
    report = check_model(model)
    for test in (
        "force_consistency",
        "closed_loop_work",
        "permutation",
        "batch",
        "determinism",
        "finite",
        "inputs_unchanged",
    ):
        assert report[test].ok, (test, report[test])
    assert report["force_consistency"].value < 1e-8
    assert report["translation"].ok == (settings["group"] != "trivial")
    assert not report["rotation.energy"].ok
    assert "fused_kernels" not in report
    assert torch.isfinite(model.hessian(graph_of(MOLECULES[2]))).all()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"group": "SE(3)"}, "drawn anew in every call"),
        ({"group": "T(3)", "radius": 2.5}, "energy jumps where an atom enters"),
        ({"group": "SO(3)", "lifts": "fixed"}, "the lift to SO\\(3\\) jumps"),
    ],
)
def test_models_without_continuous_forces_move_no_atoms(settings, reason):
    model = make("energy", **settings)
    assert "forces" not in model.compute(graph_of())
    assert "force_consistency" not in check_model(model)
    with pytest.raises(UserError, match=reason):
        Calculator(model)
    atoms = ase.build.molecule("CH3CH2OH")
    for use in (
        lambda: run_md(atoms, model, MDSettings(steps=1)),
        lambda: relax(atoms, model),
        lambda: vibrations(atoms, model),
    ):
        with pytest.raises(UserError, match=reason):
            use()
    with pytest.raises(UserError, match=reason):
        model.hessian(graph_of(MOLECULES[2]))
    with pytest.raises(UserError, match=f"forces cannot be learned by this network: .*{reason}"):
        make("energy", "forces", **settings)


def test_a_hard_radius_does_jump():
    """The reason that is given is true."""
    model = make("energy", group="T(3)", radius=2.0)
    steps = []
    for x in (2.0 - 1e-7, 2.0 + 1e-7):
        pair = Structure("pair", np.array([[0.0, 0.0, 0.0], [x, 0.0, 0.0]]), np.array([6, 8]))
        steps.append(float(model.compute(graph_of(pair))["energy"]))
    assert abs(steps[1] - steps[0]) > 1e-4


def test_so3_does_jump():
    model = make("energy", group="SO(3)", lifts="fixed")
    values = [
        float(
            model.compute(
                graph_of(
                    Structure("pair", np.array([[1.0, 0.3, 1.0], [1.0, 0.2, z]]), np.array([6, 8]))
                )
            )["energy"]
        )
        for z in (-1e-9, 1e-9)
    ]
    assert abs(values[1] - values[0]) > 1e-4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group": "SE(2)"}, "no group 'SE\\(2\\)' on points in 3 dimensions"),
        ({"lifts": "some"}, "model.lifts is 'some'"),
        ({"augmentation": "flips"}, "model.augmentation is 'flips'"),
        ({"lifts": "frames", "group": "SE(3)"}, "are four lifts to SE\\(3\\)"),
        ({"lifts": "frames", "group": "SO(3)", "n_lifts": 4}, "are four lifts to SE\\(3\\)"),
        (
            {"group": "T(3)", "n_lifts": 4},
            "model.n_lifts is 4, but an atom has only one lift to T\\(3\\)",
        ),
        ({"group": "R*"}, "model.group is R\\*, in which an atom at the origin has no lift"),
        ({"l_max": 2}, "model.l_max has no meaning for model.architecture=lieconv"),
        ({"group": "SE(3)", "n_lifts": 0}, "model.n_lifts is 0; it must be positive"),
        ({"radius": -1.0}, "model.radius is -1.0; it must be positive"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        make(**settings)


def test_vectors_are_refused_and_the_length_of_the_dipole_is_a_number_like_others():
    with pytest.raises(UserError, match="dipole needs 1o.*model.architecture=spherical"):
        make("dipole")
    outputs = make("dipole_magnitude", "charges", "r2", "isotropic_polarizability").compute(
        graph_of()
    )
    assert outputs["dipole_magnitude"].shape == (len(MOLECULES),)
    assert outputs["charges"].shape == (sum(len(molecule.positions) for molecule in MOLECULES),)


def test_periodic_structures_are_refused():
    crystal = built_in_probes(ORGANIC)[3]
    with pytest.raises(UserError, match="periodic structure has no end"):
        make().compute(graph_of(crystal))


def test_checkpoint_returns_the_same_model(tmp_path):
    model = make(group="SE(3)", n_lifts=2, lifts="fixed")
    save_model(model, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert again.backbone.settings == model.backbone.settings
    assert torch.equal(homo(again, graph_of()), homo(model, graph_of()))


def test_weights_and_moments_are_a_function_of_the_seed():
    torch.manual_seed(1)
    first = make(group="SE(3)", seed=5).state_dict()
    torch.manual_seed(2)
    second = make(group="SE(3)", seed=5).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_augmentation_turns_in_training_only():
    model = make(group="T(3)", augmentation="rotations")
    assert torch.equal(homo(model, graph_of()), homo(model, graph_of()))
    still = make(group="T(3)").train()
    model.train()
    torch.manual_seed(0)
    outputs = [model(graph_of())["homo"] for _ in range(2)]
    assert not torch.equal(*outputs)
    assert torch.equal(still(graph_of())["homo"], still(graph_of())["homo"])


def test_a_new_model_predicts_and_keeps_its_moments():
    """It comes in evaluation mode.

    A prediction depends on its molecule alone and changes nothing.
    """
    model = make("energy")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    alone = model.compute(graph_of(MOLECULES[0]))["energy"]
    torch.testing.assert_close(model.compute(graph_of())["energy"][:1], alone, rtol=1e-12, atol=0)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_empty_molecules_count():
    empty = Structure("nothing", np.zeros((0, 3)), np.zeros(0, dtype=np.int64))
    model = make("energy")
    assert float(model.compute(graph_of(empty))["energy"]) == 0.0
    together = model.compute(graph_of(MOLECULES[0], empty, MOLECULES[1]))["energy"]
    torch.testing.assert_close(
        together[[0, 2]], model.compute(graph_of(*MOLECULES[:2]))["energy"], rtol=1e-12, atol=0
    )
