"""The irreps of the features between the layers of a network, as far as each layer reaches."""

from __future__ import annotations

from molequi.errors import UserError
from molequi.nn.interaction import reachable
from molequi.o3.irreps import Irreps


def irreps_of_layers(
    n_layers: int,
    parity: str,
    l_max: int,
    l_hidden: int | None,
    correlation: int,
    irreps_out: Irreps | None,
) -> list[Irreps]:
    """Return the irreps of the features before the first layer and after each layer."""
    l_hidden = l_max if l_hidden is None else l_hidden
    if l_hidden > l_max:
        raise UserError(f"model.l_hidden is {l_hidden}; it must lie between 0 and l_max, {l_max}")
    up_to = Irreps.natural if parity == "natural" else Irreps.full
    hidden = up_to(l_hidden)
    irreps = [Irreps("0e")]
    last = hidden if irreps_out is None else _asked_for(up_to(l_max), irreps_out)
    # What each layer should give, were it within its reach.
    for wanted in [*[hidden] * (n_layers - 1), last]:
        irreps.append(_reach(irreps[-1], wanted, up_to(l_max), l_max, correlation))
    return irreps


def _asked_for(irreps: Irreps, irreps_out: Irreps) -> Irreps:
    """Return those irreps that heads read; 0e is always there."""
    return Irreps(irrep for irrep in irreps if irrep.is_scalar or irrep in irreps_out)


def _reach(irreps: Irreps, target: Irreps, hidden: Irreps, l_max: int, correlation: int) -> Irreps:
    """Return the irreps of `target` that one layer can fill."""
    edge = Irreps.natural(l_max)
    messages = reachable(irreps, edge, target)
    if correlation == 1:
        return messages
    once = reachable(irreps, edge, hidden)
    twice = Irreps(sorted({*once, *reachable(once, once, hidden)}))
    many = {*once, *reachable(twice if correlation == 3 else once, once, hidden)}
    return Irreps(irrep for irrep in target if irrep in many)
