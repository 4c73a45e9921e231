"""Files of tensors: what is written comes back, and nothing else does."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from molequi.errors import UserError
from molequi.runtime.tensors import read_tensors, read_texts, write_tensors

N_FLIPS = 400


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "weights": torch.randn(7, 5, dtype=torch.float64)[:, ::2],
        "half": torch.randn(3).bfloat16(),
        "mask": torch.tensor([True, False]),
        "count": torch.tensor(3),
        "none": torch.zeros(0, 2),
    }


def test_tensors_and_texts_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, tensors(), {"what": "a tëst"})
    found = read_tensors(path)
    assert found.texts == {"what": "a tëst"}
    assert read_texts(path)["what"] == "a tëst"
    assert found.tensors.keys() == tensors().keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in tensors().items())
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    """The library that writes has its texts in another order each time."""
    path, texts = tmp_path / "a.safetensors", {name: name for name in "zyxabc"}
    written = set()
    for _ in range(20):
        write_tensors(path, tensors(), texts)
        written.add(path.read_bytes())
    assert len(written) == 1
    assert read_tensors(path).texts == texts


def test_a_flipped_bit_anywhere_is_found(tmp_path: Path) -> None:
    """Without the checksum 45 of 400 flips in the numbers of a model passed for a good model."""
    path = tmp_path / "a.safetensors"
    write_tensors(path, tensors(), {"what": "a test"})
    good, rng = path.read_bytes(), random.Random(0)
    for _ in range(N_FLIPS):
        bad = bytearray(good)
        place = rng.randrange(8 * len(bad))
        bad[place // 8] ^= 1 << place % 8
        path.write_bytes(bad)
        try:
            found = read_tensors(path)
        except UserError:
            continue
        # What is no part of the content: spaces that fill the header up, the name of the checksum.
        assert found.texts["what"] == "a test"
        assert all(torch.equal(found.tensors[name], tensor) for name, tensor in tensors().items())


@pytest.mark.parametrize(
    "change",
    [
        lambda found, texts: found["weights"][0].neg_(),
        lambda found, texts: found.update(other=found.pop("half")),
        lambda found, texts: found.update(weights=found["weights"].T.contiguous()),
        lambda found, texts: texts.update(what="another test"),
    ],
)
def test_content_that_is_not_what_was_written_is_damage(tmp_path: Path, change) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, tensors(), {"what": "a test"})
    found, texts = load_file(path), read_texts(path)
    change(found, texts)
    save_file(found, path, metadata=texts)
    with pytest.raises(UserError, match="a.safetensors is damaged: its checksum is not"):
        read_tensors(path)


def test_files_without_a_checksum_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(2)}, path)
    assert read_tensors(path).texts == {}
    with pytest.raises(UserError, match="is not a model file"):
        read_tensors(tmp_path / "absent")
