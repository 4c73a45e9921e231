"""Batches of one shape, put together on the device where the structures lie.

A captured step reads a batch whose shape never changes. What the structures of a batch leave over
is filled with one molecule more, of atoms without labels: two of them are farther from each other
than the cutoff, and all edges and pairs of the filling are those two, so that it adds nothing. No
tensor is asked for its values on the way.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from molequi.datasets.displaced import DISPLACEMENTS
from molequi.datasets.in_memory import Frames
from molequi.datasets.relative import OTHER_POSITIONS
from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph
from molequi.kernels import Edges

# Structures whose edges are listed at once; room beyond the mean of so many structures.
_CHUNK = 512
_ATOMS_MORE, _EDGES_MORE, _PAIRS_MORE, _MOLECULES_MORE = 1.04, 1.10, 1.25, 1.3
# Atoms of the filling that a batch has at least.
_FILLING = 2


class Size(NamedTuple):
    """The shape of a batch: molecules without the filling; atoms, edges and pairs with it."""

    molecules: int
    atoms: int
    edges: int
    pairs: int


class PaddedBatch(NamedTuple):
    """A batch of one shape, of which the last molecule is the filling.

    graph: its edge pointers leave the filling's edges out. edges: of the graph. first, second:
    (P,), the atoms of each pair of a molecule. whole: of each molecule the place of that which it
    is a piece of, its own where it is none. targets: by name; NaN for the filling.
    """

    graph: AtomGraph
    edges: Edges
    first: Tensor
    second: Tensor
    whole: Tensor
    targets: dict[str, Tensor]


class Slots(NamedTuple):
    """Places of a batch, one after the other those of each molecule, then those of the filling.

    molecule: the number of molecules for the filling. within: the molecule, the last one for the
    filling. place: in the molecule, 0 for the filling. is_used: not of the filling.
    """

    molecule: Tensor
    within: Tensor
    place: Tensor
    is_used: Tensor

    @classmethod
    def of(cls, counts: Tensor, n_slots: int) -> "Slots":
        """Lay out counts (B,) in so many places."""
        ends, numbers = counts.cumsum(0), torch.arange(n_slots, device=counts.device)
        molecule = torch.searchsorted(ends, numbers, right=True)
        within = molecule.clamp(max=len(counts) - 1)
        is_used = molecule < len(counts)
        place = numbers - (ends - counts).index_select(0, within)
        return cls(molecule, within, torch.where(is_used, place, 0), is_used)

    def rows(self, firsts: Tensor, filling: int = 0) -> Tensor:
        """Return the rows of places in what begins at `firsts` (B,) for each molecule."""
        rows = firsts.index_select(0, self.within) + self.place
        return torch.where(self.is_used, rows, filling)


class PackedFrames:
    """Open molecules and their labels on one device, with their edges and pairs.

    cutoff: Å. back: (B,), how many structures before each stands that which it is a piece of, 0
    for what is no piece; pieces follow their structure. Number `nothing` is a structure of no
    atoms.
    Raises UserError for periodic structures and for displaced ones.
    """

    def __init__(
        self,
        frames: Frames,
        cutoff: float,
        device: torch.device | str,
        back: Tensor | None = None,
    ) -> None:
        _refuse(frames)
        self.nothing, self.n_atoms, self.device = len(frames), frames.n_atoms, torch.device(device)
        self.back = torch.zeros_like(self.n_atoms) if back is None else back
        self._back = self._put(_with_zero(self.back))
        edges = _edges(frames, cutoff, self.device)
        pairs = torch.triu_indices(*[int(self.n_atoms.max())] * 2, 1)
        # By the second atom: then the pairs of a smaller molecule are the first ones of a larger.
        pairs = pairs[:, pairs[1].argsort(stable=True)]
        n_pairs = self.n_atoms * (self.n_atoms - 1) // 2
        self.counts = torch.stack([self.n_atoms, edges.counts, n_pairs], dim=1)
        self._counts = self._put(_with_zero(self.counts))
        self._firsts = self._put(_with_zero(self.counts.cumsum(0) - self.counts))
        self._edges = self._put(_with_zero(edges.ends.T).T)
        self._pairs = self._put(_with_zero(pairs.T).T)
        # Two atoms more: what fills a batch, and one of it far away.
        far = frames.positions.new_tensor([[0.0, 0.0, 0.0], [2.0 * cutoff, 0.0, 0.0]])
        self._positions = self._put(torch.cat([frames.positions, far]))
        numbers = frames.atomic_numbers
        self._numbers = self._put(torch.cat([numbers, numbers[:1].expand(2)]))
        self._charges = self._put(_with_zero(frames.total_charge))
        self._targets = {
            name: (row.per_atom, self._put(_with_unknown(frames.targets[name], 1 + row.per_atom)))
            for name, row in frames.properties.items()
        }

    def size_for(self, n_molecules: int) -> Size:
        """Return a shape for about so many structures, and for the largest one at least."""
        # A structure and its pieces stand in one batch.
        whole = torch.arange(self.nothing) - self.back
        together = torch.zeros_like(self.counts).index_add(0, whole, self.counts)
        mean, most = self.counts.double().mean(0).tolist(), together.amax(0).tolist()
        atoms, edges, pairs = (
            max(round(n_molecules * x * more), y)
            for x, y, more in zip(mean, most, (_ATOMS_MORE, _EDGES_MORE, _PAIRS_MORE), strict=True)
        )
        molecules = max(round(n_molecules * _MOLECULES_MORE), 1 + int(self.back.max()))
        return Size(molecules, atoms + _FILLING, max(edges, 1), max(pairs, 1))

    def plan(self, order: Tensor, size: Size) -> Tensor:
        """Return the structures of each batch, as many as fit in this order: (batches, B).

        order: of what is no piece; the pieces of a structure follow it.
        """
        room = (size.atoms - _FILLING, size.edges, size.pairs)
        order = self._with_pieces(order)
        is_piece = self.back[order] > 0
        sums = _with_zero(self.counts[order]).roll(1, 0).cumsum(0).T.contiguous()
        rows, start = [], 0
        while start < len(order):
            ends = [
                int(torch.searchsorted(done, done[start] + most, right=True)) - 1
                for done, most in zip(sums, room, strict=True)
            ]
            end = min(*ends, start + size.molecules, len(order))
            while end < len(order) and is_piece[end]:
                end -= 1
            row = torch.full((size.molecules,), self.nothing)
            row[: end - start] = order[start:end]
            rows.append(row)
            start = end
        return self._put(torch.stack(rows))

    def _with_pieces(self, order: Tensor) -> Tensor:
        """Let the pieces of every structure follow it."""
        whole = torch.arange(self.nothing) - self.back
        counts = torch.bincount(whole, minlength=self.nothing)[order]
        first = (counts.cumsum(0) - counts).repeat_interleave(counts)
        return order.repeat_interleave(counts) + torch.arange(len(first)) - first

    def assemble(self, chosen: Tensor, size: Size) -> PaddedBatch:
        """Put the structures `chosen` (B,) together, which fit as a row of `plan` does."""
        counts, firsts = (x.index_select(0, chosen) for x in (self._counts, self._firsts))
        atoms, edges, pairs = (
            Slots.of(count, n) for count, n in zip(counts.unbind(1), size[1:], strict=True)
        )
        far = len(self._positions) - 1
        rows = atoms.rows(firsts[:, 0], far - 1)
        # The last atom of a batch is the far one.
        rows = torch.cat([rows[:-1], torch.full_like(rows[:1], far)])
        start = counts[:, 0].cumsum(0) - counts[:, 0]
        sender, receiver = _in_batch(edges, self._edges, firsts[:, 1], start, size)
        first, second = _in_batch(pairs, self._pairs, torch.zeros_like(start), start, size)
        of_edges = _edges_of(sender, receiver, edges.is_used.sum(), size.atoms)
        molecules = torch.cat([chosen, torch.full_like(chosen[:1], self.nothing)])
        graph = self._graph(rows, molecules, atoms.molecule, of_edges)
        targets = {
            name: values.index_select(0, rows if per_atom else molecules)
            for name, (per_atom, values) in self._targets.items()
        }
        places = torch.arange(len(molecules), device=chosen.device)
        whole = places - self._back.index_select(0, molecules)
        return PaddedBatch(graph, of_edges, first, second, whole, targets)

    def _graph(self, rows: Tensor, molecules: Tensor, batch: Tensor, edges: Edges) -> AtomGraph:
        whole = torch.zeros_like(molecules)
        return AtomGraph(
            positions=self._positions.index_select(0, rows),
            atomic_numbers=self._numbers.index_select(0, rows),
            edge_index=edges.index,
            shifts=edges.index.new_zeros(edges.index.shape[1], 3),
            cell=self._positions.new_zeros(len(molecules), 3, 3),
            pbc=whole.new_zeros(len(molecules), 3, dtype=torch.bool),
            batch=batch,
            total_charge=self._charges.index_select(0, molecules),
            spin_multiplicity=whole + 1,
            receiver_ptr=edges.receiver_ptr,
            sender_order=edges.sender_order,
        )

    def _put(self, tensor: Tensor) -> Tensor:
        return tensor.contiguous().to(self.device)


class _Listed(NamedTuple):
    """Edges of all structures: counts (B,); ends (2, E), sender and receiver in the structure."""

    counts: Tensor
    ends: Tensor


def _edges(frames: Frames, cutoff: float, device: torch.device) -> _Listed:
    """List the edges of every structure, receivers ascending, by the distances of all its atoms."""
    device = torch.device("cpu") if device.type == "meta" else device
    counts, ends, start = [], [], 0
    for n_atoms in frames.n_atoms.split(_CHUNK):
        stop = start + int(n_atoms.sum())
        is_atom = torch.arange(int(n_atoms.max())) < n_atoms[:, None]
        positions = frames.positions.new_full((*is_atom.shape, 3), torch.nan)
        positions[is_atom] = frames.positions[start:stop]
        positions, start = positions.to(device), stop
        squared = (positions[:, :, None] - positions[:, None]).square().sum(dim=-1)
        squared.diagonal(dim1=1, dim2=2).fill_(torch.inf)
        # No comparison holds for the NaN of places without an atom.
        is_near = squared < cutoff**2
        counts.append(is_near.sum(dim=(1, 2)).cpu())
        ends.append(is_near.nonzero()[:, [2, 1]].T.to(torch.int16).cpu())
    return _Listed(torch.cat(counts), torch.cat(ends, dim=1))


def _in_batch(
    slots: Slots, ends: Tensor, firsts: Tensor, start: Tensor, size: Size
) -> tuple[Tensor, Tensor]:
    """Return both atoms of edges or pairs in the batch, where molecules begin at `start`.

    ends: (2, n), in the molecule, which begin at `firsts` for each molecule.
    """
    rows, before = slots.rows(firsts), start.index_select(0, slots.within)
    first, second = (
        torch.where(slots.is_used, before + local.index_select(0, rows), filling)
        for local, filling in zip(ends, (size.atoms - 2, size.atoms - 1), strict=True)
    )
    return first, second


def _edges_of(sender: Tensor, receiver: Tensor, n_used: Tensor, n_atoms: int) -> Edges:
    """Return edges whose pointers end where the filling begins: kernels need not walk it."""
    numbers = torch.arange(n_atoms + 1, device=sender.device)
    ordered, order = torch.sort(sender, stable=True)
    receiver_ptr, sender_ptr = (
        torch.minimum(torch.searchsorted(ends, numbers), n_used) for ends in (receiver, ordered)
    )
    index, kinds = torch.stack([sender, receiver]), sender.new_empty(0)
    return Edges(index, receiver_ptr, order, sender_ptr, kinds)


def _refuse(frames: Frames) -> None:
    if bool(frames.pbc.any()):
        raise UserError("captured training is for open molecules; the data have periodic ones")
    for along, name in ((DISPLACEMENTS, "force_changes"), (OTHER_POSITIONS, "relative_energy")):
        if along in frames.targets:
            raise UserError(f"captured training knows no {name}; leave it out of data.targets")


def _with_zero(values: Tensor) -> Tensor:
    """Add a row of zeros."""
    return torch.cat([values, values.new_zeros(1, *values.shape[1:])])


def _with_unknown(values: Tensor, n_rows: int) -> Tensor:
    """Add rows of NaN."""
    return torch.cat([values, values.new_full((n_rows, *values.shape[1:]), torch.nan)])
