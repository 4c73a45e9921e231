"""A model as a package of AOTInductor, which C++ runs without Python: energy, forces, virial.

The inputs of a package are those of `traced.Arguments`, in this order; its outputs are energies
(N,), eV, forces (N, 3), eV/Å, dE/dstrain (3, 3), eV, charges (N,), e, and the dipole (3,), e·Å.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental.proxy_tensor import make_fx

from molequi.engines.traced import OneStructure, example, refuse_difference, refuse_export
from molequi.errors import UserError
from molequi.models.molecular import MolecularModel
from molequi.runtime.files import written_by_rename

_N_TRACED = 14  # atoms of the structure that is traced; any number from two on works afterwards
# Which sizes may change: atoms, edges, edges, none of a cell, pairs, pairs, waves.
_SIZES = (
    {0: Dim.AUTO}, {0: Dim.AUTO}, {1: Dim.AUTO}, {0: Dim.AUTO}, None, {1: Dim.AUTO},
    {0: Dim.AUTO}, {0: Dim.AUTO},
)  # fmt: skip


class _Named(nn.Module):
    """A function of the eight tensors as a module; `torch.export` wants their names."""

    def __init__(self, function: Callable[..., tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.function = function

    def forward(
        self,
        positions: Tensor,
        numbers: Tensor,
        edges: Tensor,
        shifts: Tensor,
        cell: Tensor,
        pairs: Tensor,
        pair_shifts: Tensor,
        waves: Tensor,
    ) -> tuple[Tensor, ...]:
        return self.function(positions, numbers, edges, shifts, cell, pairs, pair_shifts, waves)


class _WithForces:
    """Energies and what follows from them by derivatives."""

    def __init__(self, function: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> None:
        self.function = function

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        positions, numbers, edges, shifts, cell, *others = tensors
        positions = positions.detach().requires_grad_(True)
        strain = torch.zeros_like(cell).requires_grad_(True)
        symmetric = 0.5 * (strain + strain.T)
        moved, strained = positions + positions @ symmetric, cell + cell @ symmetric
        energies, charges, dipole = self.function(moved, numbers, edges, shifts, strained, *others)
        slopes = torch.autograd.grad(energies.sum(), [positions, strain])
        return energies.detach(), -slopes[0], slopes[1], charges.detach(), dipole.detach()


def exported_program(
    model: MolecularModel, *, is_periodic: bool, total_charge: int = 0
) -> ExportedProgram:
    """Return a model with its derivatives as a program of torch's own operators.

    For structures of at least two atoms and two edges. Raises UserError for a model that cannot be
    exported, an untrained charge, and an export that gives other forces.
    """
    refuse_export(model, total_charge=total_charge)
    with _said(f"model {model.metadata.name} cannot be exported"):
        program = _traced(model, is_periodic=is_periodic, total_charge=total_charge)
        refuse_difference(
            model,
            lambda given: program.module()(*given)[1],
            is_periodic=is_periodic,
            total_charge=total_charge,
        )
    return program


def _traced(model: MolecularModel, *, is_periodic: bool, total_charge: int) -> ExportedProgram:
    one = OneStructure(model, is_periodic=is_periodic, total_charge=total_charge)
    made_up = tuple(example(model, _N_TRACED, 0, is_periodic=is_periodic))
    # opt_einsum, where it is installed, makes plain numbers of the sizes that it plans with.
    with torch.backends.opt_einsum.flags(enabled=False):
        # Twice: only a program without Python has its derivatives written out with sizes left open.
        first = torch.export.export(_Named(one), made_up, dynamic_shapes=_SIZES, strict=False)
        forces = _WithForces(first.module())
        written = make_fx(forces, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*made_up)
        return torch.export.export(_Named(written), made_up, dynamic_shapes=_SIZES, strict=False)


@contextlib.contextmanager
def _said(what: str) -> Iterator[None]:
    """Turn what torch's export and compiler raise into one line."""
    try:
        yield
    except UserError:
        raise
    except (RuntimeError, ValueError, AssertionError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{what}: torch {torch.__version__} says {lines[0]}") from error


def export_aoti(
    model: MolecularModel,
    output: str | os.PathLike[str],
    *,
    is_periodic: bool = False,
    total_charge: int = 0,
) -> None:
    """Compile a model into an AOTInductor package (.pt2), for the CPU of this machine.

    It takes minutes and a C++ compiler. Errors as of `exported_program`, and where compiling fails.
    """
    program = exported_program(model, is_periodic=is_periodic, total_charge=total_charge)
    compiled = _said(f"model {model.metadata.name} cannot be compiled by this machine's compiler")
    with written_by_rename(output) as temporary, compiled:
        torch._inductor.aoti_compile_and_package(program, package_path=str(temporary))
