"""Model files of every older format give what they gave when they were written."""

import json
from pathlib import Path

import pytest
import torch

from molequi.models.checkpoint import load_model, read_description, save_model
from molequi.models.converters import CONVERTERS, FORMAT
from molequi.models.metadata import ModelMetadata, TrainingRecord
from molequi.models.physics import NO_PHYSICS
from molequi.models.probes import built_in_probes
from molequi.runtime.tensors import read_tensors

FILES = Path(__file__).parent / "files"
# Small models with random weights, and what they said of the first built-in probe in float64 when
# they were written, those of format 1 by molequi 0.1.0; zero_paths of format 3 has weights of
# polynomials that are zero, as files of product=symmetric, parity=full, correlation=3 had.
GOLDEN = {
    f"{path.stem.removesuffix('_golden')}_{name}": outputs
    for path in sorted(FILES.glob("format*_golden.json"))
    for name, outputs in json.loads(path.read_text(encoding="utf-8")).items()
}


def path_of(name: str) -> Path:
    return FILES / f"{name}.safetensors"


def outputs_of(path: Path) -> dict[str, torch.Tensor]:
    model = load_model(path, dtype=torch.float64)
    return model.compute(built_in_probes(model.elements)[0].graph(model.cutoff))


def test_every_older_format_has_a_converter_and_files() -> None:
    assert sorted(CONVERTERS) == list(range(1, FORMAT))
    for number in CONVERTERS:
        assert list(FILES.glob(f"format{number}_*.safetensors"))
    assert {path.name for path in FILES.glob("format*_*.safetensors")} == {
        path_of(name).name for name in GOLDEN
    }


@pytest.mark.parametrize("name", GOLDEN)
def test_outputs_of_old_files_are_what_they_were(name: str) -> None:
    """To rounding, in which processors differ, most in a sum that cancels, as in the rotation."""
    outputs = outputs_of(path_of(name))
    for key, golden in GOLDEN[name].items():
        expected = torch.tensor(golden, dtype=torch.float64)
        torch.testing.assert_close(outputs[key], expected, rtol=1e-12, atol=1e-12, msg=key)


@pytest.mark.parametrize("name", GOLDEN)
def test_old_files_are_written_again_in_the_present_format(name: str, tmp_path: Path) -> None:
    path = tmp_path / "new.safetensors"
    save_model(load_model(path_of(name)), path)
    assert read_description(path)["format"] == FORMAT
    new, old = read_description(path), read_description(path_of(name))
    # What older files did not say: a choice that there was not, and what the model gives.
    assert new.pop("physics") == old.pop("physics", NO_PHYSICS.to_json())
    assert "reference" in new
    del new["reference"]
    old.pop("reference", None)
    defaults = {
        "n_readout": 32, "held_below": None, "dropout": 0.0, "normalization": "none",
        "n_neighbors": None, "product": "chained",
    }  # fmt: skip
    added = {name: value for name, value in defaults.items() if name in new["backbone"]}
    assert new["backbone"] == added | old["backbone"]
    renewed = {key: new[key] for key in ("version", "properties", "metadata", "backbone")}
    assert new == old | renewed
    before, after = outputs_of(path_of(name)), outputs_of(path)
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_metadata_of_old_files_is_kept() -> None:
    assert load_model(path_of("format1_spherical_merged")).metadata == ModelMetadata(
        name="old",
        level={"energy": "PBE/def2-SVP"},
        charge_multiplicity=((0, 1), (1, 2)),
        isolated_atom_energies={"H": -13.6, "C": -1028.4, "O": -2041.0},
        training=TrainingRecord(n_structures=7),
    )


@torch.no_grad()
@pytest.mark.parametrize("name", ["rosenfeld", "rosenfeld_polarizability"])
def test_rosenfeld_heads_of_format_2_keep_their_weights(name: str) -> None:
    """Minus the polarizability in minus the origin term: the same weights, to the bit."""
    path = path_of(f"format2_{name}")
    model, before = load_model(path), read_tensors(path).tensors
    for written, kept, sign in (
        ("symmetric.networks.0.weights.0", "polarizability.networks.0.weights.0", 1),
        ("symmetric.networks.0.weights.1", "polarizability.networks.0.weights.1", -1),
        ("symmetric.networks.1.weights.1", "polarizability.networks.1.weights.1", 1),
        ("symmetric.weights.0", "polarizability.weights.0", -1),
        ("flow.vectors", "flow.vectors", -1),
    ):
        now = model.state_dict()[f"heads.rosenfeld.{kept}"]
        assert torch.equal(now, sign * before[f"heads.rosenfeld.{written}"])
    assert ("polarizability" in model.heads) == ("polarizability" in model.outputs)
