"""The recipes of docs/architecture.md: one of each kind of thing, added from outside."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import ase
import numpy as np
import pytest
import torch
import typer
from torch import Tensor, nn
from torch.nn import functional

from molequi.cli.main import app, run
from molequi.datasets import registry as datasets
from molequi.datasets.base import DatasetSpec, Request
from molequi.datasets.conversion import frames_from_atoms
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.load import load_dataset
from molequi.datasets.report import describe_frames
from molequi.datasets.settings import DataSettings
from molequi.graphs.graph import AtomGraph, edge_vectors
from molequi.kernels import BACKENDS, Backend, Edges, reference
from molequi.models.making import make_model
from molequi.models.probes import built_in_probes
from molequi.models.settings import ModelSettings
from molequi.models.structure import random_rotation
from molequi.nn.backbones import registry as backbones
from molequi.nn.backbones.base import BackboneBase, Capabilities, NodeFeatures
from molequi.nn.heads.base import FeatureSpec, Head, Molecules
from molequi.nn.heads.registry import HEADS
from molequi.nn.radial import bessel_basis, envelope
from molequi.o3.coupling import CouplingTable
from molequi.o3.irreps import Irreps
from molequi.properties import PROPERTIES, Property, declare
from molequi.structures.molecules import atoms_from_smiles
from molequi.training.settings import TrainingSettings

ELEMENTS = (1, 6, 8)
MOLECULE = built_in_probes(ELEMENTS)[1]


class ShellBackbone(BackboneBase):
    """An atom sees how far its neighbours are and which elements they have: no angles."""

    architecture = "shells"
    advice = "it has scalars only"

    def __init__(
        self,
        elements: Sequence[int],
        cutoff: float = 4.0,
        *,
        n_channels: int = 8,
        irreps_out: Irreps | None = None,
    ) -> None:
        super().__init__(elements, {"cutoff": cutoff, "n_channels": n_channels})
        self.irreps_out, self.n_channels = Irreps("0e"), n_channels
        self.atoms = nn.Parameter(torch.randn(len(elements), n_channels))
        self.radial = nn.Linear(n_channels, n_channels, bias=False)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(equivariant=True)

    @property
    def n_invariants(self) -> int:
        return self.n_channels

    def calibrate(self, graph: AtomGraph) -> None:
        """Nothing has to be set."""

    def forward(self, graph: AtomGraph) -> NodeFeatures:
        distances = edge_vectors(graph).norm(dim=1)
        basis, u = bessel_basis(distances, self.cutoff, self.n_channels), envelope(distances, 4.0)
        atoms = functional.embedding(self.species_of_number[graph.atomic_numbers], self.atoms)
        sender, receiver = graph.edge_index
        messages = self.radial((basis * u[:, None]).to(self.dtype)) * atoms[sender]
        features = torch.tanh(atoms.index_add(0, receiver, messages))
        lengths, weights = distances.to(self.dtype), u.to(self.dtype)
        return NodeFeatures(features[:, None], features, lengths, weights)


def test_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    known = MappingProxyType({**backbones.BACKBONES, "shells": ShellBackbone})
    monkeypatch.setattr(backbones, "BACKBONES", known)
    model = make_model(ELEMENTS, ["energy"], architecture="shells", n_channels=5).double()
    assert ModelSettings(architecture="shells").overrides() == {"architecture": "shells"}
    still = model.compute(MOLECULE.graph(model.cutoff))
    turn = random_rotation(np.random.default_rng(0))
    turned = model.compute(MOLECULE.mapped(turn).graph(model.cutoff))
    assert torch.allclose(turned["energy"], still["energy"], atol=1e-9)
    assert still["forces"].abs().max() > 1e-3
    expected = still["forces"] @ torch.as_tensor(turn).T
    assert torch.allclose(turned["forces"], expected, atol=1e-9)


class SurfaceHead(Head):
    """The sum of positive contributions of atoms."""

    def __init__(
        self, target: Property, features: FeatureSpec, companions: tuple[str, ...] = ()
    ) -> None:
        super().__init__(target, features, companions)
        self.readout = nn.Linear(features.n_invariants, 1)

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        areas = functional.softplus(self.readout(features.invariant))[:, 0] * self.scale
        return {self.target.name: molecules.sum(areas)}


def test_property_and_its_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HEADS, "surface", SurfaceHead)
    surface = declare("surface", unit="Å²", extensive=True, head="surface")
    model = make_model(ELEMENTS, ["energy", surface])
    outputs = model.compute(MOLECULE.graph(model.cutoff))
    assert outputs["surface"].shape == (1,)
    assert float(outputs["surface"]) > 0
    assert model.properties["surface"].unit == "Å²"


class Hydrides(DatasetSpec):
    """Bond lengths and energies of diatomic hydrides, one per line: symbol, Å, eV."""

    name = "hydrides"
    description = "energies of stretched hydrides"
    targets = ("energy",)

    def recognises(self, path: Path) -> bool:
        return path.suffix == ".hydrides"

    def read(self, request: Request) -> LabelledSet:
        lines = [line.split() for line in request.file().read_text().splitlines()]
        atoms = [ase.Atoms(f"{symbol}H", [[0, 0, 0], [0, 0, float(d)]]) for symbol, d, _ in lines]
        energies = torch.tensor([float(energy) for *_, energy in lines], dtype=torch.float64)
        frames = frames_from_atoms(
            atoms, targets={"energy": energies}, properties={"energy": PROPERTIES["energy"]}
        )
        return LabelledSet(frames, describe_frames(frames, self.name))


def test_data_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        datasets, "DATASETS", MappingProxyType({"hydrides": Hydrides(), **datasets.DATASETS})
    )
    path = tmp_path / "a.hydrides"
    path.write_text("".join(f"F {0.8 + 0.1 * k} {-10 + k}\n" for k in range(10)))
    assert datasets.detect(path) == "hydrides"
    for kind in ("hydrides", None):
        loaded = load_dataset(DataSettings(kind=kind, path=str(path), targets=("energy",)))
        assert len(loaded.part("train")) == 8
        assert float(loaded.frames.targets["energy"].sum()) == -55.0


class EdgeByEdge(Backend):
    """Sums one edge after the other: slow, and plain to see."""

    def serves(self, features: Tensor) -> bool:
        return features.device.type == "cpu"

    def convolve(
        self,
        features: Tensor,
        harmonics: Tensor,
        distances: Tensor,
        coefficients: Tensor,
        edges: Edges,
        table: CouplingTable,
        cutoff: float,
    ) -> Tensor:
        one = slice(0, 0)
        total = reference.convolve(
            features,
            harmonics[one],
            distances[one],
            coefficients,
            edges.index[:, one],
            table,
            cutoff,
        )
        for k in range(len(distances)):
            one = slice(k, k + 1)
            total = total + reference.convolve(
                features,
                harmonics[one],
                distances[one],
                coefficients,
                edges.index[:, one],
                table,
                cutoff,
            )
        return total


def test_kernel_back_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "edge_by_edge", EdgeByEdge())
    assert TrainingSettings(kernels="edge_by_edge").kernels == "edge_by_edge"
    model = make_model(ELEMENTS, ["energy"], n_channels=4).double()
    graph = MOLECULE.graph(model.cutoff)
    results = {}
    for kernels in ("reference", "edge_by_edge"):
        model.backbone.use_kernels(kernels)
        results[kernels] = model.compute(graph)
    for name in ("energy", "forces"):
        expected = results["reference"][name]
        assert torch.allclose(results["edge_by_edge"][name], expected, atol=1e-10), name


def count(smiles: Annotated[str, typer.Argument(help="A molecule.")]) -> None:
    """Count the atoms of a molecule."""
    typer.echo(json.dumps({"atoms": len(atoms_from_smiles(smiles))}))


def test_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(app, "registered_commands", [*app.registered_commands])
    app.command("count", rich_help_panel="See what there is")(count)
    log = logging.getLogger("molequi")  # which a command sends to stderr
    for name, value in (("handlers", log.handlers), ("level", log.level), ("propagate", True)):
        monkeypatch.setattr(log, name, value)
    assert run(["count", "CCO"]) == 0
    assert json.loads(capsys.readouterr().out) == {"atoms": 9}
    assert run(["count"]) == 2
