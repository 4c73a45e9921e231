"""What users of other packages lose their days on, item by item: where each is tested, and the tests that stand nowhere else.

`A` items are the troubles, `B` items the acceptance list. Every test named here exists (tested below).
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from molequi.checkpoint import load_model, save_model
from molequi.cli.main import run
from molequi.graph import collate
from molequi.model import MolecularModel, make_model
from molequi.predict import predict
from molequi.probes import built_in_probes
from molequi.properties import declare
from molequi.symmetry.coupling import wigner_3j
from molequi.symmetry.harmonics import spherical_harmonics

HERE = "tests/test_acceptance.py"
WHERE = {
    "A1 labels and units": (
        "tests/datasets/test_frames.py::test_what_ase_writes_is_found_without_flags",
        "tests/datasets/test_frames.py::test_other_names_give_the_same_numbers",
        "tests/datasets/test_frames.py::test_missing_labels_name_what_is_there",
        "tests/datasets/test_frames.py::test_constraints_do_not_zero_the_forces",
        "tests/datasets/test_frames.py::test_suspicious_units",
        "tests/datasets/test_frames.py::test_zero_labels_are_reported",
        "tests/datasets/test_frames.py::test_report_is_a_table",
    ),
    "A2 pins, pickles, process-wide settings": (
        f"{HERE}::test_importing_changes_nothing_of_the_process",
        f"{HERE}::test_models_open_without_pickle",
        f"{HERE}::test_dependencies_have_no_upper_pins_but_that_of_e3nn",
    ),
    "A3 memory and speed": (
        "tests/use/test_predict.py::test_batches_are_limited_by_atoms",
        "tests/use/test_calculator.py::test_results_are_kept_until_something_changes",
        "tests/test_layout.py::test_import_is_light",
        f"{HERE}::test_networks_run_without_compilation",
    ),
    "A4 resume, averages, which file is the model": (
        "tests/training/test_training_processes.py::test_kill_in_mid_epoch_and_resume_gives_the_weights_of_an_uninterrupted_run",
        "tests/training/test_training_state.py::test_average_is_restored_exactly",
        "tests/training/test_training_fit.py::test_run_directory_is_complete_and_reusable",
        "tests/use/test_zoo.py::test_path_first_then_run_directory_then_name",
    ),
    "A5 dipoles": (
        "tests/use/test_calculator.py::test_values_are_those_of_the_model",
        "tests/use/test_calculator.py::test_no_dipole_where_periodic",
        "tests/use/test_predict.py::test_record_holds_what_the_model_gives",
        "tests/test_contracts.py::test_translation_changes_no_dipole_of_an_ion",
        "tests/test_model.py::test_an_energy_brings_its_company",
    ),
    "A6 stress without a cell": (
        "tests/use/test_calculator.py::test_no_stress_unless_fully_periodic",
        "tests/test_contracts.py::test_stress_exists_only_for_full_cells",
    ),
    "A7 isolated and coincident atoms, small cells, no edges": (
        "tests/test_contracts.py::test_nothing_comes_out_as_nan",
        "tests/test_contracts.py::test_coincident_atoms_are_refused_and_where_forced_finite",
        "tests/test_contracts.py::test_periodic_structures_are_their_images",
        "tests/test_contracts.py::test_dense_neighbourhoods_are_not_truncated",
    ),
    "A8 tables that repeat, parity and chirality": (
        "tests/training/test_training_fit.py::test_same_seed_gives_the_same_run_and_another_seed_does_not",
        "tests/datasets/test_splits.py::test_rmd17",
        "tests/test_contracts.py::test_outputs_follow_orthogonal_maps",
    ),
    "A9 unseen element": (
        f"{HERE}::test_unseen_element_is_named_with_atom_and_frame",
        "tests/use/test_calculator.py::test_unknown_element_is_refused_by_name",
    ),
    "B1 frames of ase.io.write train": (f"{HERE}::test_files_of_ase_train_without_flags_under_either_set_of_names",),
    "B2 REF_ names give the same numbers": (f"{HERE}::test_files_of_ase_train_without_flags_under_either_set_of_names",),
    "B3 missing labels": (f"{HERE}::test_missing_labels_are_exit_2_before_lightning_is_imported",),
    "B4 kill and resume": ("tests/training/test_training_processes.py::test_kill_in_mid_epoch_and_resume_gives_the_weights_of_an_uninterrupted_run",),
    "B5 e3nn 0.5 and 0.6": (
        f"{HERE}::test_coefficients_are_those_of_both_versions_of_e3nn",
        f"{HERE}::test_harmonics_are_those_of_both_versions_of_e3nn",
        f"{HERE}::test_predictions_do_not_import_e3nn",
    ),
    "B6 edges of the domain": (
        "tests/test_contracts.py::test_nothing_comes_out_as_nan",
        "tests/test_contracts.py::test_a_thousand_atoms",
        "tests/test_contracts.py::test_unseen_element_is_named",
        "tests/test_contracts.py::test_periodic_structures_are_their_images",
        "tests/use/test_calculator.py::test_single_atom_and_atoms_out_of_reach",
        "tests/use/test_predict.py::test_single_atoms_and_empty_space",
    ),
    "B7 no pickle": (
        f"{HERE}::test_models_open_without_pickle",
        "tests/training/test_training_state.py::test_state_file_holds_plain_data_and_opens_without_pickle",
    ),
    "B8 mirror law": ("tests/test_contracts.py::test_mirror_law_holds_to_the_last_bit", f"{HERE}::test_mirror_law_holds_after_training"),
    "B9 forces": (
        "tests/test_contracts.py::test_forces_are_the_numeric_gradient",
        "tests/test_contracts.py::test_energy_forces_and_slopes_are_smooth_at_the_cutoff",
    ),
    "B10 drift": (
        "tests/use/test_simulate.py::test_nve_conserves_energy_and_momentum",
        "tests/cli/test_simulate.py::test_md_prints_drift_and_writes_frames",
    ),
    "B11 --help": ("tests/test_layout.py::test_import_is_light",),
    "B12 two calculators": (
        "tests/use/test_calculator.py::test_two_calculators_do_not_disturb_each_other",
        "tests/use/test_calculator.py::test_two_threads_give_what_one_gives",
        "tests/use/test_calculator.py::test_class_of_ase_stays_as_it_is",
        "tests/use/test_processes.py::test_loader_with_workers_after_a_prediction",
    ),
    "B13 a fresh install downgrades nothing": (
        f"{HERE}::test_dependencies_have_no_upper_pins_but_that_of_e3nn",
        f"{HERE}::test_constraints_pin_every_dependency",
    ),
    "B14 both hands": ("tests/test_contracts.py::test_mirror_law_holds_to_the_last_bit",),
}


@pytest.mark.parametrize("item", WHERE)
def test_named_tests_exist(item: str, checkout: Path) -> None:
    for test in WHERE[item]:
        file, _, name = test.partition("::")
        functions = {node.name for node in ast.walk(ast.parse((checkout / file).read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)}
        assert name in functions, f"{item}: {test} is gone"


# B1 to B3: a file of labelled frames trains as it is.


def labelled_frames(n_frames: int) -> list[Atoms]:
    """Hydrogen peroxide at random, with a spring energy between all pairs and its forces."""
    rng, frames = np.random.default_rng(0), []
    for _ in range(n_frames):
        positions = np.array([[0.0, 0.7, 0.0], [0.0, -0.7, 0.0], [0.8, 0.9, 0.4], [-0.8, -0.9, 0.4]]) + 0.05 * rng.standard_normal((4, 3))
        atoms = Atoms("O2H2", positions)
        vectors = positions[:, None] - positions[None]
        lengths = np.linalg.norm(vectors, axis=-1) + np.eye(4)
        stretch = np.where(np.eye(4) > 0, 0.0, lengths - 1.5)
        forces = -(stretch / lengths)[..., None] * vectors
        dipole = 0.2 * (positions[2:].sum(axis=0) - positions[:2].sum(axis=0))
        atoms.calc = SinglePointCalculator(atoms, energy=-4110.0 + 0.25 * (stretch**2).sum(), forces=forces.sum(axis=1), dipole=dipole)
        frames.append(atoms)
    return frames


def under_reference_names(atoms: Atoms) -> Atoms:
    renamed = Atoms(atoms.symbols, atoms.positions)
    results = atoms.calc.results
    renamed.info = {"REF_energy": results["energy"], "REF_dipole": results["dipole"]}
    renamed.arrays["REF_forces"] = results["forces"]
    return renamed


TINY = ("model.n_channels=4", "model.l_max=1", "model.n_layers=1", "training.epochs=1", "training.second_stage=null", "training.device=cpu")


def test_files_of_ase_train_without_flags_under_either_set_of_names(tmp_path: Path) -> None:
    frames = labelled_frames(20)
    write(tmp_path / "calculator.extxyz", frames)
    write(tmp_path / "renamed.extxyz", [under_reference_names(atoms) for atoms in frames])
    results = []
    for name in ("calculator", "renamed"):
        settings = [f"data.path={tmp_path / name}.extxyz", "data.targets=energy,forces,dipole", *TINY]
        assert run(["train", "extxyz", *settings, "--output", str(tmp_path / name)]) == 0
        results.append(json.loads((tmp_path / name / "result.json").read_text()))
    assert {"energy", "forces", "dipole"} <= set(results[0])
    assert results[0] == results[1]
    assert all(np.isfinite(results[0][name]["mae"]) for name in ("energy", "forces", "dipole"))


def test_missing_labels_are_exit_2_before_lightning_is_imported(tmp_path: Path) -> None:
    """Within seconds, because the labels are looked for before anything slow happens; the keys that are there are named."""
    frames = labelled_frames(8)
    for atoms in frames:
        del atoms.calc.results["forces"]
    write(tmp_path / "frames.extxyz", frames)
    output = tmp_path / "run"
    code = (
        "import sys; from molequi.cli.main import run; "
        f"code = run(['train', 'extxyz', 'data.path={tmp_path / 'frames.extxyz'}', '--output', '{output}']); "
        "print(code, 'pytorch_lightning' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["2", "False"]
    assert "forces" in result.stderr
    assert "energy" in result.stderr
    assert "dipole" in result.stderr
    assert "Traceback" not in result.stderr
    assert not output.exists()


# B5: the numbers of e3nn 0.5 and 0.6, and that neither is needed.

# Contraction of o3.wigner_3j(l1, l2, l3, dtype=float64) with cos(1 + k + m (k + 1)), k = 0, 1, 2 for its three indices m = 0, 1, ...
# Printed by e3nn 0.5.8 and by e3nn 0.6.0 under torch 2.13.0 with float64 as the default dtype; all digits agree.
WIGNER = {
    (0, 0, 0): 0.22259495730990,
    (0, 1, 1): -0.34016433504967,
    (0, 2, 2): -0.13913458973076,
    (0, 3, 3): -0.01909401362112,
    (1, 1, 1): 0.57694493513798,
    (1, 1, 2): -0.39166759582396,
    (1, 2, 2): 0.14661770778425,
    (1, 2, 3): 0.12959134960329,
    (1, 3, 3): -0.68416764082691,
    (2, 2, 2): 0.45735701433910,
    (2, 2, 3): 0.46691981256320,
    (2, 3, 3): 0.26962220785496,
    (3, 3, 3): -0.43362679716403,
}  # fmt: skip
# o3.spherical_harmonics([0, 1, 2, 3], direction, normalize=True, normalization="component"), printed in the same way.
HARMONICS = {
    (0.6, 0.0, 0.8): [1.0, 1.03923048454133, 0.0, 1.3856406460551, 1.85903200617956, 0.0, -1.11803398874989, 0.0, 0.54221766846904,
                      1.95778446208974, 0.0, -0.97211110476118, 0.0, -1.29614813968157, 0.0, -0.73626082334999],
    (2 / 3, -1 / 3, 2 / 3): [1.0, 1.15470053837925, -0.57735026918963, 1.15470053837925, 1.72132593164774, -0.86066296582387, -0.74535599249993,
                             -0.86066296582387, 0.0, 1.23949633560604, -1.51806678014216, -0.48005486654873, 1.07789868228557,
                             -0.48005486654873, 0.0, -1.23949633560604],
}  # fmt: skip


@pytest.mark.parametrize("degrees", WIGNER, ids=str)
def test_coefficients_are_those_of_both_versions_of_e3nn(degrees: tuple[int, int, int]) -> None:
    vectors = [np.cos(1.0 + k + np.arange(2 * l + 1) * (k + 1)) for k, l in enumerate(degrees)]
    assert np.einsum("abc,a,b,c", wigner_3j(*degrees), *vectors) == pytest.approx(WIGNER[degrees], abs=1e-13)


@pytest.mark.parametrize("direction", HARMONICS, ids=str)
def test_harmonics_are_those_of_both_versions_of_e3nn(direction: tuple[float, float, float]) -> None:
    values = spherical_harmonics(torch.tensor([direction], dtype=torch.float64), 3)[0]
    np.testing.assert_allclose(values, HARMONICS[direction], atol=1e-13)


def in_new_process(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_predictions_do_not_import_e3nn(tmp_path: Path) -> None:
    """So a checkpoint gives the same energies whatever version of e3nn is installed."""
    save_model(make_model((1, 8), ["energy", "dipole"], n_channels=4, l_max=1), tmp_path / "m.safetensors")
    code = (
        "import sys, molequi; from ase.build import molecule; atoms = molecule('H2O'); "
        f"atoms.calc = molequi.Calculator({str(tmp_path / 'm.safetensors')!r}); "
        "atoms.get_forces(); atoms.get_dipole_moment(); print('e3nn' in sys.modules)"
    )
    assert in_new_process(code) == "False"


# A2, A3, B7, B13: installation and the process.


def test_importing_changes_nothing_of_the_process() -> None:
    code = (
        "import os, torch, ase.calculators.calculator as c; "
        "state = lambda: (dict(os.environ), torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(), "
        "torch.get_rng_state().tolist(), sorted(vars(c.Calculator)), list(c.all_properties)); before = state(); "
        "import molequi.calculator, molequi.predict, molequi.simulate, molequi.training, molequi.diagnostics; "
        "after = state(); print([a == b for a, b in zip(before, after)])"
    )
    assert in_new_process(code) == str([True] * 7)


def test_models_open_without_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model file is read with every way into pickle barred, and holds none of its opcodes' marks."""
    model = make_model((1, 8), ["energy"], n_channels=4, l_max=1)
    path = tmp_path / "m.safetensors"
    save_model(model, path)

    def barred(*_arguments: object, **_options: object) -> None:
        raise AssertionError("pickle was used")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(f"pickle.{name}", barred)
    monkeypatch.setattr(torch, "load", barred)
    loaded = load_model(path)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())
    length = int.from_bytes(path.read_bytes()[:8], "little")
    assert set(json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]) == {"molequi"}


def test_networks_run_without_compilation() -> None:
    """A first energy costs what every energy costs: nothing is compiled unless asked for."""
    code = (
        "import sys; from ase.build import molecule; from molequi.model import make_model; from molequi.calculator import Calculator; "
        "atoms = molecule('H2O'); atoms.calc = Calculator(make_model((1, 8), ['energy'], n_channels=4)); atoms.get_forces(); "
        "print([name for name in ('numba', 'torch._dynamo', 'triton') if name in sys.modules])"
    )
    assert in_new_process(code) == "[]"


def project(checkout: Path) -> dict:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no TOML reader")
    return tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_dependencies_have_no_upper_pins_but_that_of_e3nn(checkout: Path) -> None:
    """Nothing that is installed already has to be downgraded."""
    settings = project(checkout)
    extras = [line for lines in settings["optional-dependencies"].values() for line in lines]
    pinned = [line for line in (*settings["dependencies"], *extras) if re.search(r"<|==|~=|!=", line)]
    assert pinned == ["e3nn>=0.5,<0.7"]
    assert settings["requires-python"] == ">=3.10"


def test_constraints_pin_every_dependency(checkout: Path) -> None:
    """Each pin is exact and lies within the range that the package states."""
    from packaging.requirements import Requirement
    from packaging.version import Version

    lines = [line.split("#")[0].split(";")[0].strip() for line in (checkout / "constraints.txt").read_text(encoding="utf-8").splitlines()]
    pins: dict[str, list[Version]] = {}
    for line in filter(None, lines):
        name, _, version = line.partition("==")
        assert version, f"{line!r} is not an exact pin"
        pins.setdefault(name.lower().replace("_", "-"), []).append(Version(version))
    for line in project(checkout)["dependencies"]:
        requirement = Requirement(line)
        versions = pins.get(requirement.name.lower().replace("_", "-"), [])
        assert versions, f"{requirement.name} is not in constraints.txt"
        assert all(version in requirement.specifier for version in versions), line


# A9: the message that says everything.


def test_unseen_element_is_named_with_atom_and_frame(tmp_path: Path) -> None:
    water = Atoms("OH2", [[0.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.8, 0.6, 0.0]])
    write(tmp_path / "mols.xyz", [water, water, water, Atoms("CH3Cl", np.eye(5, 3) * 1.5 + np.arange(5)[:, None])])
    save_model(make_model((1, 6, 7, 8), ["energy"], n_channels=4, l_max=1), tmp_path / "m.safetensors")
    records = predict([str(tmp_path / "mols.xyz")], model=str(tmp_path / "m.safetensors"))
    assert [("energy" in record) for record in records] == [True, True, True, False]
    assert records[3]["index"] == 3
    assert records[3]["source"].endswith("mols.xyz")
    assert "element Cl (atom 4" in records[3]["error"]
    assert "it knows H C N O" in records[3]["error"]


# B8: training cannot break a symmetry.


def trained_model() -> MolecularModel:
    rows = ["energy", *(declare(f"out_{irreps}", irreps=irreps, unit="1", extensive=True) for irreps in ("0o", "1o", "1e", "2e"))]
    model = make_model((1, 6, 7, 8), rows, n_layers=3, n_channels=4, l_max=2, parity="full").to(torch.float64)
    graph = collate([probe.graph(model.cutoff) for probe in built_in_probes(model.elements)[:3]])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    targets = {name: torch.randn(value.shape, generator=generator, dtype=value.dtype) for name, value in model(graph).items()}
    for _ in range(20):
        outputs = model.compute(graph, create_graph=True)
        loss = sum((outputs[name] - target).square().mean() for name, target in targets.items()) + outputs["forces"].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def test_mirror_law_holds_after_training() -> None:
    model = trained_model()
    graph = collate([probe.graph(model.cutoff) for probe in built_in_probes(model.elements)])
    before, after = model.compute(graph), model.compute(graph._replace(positions=-graph.positions, cell=-graph.cell))
    for name, sign in (("energy", 1), ("forces", -1), ("out_0o", -1), ("out_1o", -1), ("out_1e", 1), ("out_2e", 1)):
        assert before[name].abs().max() > 1e-2, name
        torch.testing.assert_close(after[name], sign * before[name], atol=1e-6, rtol=0.0)
