"""One layer of message passing: convolution, optional many-body product, self-connection, gate."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from molequi.kernels import Edges, convolve
from molequi.kernels.species_rows import rows_of_species
from molequi.nn.contraction import SymmetricContraction
from molequi.nn.linear import IrrepsLinear, PathLinear, expand_irreps, gate, silu
from molequi.nn.matrices import Blocks, MatrixWeights
from molequi.nn.product import ManyBodyProduct, SharedIrreps, path_scale
from molequi.nn.radial import RadialNetwork
from molequi.nn.weight_tables import WeightTables
from molequi.o3.coupling import coupling_table
from molequi.o3.irreps import Irreps

# The many-body products of messages, see these classes.
PRODUCTS: dict[str, type[ManyBodyProduct | SymmetricContraction]] = {
    "chained": ManyBodyProduct,
    "symmetric": SymmetricContraction,
}


class Interaction(WeightTables[Tensor]):
    """h' = gate(L A + S_z h), A_i = n^(-1/2) sum_e sum_p CG_p (L h_j) Y_e R_p(r_e), as in NequIP.

    Batzner et al., Nature Communications 13, 2453 (2022), eqs. 1 to 5 and figure 1; with
    `correlation` > 1, L A becomes the many-body `product` of MACE. `mixing` says whether the paths
    into an irrep are summed channel by channel (merged), or mixed by one linear map of all their
    channels, as in NequIP and MACE (separate). n is one constant per layer, the effective neighbour
    count of the training set (`SphericalBackbone.calibrate`).
    """

    path_scale: Tensor
    neighbor_count: Tensor
    product_scale: Tensor
    irrep_of_component: Tensor

    def __init__(
        self,
        irreps_in: Irreps,
        irreps_out: Irreps,
        n_channels: int,
        n_elements: int,
        radial: tuple[float, int, int],
        l_max: int,
        *,
        correlation: int = 1,
        mixing: str = "merged",
        self_connection: str = "factors",
        product: str = "chained",
    ) -> None:
        super().__init__()
        edge_irreps, separate = Irreps.natural(l_max), mixing == "separate"
        wanted = irreps_out if correlation == 1 else _message_irreps(irreps_in, irreps_out, l_max)
        message_irreps = reachable(irreps_in, edge_irreps, wanted)
        self.irreps_out, self.kernels = irreps_out, "reference"
        self.table = coupling_table(irreps_in, edge_irreps, message_irreps, separate=separate)
        self.linear_up = IrrepsLinear(irreps_in, n_channels, n_channels)
        self.radial = RadialNetwork(
            *radial[:2], len(self.table.paths), n_channels, n_hidden=radial[2]
        )
        self.linear_paths: PathLinear | nn.Identity = (
            PathLinear(self.table.output, n_channels) if separate else nn.Identity()
        )
        self.product: ManyBodyProduct | SymmetricContraction | None = None
        if correlation > 1:
            self.product = PRODUCTS[product](
                message_irreps, irreps_out, n_channels, n_elements, correlation=correlation
            )
        is_mixed = separate and self.product is None
        self.linear_down: IrrepsLinear | nn.Identity = (
            nn.Identity() if is_mixed else IrrepsLinear(irreps_out, n_channels, n_channels)
        )
        self.self_connection = SelfConnection(
            irreps_in, irreps_out, n_channels, n_elements, matrices=self_connection == "matrices"
        )
        self.gate = Gate(irreps_out, n_channels)
        self._set_constants()

    def _set_constants(self) -> None:
        """Register what is no weight; see `calibrate`."""
        self.register_buffer("path_scale", path_scale(self.table), persistent=False)
        self.register_buffer("neighbor_count", torch.tensor(12.0))
        if self.product is not None:
            self.register_buffer("product_scale", torch.ones(len(self.irreps_out)))
        of_component = torch.tensor(self.irreps_out.of_components())
        self.register_buffer("irrep_of_component", of_component, persistent=False)

    def forward(
        self, features: Tensor, harmonics: Tensor, distances: Tensor, edges: Edges, species: Tensor
    ) -> Tensor:
        """Update the features: (N, M_in, C) -> (N, M_out, C).

        Harmonics (E, (l_max + 1)^2), distances (E,) Å.
        """
        messages = self.messages(features, harmonics, distances, edges)
        if self.product is not None:
            messages = (
                self.product(messages, species) * self.product_scale[self.irrep_of_component, None]
            )
        return self.gate(
            (self.linear_down(messages) + self.self_connection(features, species)) * 2**-0.5
        )

    def calibrate(
        self, features: Tensor, harmonics: Tensor, distances: Tensor, edges: Edges, species: Tensor
    ) -> None:
        """Set the constants that give messages unit mean square on these atoms.

        And each irrep of their products.
        """
        messages = self.messages(features, harmonics, distances, edges)
        power = messages.square().mean()
        if power > 0:
            self.neighbor_count.mul_(power)
            if self.product is not None:
                rows = self.product(messages * power.rsqrt(), species).square().mean(dim=(0, 2))
                counts = torch.bincount(self.irrep_of_component).to(rows.dtype)
                means = (
                    torch.zeros_like(self.product_scale).index_add(0, self.irrep_of_component, rows)
                    / counts
                )
                # What symmetry forbids holds rounding, which must not be raised to the size of the
                # rest: it would break the symmetry in float32.
                means = torch.where(means > 1e-8 * means.max(), means, means.max())
                self.product_scale.copy_(means.clamp(min=1e-12).rsqrt())

    def messages(
        self, features: Tensor, harmonics: Tensor, distances: Tensor, edges: Edges
    ) -> Tensor:
        """Return A: (N, M_message, C)."""
        return self.linear_paths(
            convolve(
                self.linear_up(features),
                harmonics,
                distances,
                self.tables(),
                edges,
                self.table,
                self.radial.cutoff,
                kernels=self.kernels,
            )
        )

    def make_tables(self) -> Tensor:
        """Return the coefficients of the radial splines, scaled by the constants of paths and n."""
        return self.radial(self.path_scale.to(self.neighbor_count) * self.neighbor_count.rsqrt())


class SelfConnection(WeightTables[Tensor]):
    """L (s_z h): a channel-wise factor by species, then a linear map.

    It maps the irreps that input and output share.
    With `matrices` L_z h: a map for each species, as in NequIP and MACE; as many weights as there
    are elements, as much work too.
    """

    def __init__(
        self,
        irreps_in: Irreps,
        irreps_out: Irreps,
        n_channels: int,
        n_elements: int,
        *,
        matrices: bool = False,
    ) -> None:
        super().__init__()
        self.shared = SharedIrreps(irreps_in, irreps_out)
        self.matrices, self.n_elements = matrices, n_elements
        if not matrices:
            self.factors = nn.Parameter(
                torch.randn(n_elements, len(self.shared.irreps), n_channels)
            )
        n_sources = n_elements if matrices else 1
        self.linear = IrrepsLinear(
            self.shared.irreps, n_channels * n_sources, n_channels, n_sources=n_sources
        )

    def forward(self, features: Tensor, species: Tensor) -> Tensor:
        """Map (N, M_in, C), (N,) -> (N, M_out, C)."""
        shared = self.by_species(self.shared.take(features), self.tables(), species)
        return self.shared.place(self.linear(shared))

    def make_tables(self) -> Tensor:
        """Return what multiplies the features of each species.

        Factors (S, M_shared * C), or (S, S) with sqrt(S) where it is the species itself.
        """
        if self.matrices:
            # The linear map divides by sqrt(S C), though only C channels are not zero.
            return (
                torch.eye(
                    self.n_elements,
                    device=self.shared.components_in.device,
                    dtype=self.linear.dtype,
                )
                * self.n_elements**0.5
            )
        return expand_irreps(self.factors, self.shared.irreps, dim=1).flatten(1)

    def by_species(self, features: Tensor, table: Tensor, species: Tensor) -> Tensor:
        """Return what the linear map takes.

        (N, M_shared, C) -> (N, M_shared, C), or (N, M_shared, S * C) of which one C is not zero.
        """
        chosen = rows_of_species(species, table)
        if self.matrices:
            return (features[:, :, None] * chosen[:, None, :, None]).flatten(2)
        return features * chosen.reshape(features.shape)

    def by_species_transposed(self, gradient: Tensor, table: Tensor, species: Tensor) -> Tensor:
        """Return the gradient with respect to the features of `by_species`."""
        chosen = rows_of_species(species, table)
        if self.matrices:
            parts = gradient.unflatten(2, (self.n_elements, -1))
            return torch.einsum("nmsc,ns->nmc", parts, chosen)
        return gradient * chosen.reshape(gradient.shape)


class Gate(nn.Module, MatrixWeights):
    """SiLU on 0e.

    Every other irrep is multiplied by a gate made from the 0e rows, so parity and direction stay.
    """

    def __init__(self, irreps: Irreps, n_channels: int) -> None:
        super().__init__()
        if not irreps or not irreps[0].is_scalar:
            raise ValueError(f"a gate needs 0e as its first irrep, got {irreps}")
        self.others = irreps[1:]
        self.weight = nn.Parameter(torch.randn(n_channels, len(self.others) * n_channels))

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, M, C) -> (N, M, C)."""
        scalars, rest = features[:, :1], features[:, 1:]
        if not self.others:
            return silu(scalars)
        n_channels = int(features.shape[2])  # a number, to tracers too: they round sizes
        gates = gate(scalars[:, 0] @ (self.weight * n_channels**-0.5)).reshape(
            -1, len(self.others), n_channels
        )
        return torch.cat([silu(scalars), rest * expand_irreps(gates, self.others, dim=1)], dim=1)

    def matrices(self) -> Iterator[tuple[nn.Parameter, Blocks]]:
        """Name one matrix per irrep but 0e."""
        if self.others:
            yield self.weight, Blocks(columns=len(self.others))


def reachable(first: Irreps, second: Irreps, wanted: Irreps) -> Irreps:
    """Return the irreps of `wanted` that couplings of first x second can give, in their order."""
    products = {irrep for a in first for b in second for irrep in a * b}
    return Irreps(irrep for irrep in wanted if irrep in products)


def _message_irreps(irreps_in: Irreps, irreps_out: Irreps, l_max: int) -> Irreps:
    """Return the irreps of messages that many-body products take.

    Every l up to l_max in the parities that the layer works with.
    """
    signs = {irrep.p * (-1) ** irrep.l for irrep in irreps_in + irreps_out}
    return Irreps(irrep for irrep in Irreps.full(l_max) if irrep.p * (-1) ** irrep.l in signs)
