"""The model that a run starts from: new and normalised, or a trained one fitted to new data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from ase.data import atomic_numbers, chemical_symbols
from torch import Tensor

from molequi.config import Config
from molequi.datasets.in_memory import Frames
from molequi.errors import UserError
from molequi.graphs.elements import MAX_NUMBER
from molequi.models.checkpoint import load_model
from molequi.models.molecular import MolecularModel, make_model, unreached
from molequi.models.zoo import resolve_model
from molequi.nn.heads.electrostatics import MultipoleHead
from molequi.o3.cartesian import from_cartesian
from molequi.o3.irreps import Irreps
from molequi.properties import DEBYE, PROPERTIES, Property
from molequi.training.evaluation import predict_frames
from molequi.training.normalization import (
    ReferenceEnergies,
    Statistics,
    composition,
    fit_baseline,
    fit_references,
    fit_statistics,
    isolated_atoms,
)

logger = logging.getLogger(__name__)


# Structures that measure the mean neighbour count and whether an output can be reached.
_N_PROBES = 64


class StartingPoint(NamedTuple):
    """A model ready to train, and the loss scale of each part of each target."""

    model: MolecularModel
    scales: dict[str, float]


def start_model(config: Config, frames: Frames) -> StartingPoint:
    """Make the model of a config and set its statistics from the training structures `frames`.

    Raises UserError for a target without labels, an `init` that does not fit, or an output that the
    network cannot reach on these structures.
    """
    rows = [frames.properties[name] for name in config.data.targets]
    given = _given_references(config.training.reference_energies, rows)
    statistics = {row.name: fit_statistics(frames, row, given=given.get(row.name)) for row in rows}
    outputs = _outputs(rows)
    dtype = getattr(torch, config.training.dtype)
    if config.init is None:
        model = make_model(
            frames.elements(),
            outputs,
            preset=config.model.preset,
            seed=config.training.seed,
            **config.model.overrides(),
        )
        probe = frames.batch(torch.arange(min(_N_PROBES, len(frames))), model.cutoff)[0]
        model.backbone.calibrate(probe)
        _apply_statistics(model, frames, statistics, skip=())
    else:
        model, kept = _adopt(config, frames, outputs)
        _apply_statistics(model, frames, statistics, skip=kept)
        if not config.freeze:
            model.requires_grad_(True)
        else:
            model.heads.requires_grad_(True)
        _refit_references(
            model, frames, [row for row in rows if row.name in kept and row.has_reference], given
        )
    model = model.to(dtype)
    refuse_unreached(model, frames)
    model.metadata = {**model.metadata, **_metadata(config, frames, rows, given)}
    for row in rows:
        _report(row, statistics[row.name], frames)
    model.train()
    if config.freeze:
        # What is frozen keeps its moments too.
        model.backbone.eval()
    scales = {
        part: scale for entry in statistics.values() for part, scale in entry.loss_scales.items()
    }
    model.metadata["training"]["spread"] = dict(scales)
    return StartingPoint(model, scales)


def refuse_unreached(model: MolecularModel, frames: Frames) -> None:
    """Run the untrained model on the first training structures.

    Raises UserError for a target of which a part stays zero there although its labels do not, which
    training could not change.
    """
    graph, targets = frames.batch(torch.arange(min(_N_PROBES, len(frames))), model.cutoff)
    for name, irreps in unreached(model, graph).items():
        wanted = Irreps(
            irrep
            for irrep in irreps
            if name in targets and irrep in _labelled_parts(targets[name], model.properties[name])
        )
        if wanted:
            raise UserError(
                f"the {wanted} part of target {name!r} "
                f"({model.properties[name].irreps}) stays zero on the first {graph.n_molecules} "
                "training structures, its labels do not: no network of this shape can learn it; "
                "raise model.cutoff, model.n_layers or model.l_max, or set model.parity=full"
            )


def _labelled_parts(values: Tensor, row: Property) -> Irreps:
    """Return the irreps of which labels hold more than rounding, a thousandth of the largest."""
    irreps = Irreps(row.irreps)
    rows = from_cartesian(values.nan_to_num(), irreps.degrees).abs()
    return Irreps(
        irrep
        for irrep, part in zip(irreps, irreps.slices(), strict=True)
        if rows.numel() and rows[..., part].max() > 1e-3 * rows.max()
    )


def read_reference_energies(path: Path) -> dict[str, Any]:
    """Read element -> eV from a YAML or JSON file.

    Raises UserError for anything else.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(
            f"training.reference_energies: {path} cannot be read ({error}); give a YAML or JSON "
            "mapping such as H: -13.6"
        ) from None
    if not isinstance(data, dict):
        raise UserError(
            f"training.reference_energies: {path} holds {type(data).__name__}; give a mapping of "
            "elements to energies such as H: -13.6"
        )
    return data


def _given_references(
    setting: dict[str, float] | str, rows: Sequence[Property]
) -> dict[str, dict[int, float]]:
    """Return by row and atomic number what the config gives; nothing for least squares."""
    if setting == "least_squares":
        return {}
    names = [row.name for row in rows if row.has_reference]
    if len(names) > 1:
        raise UserError(
            f"training.reference_energies cannot serve {' and '.join(names)} at once; train one of "
            "them, or use least_squares"
        )
    data = read_reference_energies(Path(setting)) if isinstance(setting, str) else setting
    table = {}
    for symbol, value in data.items():
        number = atomic_numbers.get(str(symbol)) or (int(symbol) if str(symbol).isdigit() else 0)
        if (
            not 1 <= number <= MAX_NUMBER
            or isinstance(value, bool)
            or not isinstance(value, int | float)
        ):
            raise UserError(
                f"training.reference_energies: {symbol}: {value!r} is not an element and its "
                "energy, such as H: -13.6"
            )
        table[number] = float(value)
    return {name: table for name in names}


def _outputs(rows: Sequence[Property]) -> list[Property]:
    """The rows that the model must give: forces and stress come from an energy."""
    names = {row.name for row in rows}
    parents = dict.fromkeys(row.derived_from for row in rows if row.derived_from)
    return [*(PROPERTIES[name] for name in parents if name not in names), *rows]


def _apply_statistics(
    model: MolecularModel,
    frames: Frames,
    statistics: Mapping[str, Statistics],
    *,
    skip: Sequence[str],
) -> None:
    for name, head in model.heads.items():
        if name in skip:
            continue
        if isinstance(head, MultipoleHead):
            head.set_statistics(scale=_electrostatic_scale(frames, statistics))
        elif name in statistics:
            entry = statistics[name]
            reference = None if entry.reference is None else entry.reference.values
            head.set_statistics(_head_scale(name, statistics), entry.shift, reference)
        else:
            head.set_statistics(_head_scale(name, statistics))


def _head_scale(name: str, statistics: Mapping[str, Statistics]) -> Tensor | float:
    """Scale of a head.

    An energy with forces takes their size, because they are what most of its labels say.
    """
    if name == "energy" and "forces" in statistics:
        return statistics["forces"].scale
    return statistics[name].scale if name in statistics else 1.0


def _electrostatic_scale(frames: Frames, statistics: Mapping[str, Statistics]) -> float:
    if "dipole" in statistics:
        return float(statistics["dipole"].scale[0])
    if "dipole_magnitude" in statistics:
        values = frames.targets["dipole_magnitude"] / frames.n_atoms.to(torch.float64).sqrt()
        return max(
            float(values[~torch.isnan(values)].square().mean().sqrt()) * DEBYE / 3**0.5, 1e-3
        )
    return float(statistics["charges"].scale[0])


def _adopt(
    config: Config, frames: Frames, outputs: Sequence[Property]
) -> tuple[MolecularModel, list[str]]:
    """Take the backbone and the fitting heads of the model `config.init`.

    Returns the names of these heads too.
    """
    source = load_model(resolve_model(config.init))
    unknown = [
        chemical_symbols[number] for number in frames.elements() if number not in source.elements
    ]
    if unknown:
        known = " ".join(chemical_symbols[number] for number in source.elements)
        raise UserError(
            f"init={config.init} does not know {' '.join(unknown)}, which the training structures "
            f"contain; it knows {known}: train without init"
        )
    for name, value in config.model.overrides().items():
        found = {"kind": source.backbone.kind, **source.backbone.settings}.get(name)
        if found != value:
            raise UserError(
                f"init={config.init} has {name}={found}, the config has model.{name}={value}; "
                "leave the model section out, or train without init"
            )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.training.seed)
        model = MolecularModel(source.backbone, outputs, metadata=source.metadata)
    kept = [
        name
        for name, head in model.heads.items()
        if name in source.heads and type(head) is type(source.heads[name])
    ]
    for name in kept:
        model.heads[name].load_state_dict(source.heads[name].state_dict())
    derived = {name for name, row in source.properties.items() if row.derived_from}
    dropped = sorted(set(source.outputs) - {row.name for row in outputs} - derived)
    if dropped:
        logger.info(
            "outputs of %s that are not trained here are dropped: %s",
            config.init,
            ", ".join(dropped),
        )
    return model.eval(), kept


def _refit_references(
    model: MolecularModel,
    frames: Frames,
    rows: Sequence[Property],
    given: Mapping[str, Mapping[int, float]],
) -> None:
    """Move the reference energies so that the trained network fits the totals of the new level of theory best."""
    for row in rows:
        head = model.heads[row.name]
        old = head.reference.to("cpu", torch.float64)
        counts, elements = composition(frames)
        learned = predict_frames(model, frames, [row.name])[row.name] - counts @ old[elements]
        totals = frames.targets[row.name] - learned
        fitted = fit_references(frames, totals, around=old, given=given.get(row.name))
        head.reference.copy_(fitted.values)
        logger.info(
            "%s: reference energies refitted (rank %d of %d elements)",
            row.name,
            fitted.rank,
            fitted.n_elements,
        )


def _metadata(
    config: Config,
    frames: Frames,
    rows: Sequence[Property],
    given: Mapping[str, Mapping[int, float]],
) -> dict[str, Any]:
    pairs = torch.unique(torch.stack([frames.total_charge, frames.spin_multiplicity], dim=1), dim=0)
    atoms = isolated_atoms(frames, frames.targets["energy"]) if "energy" in frames.targets else {}
    isolated = {
        chemical_symbols[number]: energy
        for number, energy in {**atoms, **given.get("energy", {})}.items()
    }
    training: dict[str, Any] = {
        "config": config.name, "init": config.init, "n_structures": len(frames),
        "baseline": {row.name: fit_baseline(frames, row) for row in rows},
    }  # fmt: skip
    return {
        "name": config.name,
        "level": dict(config.level),
        "charge_multiplicity": pairs.tolist(),
        "isolated_atom_energies": {**isolated, **config.isolated_atoms},
        "training": training,
    }


def _report(row: Property, statistics: Statistics, frames: Frames) -> None:
    reference: ReferenceEnergies | None = statistics.reference
    scales = ", ".join(f"{scale:.4g}" for scale in statistics.loss_scales.values())
    text = f"{row.name}: {statistics.count} labels in {len(frames)} training structures, loss scale {scales} {row.unit}"
    if row.has_reference and reference is not None:
        values = ", ".join(
            f"{chemical_symbols[number]} {float(reference.values[number]):.4f}"
            for number in frames.elements()
        )
        text += f", reference energies ({row.unit}) {values}; rank {reference.rank} of {reference.n_elements} elements"
        if not reference.is_determined:
            text += " (the rest stays at tabulated atoms)"
    logger.info(text)
