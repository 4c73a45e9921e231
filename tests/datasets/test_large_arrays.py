"""Large arrays of an npz: the same as others, but left on the disk."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from molequi.datasets import large_arrays
from molequi.datasets.array_files import open_arrays, write_arrays
from molequi.errors import UserError

RNG = np.random.default_rng(0)
ARRAYS = {
    "large": RNG.standard_normal((300, 3)),
    "meta": np.array("a text"),
    "other": RNG.integers(0, 9, 5000).astype(np.uint8),
    "small": np.arange(5),
    "columns": np.asfortranarray(RNG.standard_normal((40, 30))),
}
LARGE = {"large", "other", "columns"}


@pytest.fixture(autouse=True)
def _small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_arrays, "LARGE", 4096)


@pytest.mark.parametrize("compress", [False, True])
def test_what_is_written_comes_back_and_numpy_reads_it_too(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "set.npz"
    write_arrays(path, ARRAYS, compress=compress)
    found = open_arrays(path)
    mapped = {name for name, array in found.items() if isinstance(array, np.memmap)}
    assert mapped == (set() if compress else LARGE)
    with np.load(path) as by_numpy:
        for name, array in ARRAYS.items():
            assert found[name].flags.aligned
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name], array)
            assert np.array_equal(by_numpy[name], array)


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_arrays(tmp_path / name, ARRAYS, compress=False)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_changes_stay_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    write_arrays(path, ARRAYS, compress=False)
    before = path.read_bytes()
    open_arrays(path)["large"][0] = 7.0
    assert path.read_bytes() == before


def test_a_file_that_is_not_aligned_is_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("x", "w") as stream:
        stream.write(b"12345")
    with zipfile.ZipFile(path, "a") as archive, archive.open("large.npy", "w") as stream:
        np.lib.format.write_array(stream, ARRAYS["large"])
    found = open_arrays(path, only=["large"])["large"]
    assert not isinstance(found, np.memmap)
    assert np.array_equal(found, ARRAYS["large"])


def test_a_flipped_bit_is_found_in_an_array_that_stays_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    write_arrays(path, ARRAYS, compress=False)
    data = bytearray(path.read_bytes())
    data[data.index(ARRAYS["large"].tobytes()) + 1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"set.npz.*CRC"):
        open_arrays(path)
