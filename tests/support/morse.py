"""A model whose physics is known in closed form.

Morse pairs and fixed charges behind the interfaces of MolecularModel and FrozenModel.
"""

import torch
from ase.data import chemical_symbols, covalent_radii
from torch import nn

from molequi.errors import UserError
from molequi.graphs.graph import edge_vectors
from molequi.models.metadata import ModelMetadata
from molequi.nn.backbones.base import Capabilities
from molequi.properties import PROPERTIES

# (depth eV, width 1/Å, length Å); other pairs: depth 4, width 2, sum of covalent radii.
PAIRS = {
    frozenset({"C", "O"}): (8.0, 2.3, 1.16),
    frozenset({"O"}): (1.0, 1.5, 2.6),
    frozenset({"O", "H"}): (4.6, 2.2, 0.96),
    frozenset({"H"}): (4.5, 1.9, 1.6),
}
CHARGES = {1: 0.3, 6: 0.5, 7: -0.4, 8: -0.6}
REFERENCE = {1: -13.6, 6: -1030.0, 7: -1485.0, 8: -2042.0}


def pair_table():
    radii = torch.tensor(covalent_radii[:119], dtype=torch.float64)
    table = torch.stack(
        [torch.full((119, 119), 4.0), torch.full((119, 119), 2.0), radii[:, None] + radii]
    )
    for key, values in PAIRS.items():
        a, b = ([chemical_symbols.index(symbol) for symbol in key] * 2)[:2]
        table[:, a, b] = table[:, b, a] = torch.tensor(values, dtype=torch.float64)
    return table


class MorseModel(nn.Module):
    """The energy is the sum of references and half the sum over edges of a Morse curve.

    depth ((1 - exp(-width (r - length)))^2 - 1) (1 - (r/cutoff)^2)^3.
    """

    outputs = ("energy", "dipole", "charges")
    kernels, capabilities = "reference", Capabilities(vectors=True)
    elements = (1, 6, 7, 8)

    def __init__(self, cutoff=5.0, dtype=torch.float64, outputs=None):
        super().__init__()
        self.cutoff = cutoff
        self.scale = nn.Parameter(torch.ones((), dtype=dtype))
        if outputs is not None:
            self.outputs = outputs
        derived = ("forces", "stress") if "energy" in self.outputs else ()
        self.properties = {name: PROPERTIES[name] for name in (*self.outputs, *derived)}
        self.metadata = ModelMetadata(
            name="morse", level={"energy": "Morse", "dipole": "fixed charges"}
        )
        self.register_buffer("table", pair_table())

    work = (0.0, 0.0)

    def digest(self):
        return f"morse {self.scale.item()} {self.cutoff}"

    def go_on_from(self, work):
        pass

    @property
    def dtype(self):
        return self.scale.dtype

    @property
    def device(self):
        return self.scale.device

    def forward(self, graph):
        z, (sender, receiver) = graph.atomic_numbers, graph.edge_index
        r = edge_vectors(graph).norm(dim=1)
        depth, width, length = self.table[:, z[sender], z[receiver]]
        pair = (
            0.5
            * depth
            * ((1 - torch.exp(-width * (r - length))) ** 2 - 1)
            * (1 - (r / self.cutoff) ** 2) ** 3
        )
        # The network's rounding: pair energies pass through its dtype.
        pair = (pair.to(self.dtype) * self.scale).to(torch.float64)
        atomic = graph.positions.new_zeros(len(z)).index_add(0, receiver, pair)
        reference = torch.tensor(
            [REFERENCE.get(int(number), 0.0) for number in z], dtype=torch.float64
        )

        def per_molecule(values):
            return values.new_zeros(graph.n_molecules, *values.shape[1:]).index_add(
                0, graph.batch, values
            )

        q = torch.tensor([CHARGES.get(int(number), 0.0) for number in z], dtype=torch.float64)
        counts = torch.bincount(graph.batch, minlength=graph.n_molecules).clamp(min=1)
        q = q + ((graph.total_charge - per_molecule(q)) / counts)[graph.batch]
        everything = {
            "energy": per_molecule(atomic + reference),
            "energies": atomic + reference,
            "atomization_energy": -per_molecule(atomic),
            "charges": q,
            "dipole": per_molecule(q[:, None] * graph.positions),
        }
        wanted = {
            *self.outputs,
            *(("energies", "atomization_energy") if "energy" in self.outputs else ()),
        }
        return {name: value for name, value in everything.items() if name in wanted}

    def compute(self, graph, *, forces=True, stress=False, create_graph=False):
        strain = torch.zeros(graph.n_molecules, 3, 3, dtype=torch.float64, requires_grad=True)
        positions = graph.positions.detach().clone().requires_grad_()
        deformation = torch.eye(3, dtype=torch.float64) + strain
        strained = graph._replace(
            positions=torch.einsum("ni,nij->nj", positions, deformation[graph.batch]),
            cell=graph.cell @ deformation,
        )
        outputs = self(strained)
        if "energy" in outputs:
            gradient, virial = torch.autograd.grad(
                outputs["energy"].sum(),
                [positions, strain],
                create_graph=create_graph,
                allow_unused=True,
            )
            outputs["forces"] = -gradient if gradient is not None else torch.zeros_like(positions)
            if stress:
                volume = torch.linalg.det(graph.cell).abs()
                symmetric = (virial + virial.mT) / 2
                outputs["stress"] = torch.where(
                    graph.pbc.all(1)[:, None, None], symmetric / volume[:, None, None], torch.nan
                )
        return (
            outputs if create_graph else {name: value.detach() for name, value in outputs.items()}
        )

    def hessian(self, graph):
        n = graph.n_atoms

        def energy(flat):
            return self(graph._replace(positions=flat.reshape(n, 3)))["energy"].sum()

        return torch.autograd.functional.hessian(energy, graph.positions.reshape(-1))

    def embed(self, graph):
        return graph.atomic_numbers[:, None].to(self.dtype)

    def check_input(self, graph):
        for atom, number in enumerate(graph.atomic_numbers.tolist()):
            if number not in self.elements:
                raise UserError(
                    f"element {chemical_symbols[number]} (atom {atom}) is not in this model; it "
                    "knows H C N O"
                )
        if graph.total_charge.any() or (graph.spin_multiplicity != 1).any():
            raise UserError(
                f"charge {graph.total_charge.tolist()} is outside this model's training"
            )
