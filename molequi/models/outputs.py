"""What a model's outputs are beside what its heads give."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from molequi.graphs.elements import N_ELEMENTS
from molequi.graphs.graph import AtomGraph
from molequi.nn.heads.base import Molecules
from molequi.nn.heads.doubt import MemberSpreadHead
from molequi.nn.response import members_of
from molequi.properties import Periodicity, Property
from molequi.runtime.constants import kept_constants

Outputs = dict[str, Tensor]


def unfounded(outputs: Collection[str]) -> frozenset[str]:
    """Name what a model with these outputs computes and nobody should be told.

    A dipole is the sum of charges and of atomic dipoles, and an energy may hold the Coulomb term of
    charges: where no labels of charges were learned, nothing fixes how the two are parted, and the
    charges of atoms are numbers of the network alone.
    """
    return frozenset({"charges"} - set(outputs))


def with_terms(
    outputs: Outputs,
    graph: AtomGraph,
    molecules: Molecules,
    terms: Callable[[AtomGraph, Tensor | None], Tensor] | None,
) -> Outputs:
    """Add what the energy has beside its head, and what atoms claim of the total charge.

    terms: such as `physics.EnergyTerms`.
    """
    charges, added = molecules.charges, []
    if charges is not None:
        outputs = {**outputs, "local_charge": charges.local_charge}
        added.append(charges.energies)
    if terms is not None:
        added.append(terms(graph, outputs.get("charges") if charges is None else charges.values))
    if not added or "energy" not in outputs:
        return outputs
    energies = added[0] if len(added) == 1 else added[0] + added[1]
    return {
        **outputs,
        "energy": outputs["energy"] + molecules.sum(energies),
        "energies": outputs["energies"] + energies,
    }


def with_undefined_as_nan(
    outputs: Outputs, properties: Mapping[str, Property], graph: AtomGraph
) -> Outputs:
    """Return the outputs with NaN for what a structure does not have, being periodic or not."""
    outputs = dict(outputs)
    for name, row in properties.items():
        if name in outputs and row.periodicity is not Periodicity.ANY:
            is_defined = row.is_defined(graph.pbc)
            is_defined = is_defined[graph.batch] if row.per_atom else is_defined
            mask = ~is_defined.reshape(-1, *[1] * len(row.shape))
            outputs[name] = outputs[name].masked_fill(mask, torch.nan)
    return outputs


def with_spreads(outputs: Outputs, heads: Iterable[nn.Module]) -> Outputs:
    """Put how far a committee lies apart in the place of what its members give."""
    spreads, apart = {}, {members_of(name) for name in ("energy", "forces")} & set(outputs)
    for head in heads:
        if isinstance(head, MemberSpreadHead) and members_of(head.target.spread_of) in apart:
            values = outputs[members_of(head.target.spread_of)]
            spreads[head.target.name] = head.of_members(values)
    kept = {name: value for name, value in outputs.items() if name not in apart}
    return {**kept, **spreads}


def with_atomization_energy(
    outputs: Outputs,
    graph: AtomGraph,
    molecules: Molecules,
    isolated: Mapping[str, float],
    elements: Collection[int],
) -> Outputs:
    """Add the energy set free when the atoms join, where there is an energy.

    isolated: energies of isolated atoms by symbol, eV; nothing is added where that of one of the
    model's `elements` is not known.
    """
    is_known = all(chemical_symbols[number] in isolated for number in elements)
    if "energy" not in outputs or not is_known:
        return outputs
    table = _by_number(tuple(isolated.items())).to(graph.positions)
    separate = molecules.sum(table[graph.atomic_numbers])
    return {**outputs, "atomization_energy": separate - outputs["energy"]}


@kept_constants
def _by_number(isolated: tuple[tuple[str, float], ...]) -> Tensor:
    """Return the energies of isolated atoms by atomic number, zero where unknown."""
    energies = dict(isolated)
    values = [energies.get(symbol, 0.0) for symbol in chemical_symbols[:N_ELEMENTS]]
    return torch.tensor(values, dtype=torch.float64)
