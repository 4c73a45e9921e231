"""A list of modules of one class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar, cast, overload

from torch import nn

M = TypeVar("M", bound=nn.Module)


class ModuleListOf(nn.ModuleList, Generic[M]):
    """A `ModuleList` that a type checker knows the class of: torch's own gives any `Module`."""

    def __init__(self, modules: Iterable[M] = ()) -> None:
        super().__init__(modules)

    def __iter__(self) -> Iterator[M]:
        return cast("Iterator[M]", super().__iter__())

    @overload
    def __getitem__(self, idx: slice) -> ModuleListOf[M]: ...

    @overload
    def __getitem__(self, idx: int) -> M: ...

    def __getitem__(self, idx: int | slice) -> M | ModuleListOf[M]:
        return cast("M | ModuleListOf[M]", super().__getitem__(idx))
