"""Damaged inputs give a result or one line; `fuzz.py` says how, and runs more."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from containers import of_file
from doors import FORMATS
from fuzz import WEIGHTS, cases, findings, seeds_in
from mutations import mutated

N_SHORT, N_LONG = 500, 20_000


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return seeds_in(tmp_path_factory.mktemp("seeds") / "seeds")


def run(wanted: list[str], seeds: Path) -> None:
    found, counts = findings(wanted, seeds)
    assert sum(counts.values()) == len(wanted)
    assert not found, "\n".join(f"{one.case}: {one.problem} {one.details}" for one in found[:10])


@pytest.mark.slow
def test_damaged_files_are_a_result_or_one_line(seeds: Path) -> None:
    run(list(cases(N_SHORT)), seeds)


@pytest.mark.long
def test_many_damaged_files_are_a_result_or_one_line(seeds: Path) -> None:
    run(list(cases(N_LONG)), seeds)


def test_every_format_has_its_cases() -> None:
    assert set(WEIGHTS) == set(FORMATS)
    short, longer = list(cases(N_SHORT)), list(cases(2 * N_SHORT))
    assert longer[:N_SHORT] == short and len(set(longer)) == 2 * N_SHORT
    assert {case.split()[0] for case in short} == set(FORMATS)


@pytest.mark.parametrize(
    "name", ["w.xyz", "w.npz", "w.db", "tiny.safetensors", "run/last.ckpt", "split.json", "qm9.tar"]
)
def test_a_number_gives_the_same_damage_again(seeds: Path, name: str) -> None:
    data = (seeds / name).read_bytes()
    for change in (mutated, of_file(Path(name))):
        first, again = (
            [change(data, Random(f"{name}:{number}")) for number in range(4)] for _ in range(2)
        )
        assert first == again
        assert any(damaged != data for damaged in first)
