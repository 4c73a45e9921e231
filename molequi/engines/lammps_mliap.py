"""A model as LAMMPS calls it by `pair_style mliap unified`: pairs of atoms in, their forces out."""

from __future__ import annotations

import copy
import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor

from molequi.engines.lammps_domain import Domain, Exchange, Exchanged, pairs_of, write_energies
from molequi.engines.traced import refuse_export
from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph, make_graph
from molequi.kernels import edges_of
from molequi.models.checkpoint import load_model, save_model
from molequi.models.molecular import MolecularModel
from molequi.nn.backbones.base import unchanged
from molequi.nn.backbones.mace import MaceBackbone
from molequi.nn.backbones.spherical import SphericalBackbone
from molequi.nn.backbones.worthwhile import worthwhile_kernels
from molequi.nn.heads.layered import LayeredEnergyHead
from molequi.nn.heads.pooling import EnergyHead
from molequi.nn.weight_tables import freeze_tables
from molequi.runtime.files import written_by_rename

_BACKBONES = SphericalBackbone, MaceBackbone


class MliapModel:
    """What `pair_style mliap unified FILE 0` loads; units metal.

    model: its energy must be a sum over atoms of what lies within reach of message passing, by a
    `spherical` or a `mace` network. It computes where LAMMPS keeps its pairs, in its own dtype.
    kernels: `auto` starts in plain torch and on a CPU changes to compiled kernels when more has
    been computed than compiling costs, as `FrozenModel` does; for the others see
    `SphericalBackbone.use_kernels`.
    It is pickled as the content of its model file; molequi must be there where it is loaded.
    Raises UserError for a model that does not fit, saying which do.
    """

    # Of LAMMPS' `MLIAPUnified`, whose other attributes are made below.
    interface: object = None
    ndescriptors = 1
    nparams = 1

    def __init__(self, model: MolecularModel, kernels: str = "auto") -> None:
        refuse_mliap(model)
        self._file = _content(model)
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.kernels, self._current = kernels, ""
        self._work = self._largest = 0.0
        self._compute_by("reference" if kernels == "auto" else kernels)
        self._lie_on(model.device)
        self.element_types = [chemical_symbols[number] for number in model.elements]
        self.cutoff = model.cutoff
        self.rcutfac = 0.5 * model.cutoff  # LAMMPS multiplies by the sum of two radii of 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the content of a model file, which later versions of molequi read too."""
        return _from_content, (self._file, self.kernels)

    def compute_descriptors(self, data: Domain) -> None:
        """Do nothing; LAMMPS asks for it."""

    def compute_gradients(self, data: Domain) -> None:
        """Do nothing; LAMMPS asks for it."""

    def compute_forces(self, data: Domain) -> None:
        """Write the energies of the atoms asked for, and for every pair dE/d(x_j - x_i).

        Raises UserError where ghosts need an exchange that LAMMPS does not offer.
        """
        exchange = self._exchange(data)
        numbers = self._numbers(data)
        pairs = pairs_of(data, numbers.device)
        self._count(len(pairs.vectors))
        vectors = pairs.vectors.requires_grad_()
        graph = make_graph(vectors.new_zeros(len(numbers), 3), numbers, pairs.edges)
        with self.model.backbone.threads_for_prediction(graph):
            energies = self._energies(vectors, graph, exchange)
            asked = energies[:0]
            if data.nlistatoms:
                places = torch.as_tensor(data.iatoms)[: data.nlistatoms].long()
                asked = energies.index_select(0, places)
            (gradient,) = torch.autograd.grad(asked.sum(), vectors)
        write_energies(data, asked.detach())
        if data.npairs:
            forces = torch.empty_like(gradient).index_copy(0, pairs.order, gradient)
            data.update_pair_forces(forces if forces.is_cuda else forces.numpy())

    def _exchange(self, data: Domain) -> Exchange | None:
        """Return what moves features between processes, None where one layer needs nothing."""
        if isinstance(data, Exchange):
            return data
        n_layers = len(self.model.backbone.layers)  # type: ignore[arg-type]
        if n_layers > 1:
            raise UserError(
                f"the {n_layers} layers of model {self.model.metadata.name} need the features of "
                "ghost atoms, and this LAMMPS has no exchange of them; run a build with the "
                "package KOKKOS by `-k on -sf kk`, or a model of one layer"
            )
        return None

    def _numbers(self, data: Domain) -> Tensor:
        """Return the atomic numbers of own atoms and ghosts: (ntotal,)."""
        known = torch.tensor(self.model.elements)
        if not data.ntotal:
            return known[:0].to(self.model.device)
        places = torch.as_tensor(data.elems).long()
        if bool((places < 0).any()):
            raise UserError(
                "there are atoms of a type that pair_coeff maps to NULL; name an element of the "
                f"model for each type: {', '.join(self.element_types)}"
            )
        if places.device != self.model.device:
            self._lie_on(places.device)
        return known.to(places.device)[places]

    def _lie_on(self, device: torch.device) -> None:
        """Move there, with all that follows from the weights."""
        self.model.to(device)
        freeze_tables(self.model)

    def _count(self, n_pairs: int) -> None:
        """With `auto` kernels on a CPU the work so far decides what is worth compiling."""
        backbone, operations = self.model.backbone, self.model.operations(n_pairs)
        self._work, self._largest = self._work + operations, max(self._largest, operations)
        if self.kernels == "auto" and backbone.device.type == "cpu":
            self._compute_by(worthwhile_kernels(backbone, self._work, in_one_pass=self._largest))

    def _compute_by(self, kernels: str) -> None:
        if kernels != self._current:
            self.model.use_kernels(kernels)
            self._current = kernels

    def _energies(self, vectors: Tensor, graph: AtomGraph, exchange: Exchange | None) -> Tensor:
        """Return energies (ntotal,), eV, float64; those of ghosts mean nothing."""
        features = self.model.backbone.forward_along(  # type: ignore[operator]
            vectors,
            graph,
            edges_of(graph),
            unchanged if exchange is None else lambda own: Exchanged.apply(own, exchange),
        )
        energies = self.model.heads["energy"](features, self.model.molecules(graph))["energies"]
        terms = self.model.terms
        if terms is None or terms.repulsion is None:
            return energies
        return energies + terms.repulsion.along(vectors, graph)


def _content(model: MolecularModel) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_model(model, path)
        return path.read_bytes()


def _from_content(content: bytes, kernels: str = "auto") -> MliapModel:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(content)
        return MliapModel(load_model(path), kernels)


def refuse_mliap(model: MolecularModel) -> None:
    """Refuse a model whose energy is no sum of what each atom's messages tell. Raises UserError."""
    refuse_export(model)
    name, served = model.metadata.name, ", ".join(kind.architecture for kind in _BACKBONES)
    if not isinstance(model.backbone, _BACKBONES):
        raise UserError(
            f"model {name} has the architecture {model.backbone.architecture}, which does not run "
            f"in LAMMPS' mliap; these do: {served}"
        )
    if not isinstance(model.heads["energy"], EnergyHead | LayeredEnergyHead):
        raise UserError(
            f"model {name} pools the atoms of a molecule to its energy, and LAMMPS' mliap needs "
            "energies of atoms; train without model.pooling"
        )
    physics = model.physics
    far = {
        "equilibrated charges": physics.is_equilibrated,
        "the Coulomb energy of charges": physics.coulomb is not None,
        "D3 dispersion": physics.dispersion is not None,
    }
    if any(far.values()):
        raise UserError(
            f"the energy of model {name} has {' and '.join(word for word in far if far[word])}, "
            "beyond the pairs within its cutoff that LAMMPS' mliap knows; it serves models "
            f"({served}) without these, such as imported MACE models. For this one use "
            "--to metatomic, or molequi.engines.lammps_fix"
        )


def export_mliap(model: MolecularModel, path: Path) -> None:
    """Write the file that `pair_style mliap unified` reads. Raises UserError as `MliapModel`."""
    content = pickle.dumps(MliapModel(model))
    with written_by_rename(path) as temporary:
        temporary.write_bytes(content)
