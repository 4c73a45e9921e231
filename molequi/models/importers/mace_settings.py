"""What a MACE model is: its settings as ours, and what is refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from molequi.errors import UserError
from molequi.models.importers import mace_parts as parts
from molequi.models.importers.source import Source
from molequi.o3.irreps import Irrep, Irreps

_BLOCKS = {
    "RealAgnosticInteractionBlock": "plain",
    "RealAgnosticResidualInteractionBlock": "residual",
    "RealAgnosticDensityInteractionBlock": "density",
    "RealAgnosticDensityResidualInteractionBlock": "density_residual",
}
_BASES = {"BesselBasis": "bessel", "GaussianBasis": "gaussian", "ChebychevBasis": "chebyshev"}
_TRANSFORMS = {"AgnesiTransform": "agnesi", "SoftTransform": "soft"}

# Models by class, with the properties that they have readouts of.
_MODELS = {
    "MACE": ("energy",),
    "ScaleShiftMACE": ("energy",),
    "AtomicDipolesMACE": ("dipole",),
    "EnergyDipolesMACE": ("energy", "dipole"),
}
_KNOWN = frozenset(
    # Models and their blocks.
    "LinearNodeEmbeddingBlock RadialEmbeddingBlock AtomicEnergiesBlock "
    "ScaleShiftBlock EquivariantProductBasisBlock SymmetricContraction Contraction "
    "RealAgnosticInteractionBlock RealAgnosticResidualInteractionBlock "
    "RealAgnosticDensityInteractionBlock RealAgnosticDensityResidualInteractionBlock "
    "LinearReadoutBlock NonLinearReadoutBlock "
    "LinearDipoleReadoutBlock NonLinearDipoleReadoutBlock "
    "GatedEquivariantBlock "
    # Functions of distances.
    "BesselBasis GaussianBasis ChebychevBasis PolynomialCutoff AgnesiTransform SoftTransform "
    "ZBLBasis "
    # Of e3nn, and what torch holds modules and traced code in.
    "Linear TensorProduct FullyConnectedTensorProduct SphericalHarmonics FullyConnectedNet _Layer "
    "Activation normalize2mom reshape_irreps ModuleList ParameterList GraphModule GraphModuleImpl "
    "RecursiveScriptModule CodeGenMixin Module".split()
)


def refuse_unsupported(source: Source) -> None:
    """Refuse modules and settings that have no counterpart here.

    Raises UserError naming the first of them.
    """
    model = source.modules[""]["class"]
    if model not in _MODELS:
        raise UserError(f"{model} is not supported; {', '.join(_MODELS)} are")
    for name, module in source.modules.items():
        if name and module["class"] not in _KNOWN:
            raise UserError(f"{module['class']} ({name}) is not supported; see docs/how-to/mace.md")
    hidden = parts.irreps_of(source.modules["products.0.linear"]["irreps_out"])
    if "dipole" in properties_of(source) and Irrep.parse("0o") in hidden:
        raise UserError(f"hidden irreps of {hidden} in {model}: 0o is not supported there")
    if source.modules[""].get("use_so3"):
        raise UserError("use_so3, rotations without parity, is not supported")
    for name in ("radial_embedding.bessel_fn", "products.0.symmetric_contractions"):
        if name not in source.modules:
            raise UserError(f"the model has no {name}: it is none that mace-torch 0.3 makes")


def properties_of(source: Source) -> tuple[str, ...]:
    """Return the names of the properties that the model gives."""
    return _MODELS[source.modules[""]["class"]]


def _shared(source: Source, where: str, pattern: str, name: str, part: slice | None = None) -> Any:
    """Return an attribute, or a part of it, that the modules of all layers share.

    pattern: of their names, such as `interactions.{}`. Raises UserError where they differ.
    """
    found: list[Any] = []
    while (module := source.modules.get(pattern.format(len(found)))) is not None:
        found.append(module[name] if part is None else module[name][part])
    if any(value != found[0] for value in found):
        raise UserError(f"{where} differs between layers ({found}), which is not supported")
    return found[0]


def settings_of(source: Source) -> dict[str, Any]:
    """Return the keyword arguments of our backbone."""
    modules = source.modules
    n_layers = int(source.tensor("num_interactions"))
    blocks = [_BLOCKS[modules[f"interactions.{k}"]["class"]] for k in range(n_layers)]
    if len(set(blocks[1:])) > 1:
        raise UserError(f"the interaction blocks are {blocks}; all but the first must be the same")
    hidden = modules["products.0.linear"]["irreps_out"]
    n_channels = channels_of(hidden, "the hidden features")
    contractions = "products.{}.symmetric_contractions.contractions.0"
    widths = _shared(source, "radial_MLP", "interactions.{}.conv_tp_weights", "hs", slice(-1))
    basis, transform = (
        modules.get(f"radial_embedding.{part}", {"class": None})["class"]
        for part in ("bessel_fn", "distance_transform")
    )
    for k in range(n_layers):
        up = modules[f"interactions.{k}.linear_up"]
        if up["irreps_out"] != up["irreps_in"]:
            edges, features = (_text(up[which]) for which in ("irreps_out", "irreps_in"))
            raise UserError(
                f"edge_irreps of {edges} beside features of {features} are not supported"
            )
    return {
        "cutoff": float(source.tensor("r_max")),
        "n_layers": n_layers,
        "n_channels": n_channels,
        "l_max": max(l for _, l, _ in modules["interactions.0"]["edge_attrs_irreps"]),
        "hidden": str(_in_order(parts.irreps_of(hidden))),
        "correlation": _shared(source, "correlation", contractions, "correlation"),
        "first_block": blocks[0],
        "block": blocks[-1],
        "n_radial": widths[0],
        "radial_basis": _BASES[basis],
        "distance_transform": _TRANSFORMS.get(transform, "none"),
        "envelope_power": int(source.tensor("radial_embedding.cutoff_fn.p")),
        "late_envelope": modules["radial_embedding"].get("apply_cutoff") is False,
        "radial_widths": widths[1:],
        "n_readout": n_readout_of(source),
    }


def channels_of(blocks: Sequence[Sequence[int]], what: str) -> int:
    """Return the channels of e3nn's blocks (channels, l, parity), which must all have as many."""
    counts = {count for count, *_ in blocks}
    if len(counts) > 1:
        raise UserError(f"{what} have {sorted(counts)} channels; irreps must all have as many")
    return counts.pop()


def _text(blocks: Sequence[Sequence[int]]) -> str:
    """Write e3nn's blocks (channels, l, parity) as it does: `4x0e+4x1o`."""
    return "+".join(f"{count}x{l}{'e' if parity == 1 else 'o'}" for count, l, parity in blocks)


def _in_order(irreps: Irreps) -> Irreps:
    """Return the irreps in our order: 0e first."""
    return Irreps(irrep for irrep in Irreps.full(max(irreps.degrees)) if irrep in irreps)


def n_readout_of(source: Source) -> int:
    """Return the width of the nonlinear readout for one head, 1 where there is none."""
    widths = [
        sum(count for count, *_ in module["hidden_irreps"]) // len(heads_of(source))
        for module in source.modules.values()
        if module["class"] == "NonLinearReadoutBlock"
    ]
    # Scalars, and vectors with their gates.
    widths += [
        max(count for count, *_ in module["hidden_irreps"])
        for module in source.modules.values()
        if module["class"] == "NonLinearDipoleReadoutBlock"
    ]
    if len(widths) > 1:
        raise UserError("several nonlinear readouts are not supported")
    return widths[0] if widths else 1


def heads_of(source: Source) -> list[str]:
    """Return the names of the heads; one that was made before there were names is `Default`."""
    return list(source.modules[""].get("heads", ["Default"]))


def head_index(source: Source, name: str | None) -> int:
    """Return the place of a head, the only one by default. Raises UserError listing the heads."""
    heads = heads_of(source)
    if name is None and len(heads) == 1:
        return 0
    if name not in heads:
        given = "choose one" if name is None else f"there is no {name}"
        raise UserError(f"the heads are {', '.join(heads)}; {given} (--head NAME)")
    return heads.index(name)
