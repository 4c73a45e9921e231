"""`molequi bench`."""

from __future__ import annotations

import json

import pytest

from molequi.graphs.neighbors import build_graph
from molequi.models.metadata import ModelMetadata
from molequi.models.zoo import load
from molequi.prediction import benchmark


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One water molecule, plain torch, a single call."""
    graph = build_graph(
        [[0.0, 0.0, 0.119], [0.0, 0.763, -0.477], [0.0, -0.763, -0.477]], [8, 1, 1], 5.0
    )
    original = benchmark.bench
    monkeypatch.setattr(
        benchmark,
        "bench",
        lambda model: original(model, {"water": graph}, kernels=("reference",), seconds=0.0),
    )


@pytest.mark.usefixtures("quick")
def test_bench_prints_a_row_for_each_system_and_kernels(molequi, tiny_model):
    document = json.loads(molequi("bench", tiny_model, "--json").out)
    (row,) = document["rows"]
    assert (row["system"], row["atoms"], row["kernels"], row["n_calls"], row["compiled_s"]) == (
        "water",
        3,
        "reference",
        1,
        0.0,
    )
    assert row["atoms_per_second"] == pytest.approx(3e3 / row["ms"])
    printed = molequi("bench", tiny_model)
    assert printed.code == 0
    assert all(text in printed.out for text in ("water", "reference", "atoms/s"))


def test_bench_systems_are_those_it_promises(tiny_model):
    model = load(tiny_model)
    graphs = benchmark.systems(model.cutoff)
    assert [graph.n_atoms for graph in graphs.values()] == [21, 192, 1536]
    for graph in graphs.values():
        model.check_input(graph)


def test_bench_says_what_was_compiled_and_gives_the_kernels_back(tiny_model, monkeypatch):
    import numba

    model = load(tiny_model)
    model.backbone.use_kernels("reference")
    graph = {"box": next(iter(benchmark.systems(model.cutoff).values()))}
    compute = model.compute
    compiled = iter([True])

    def compute_after_compiling(of, **options):
        if next(compiled, False):
            numba.njit(lambda x: x + 1)(1)
        return compute(of, **options)

    monkeypatch.setattr(model, "compute", compute_after_compiling)
    first, second = benchmark.bench(
        model, {**graph, "again": graph["box"]}, kernels=("reference",), seconds=0.0
    )
    assert first.compiled_s > 0
    assert second.compiled_s == 0
    assert model.backbone.kernels == "reference"


def test_bench_refuses_a_model_without_energy(molequi, tmp_path):
    from molequi.models.checkpoint import save_model
    from molequi.models.making import make_model

    path = tmp_path / "dipole.safetensors"
    save_model(
        make_model(
            [1, 6, 7, 8],
            ["dipole"],
            n_channels=4,
            l_max=1,
            metadata=ModelMetadata(name="dipole"),
        ),
        path,
    )
    result = molequi("bench", path)
    assert result.code == 2
    assert "dipole" in result.err
