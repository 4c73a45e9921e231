"""The house: folders in import order and the files inside each; every own import points up."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "molequi"

# Folders from the most basic to the most derived and, inside each, the files in the same order (""
# is the package's root). A module may import what stands before it. A folder's own `__init__` comes
# after its files.
ORDER: tuple[tuple[str, str], ...] = (
    ("", "errors version"),
    ("runtime", "constants modes"),
    (
        "o3",
        "irreps clebsch_gordan coupling symmetric spherical_harmonics cartesian wigner "
        "e3nn_features",
    ),
    ("graphs", "elements graph cells batched neighbors verlet"),
    (
        "runtime",
        "wording whole_numbers gate files locks plain journal folders tensors resources signals "
        "device ranks",
    ),
    ("", "plots"),
    ("properties", "property table declarations"),
    (
        "groups",
        "stable modes principal_axes rotations lie scalings translations rotation_groups motions "
        "lie_groups finite representations relations null_spaces intertwiners "
        "named_representations networks equivarify clouds norms lieconv",
    ),
    (
        "structures",
        "formats text unread sheets headings counting symbols electrons atoms radicals bare "
        "hydrogens doubts keys comments notation cif typed xyz pdb mol2 programs variables "
        "gaussian_rows gaussian orca nwchem deepmd outputs lammps gaussian_outputs orca_outputs "
        "databases foreign sniff piped cumulenes stereo_marks cip open_stereo fragments "
        "polyhedra relaxing molecules sdf csv_files structure batching readers inputs writers "
        "mirror_images perception",
    ),
    ("", "keys overrides settings"),
    (
        "kernels",
        "edges tables derivatives splines species_rows pair_inputs threads jit_cache reference "
        "dense_products policy",
    ),
    (
        "kernels.codegen",
        "text terms radial numba_lines numba_receiver numba_sender numba_module triton_lines "
        "triton_kernels",
    ),
    (
        "kernels.compiled",
        "compiling convolution_terms convolution products contraction "
        "contraction_tangents edge_geometry row_maps scalar_messages equilibration pair_terms "
        "pair_setup pairs pair_tangents",
    ),
    (
        "kernels",
        "cpu cuda convolution products contraction_terms contraction row_maps prepared "
        "edge_geometry scalar_messages equilibration pair_spaces pairs backends inplace",
    ),
    (
        "nn",
        "module_list weight_tables matrices linear radial nearest product contraction interaction "
        "irreps_layers response",
    ),
    ("nn.frozen", "workspace buffers maps products layer layers autograd"),
    ("nn.mace", "radial interaction pair_splines knots"),
    ("nn.mace.frozen", "memory maps update messages splines layers gradient autograd network"),
    (
        "nn.backbones",
        "base worthwhile layer_irreps spherical angles invariant_layer invariant lieconv "
        "mace_radial mace coordinates registry",
    ),
    (
        "nn.physics",
        "image_pairs coulomb d3_table dispersion_parameters dispersion ewald long_range repulsion",
    ),
    (
        "nn.heads",
        "base readout equilibration pooling committee attention layered electrostatics "
        "layered_dipole optical doubt registry",
    ),
    (
        "datasets",
        "offsets in_memory making displaced subtracted pieces contacts relative beside "
        "conversion duplicates outliers report labelled_set large_arrays array_files "
        "sparse_targets npz splits chosen_splits fingerprints download places trajectories base "
        "prepared",
    ),
    (
        "datasets.formats",
        "units database_units force_checks unit_checks values label_checks stress_checks labels "
        "target_cells heading_units assumptions inspection extxyz tables flat_npz",
    ),
    ("datasets.qm9", "columns sources qm9 pyg"),
    (
        "datasets.chirality",
        "sources qm9_labels enantiomers chiral mirror alanine qm9_centres axial rosenfeld",
    ),
    ("datasets", "rmd17 registry catalog settings drawing load sampler datamodule pyg"),
    (
        "models",
        "physics outputs settings metadata freeze structure probes domain molecular ensemble "
        "dispersion reach making converters reference checkpoint enlarged grown zoo",
    ),
    ("models.importers.scripts", "mace_model"),
    ("models.importers", "source mace_parts mace_settings mace_weights mace_readouts mace card"),
    (
        "diagnostics",
        "model_runner limits invariance consistency parity networks jumps check layers dimers "
        "dimer_plot bounds known_molecules shapes physicality",
    ),
    ("testing", "calculators assertions"),
    (
        "prediction",
        "evaluated_table applicability records optical_rotation journaled batches shared predict "
        "embedding benchmark suites suite_json suite_schema suite_yaml suite_places energies "
        "kept_batches kept_energies suite_scores suite_plots",
    ),
    (
        "labeling",
        "levels backend protocol density_fitting hartree_fock response_direct response_iterative "
        "backend_pyscf backend_xtb xtb_calculator",
    ),
    ("labeling", "inputs journal output workers run"),
    ("alignment", "orientations fields scoring align"),
    ("training.optimizers", "base muon soap registry"),
    (
        "training",
        "settings completion config repeats total_charge clock ema processes endings state "
        "saved_state schedule parts scores forest ridge on_fingerprints metrics loss metrics_file "
        "judged log older_runs run_directory reference_energies atomic_energies label_statistics "
        "normalization baseline doubt kept_predictions predictions calibration evaluation "
        "fine_tuning refitted_references fixed_terms labels figures resumable symmetry likelihood "
        "electronic_states module callbacks launch setup plan finish fit ensembles",
    ),
    (
        "hamiltonian",
        "mechanics springs graph_networks lie_networks models potential config molecule data "
        "evaluation laws setup loop saved train",
    ),
    (
        "report",
        "markup axes charts tables molecules page structures trajectory vibrations spectra "
        "profiles comparisons card predicted learning runs rounds suites evaluations write",
    ),
    ("experiments", "base molecular repeated ensemble dynamics starting"),
    ("", "evaluation"),
    ("estimators", "foreign rows base regressor classifier"),
    (
        "simulation",
        "changes offers calculator bare_frames movers joined forces md_settings chains thermostats "
        "barostats integrators state growing trajectory guard rearrangement constraints velocities "
        "beginning timestep motion moments md descents normal_modes minima relaxation "
        "rotation intensities harmonic symmetry_number thermochemistry films vibrations "
        "conformer_shapes conformers boltzmann bands charts autocorrelation lines "
        "spectrum_files spectrum "
        "dipole_record per_mole coordinates scan_order scan_points scan matching saddle band path "
        "barrier",
    ),
    ("active", "settings folder geometry picking beginning exploring teachers retraining loop"),
    (
        "engines",
        "ase_plugin replicas ipi_driver ipi_socket lammps_fix openmm_potential torchsim traced "
        "metatomic_export aoti_export lammps_domain lammps_mliap",
    ),
    ("", "__main__"),
)
MODULES = tuple(
    ".".join(filter(None, ("molequi", folder, name)))
    for folder, names in ORDER
    for name in names.split()
)
RANK = {name: rank for rank, name in enumerate(MODULES)}
# Where ASE's and RDKit's objects may appear; the units and tables of `ase.units` and `ase.data` may
# be used anywhere.
FILE_FORMATS = (
    "structures", "datasets", "testing", "labeling", "prediction", "alignment", "simulation",
    "active", "engines",
)  # fmt: skip


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {
    name_of(path): path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def is_folder(name: str) -> bool:
    return FILES[name].name == "__init__.py"


def rank_of(name: str) -> int:
    """A folder's `__init__` may use the whole folder, so it has the rank of its last file."""
    return (
        max(rank for module, rank in RANK.items() if module.startswith(f"{name}."))
        if is_folder(name)
        else RANK[name]
    )


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Every imported name in full; `from a import b` counts as `a.b`, for b may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (
                (node, f"{'.' * node.level}{node.module or ''}.{alias.name}")
                for alias in node.names
            )


def own_module(name: str) -> str | None:
    """`molequi.nn.radial.bessel_basis` -> `molequi.nn.radial`; None for a foreign name."""
    while name and name not in FILES:
        name = name.rpartition(".")[0]
    return name or None


def test_order_lists_every_file_once_and_nothing_else() -> None:
    assert len(set(MODULES)) == len(MODULES)
    assert set(MODULES) == {name for name in FILES if not is_folder(name)}


def test_root_of_the_package_is_small() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 10


@pytest.mark.parametrize("name", FILES)
def test_imports_point_up(name: str) -> None:
    tree = TREES[name]
    top_level = {id(node) for node in tree.body} | {
        id(child)
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in node.body
    }
    # What some systems lack may be tried for.
    top_level |= {
        id(child)
        for node in tree.body
        if isinstance(node, ast.Try) and ast.unparse(node.handlers[0].type or node) == "ImportError"
        for child in node.body
        if all(own_module(imported) is None for _, imported in imports(child))
    }
    for node, imported in imports(tree):
        where = f"{name}:{node.lineno} imports {imported}"
        assert not imported.startswith("."), f"{where}: relative"
        assert id(node) in top_level or is_folder(name), f"{where} inside a function or block"
        target = own_module(imported)
        if target is None or target == name:
            continue
        inside = is_folder(target) and name.startswith(f"{target}.")
        assert not inside, f"{where}, the folder that it stands in"
        assert rank_of(target) <= rank_of(name), f"{where}, which stands below it"
        assert {target.split(".")[1], name.split(".")[1]} != {"datasets", "nn"}, (
            f"{where}: datasets and nn must not know each other"
        )


@pytest.mark.parametrize("name", [name for name in FILES if not is_folder(name)])
def test_nothing_is_imported_by_a_string(name: str) -> None:
    calls = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.Attribute | ast.Name)]
    by_string = [
        node.lineno
        for node in calls
        if "import_module" in ast.unparse(node) or ast.unparse(node) == "__import__"
    ]
    assert not by_string, f"{name}:{by_string}"


@pytest.mark.parametrize("name", FILES)
def test_file_formats_stay_at_the_boundary(name: str) -> None:
    if name.split(".")[1] in FILE_FORMATS:
        return
    for node, imported in imports(TREES[name]):
        foreign = imported.split(".")[0] in {"ase", "rdkit"} and not imported.startswith(
            ("ase.units", "ase.data")
        )
        assert not foreign, (
            f"{name}:{node.lineno} imports {imported}; ASE and RDKit objects belong to "
            f"{FILE_FORMATS}"
        )


def test_every_package_is_installed() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no TOML reader")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "setuptools"
    ]
    own = {name for name in FILES if is_folder(name)} | {"molequi"}
    assert set(settings["packages"]) == own | {"molequi.cli", "molequi._configs", "molequi._data"}


@pytest.mark.parametrize("module", ["molequi", "molequi.cli.main"])
def test_import_is_light(module: str) -> None:
    """Milliseconds, measured as what is not imported: a clock in a busy test run would lie."""
    heavy = "torch", "numpy", "ase", "rdkit", "e3nn", "matplotlib", "pydantic_core"
    code = f"import {module}, sys; print([name for name in {heavy!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_public_names_exist_and_others_are_refused() -> None:
    import molequi

    with pytest.raises(AttributeError, match="it has Calculator"):
        molequi.Calculater  # noqa: B018
    assert set(molequi.__all__) <= set(dir(molequi))
    assert all(getattr(molequi, name) is not None for name in molequi.__all__)
