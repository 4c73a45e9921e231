"""MACE models give here what MACE gives for them.

The files hold what models of mace-torch 0.3.16 with random weights hold, and what its calculator
gives in float64; `tests/support/mace_models.py` made them (`--pack`, torch 2.13, e3nn 0.4.4), and
makes the models of the tests that run where MOLEQUI_MACE_PYTHON names an interpreter that has
mace-torch.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from safetensors import safe_open
from safetensors.torch import save_file

from molequi.errors import UserError
from molequi.models.checkpoint import load_model, read_description, save_model
from molequi.models.freeze import FrozenModel
from molequi.models.importers.mace import Imported, convert, import_mace
from molequi.models.importers.source import Source, load_source, read_source
from molequi.models.molecular import MolecularModel
from molequi.nn.mace import knots, pair_splines
from molequi.properties import DEBYE
from molequi.structures.atoms import graph_from_atoms

FILES = Path(__file__).parent / "files" / "mace"
NAMES = sorted(path.stem for path in FILES.glob("*.npz"))
PYTHON = os.environ.get("MOLEQUI_MACE_PYTHON")
SCRIPT = Path(__file__).resolve().parents[1] / "support" / "mace_models.py"
MODELS = "AtomicDielectricMACE", "MACELES", "PolarMACE", "LAMMPS_MACE"
# Relative to the energy, and to the largest force or stress; a model in float32 has rounded its
# coupling coefficients, which are exact here.
ENERGY = {torch.float64: 1e-13, torch.float32: 1e-9}
SLOPE = {torch.float64: 1e-12, torch.float32: 1e-6}


needs_mace = pytest.mark.skipif(PYTHON is None, reason="MOLEQUI_MACE_PYTHON names no interpreter")


def source_of(name: str, folder: Path) -> Source:
    with np.load(FILES / f"{name}.npz") as arrays:
        texts = {key: arrays[key].tobytes() for key in ("model", "golden")}
        np.savez(folder / "arrays.npz", **{x: arrays[x] for x in arrays.files if x not in texts})
    (folder / "model.json").write_bytes(texts["model"])
    (folder / "golden.json").write_bytes(texts["golden"])
    return load_source(folder)


def compare(model: MolecularModel, results: list[dict], dtype: torch.dtype) -> None:
    """Hold what a model gives to what MACE gives."""
    assert results
    for one in results:
        atoms = Atoms(one["numbers"], one["positions"], cell=one["cell"], pbc=one["pbc"])
        found = model.double().compute(graph_from_atoms(atoms, model.cutoff), stress=True)
        if "energy" in one:
            right = one["energy"]
            assert abs(float(found["energy"]) - right) <= ENERGY[dtype] * abs(right), one["name"]
        for key in ("forces", "stress"):
            if one.get(key) is not None:
                values = found[key] if key == "forces" else found[key][0]
                right = torch.tensor(one[key], dtype=torch.float64)
                limit = SLOPE[dtype] * max(1.0, float(right.abs().max()))
                assert float((values - right).abs().max()) <= limit, (one["name"], key)
        if "dipole" in one and not one["pbc"]:
            right = torch.tensor(one["dipole"], dtype=torch.float64)
            off = found["dipole"][0] / DEBYE - right
            assert float(off.abs().max()) <= SLOPE[dtype] * max(1e-3, float(right.abs().max()))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    return {name: source_of(name, tmp_path_factory.mktemp(name)) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_those_of_mace(name: str, tmp_path: Path) -> None:
    source = source_of(name, tmp_path)
    results = json.loads((tmp_path / "golden.json").read_text())
    heads = sorted({one["head"] for one in results})
    for head in heads:
        model = convert(source, head if len(heads) > 1 else None).model
        compare(model, [one for one in results if one["head"] == head], model.dtype)


def test_files_cover_what_is_supported(exported: dict[str, Source]) -> None:
    models = [convert(x, None if n != "heads" else "cc").model for n, x in exported.items()]
    assert {model.outputs for model in models} == {("energy",), ("dipole",), ("energy", "dipole")}
    backbones = [model.backbone.settings for model in models]
    assert {x for b in backbones for x in (b["first_block"], b["block"])} == {
        *("plain", "residual", "density", "density_residual")
    }
    assert {b["distance_transform"] for b in backbones} == {"none", "agnesi", "soft"}
    assert {b["radial_basis"] for b in backbones} >= {"bessel", "gaussian"}
    assert {b["correlation"] for b in backbones} >= {2, 3}
    assert {b["late_envelope"] for b in backbones} == {True, False}
    heads = [model.heads["energy"] for model in models if "energy" in model.outputs]
    assert {head.repulsion.is_on for head in heads} == {True, False}
    assert sum(path.stat().st_size for path in FILES.glob("*")) < 350_000


def test_file_keeps_numbers_and_origin(exported: dict[str, Source], tmp_path: Path) -> None:
    model, reference = convert(exported["three_irreps"])
    save_model(model, tmp_path / "m.safetensors", reference=reference)
    again = load_model(tmp_path / "m.safetensors")
    assert read_description(tmp_path / "m.safetensors")["reference"] == reference
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


@pytest.mark.parametrize("name", ["three_irreps", "mpa", "float32"])
def test_one_changed_weight_is_seen(name: str, exported: dict[str, Source], tmp_path: Path) -> None:
    """By the numbers of MACE, which the file carries; the checksum is made anew."""
    path = tmp_path / "m.safetensors"
    model, reference = convert(exported[name])
    save_model(model, path, reference=reference)
    with safe_open(path, framework="pt") as file:
        texts = {"molequi": file.metadata()["molequi"]}
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    weight = tensors["heads.energy.linear"].view(-1)
    weight[weight.abs().argmax()] *= 1.01
    save_file(tensors, path, metadata=texts)
    with pytest.raises(UserError, match="of its reference structure comes out"):
        load_model(path)


def changed(source: Source, name: str, **fields: object) -> Source:
    modules = {**source.modules, name: {**source.modules.get(name, {}), **fields}}
    return source._replace(modules=modules)


@pytest.mark.parametrize(
    ("where", "fields", "message"),
    [
        ("", {"class": "AtomicDielectricMACE"}, "AtomicDielectricMACE is not supported; MACE, S"),
        ("", {"use_so3": True}, "use_so3, rotations without parity"),
        ("joint_embedding", {"class": "GenericJointEmbedding"}, "GenericJointEmbedding .joint_em"),
        ("products.0.linear", {"class": "cuet.Linear"}, "cuet.Linear .products.0.linear. is not"),
        ("readouts.1.non_linearity.acts.0", {"f": "tanh"}, "activation tanh of readouts.1"),
        ("interactions.1.linear_up", {"irreps_out": [[5, 0, 1], [5, 1, -1]]}, "of 5x0e.5x1o bes"),
        ("interactions.1.linear_up", {"irreps_out": [[3, 0, 1]]}, "edge_irreps of 3x0e beside"),
        ("products.0.linear", {"irreps_out": [[3, 0, 1], [2, 1, -1]]}, "as many"),
        ("readouts.1.linear_2", {"bias_numel": 1}, "has a bias"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    where: str, fields: dict, message: str, exported: dict[str, Source]
) -> None:
    with pytest.raises(UserError, match=message):
        convert(changed(exported["heads"], where, **fields), "dft")


def columns_of_the_page() -> list[set[str]]:
    """Return the classes that the page says are read, and those that are refused."""
    page = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "mace.md"
    rows = re.findall(r"^\| (?:\w| )+ \|(.*)\|(.*)\|$", page.read_text(), flags=re.MULTILINE)
    return [
        {x for row in rows for x in re.findall(r"`([A-Z]\w+)`", row[column])} for column in (0, 1)
    ]


def test_page_says_which_classes_are_refused(exported: dict[str, Source]) -> None:
    source = exported["heads"]
    read, refused = columns_of_the_page()
    assert len(read) > 20
    assert len(refused) > 12
    for name in refused:
        where = "" if name in MODELS else "interactions.0"
        with pytest.raises(UserError, match=rf"^{name} .*is not supported"):
            convert(changed(source, where, **{"class": name}), "dft")
    found = {module["class"] for source in exported.values() for module in source.modules.values()}
    assert read - found == {"ChebychevBasis"}


@needs_mace
def test_page_names_every_class_of_mace() -> None:
    code = """
import importlib, inspect, json, torch
names = "models blocks radial extensions lora embeddings symmetric_contraction gate"
found = set()
for name in names.split():
    module = importlib.import_module(f"mace.modules.{name}")
    for key, value in vars(module).items():
        if inspect.isclass(value) and value.__module__ == module.__name__:
            if issubclass(value, torch.nn.Module) and not inspect.isabstract(value):
                found.add(key)
print(json.dumps(sorted(found)))
"""
    run = subprocess.run([str(PYTHON), "-c", code], capture_output=True, text=True, check=True)
    # A part of readouts, and what all interactions derive from.
    inside = {"GatedEquivariantBlock", "InteractionBlock"}
    assert set(json.loads(run.stdout.splitlines()[-1])) - inside <= set.union(
        *columns_of_the_page()
    )


def test_dipole_models_with_pseudoscalars_are_refused(exported: dict[str, Source]) -> None:
    hidden = [[3, 0, 1], [3, 0, -1], [3, 1, -1]]
    source = changed(exported["energy_dipoles"], "products.0.linear", irreps_out=hidden)
    with pytest.raises(UserError, match="in EnergyDipolesMACE: 0o is not supported"):
        convert(source)


def test_readouts_without_an_activation_are_refused(exported: dict[str, Source]) -> None:
    source = exported["heads"]
    modules = {x: y for x, y in source.modules.items() if "non_linearity.acts" not in x}
    with pytest.raises(UserError, match="the activation None of readouts.1"):
        convert(source._replace(modules=modules), "dft")


def test_head_must_be_one_of_the_heads(exported: dict[str, Source]) -> None:
    with pytest.raises(UserError, match=r"heads are dft, cc; choose one \(--head NAME\)"):
        convert(exported["heads"])
    with pytest.raises(UserError, match="heads are dft, cc; there is no mp2"):
        convert(exported["heads"], "mp2")


def test_wrong_numbers_are_refused(exported: dict[str, Source]) -> None:
    """Were a convention read wrongly, the structure of MACE's own numbers would say so."""
    source = exported["three_irreps"]
    tensors = dict(source.tensors)
    name = "interactions.1.conv_tp_weights.layer0.weight"
    tensors[name] = tensors[name] * 1.001
    with pytest.raises(UserError, match="not read rightly: the energy of its reference structure"):
        convert(source._replace(tensors=tensors))


def test_unknown_coupling_coefficients_are_refused(exported: dict[str, Source]) -> None:
    source = exported["three_irreps"]
    name = "products.0.symmetric_contractions.contractions.1.U_matrix_3"
    noise = torch.randn(source.tensors[name].shape, generator=torch.Generator().manual_seed(0))
    tensors = {**source.tensors, name: source.tensors[name] + 1e-3 * noise}
    with pytest.raises(UserError, match="U_matrix_3 of products.0.symmetric_contractions"):
        convert(source._replace(tensors=tensors))


def test_unseen_element_is_refused(exported: dict[str, Source]) -> None:
    model = convert(exported["three_irreps"]).model
    with pytest.raises(UserError, match="element Cl .atom 1. is not in this model; it knows H C N"):
        model.compute(graph_from_atoms(Atoms("HCl", [[0, 0, 0], [0, 0, 1.3]]), model.cutoff))


def test_interpreter_without_mace_is_told_how_to_get_one(tmp_path: Path) -> None:
    (tmp_path / "x.model").write_bytes(b"no model")
    with pytest.raises(UserError, match=r"which cannot be started .* pip install mace-torch==0"):
        read_source(tmp_path / "x.model", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="no model file at"):
        read_source(tmp_path / "y.model", "python")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mace")
    subprocess.run([str(PYTHON), str(SCRIPT), str(folder)], check=True, capture_output=True)
    return folder


@needs_mace
@pytest.mark.slow
def test_real_models_are_read_exactly(made: Path, tmp_path: Path) -> None:
    """All shapes of published models, and every setting that is supported."""
    refused, read = {}, []
    for path in sorted(made.glob("*.model")):
        results = json.loads(path.with_suffix(".json").read_text())
        heads = sorted({one["head"] for one in results})
        for head in heads:
            output = tmp_path / f"{path.stem}-{head}.safetensors"
            try:
                import_mace(path, output, python=str(PYTHON), head=head)
            except UserError as error:
                refused[path.stem] = str(error)
                continue
            model = load_model(output)
            mine = [one for one in results if one["head"] == head]
            if path.stem == "chebyshev":  # torch does not differentiate its polynomials
                mine = [{**one, "forces": None, "stress": None} for one in mine]
            compare(model, mine, model.dtype)
            read.append(path.stem)
    expected = {
        "edges": "edge_irreps of 3x0e+3x1o beside features of 4x0e+4x1o",
        "fewer_edges": "edge_irreps of 4x0e beside features of 4x0e+4x1o",
        "lists": "correlation differs between layers",
        "tanh": "the activation tanh",
    }
    assert {
        name: text[: len(expected.get(name, text))] for name, text in refused.items()
    } == expected
    assert len(set(read)) >= 18


@needs_mace
def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.model").write_bytes(b"no model")
    with pytest.raises(UserError, match="x.model cannot be read by"):
        read_source(tmp_path / "x.model", str(PYTHON))


def test_imported_is_a_pair(exported: dict[str, Source]) -> None:
    assert isinstance(convert(exported["plain"]), Imported)


def forces(model: MolecularModel | FrozenModel, one: dict) -> torch.Tensor:
    atoms = Atoms(one["numbers"], one["positions"], cell=one["cell"], pbc=one["pbc"])
    return model.compute(graph_from_atoms(atoms, model.cutoff))["forces"]


@pytest.mark.parametrize("name", [n for n in NAMES if n not in {"heads", "dipoles"}])
def test_predictions_differ_from_mace_by_splines_alone(name: str, tmp_path: Path) -> None:
    """Less than 1e-5 eV/Å; splines of each pair where the elements transform the distances."""
    model = convert(source_of(name, tmp_path)).model.double()
    plain, fused = (model.freeze(kernels=kernels) for kernels in ("reference", "generic"))
    assert model.backbone.may_have_splines
    for one in json.loads((tmp_path / "golden.json").read_text()):
        right = torch.tensor(one["forces"], dtype=torch.float64)
        size = max(1.0, float(right.abs().max()))
        found = forces(plain, one)
        assert float((found - right).abs().max()) <= 1e-5 * size, one["name"]
        assert float((forces(fused, one) - found).abs().max()) <= 1e-11 * size, one["name"]


@pytest.mark.parametrize("name", ["dipoles", "energy_dipoles"])
def test_dipoles_of_layers_written_out_are_the_same(name: str, tmp_path: Path) -> None:
    model = convert(source_of(name, tmp_path)).model.double()
    plain, fused = (model.freeze(kernels=kernels) for kernels in ("reference", "generic"))
    for one in json.loads((tmp_path / "golden.json").read_text()):
        graph = graph_from_atoms(Atoms(one["numbers"], one["positions"]), model.cutoff)
        right = plain.compute(graph)["dipole"]
        off = float((fused.compute(graph)["dipole"] - right).abs().max())
        assert off <= 1e-12 * float(right.abs().max()), one["name"]
        assert len(one["numbers"]) == 1 or float(right.abs().max()) > 1e-3


def test_radial_networks_run_where_asked_for(exported: dict[str, Source]) -> None:
    model = convert(exported["three_irreps"]).model
    graph = graph_from_atoms(Atoms("CO", [[0, 0, 0], [0, 0, 1.2]]), model.cutoff)
    exact, splined = model.compute(graph)["forces"], model.freeze().compute(graph)["forces"]
    assert 0.0 < float((splined - exact).abs().max()) < 1e-5
    model.backbone.settings["radial_splines"] = False
    for kernels in ("reference", "generic"):
        found = model.freeze(kernels=kernels).compute(graph)["forces"]
        assert float((found - exact).abs().max()) < 1e-12


def test_splines_that_change_forces_are_not_taken(
    exported: dict[str, Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knots, "KNOTS_PER_ANGSTROM", 8)
    backbone = convert(exported["three_irreps"]).model.backbone
    assert not backbone.may_have_splines


def test_models_on_cutoffs_and_lone_atoms_have_finite_splines(exported: dict[str, Source]) -> None:
    """Atoms at the cutoff, beyond it, and far closer than any bond."""
    model = convert(exported["three_irreps"]).model
    for distance in (model.cutoff, model.cutoff + 0.1, 0.3):
        graph = graph_from_atoms(Atoms("CO", [[0, 0, 0], [0, 0, distance]]), model.cutoff)
        exact = model.compute(graph)["forces"]
        found = model.freeze().compute(graph)["forces"]
        assert float((found - exact).abs().max()) <= 1e-5 * max(1.0, float(exact.abs().max()))


def of_pair(numbers: tuple[int, int], model: MolecularModel | FrozenModel) -> torch.Tensor:
    graph = graph_from_atoms(Atoms(numbers, [[0, 0, 0], [0.3, 0.4, 1.1]]), model.cutoff)
    return model.compute(graph)["forces"]


def test_splines_of_pairs_are_made_when_they_occur(
    exported: dict[str, Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each pair once, in both orders; the same numbers whatever came before."""
    model = convert(exported["mpa"]).model
    frozen, other = model.freeze(), model.freeze()
    backbone = frozen._network.backbone
    made, make = [], backbone.splines_of_pairs
    monkeypatch.setattr(
        backbone, "splines_of_pairs", lambda pairs: made.append(pairs) or make(pairs)
    )
    first = of_pair((29, 1), frozen)
    assert 0.0 < float((first - of_pair((29, 1), model)).abs().max()) < 1e-5
    for numbers in ((1, 29), (8, 8), (29, 1), (13, 8)):
        of_pair(numbers, frozen)
    assert torch.cat(made).tolist() == [[0, 3], [1, 1], [1, 2]]
    of_pair((8, 8), other)
    assert torch.equal(of_pair((29, 1), other), first)
    assert torch.equal(of_pair((29, 1), frozen), first)


def test_splines_of_too_many_pairs_are_forgotten(
    exported: dict[str, Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is room for two pairs; a structure of three has the networks of all edges."""
    model = convert(exported["mpa"]).model
    frozen = model.freeze()
    backbone = frozen._network.backbone
    of_pair((1, 8), frozen)
    size = sum(layer.radial.nbytes for layer in backbone.pair_splines._kept.layers)
    monkeypatch.setattr(pair_splines, "MOST_BYTES", 2 * size)
    for numbers, kept in (((8, 8), [[0, 1], [1, 1]]), ((1, 29), [[0, 3]])):
        first = of_pair(numbers, frozen)
        assert backbone.pair_splines._kept.pairs.tolist() == kept
        assert torch.equal(first, of_pair(numbers, frozen))
    three = graph_from_atoms(Atoms("HOAl", [[0, 0, 0], [0, 1.1, 1.2], [1.9, 0, 0]]), model.cutoff)
    exact = model.compute(three)["forces"]
    assert float((frozen.compute(three)["forces"] - exact).abs().max()) < 1e-12
    assert backbone.pair_splines._kept.pairs.tolist() == [[0, 3]]


def test_splines_of_pairs_serve_copies_and_lone_atoms(exported: dict[str, Source]) -> None:
    frozen = convert(exported["mpa"]).model.freeze(kernels="generic")
    lone = graph_from_atoms(Atoms("O", [[0, 0, 0]]), frozen.cutoff)
    assert not frozen.compute(lone)["forces"].any()
    first = of_pair((29, 1), frozen)
    assert torch.equal(of_pair((29, 1), pickle.loads(pickle.dumps(frozen))), first)
    assert not frozen.compute(lone)["forces"].any()
