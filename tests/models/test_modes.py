"""A model under torch's own modes: inference mode, transforms, gradients of gradients, export.

Constants are kept for the process, so that what a mode makes of them shows in a new one alone.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule

from molequi.models.checkpoint import load_model, save_model
from molequi.models.freeze import FrozenModel
from molequi.models.making import make_model
from molequi.prediction.embedding import embed
from molequi.prediction.predict import predict
from molequi.simulation.calculator import Calculator
from molequi.structures.atoms import graph_from_atoms

HEAD = """
import torch
from ase.build import molecule
from molequi.models.making import make_model
from molequi.structures.atoms import graph_from_atoms
model = make_model((1, 6, 8), ["energy", "dipole"], n_channels=4, l_max=1).double().eval()
graph = graph_from_atoms(molecule("CH3OH"), model.cutoff)
energy = lambda x: model(graph._replace(positions=x))["energy"].sum()
hessian = lambda: torch.func.hessian(energy)(graph.positions).reshape(18, 18)
"""
CASES = {
    "inference mode leaves all models with forces": """
with torch.inference_mode():
    inside = model(graph)["energy"]
    frozen = model.freeze(kernels="generic")
    made = graph_from_atoms(molecule("CH3OH"), model.cutoff)
    first = frozen.compute(made)["forces"]
    plain = model.compute(made)["forces"]
    frozen.embed(made), frozen.multipoles(made), model.hessian(made)
torch.testing.assert_close(model.compute(graph)["energy"], inside)
torch.testing.assert_close(model.compute(graph)["forces"], plain)
torch.testing.assert_close(frozen.compute(graph)["forces"], first, rtol=0, atol=0)
torch.testing.assert_close(first, plain)
model.compute(made, create_graph=True)["forces"].square().sum().backward()""",
    "a transform may be called again, whatever the kernels": """
expected = hessian()
torch.testing.assert_close(expected, model.hessian(graph))
for kernels in ("reference", "generic"):
    model.backbone.use_kernels(kernels)
    torch.testing.assert_close(hessian(), expected)""",
    "a program is exported and serves other positions and charges": """
class Energy(torch.nn.Module):
    def __init__(self): super().__init__(); self.model = model
    def forward(self, x, charge):
        out = self.model(graph._replace(positions=x, total_charge=charge))
        return out["energy"], out["dipole"]
program = torch.export.export(Energy(), (graph.positions, graph.total_charge), strict=False)
moved = graph.positions + 0.05 * torch.randn_like(graph.positions)
torch.testing.assert_close(program.module()(moved, graph.total_charge + 1),
                           Energy()(moved, graph.total_charge + 1))""",
}


@pytest.mark.parametrize("case", CASES)
def test_in_a_new_process(case, quick_path):
    done = subprocess.run(
        [shutil.which("python", path=quick_path), "-c", HEAD + CASES[case]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_forces_with_a_graph_stay_connected_to_the_positions_of_the_caller():
    """A loss of forces, differentiated by what made the positions, against finite differences."""
    model = make_model((1, 8), ["energy"], n_channels=4, l_max=1).double()
    graph = graph_from_atoms(molecule("H2O"), model.cutoff)

    def loss(stretch: torch.Tensor) -> torch.Tensor:
        stretched = graph._replace(positions=graph.positions * stretch)
        return model.compute(stretched, create_graph=True)["forces"].square().sum()

    stretch = torch.tensor(1.02, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(stretch), stretch)
    step = 1e-5
    numeric = (loss(stretch + step) - loss(stretch - step)).detach() / (2 * step)
    assert float(abs(numeric)) > 1e-3
    torch.testing.assert_close(slope, numeric, rtol=1e-7, atol=0.0)
    assert not model.compute(graph)["forces"].requires_grad


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


MODES = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "another default device": lambda: torch.device("meta"),  # as cuda, without a GPU
    "bfloat16 by default": lambda: default_dtype(torch.bfloat16),
    "float16 by default": lambda: default_dtype(torch.float16),
    "float64 by default": lambda: default_dtype(torch.float64),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("modes") / "model.safetensors"
    settings = {"n_channels": 8, "l_max": 2, "correlation": 3, "mixing": "separate"}
    save_model(make_model((1, 6, 8), ["energy", "dipole"], **settings), path)
    return path


def numbers(frozen: FrozenModel) -> dict[str, np.ndarray]:
    methanol, calculator = molecule("CH3OH"), Calculator(frozen)
    methanol.calc = calculator
    graph = graph_from_atoms(methanol, frozen.cutoff)
    return {
        **{name: methanol.calc.get_property(name, methanol) for name in ("energy", "forces")},
        "hessian": calculator.get_hessian(methanol),
        "predicted": predict(methanol, frozen)[0]["forces"],
        "features": embed(methanol, frozen)[0],
        "called": frozen(graph)["energy"].detach().numpy(),
        "charges": frozen.multipoles(graph).charges.numpy(),
    }


@pytest.mark.parametrize("kernels", ["reference", "generic"])
@pytest.mark.parametrize("mode", MODES)
def test_a_mode_of_the_caller_changes_no_number(mode, kernels, saved):
    """A model is loaded, frozen, saved and used in it, and one that was frozen before it."""
    outside = load_model(saved).freeze(kernels=kernels)
    expected = numbers(outside)
    with MODES[mode]():
        model = load_model(saved)
        found = [numbers(model.freeze(kernels=kernels)), numbers(outside)]
        save_model(model, saved.with_name("again.safetensors"))
    load_model(saved.with_name("again.safetensors"))
    for name, value in expected.items():
        for other in found:
            assert np.asarray(other[name]).dtype == np.asarray(value).dtype, name
            np.testing.assert_array_equal(other[name], value, err_msg=name)


def test_a_new_network_has_the_default_number_type():
    with default_dtype(torch.bfloat16):
        model = make_model((1, 8), ["energy"], n_channels=4, l_max=1, correlation=2)
        found = model.compute(graph_from_atoms(molecule("H2O"), model.cutoff))
    assert model.dtype == torch.bfloat16
    assert bool(torch.isfinite(found["forces"]).all())
