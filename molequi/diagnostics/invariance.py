"""Errors of outputs under motions and regroupings that change nothing, or in a known way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from molequi.diagnostics.model_runner import Deviation, ModelRunner, Outputs, ratio
from molequi.models.structure import Structure, random_rotation
from molequi.o3.irreps import Irrep

_N_ROTATIONS = 3
_DISTANCE, _FAR = 50.0, 1e5  # Å
# Of charges that are whole but for rounding, e.
_WHOLE = 1e-6


def rotation(
    runner: ModelRunner,
    structures: Sequence[Structure],
    base: Sequence[Outputs],
    rng: np.random.Generator,
) -> Iterator[Deviation]:
    """Rotate at random and compare Cartesian outputs."""
    for matrix in [random_rotation(rng) for _ in range(_N_ROTATIONS)]:
        turned = runner.observe([structure.mapped(matrix) for structure in structures])
        for structure, before, after in zip(structures, base, turned, strict=True):
            for name, value in before.items():
                yield runner.deviation(
                    f"rotation.{name}",
                    name,
                    after[name] - runner.rotated(name, value, matrix),
                    structure,
                )


def inversion(
    runner: ModelRunner, structures: Sequence[Structure], base: Sequence[Outputs]
) -> Iterator[Deviation]:
    """Compare with the mirror image x -> -x, for every irrep of every output."""
    mirrored = runner.observe([structure.mapped(-np.eye(3)) for structure in structures])
    for structure, before, after in zip(structures, base, mirrored, strict=True):
        for name in before:
            parts = zip(
                runner.parts(name, before[name]),
                runner.parts(name, after[name]),
                runner.scales(structure)[name],
                strict=True,
            )
            for (l, parity, old), (_, _, new), scale in parts:
                error = float(np.abs(new - parity * old).max(initial=0.0))
                yield Deviation(
                    f"inversion.{name}.{Irrep(l, parity)}",
                    ratio(error, scale),
                    f"{name} of {structure.name}",
                )


def translation(
    runner: ModelRunner,
    structures: Sequence[Structure],
    base: Sequence[Outputs],
    rng: np.random.Generator,
) -> Iterator[Deviation]:
    """Move everything by 50 Å in a random direction."""
    shift = _DISTANCE * random_rotation(rng)[0]
    moved = runner.observe([structure.at(structure.positions + shift) for structure in structures])
    yield from _unchanged(runner, "translation", structures, base, moved)


def wrapping(
    runner: ModelRunner,
    structures: Sequence[Structure],
    base: Sequence[Outputs],
    rng: np.random.Generator,
) -> Iterator[Deviation]:
    """Move atoms of periodic structures by whole cell vectors, each atom by its own."""
    for structure, before in zip(structures, base, strict=True):
        if structure.is_open:
            continue
        counts = rng.integers(-2, 3, structure.positions.shape) * structure.pbc
        moved = runner.observe([structure.at(structure.positions + counts @ structure.cell)])
        yield from _unchanged(runner, "wrapping", [structure], [before], moved)


def permutation(
    runner: ModelRunner,
    structures: Sequence[Structure],
    base: Sequence[Outputs],
    rng: np.random.Generator,
) -> Iterator[Deviation]:
    """List the atoms in another order."""
    orders = [rng.permutation(len(structure.positions)) for structure in structures]
    permuted = runner.observe(
        [structure.permuted(order) for structure, order in zip(structures, orders, strict=True)]
    )
    expected = [
        {
            name: value[order] if runner.rows[name].per_atom else value
            for name, value in before.items()
        }
        for before, order in zip(base, orders, strict=True)
    ]
    yield from _unchanged(runner, "permutation", structures, expected, permuted)


def batching(
    runner: ModelRunner, structures: Sequence[Structure], base: Sequence[Outputs]
) -> Iterator[Deviation]:
    """Compare one graph per structure with one graph of all."""
    singles = [runner.observe([structure])[0] for structure in structures]
    yield from _unchanged(runner, "batch", structures, singles, base)


def determinism(
    runner: ModelRunner, structures: Sequence[Structure], base: Sequence[Outputs]
) -> Iterator[Deviation]:
    """Call the model once more."""
    yield from _unchanged(runner, "determinism", structures, base, runner.observe(structures))


def fused_kernels(runner: ModelRunner, structures: Sequence[Structure]) -> Iterator[Deviation]:
    """Compare the fused convolutions with plain torch.

    A model without a choice of kernels, or on another device, has nothing to compare.
    """
    backbone = runner.backbone
    if backbone is None or not backbone.capabilities.fused_kernels or backbone.device.type != "cpu":
        return
    results = [runner.with_kernels(name).observe(structures) for name in ("reference", "generic")]
    yield from _unchanged(runner, "fused_kernels", structures, *results)


def supercell(
    runner: ModelRunner, structures: Sequence[Structure], base: Sequence[Outputs]
) -> Iterator[Deviation]:
    """Compare two cells side by side with one cell."""
    for structure, before in zip(structures, base, strict=True):
        if not structure.pbc[0] or not _is_neutral(structure):
            continue
        after = runner.observe([structure.doubled()])[0]
        for name, value in before.items():
            row = runner.rows[name]
            if row.per_atom:
                yield runner.deviation(
                    "supercell", name, after[name] - np.concatenate([value, value]), structure
                )
            elif not row.spread_of:  # errors of two cells neither add up nor stay the same
                factor = 2.0 if row.extensive else 1.0
                yield runner.deviation("supercell", name, after[name] - factor * value, structure)


def size_consistency(
    runner: ModelRunner, structures: Sequence[Structure], base: Sequence[Outputs]
) -> Iterator[Deviation]:
    """Compare two neutral fragments in one graph, far beyond the cutoff, with each alone.

    At two distances, of which the better counts: dipoles of fragments attract each other over 50 Å,
    and over 10 µm charges of float32 do not cancel in a dipole. Intensive outputs are left out, and
    tensors that depend on the origin: theirs moves when a fragment is added. So are fragments whose
    atoms claim no whole charge (`nn.heads.equilibration`): what they lack is shared with all.
    """
    alone = [(s, o) for s, o in zip(structures, base, strict=True) if s.is_open and _is_neutral(s)]
    whole = [(s, o) for s, o in alone if np.abs(o.get("local_charge", 0.0)).max() < _WHOLE]
    alone = whole or alone
    for (first, value_first), (second, value_second) in zip(
        alone, alone[1:] + alone[:1], strict=True
    ):
        extent = np.abs(np.concatenate([first.positions, second.positions])).max()
        reach = 2 * extent + (runner.model.cutoff or 0.0)
        pairs = [first.beside(second, distance + reach) for distance in (_DISTANCE, _FAR)]
        near, far = runner.observe(pairs)
        for name in near:
            expected = _of_both(runner, name, value_first[name], value_second[name])
            if expected is None:
                continue
            scale = max(runner.scale(name, first), runner.scale(name, second))
            error = np.min([np.abs(found[name] - expected).max() for found in (near, far)])
            where = f"{name} of {pairs[0].name}"
            yield Deviation("size_consistency", ratio(float(error), scale), where)


def _of_both(
    runner: ModelRunner, name: str, first: np.ndarray, second: np.ndarray
) -> np.ndarray | None:
    """Return the value of two fragments from those of each, None where it does not follow."""
    row = runner.rows[name]
    if row.per_atom:
        return np.concatenate([first, second])
    return first + second if row.extensive and not row.depends_on_origin else None


def _is_neutral(structure: Structure) -> bool:
    return structure.total_charge == 0 and structure.spin_multiplicity == 1


def _unchanged(
    runner: ModelRunner,
    test: str,
    structures: Sequence[Structure],
    expected: Sequence[Outputs],
    found: Sequence[Outputs],
) -> Iterator[Deviation]:
    for structure, before, after in zip(structures, expected, found, strict=True):
        for name, value in before.items():
            yield runner.deviation(test, name, after[name] - value, structure)
