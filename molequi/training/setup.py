"""The model that a run starts from: new and normalised, or a trained one fitted to new data."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from ase.data import chemical_symbols
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.errors import UserError
from molequi.models.ensemble import read_by_committee
from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata, TrainingRecord
from molequi.models.molecular import MolecularModel
from molequi.models.reach import unreached
from molequi.nn.heads.attention import read_by_attention
from molequi.o3.cartesian import from_cartesian
from molequi.o3.irreps import Irreps
from molequi.properties import PROPERTIES, Property
from molequi.runtime.device import as_dtype
from molequi.training.atomic_energies import start_constants
from molequi.training.baseline import fit_baseline
from molequi.training.config import Config
from molequi.training.doubt import compared_rows, start_doubts
from molequi.training.electronic_states import warn_of_unseen_states
from molequi.training.fine_tuning import Adopted, adopt
from molequi.training.fixed_terms import without_fixed_terms
from molequi.training.label_statistics import Statistics, fit_statistics
from molequi.training.log import after_number
from molequi.training.normalization import apply_statistics, heads_of
from molequi.training.reference_energies import given_references, isolated_atoms
from molequi.training.refitted_references import refit_references
from molequi.training.total_charge import LOCAL_CHARGE

logger = logging.getLogger(__name__)

# Structures that measure the mean neighbour count and whether an output can be reached.
_FEW_PROBES, _N_PROBES = 4, 64


class StartingPoint(NamedTuple):
    """A model ready to train, and the loss scale of each part of each target."""

    model: MolecularModel
    scales: dict[str, float]


def start_model(config: Config, frames: Frames) -> StartingPoint:
    """Make the model of a config and set its statistics from the training structures `frames`.

    Raises UserError for a target without labels, an `init` that does not fit, or an output that the
    network cannot reach on these structures.
    """
    rows = compared_rows(frames.properties[name] for name in config.data.targets)
    given = given_references(config.training.reference_energies, rows)
    outputs = _as_config_reads(config, _outputs(frames, config.data.targets))
    adopted = (
        Adopted(_new_model(config, frames, outputs))
        if config.init is None
        else adopt(config, config.init, frames, outputs)
    )
    model = adopted.model
    learned = without_fixed_terms(frames, model)
    statistics = {row.name: fit_statistics(learned, row, given=given.get(row.name)) for row in rows}
    apply_statistics(model, learned, statistics, skip=adopted.kept)
    if config.init is not None:
        _continue(adopted, config, frames, given)
    model = model.to(dtype=as_dtype(config.training.dtype))
    start_constants(model, learned)
    start_doubts(model, frames)
    refuse_unreached(model, frames)
    warn_of_unseen_states(model, frames)
    for row in rows:
        kept = heads_of(model)[row.name].reference if row.name in adopted.kept else None
        _report(row, statistics[row.name], frames, kept)
    model.train()
    if config.freeze:
        # What is frozen keeps its moments too.
        model.backbone.eval()
    scales = {
        part: scale for entry in statistics.values() for part, scale in entry.loss_scales.items()
    }
    # What an imported model comes from, and its licence, hold for what is trained from it.
    origin = model.metadata.origin
    made = _metadata(config, frames, rows, given, scales)
    model.metadata = dataclasses.replace(made, origin=origin)
    return StartingPoint(model, scales)


def _new_model(config: Config, frames: Frames, outputs: Sequence[Property]) -> MolecularModel:
    model = make_model(
        frames.elements(),
        outputs,
        preset=config.model.preset,
        seed=config.training.seed,
        physics=config.model.physics(),
        **config.model.overrides(),
    )
    probe = frames.batch(torch.arange(min(_N_PROBES, len(frames))), model.cutoff)[0]
    model.backbone.calibrate(probe)
    return model


def _continue(
    adopted: Adopted,
    config: Config,
    frames: Frames,
    given: Mapping[str, Mapping[int, float]],
) -> None:
    """Let the trained parts of a model learn from other data.

    Raises UserError where nothing is left to learn.
    """
    model, kept, added = adopted
    if config.freeze == "model":
        model.requires_grad_(False)
        for name in set(model.heads) - set(kept):
            model.heads[name].requires_grad_(True)
        if set(model.heads) <= set(kept):
            raise UserError(
                f"freeze=model: {config.init} gives all of {', '.join(config.data.targets)} "
                "already, so nothing is left to learn; add a target, or leave freeze out"
            )
        return
    model.requires_grad_(True)
    model.backbone.requires_grad_(not config.freeze)
    known = [name for name in kept if name in frames.properties]
    totals = [name for name in known if frames.properties[name].has_reference]
    refit_references(model, frames, totals, given, added)


def refuse_unreached(model: MolecularModel, frames: Frames) -> None:
    """Run the untrained model on the first training structures.

    Raises UserError for a target of which a part stays zero there although its labels do not, which
    training could not change.
    """
    probes = torch.arange(min(_N_PROBES, len(frames)))
    labels = frames.subset(probes).targets
    # A few show what is reached; all are run where they do not.
    for some in (probes[:_FEW_PROBES], probes):
        graph, _ = frames.batch(some, model.cutoff)
        missing = {
            name: Irreps(
                irrep
                for irrep in irreps
                if irrep in _labelled_parts(labels[name], model.properties[name])
            )
            for name, irreps in unreached(model, graph).items()
            if name in labels
        }
        if not any(missing.values()):
            return
    name, wanted = next((name, wanted) for name, wanted in missing.items() if wanted)
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


def _outputs(frames: Frames, targets: Sequence[str]) -> list[Property]:
    """The rows that the model must give: forces and stress come from an energy.

    What atoms claim of the total charge comes from the charges; what depends on displacements is no
    output of a model.
    """
    rows = [frames.properties[name] for name in targets if name != LOCAL_CHARGE]
    parents = dict.fromkeys(row.derived_from for row in rows if row.derived_from)
    missing = [PROPERTIES[name] for name in parents if name not in targets]
    return [*missing, *(row for row in rows if not row.along)]


def _as_config_reads(config: Config, rows: list[Property]) -> list[Property]:
    """Return the rows with the heads that the config gives them."""
    if config.model.pooling == "attention":
        rows = read_by_attention(rows)
    if config.ensemble is not None and config.members == "heads":
        rows = read_by_committee(rows, config.ensemble)
    return rows


def _metadata(
    config: Config,
    frames: Frames,
    rows: Sequence[Property],
    given: Mapping[str, Mapping[int, float]],
    scales: Mapping[str, float],
) -> ModelMetadata:
    pairs = torch.unique(torch.stack([frames.total_charge, frames.spin_multiplicity], dim=1), dim=0)
    atoms = isolated_atoms(frames, frames.targets["energy"]) if "energy" in frames.targets else {}
    isolated = {
        chemical_symbols[number]: energy
        for number, energy in {**atoms, **given.get("energy", {})}.items()
    }
    training = TrainingRecord(
        config=config.name,
        init=config.init,
        n_structures=len(frames),
        baseline={row.name: fit_baseline(frames, row) for row in rows},
        spread=dict(scales),
    )
    return ModelMetadata(
        name=config.name,
        level=dict(config.level),
        charge_multiplicity=tuple((q, m) for q, m in pairs.tolist()),
        isolated_atom_energies={**isolated, **config.isolated_atoms},
        training=training,
    )


def _report(
    row: Property, statistics: Statistics, frames: Frames, kept: Tensor | None = None
) -> None:
    """Log what a target's labels are; `kept` has the references, (N_ELEMENTS,), of a kept head."""
    reference = statistics.reference
    scales = ", ".join(f"{scale:.4g}" for scale in statistics.loss_scales.values())
    text = (
        f"{row.name}: {statistics.count} labels in {len(frames)} training structures, loss scale "
        f"{scales}{after_number(row.unit)}"
    )
    if row.has_reference and reference is not None:
        energies = reference.values if kept is None else kept
        values = ", ".join(
            f"{chemical_symbols[number]} {float(energies[number]):.4f}"
            for number in frames.elements()
        )
        text += f", reference energies ({row.unit}) {values}"
        if kept is None:
            text += f"; rank {reference.rank} of {reference.n_elements} elements"
            if not reference.is_determined:
                text += " (the rest stays at tabulated atoms)"
    logger.info(text)
