"""What users of other packages lose their days on, item by item.

Where each is tested, and the tests that stand nowhere else.

`A` items are the troubles, `B` items the acceptance list. Every test named here exists (tested
below).
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from molequi.cli.main import run
from molequi.graphs.graph import collate
from molequi.models.checkpoint import save_model
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.probes import built_in_probes
from molequi.prediction.predict import predict
from molequi.properties import declare

HERE = "tests/test_acceptance.py"
WHERE = {
    "A1 labels and units": (
        "tests/datasets/formats/test_extxyz.py::test_what_ase_writes_is_found_without_flags",
        "tests/datasets/formats/test_extxyz.py::test_other_names_give_the_same_numbers",
        "tests/datasets/formats/test_extxyz.py::test_missing_labels_name_what_is_there",
        "tests/datasets/formats/test_extxyz.py::test_constraints_do_not_zero_the_forces",
        "tests/datasets/formats/test_unit_checks.py::test_suspicious_units",
        "tests/datasets/formats/test_unit_checks.py::test_zero_labels_are_reported",
        "tests/datasets/formats/test_extxyz.py::test_report_is_a_table",
    ),
    "A2 pins, pickles, process-wide settings": (
        "tests/test_process.py::test_importing_changes_nothing_of_the_process",
        "tests/test_process.py::test_models_open_without_pickle",
        "tests/test_process.py::test_dependencies_have_no_upper_pins_but_that_of_e3nn",
    ),
    "A3 memory and speed": (
        "tests/prediction/test_predict.py::test_batches_are_limited_by_atoms",
        "tests/simulation/test_calculator.py::test_results_are_kept_until_something_changes",
        "tests/test_layout.py::test_import_is_light",
        "tests/test_process.py::test_networks_run_without_compilation",
    ),
    "A4 resume, averages, which file is the model": (
        "tests/training/test_processes.py::test_kill_in_mid_epoch_and_resume_gives_the_weights_of_an_uninterrupted_run",
        "tests/training/test_ema.py::test_average_is_restored_exactly",
        "tests/training/test_fit.py::test_run_directory_is_complete_and_reusable",
        "tests/models/test_zoo.py::test_path_first_then_run_directory_then_name",
    ),
    "A5 dipoles": (
        "tests/simulation/test_calculator.py::test_values_are_those_of_the_model",
        "tests/simulation/test_calculator.py::test_no_dipole_where_periodic",
        "tests/prediction/test_predict.py::test_record_holds_what_the_model_gives",
        "tests/contracts/test_motions.py::test_translation_changes_no_dipole_of_an_ion",
        "tests/models/test_molecular.py::test_an_energy_brings_its_company",
    ),
    "A6 stress without a cell": (
        "tests/simulation/test_calculator.py::test_no_stress_unless_fully_periodic",
        "tests/contracts/test_derivatives.py::test_stress_exists_only_for_full_cells",
    ),
    "A7 isolated and coincident atoms, small cells, no edges": (
        "tests/contracts/test_domain.py::test_nothing_comes_out_as_nan",
        "tests/contracts/test_domain.py::test_coincident_atoms_are_refused_and_where_forced_finite",
        "tests/contracts/test_domain.py::test_periodic_structures_are_their_images",
        "tests/contracts/test_domain.py::test_dense_neighbourhoods_are_not_truncated",
    ),
    "A8 tables that repeat, parity and chirality": (
        "tests/training/test_fit.py::test_same_seed_gives_the_same_run_and_another_seed_does_not",
        "tests/datasets/test_splits.py::test_rmd17",
        "tests/contracts/test_motions.py::test_outputs_follow_orthogonal_maps",
    ),
    "A9 unseen element": (
        f"{HERE}::test_unseen_element_is_named_with_atom_and_frame",
        "tests/simulation/test_calculator.py::test_unknown_element_is_refused_by_name",
    ),
    "B1 frames of ase.io.write train": (
        f"{HERE}::test_files_of_ase_train_without_flags_under_either_set_of_names",
    ),
    "B2 REF_ names give the same numbers": (
        f"{HERE}::test_files_of_ase_train_without_flags_under_either_set_of_names",
    ),
    "B3 missing labels": (f"{HERE}::test_missing_labels_are_exit_2_before_lightning_is_imported",),
    "B4 kill and resume": (
        "tests/training/test_processes.py::test_kill_in_mid_epoch_and_resume_gives_the_weights_of_an_uninterrupted_run",
    ),
    "B5 e3nn 0.5 and 0.6": (
        "tests/o3/test_e3nn.py::test_coefficients_are_those_of_both_versions_of_e3nn",
        "tests/o3/test_e3nn.py::test_harmonics_are_those_of_both_versions_of_e3nn",
        "tests/test_process.py::test_predictions_do_not_import_e3nn",
    ),
    "B6 edges of the domain": (
        "tests/contracts/test_domain.py::test_nothing_comes_out_as_nan",
        "tests/contracts/test_domain.py::test_a_thousand_atoms",
        "tests/contracts/test_domain.py::test_unseen_element_is_named",
        "tests/contracts/test_domain.py::test_periodic_structures_are_their_images",
        "tests/simulation/test_calculator.py::test_single_atom_and_atoms_out_of_reach",
        "tests/prediction/test_predict.py::test_single_atoms_and_empty_space",
    ),
    "B7 no pickle": (
        "tests/test_process.py::test_models_open_without_pickle",
        "tests/training/test_state.py::test_state_file_holds_plain_data_and_opens_without_pickle",
    ),
    "B8 mirror law": (
        "tests/contracts/test_motions.py::test_mirror_law_holds_to_the_last_bit",
        f"{HERE}::test_mirror_law_holds_after_training",
    ),
    "B9 forces": (
        "tests/contracts/test_derivatives.py::test_forces_are_the_numeric_gradient",
        "tests/contracts/test_derivatives.py::test_energy_forces_and_slopes_are_smooth_at_the_cutoff",
    ),
    "B10 drift": (
        "tests/simulation/test_md.py::test_nve_conserves_energy_and_momentum",
        "tests/cli/test_simulate.py::test_md_prints_drift_and_writes_frames",
    ),
    "B11 --help": ("tests/test_layout.py::test_import_is_light",),
    "B12 two calculators": (
        "tests/simulation/test_calculator.py::test_two_calculators_do_not_disturb_each_other",
        "tests/simulation/test_calculator.py::test_two_threads_give_what_one_gives",
        "tests/simulation/test_calculator.py::test_class_of_ase_stays_as_it_is",
        "tests/simulation/test_processes.py::test_loader_with_workers_after_a_prediction",
    ),
    "B13 a fresh install downgrades nothing": (
        "tests/test_process.py::test_dependencies_have_no_upper_pins_but_that_of_e3nn",
        "tests/test_process.py::test_constraints_pin_every_dependency",
    ),
    "B14 both hands": ("tests/contracts/test_motions.py::test_mirror_law_holds_to_the_last_bit",),
}


@pytest.mark.parametrize("item", WHERE)
def test_named_tests_exist(item: str, checkout: Path) -> None:
    for test in WHERE[item]:
        file, _, name = test.partition("::")
        functions = {
            node.name
            for node in ast.walk(ast.parse((checkout / file).read_text(encoding="utf-8")))
            if isinstance(node, ast.FunctionDef)
        }
        assert name in functions, f"{item}: {test} is gone"


# B1 to B3: a file of labelled frames trains as it is.


def labelled_frames(n_frames: int) -> list[Atoms]:
    """Hydrogen peroxide at random, with a spring energy between all pairs and its forces."""
    rng, frames = np.random.default_rng(0), []
    for _ in range(n_frames):
        positions = np.array(
            [[0.0, 0.7, 0.0], [0.0, -0.7, 0.0], [0.8, 0.9, 0.4], [-0.8, -0.9, 0.4]]
        ) + 0.05 * rng.standard_normal((4, 3))
        atoms = Atoms("O2H2", positions)
        vectors = positions[:, None] - positions[None]
        lengths = np.linalg.norm(vectors, axis=-1) + np.eye(4)
        stretch = np.where(np.eye(4) > 0, 0.0, lengths - 1.5)
        forces = -(stretch / lengths)[..., None] * vectors
        dipole = 0.2 * (positions[2:].sum(axis=0) - positions[:2].sum(axis=0))
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=-4110.0 + 0.25 * (stretch**2).sum(),
            forces=forces.sum(axis=1),
            dipole=dipole,
        )
        frames.append(atoms)
    return frames


def under_reference_names(atoms: Atoms) -> Atoms:
    renamed = Atoms(atoms.symbols, atoms.positions)
    results = atoms.calc.results
    renamed.info = {"REF_energy": results["energy"], "REF_dipole": results["dipole"]}
    renamed.arrays["REF_forces"] = results["forces"]
    return renamed


TINY = (
    "model.n_channels=4",
    "model.l_max=1",
    "model.n_layers=1",
    "training.epochs=1",
    "training.second_stage=null",
    "training.device=cpu",
)


def test_files_of_ase_train_without_flags_under_either_set_of_names(tmp_path: Path) -> None:
    frames = labelled_frames(20)
    write(tmp_path / "calculator.extxyz", frames)
    write(tmp_path / "renamed.extxyz", [under_reference_names(atoms) for atoms in frames])
    results = []
    for name in ("calculator", "renamed"):
        settings = [
            f"data.path={tmp_path / name}.extxyz",
            "data.targets=energy,forces,dipole",
            *TINY,
        ]
        assert run(["train", "extxyz", *settings, "--output", str(tmp_path / name)]) == 0
        results.append(json.loads((tmp_path / name / "result.json").read_text()))
    assert {"energy", "forces", "dipole"} <= set(results[0])
    assert results[0] == results[1]
    assert all(np.isfinite(results[0][name]["mae"]) for name in ("energy", "forces", "dipole"))


def test_missing_labels_are_exit_2_before_lightning_is_imported(tmp_path: Path) -> None:
    """Within seconds, because the labels are looked for before anything slow happens.

    The keys that are there are named.
    """
    frames = labelled_frames(8)
    for atoms in frames:
        del atoms.calc.results["forces"]
    write(tmp_path / "frames.extxyz", frames)
    output = tmp_path / "run"
    code = (
        "import sys; from molequi.cli.main import run; "
        f"code = run(['train', 'extxyz', 'data.path={tmp_path / 'frames.extxyz'}', '--output', "
        f"'{output}']); "
        "print(code, 'pytorch_lightning' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["2", "False"]
    assert "forces" in result.stderr
    assert "energy" in result.stderr
    assert "dipole" in result.stderr
    assert "Traceback" not in result.stderr
    assert not output.exists()


# A9: the message that says everything.


def test_unseen_element_is_named_with_atom_and_frame(tmp_path: Path) -> None:
    water = Atoms("OH2", [[0.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.8, 0.6, 0.0]])
    write(
        tmp_path / "mols.xyz",
        [water, water, water, Atoms("CH3Cl", np.eye(5, 3) * 1.5 + np.arange(5)[:, None])],
    )
    save_model(
        make_model((1, 6, 7, 8), ["energy"], n_channels=4, l_max=1), tmp_path / "m.safetensors"
    )
    records = predict([str(tmp_path / "mols.xyz")], model=str(tmp_path / "m.safetensors"))
    assert [("energy" in record) for record in records] == [True, True, True, False]
    assert records[3]["index"] == 3
    assert records[3]["source"].endswith("mols.xyz")
    assert "element Cl (atom 4" in records[3]["error"]
    assert "it knows H C N O" in records[3]["error"]


# B8: training cannot break a symmetry.


def trained_model() -> MolecularModel:
    rows = [
        "energy",
        *(
            declare(f"out_{irreps}", irreps=irreps, unit="1", extensive=True)
            for irreps in ("0o", "1o", "1e", "2e")
        ),
    ]
    model = make_model((1, 6, 7, 8), rows, n_layers=3, n_channels=4, l_max=2, parity="full").to(
        torch.float64
    )
    graph = collate([probe.graph(model.cutoff) for probe in built_in_probes(model.elements)[:3]])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    targets = {
        name: torch.randn(value.shape, generator=generator, dtype=value.dtype)
        for name, value in model(graph).items()
    }
    for _ in range(20):
        outputs = model.compute(graph, create_graph=True)
        loss = (
            sum((outputs[name] - target).square().mean() for name, target in targets.items())
            + outputs["forces"].square().mean()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def test_mirror_law_holds_after_training() -> None:
    model = trained_model()
    graph = collate([probe.graph(model.cutoff) for probe in built_in_probes(model.elements)])
    before, after = (
        model.compute(graph),
        model.compute(graph._replace(positions=-graph.positions, cell=-graph.cell)),
    )
    for name, sign in (
        ("energy", 1),
        ("forces", -1),
        ("out_0o", -1),
        ("out_1o", -1),
        ("out_1e", 1),
        ("out_2e", 1),
    ):
        assert before[name].abs().max() > 1e-2, name
        torch.testing.assert_close(after[name], sign * before[name], atol=1e-6, rtol=0.0)
