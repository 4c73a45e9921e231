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

FILES = Path(__file__).parent / "files"
# Small models with random weights, and what they said of the first built-in probe in float64 when
# molequi 0.1.0 wrote them.
GOLDEN = json.loads((FILES / "format1_golden.json").read_text(encoding="utf-8"))


def path_of(name: str) -> Path:
    return FILES / f"format1_{name}.safetensors"


def outputs_of(path: Path) -> dict[str, torch.Tensor]:
    model = load_model(path, dtype=torch.float64)
    return model.compute(built_in_probes(model.elements)[0].graph(model.cutoff))


def test_every_older_format_has_a_converter_and_files() -> None:
    assert sorted(CONVERTERS) == list(range(1, FORMAT))
    for number in CONVERTERS:
        assert list(FILES.glob(f"format{number}_*.safetensors"))
    assert {path.name for path in FILES.glob("format1_*.safetensors")} == {
        path_of(name).name for name in GOLDEN
    }


@pytest.mark.parametrize("name", GOLDEN)
def test_outputs_of_old_files_are_what_they_were(name: str) -> None:
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
    assert new.pop("physics") == NO_PHYSICS.to_json()
    assert "reference" in new
    del new["reference"]
    defaults = {"n_readout": 32, "held_below": None}
    added = {name: value for name, value in defaults.items() if name in new["backbone"]}
    assert new["backbone"] == old["backbone"] | added
    renewed = {key: new[key] for key in ("version", "properties", "metadata", "backbone")}
    assert new == old | renewed
    before, after = outputs_of(path_of(name)), outputs_of(path)
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_metadata_of_old_files_is_kept() -> None:
    assert load_model(path_of("spherical_merged")).metadata == ModelMetadata(
        name="old",
        level={"energy": "PBE/def2-SVP"},
        charge_multiplicity=((0, 1), (1, 2)),
        isolated_atom_energies={"H": -13.6, "C": -1028.4, "O": -2041.0},
        training=TrainingRecord(n_structures=7),
    )
