"""A coupling table as sums over terms, in the order in which generated source writes them."""

from __future__ import annotations

from molequi.o3.coupling import CouplingTable


class Terms:
    """Which coefficients each (path, component of the output, component of the features) needs.

    entries: for each such triple (p, k, a) the pairs of a component b of the harmonics and its
    coefficient.
    """

    def __init__(self, table: CouplingTable) -> None:
        self.n_inputs = table.first.dim
        self.n_harmonics = table.second.dim
        self.n_outputs = table.output.dim
        self.n_paths = len(table.paths)
        self.entries: dict[tuple[int, int, int], list[tuple[int, float]]] = {}
        for p, a, b, k, value in zip(
            table.path,
            table.component_first,
            table.component_second,
            table.component_output,
            table.value,
            strict=True,
        ):
            self.entries.setdefault((int(p), int(k), int(a)), []).append((int(b), float(value)))

    def of(self, group: range) -> dict[tuple[int, int, int], list[tuple[int, float]]]:
        """The entries of a group of paths."""
        return {key: entry for key, entry in self.entries.items() if key[0] in group}

    def pairs(self, path: int) -> list[tuple[int, int]]:
        """The pairs (k, a) of a path: components of the output and of the features."""
        return [(k, a) for p, k, a in self.entries if p == path]

    def inputs(self, group: range) -> list[int]:
        """The components of the features that a group of paths reads, ascending."""
        return sorted({a for _, _, a in self.of(group)})

    def harmonics(self, group: range) -> list[int]:
        """The components of the harmonics that a group of paths reads, ascending."""
        return sorted({b for entry in self.of(group).values() for b, _ in entry})

    def outputs(self, group: range) -> list[int]:
        """The components of the output that a group of paths writes, ascending."""
        return sorted({k for _, k, _ in self.of(group)})

    def inputs_of(self, path: int, output: int) -> list[int]:
        """The components of the features that a path couples to one of the output."""
        return [a for k, a in self.pairs(path) if k == output]

    def outputs_of(self, path: int, component: int) -> list[int]:
        """The components of the output to which a path couples one of the features."""
        return [k for k, a in self.pairs(path) if a == component]


def one(path: int) -> range:
    """Return the group of one path."""
    return range(path, path + 1)
