"""The keys of settings: what each means, and which one is meant by a word that is none.

All of it comes from where the settings are declared: a field's default, its `Unit`, the line below.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

# Stands in a dotted key for a name that the user chooses.
NAME = "NAME"


@dataclasses.dataclass(frozen=True)
class Unit:
    """The unit of a setting, in its annotation: `Annotated[float, Unit("Å")]`."""

    name: str


class Key(NamedTuple):
    """A setting by its dotted key, in words. default: None also where there is none.

    unit: empty for what has none.
    """

    name: str
    is_required: bool
    default: Any
    unit: str
    meaning: str


def keys_of(kind: type[BaseModel], inside: str = "") -> Iterator[Key]:
    """Yield every setting of that kind in the order of its declaration, those of groups too.

    inside: the dotted key of the group, with its last dot.
    """
    for name, field in kind.model_fields.items():
        group = _group_in(field.annotation)
        if group is None or field.default is None:
            yield _key(f"{inside}{name}", field)
        if group is not None:
            own = f".{NAME}." if typing.get_origin(field.annotation) is dict else "."
            yield from keys_of(group, f"{inside}{name}{own}")


def names_in(kind: type[BaseModel], path: Sequence[str]) -> list[str]:
    """Name the settings of the group at the dotted `path`; none where there is no such group."""
    group: type[BaseModel] | None = kind
    for part in path:
        field = None if group is None else group.model_fields.get(part)
        if field is not None:
            group = _group_in(field.annotation)
    return [] if group is None else list(group.model_fields)


def meant(kind: type[BaseModel], path: Sequence[str]) -> str | None:
    """Return the dotted key that one which is not known may stand for, None where none is near.

    A name of the same group that differs in its spelling, is written out (lr: learning_rate) or has
    a word in common, or the same name in another group, or what is spelled nearly so.
    """
    *group, word = path
    beside = {".".join([*group, name]): name for name in names_in(kind, group)}
    everywhere = {
        key.name: key.name.rpartition(".")[2] for key in keys_of(kind) if NAME not in key.name
    }
    tries: Iterable[tuple[dict[str, str], Callable[[str, str], bool]]] = (
        (beside, _is_same),
        (beside, _is_short),
        (beside, _is_part),
        (beside, _is_misspelled),
        (everywhere, _is_same),
        (beside, _is_close),
        (everywhere, _is_short),
    )
    for names, fits in tries:
        found = [key for key, name in names.items() if fits(word, name)]
        if found:
            return max(found, key=lambda key: _likeness(word, names[key]))
    return None


def _key(name: str, field: FieldInfo) -> Key:
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    unit = next(_units([*field.metadata, field.annotation]), "")
    return Key(name, field.is_required(), default, unit, field.description or "")


def _units(parts: Iterable[Any]) -> Iterator[str]:
    """Find the units in annotations, also in those of the choices of a union."""
    for part in parts:
        if isinstance(part, Unit):
            yield part.name
        else:
            yield from _units(typing.get_args(part))


def _group_in(annotation: Any) -> type[BaseModel] | None:
    """Return the group that a setting is, may be, or has by name; None for a plain one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_group_in, typing.get_args(annotation))), None)


def _is_same(word: str, name: str) -> bool:
    return _letters(word) == _letters(name)


def _is_short(word: str, name: str) -> bool:
    """Tell whether a word has the initials of a name of several."""
    return "_" in name and _letters(word) == "".join(part[0] for part in name.split("_"))


def _is_part(word: str, name: str) -> bool:
    """Tell whether the words of one are all in the other; counts (n_, num_) are none."""
    ours, theirs = _words(word), _words(name)
    return bool(ours and theirs) and (ours <= theirs or theirs <= ours)


def _is_misspelled(word: str, name: str) -> bool:
    return _likeness(word, name) >= 0.8


def _is_close(word: str, name: str) -> bool:
    return _likeness(word, name) >= 0.5


def _likeness(word: str, name: str) -> float:
    return difflib.SequenceMatcher(None, name, word).ratio()


def _letters(text: str) -> str:
    return text.replace("_", "").replace("-", "").lower()


def _words(text: str) -> set[str]:
    return set(text.lower().replace("-", "_").split("_")) - {"", "n", "num"}
