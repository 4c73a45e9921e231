"""What a model was made for: structures that it refuses to compute."""

from __future__ import annotations

from collections.abc import Collection

import torch
from ase.data import chemical_symbols
from torch import Tensor

from molequi.errors import UnknownElementError, UserError
from molequi.graphs.elements import COINCIDENT
from molequi.graphs.graph import AtomGraph, edge_vectors


def refuse_unknown_elements(graph: AtomGraph, is_known: Tensor, elements: Collection[int]) -> None:
    """Refuse an element other than `elements`; is_known: (N_ELEMENTS,), bool, the same as a table.

    Raises UnknownElementError naming the first such atom. A program that is being traced, by
    `torch.export` or `torch.compile`, does without: it must not depend on what a graph holds.
    """
    if torch.compiler.is_compiling():
        return
    unknown = ~is_known[graph.atomic_numbers]
    if not bool(unknown.any()):
        return
    atom = int(unknown.nonzero()[0])
    symbol = chemical_symbols[int(graph.atomic_numbers[atom])]
    known = " ".join(chemical_symbols[z] for z in elements)
    raise UnknownElementError(
        f"element {symbol} ({_atom_name(atom, graph)}) is not in this model; it knows {known} and "
        "can compute no others"
    )


def refuse_untrained_charges(graph: AtomGraph, trained: Collection[tuple[int, int]]) -> None:
    """Refuse a pair of total charge, e, and spin multiplicity that is not among the trained ones.

    Raises UserError.
    """
    pairs = zip(graph.total_charge.tolist(), graph.spin_multiplicity.tolist(), strict=True)
    for molecule, (charge, multiplicity) in enumerate(pairs):
        if (charge, multiplicity) in trained:
            continue
        known = ", ".join(f"charge {_signed(q)} multiplicity {m}" for q, m in sorted(set(trained)))
        where = f" (molecule {molecule})" if graph.n_molecules > 1 else ""
        raise UserError(
            f"charge {_signed(charge)} with spin multiplicity {multiplicity}{where} is outside "
            f"this model's training, which has {known}"
        )


def _signed(charge: int) -> str:
    return f"{charge:+d}" if charge else "0"


def refuse_coincident_atoms(graph: AtomGraph) -> None:
    """Refuse two atoms closer than `COINCIDENT`.

    Raises UserError naming them.
    """
    if not graph.edge_index.shape[1]:
        return
    shortest, edge = edge_vectors(graph).norm(dim=1).min(dim=0)
    if shortest < COINCIDENT:
        first, second = (_atom_name(int(atom), graph) for atom in graph.edge_index[:, edge])
        raise UserError(
            f"{first} and {second} are {float(shortest):.3f} Å apart; nuclei closer than "
            f"{COINCIDENT} Å are a mistake in the input"
        )


def _atom_name(atom: int, graph: AtomGraph) -> str:
    molecule = int(graph.batch[atom])
    ends = torch.cumsum(torch.bincount(graph.batch, minlength=graph.n_molecules), 0)
    local = atom - (int(ends[molecule - 1]) if molecule else 0)
    return f"atom {local} of molecule {molecule}" if graph.n_molecules > 1 else f"atom {local}"
