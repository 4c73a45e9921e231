"""Errors of a model's outputs under motions and regroupings that must change nothing, or change it in a known way: used by `diagnostics.py`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from molequi.diagnostics.observer import Finding, Observation, Observer, ratio
from molequi.models.probes import Structure, random_rotation
from molequi.o3.irreps import irreps_name
from molequi.properties import Property

_N_ROTATIONS = 3
_DISTANCE = 50.0  # Å


def rotation(observer: Observer, structures: Sequence[Structure], base: Sequence[Observation], rng: np.random.Generator) -> Iterator[Finding]:
    """Rotate at random and compare Cartesian outputs."""
    for matrix in [random_rotation(rng) for _ in range(_N_ROTATIONS)]:
        turned = observer.observe([structure.mapped(matrix) for structure in structures])
        for structure, before, after in zip(structures, base, turned, strict=True):
            for name, value in before.items():
                yield observer.finding(f"rotation.{name}", name, after[name] - observer.rotated(name, value, matrix), structure)


def inversion(observer: Observer, structures: Sequence[Structure], base: Sequence[Observation]) -> Iterator[Finding]:
    """Compare with the mirror image x -> -x, for every irrep of every output."""
    mirrored = observer.observe([structure.mapped(-np.eye(3)) for structure in structures])
    for structure, before, after in zip(structures, base, mirrored, strict=True):
        for name in before:
            parts = zip(observer.parts(name, before[name]), observer.parts(name, after[name]), observer.scales(structure)[name], strict=True)
            for (l, parity, old), (_, _, new), scale in parts:
                error = float(np.abs(new - parity * old).max(initial=0.0))
                yield Finding(f"inversion.{name}.{irreps_name([(l, parity)])}", ratio(error, scale), f"{name} of {structure.name}")


def translation(observer: Observer, structures: Sequence[Structure], base: Sequence[Observation], rng: np.random.Generator) -> Iterator[Finding]:
    """Move everything by 50 Å in a random direction."""
    shift = _DISTANCE * random_rotation(rng)[0]
    moved = observer.observe([structure.at(structure.positions + shift) for structure in structures])
    yield from _unchanged(observer, "translation", structures, base, moved)


def wrapping(observer: Observer, structures: Sequence[Structure], base: Sequence[Observation], rng: np.random.Generator) -> Iterator[Finding]:
    """Move atoms of periodic structures by whole cell vectors, each atom by its own."""
    for structure, before in zip(structures, base, strict=True):
        if structure.is_open:
            continue
        counts = rng.integers(-2, 3, structure.positions.shape) * structure.pbc
        moved = observer.observe([structure.at(structure.positions + counts @ structure.cell)])
        yield from _unchanged(observer, "wrapping", [structure], [before], moved)


def permutation(observer: Observer, structures: Sequence[Structure], base: Sequence[Observation], rng: np.random.Generator) -> Iterator[Finding]:
    """List the atoms in another order."""
    orders = [rng.permutation(len(structure.positions)) for structure in structures]
    permuted = observer.observe([structure.permuted(order) for structure, order in zip(structures, orders, strict=True)])
    expected = [
        {name: value[order] if observer.rows[name].per_atom else value for name, value in before.items()}
        for before, order in zip(base, orders, strict=True)
    ]
    yield from _unchanged(observer, "permutation", structures, expected, permuted)


def batching(observer: Observer, structures: Sequence[Structure], base: Sequence[Observation]) -> Iterator[Finding]:
    """Compare one graph per structure with one graph of all."""
    singles = [observer.observe([structure])[0] for structure in structures]
    yield from _unchanged(observer, "batch", structures, singles, base)


def determinism(observer: Observer, structures: Sequence[Structure], base: Sequence[Observation]) -> Iterator[Finding]:
    """Call the model once more."""
    yield from _unchanged(observer, "determinism", structures, base, observer.observe(structures))


def fused_kernels(observer: Observer, structures: Sequence[Structure]) -> Iterator[Finding]:
    """Compare the fused convolutions with plain torch; a model without a choice of kernels, or on another device, has nothing to compare."""
    backbone = getattr(observer.model, "backbone", None)
    if backbone is None or not backbone.has_fused_kernels or next(backbone.parameters()).device.type != "cpu":
        return
    chosen, results = backbone.kernels, []
    try:
        for kernels in ("reference", "table"):
            backbone.use_kernels(kernels)
            results.append(observer.observe(structures))
    finally:
        backbone.use_kernels(chosen)
    yield from _unchanged(observer, "fused_kernels", structures, *results)


def supercell(observer: Observer, structures: Sequence[Structure], base: Sequence[Observation]) -> Iterator[Finding]:
    """Compare two cells side by side with one cell."""
    for structure, before in zip(structures, base, strict=True):
        if not structure.pbc[0] or not _is_neutral(structure):
            continue
        after = observer.observe([structure.doubled()])[0]
        for name, value in before.items():
            row = observer.rows[name]
            if row.per_atom:
                yield observer.finding("supercell", name, after[name] - np.concatenate([value, value]), structure)
            else:
                factor = 2.0 if row.extensive else 1.0
                yield observer.finding("supercell", name, after[name] - factor * value, structure)


def size_consistency(observer: Observer, structures: Sequence[Structure], base: Sequence[Observation]) -> Iterator[Finding]:
    """Compare two neutral fragments in one graph, far beyond the cutoff, with each alone.

    Intensive outputs are left out, and tensors that depend on the origin: theirs moves when a fragment is added.
    """
    alone = [(s, o) for s, o in zip(structures, base, strict=True) if s.is_open and _is_neutral(s)]
    for (first, value_first), (second, value_second) in zip(alone, alone[1:] + alone[:1], strict=True):
        extent = np.abs(np.concatenate([first.positions, second.positions])).max()
        both = first.beside(second, _DISTANCE + 2 * extent + observer.model.cutoff)
        joined = observer.observe([both])[0]
        for name, value in joined.items():
            row = observer.rows[name]
            if row.per_atom:
                expected = np.concatenate([value_first[name], value_second[name]])
            elif row.extensive and not depends_on_origin(row):
                expected = value_first[name] + value_second[name]
            else:
                continue
            named = dataclasses.replace(first, name=both.name)
            scale = max(observer.scale(name, first), observer.scale(name, second))
            yield Finding("size_consistency", ratio(float(np.abs(value - expected).max()), scale), f"{name} of {named.name}")


def depends_on_origin(row: Property) -> bool:
    """Whether the value of a neutral molecule depends on the origin, here the centre of mass, so that it is no sum over fragments.

    So do the spatial extent, the angular momentum and the Rosenfeld tensor.
    """
    return row.name in {"r2", "angular_momentum", "rosenfeld"}


def _is_neutral(structure: Structure) -> bool:
    return structure.total_charge == 0 and structure.spin_multiplicity == 1


def _unchanged(
    observer: Observer, test: str, structures: Sequence[Structure], expected: Sequence[Observation], found: Sequence[Observation]
) -> Iterator[Finding]:
    for structure, before, after in zip(structures, expected, found, strict=True):
        for name, value in before.items():
            yield observer.finding(test, name, after[name] - value, structure)
