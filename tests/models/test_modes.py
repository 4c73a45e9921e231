"""A model under torch's own modes: inference mode, transforms, gradients of gradients, export.

Constants are kept for the process, so that what a mode makes of them shows in a new one alone.
"""

from __future__ import annotations

import shutil
import subprocess

import pytest
import torch
from ase.build import molecule

from molequi.models.making import make_model
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
