"""Settings in general: closed groups of values, read from YAML and the command line.

Mistakes become one line that names the key.
"""

from __future__ import annotations

import glob
import os
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from molequi.errors import UserError
from molequi.keys import meant, names_in
from molequi.overrides import apply_overrides, as_written
from molequi.runtime import resources
from molequi.runtime.gate import printable, reading
from molequi.runtime.plain import RepeatedKeyError, parse_yaml
from molequi.runtime.whole_numbers import LARGEST_SEED

Positive = typing.Annotated[float, Field(gt=0)]
Count = typing.Annotated[int, Field(gt=0)]
Seed = typing.Annotated[int, Field(ge=0, le=LARGEST_SEED)]
DeviceName = typing.Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")]
SettingsT = typing.TypeVar("SettingsT", bound="Settings")


# What pydantic puts into the place of a mistake for the choices of a union: `str`, `dict[str,int]`.
_CHOICE = re.compile(r"(str|int|float|bool|none)|(literal|dict|list|tuple)\[.*")

# What pydantic says in Python's words, in those of a file.
_SHAPES = {
    "tuple_type": "input should be a list, such as [a, b]",
    "list_type": "input should be a list, such as [a, b]",
    "too_long": "it takes {max_length} values, not {actual_length}",
    "dict_type": "input should be a mapping, such as {{a: 1, b: 2}}",
    "invalid_key": "a key is a word; a number has a decimal point, and a comma parts two values",
    "model_type": "input should be a group of settings, such as {{key: value}}",
}


class Settings(BaseModel):
    """A group of settings: closed, so that an unknown key is an error, and constant.

    The line below a setting says what it means (`molequi config keys`).

    changeable: names that a resumed run may change without becoming another run. paths: names that
    hold a path, several apart by commas, or another word where no such file exists.
    has_overrides: whether a command line may give what a file leaves out.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        coerce_numbers_to_str=True,
    )
    changeable: ClassVar[frozenset[str]] = frozenset()
    paths: ClassVar[frozenset[str]] = frozenset()
    has_overrides: ClassVar[bool] = True

    @pydantic.model_validator(mode="before")
    @classmethod
    def _as_people_write(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        fields = cls.model_fields
        return {
            name: as_written(value, fields[name].annotation) if name in fields else value
            for name, value in data.items()
        }


class Difference(NamedTuple):
    """A setting, by its dotted key, that is not the same in two configs."""

    key: str
    old: object
    new: object


def read_settings(source: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a YAML file, or the config bundled under that name, and apply `overrides`.

    Nothing is validated.

    Raises UserError for a missing file or broken YAML.
    """
    path = Path(source)
    if not path.is_file():
        path = resources.config_path(str(source))
    data = _read_yaml(path)
    apply_overrides(data, overrides)
    return data


def validate(kind: type[SettingsT], data: Mapping[str, Any], where: str) -> SettingsT:
    """Return plain data as settings of that kind; `where` names their origin in messages.

    Raises UserError for an unknown key (naming the nearest) or a value out of range.
    """
    try:
        return kind.model_validate(data)
    except pydantic.ValidationError as error:
        raise UserError(_explain(error, where, kind)) from None


def dump_settings(settings: Settings) -> str:
    """Return the settings as YAML that `read_settings` reads back to an equal one."""
    data = settings.model_dump(mode="json")
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=150)
    if printable(text) == text:
        return text
    return yaml.safe_dump(data, sort_keys=False, width=150)


def one_of(value: str, names: Iterable[str]) -> str:
    """Return a name that is known; pydantic words the refusal of another."""
    known = tuple(names)
    if value not in known:
        raise PydanticCustomError("name", "{text}", {"text": f"choose one of {', '.join(known)}"})
    return value


def first_difference(old: Settings, new: Settings) -> Difference | None:
    """Return where two configs of one kind differ, beside what a resumed run may change."""
    return _difference(old, new, "")


def with_absolute_paths(settings: SettingsT) -> SettingsT:
    """Return settings that mean the same in any folder.

    Paths that exist and patterns become absolute, each of several between commas; bundled names
    stay as they are.
    """
    update: dict[str, Any] = {}
    for name, value in settings:
        if isinstance(value, Settings):
            update[name] = with_absolute_paths(value)
        elif name in settings.paths and isinstance(value, str):
            update[name] = _absolute(value)
    return settings.model_copy(update=update)


def _absolute(text: str) -> str:
    if os.path.exists(text):  # which takes names of any length: it may be a list
        return str(Path(text).resolve())
    parts = [_absolute_part(part.strip()) for part in text.split(",")]
    # No list can name a file in a folder with a comma in its name.
    return text if any("," in part for part in parts) else ",".join(parts)


def _absolute_part(part: str) -> str:
    """Return a path or a pattern as it is found from any folder, whatever the folder is called."""
    if part and os.path.exists(part):
        return glob.escape(str(Path(part).resolve()))
    return os.path.join(glob.escape(os.getcwd()), part) if glob.has_magic(part) else part


def _difference(old: object, new: object, key: str) -> Difference | None:
    if old == new:
        return None
    before, after = _entries(old), _entries(new)
    if before is None or after is None:
        return Difference(key, old, new)
    for name in {**before, **after}:
        inner = f"{key}.{name}" if key else name
        found = _difference(before.get(name), after.get(name), inner)
        if found is not None:
            return found
    return None


def _entries(value: object) -> dict[str, object] | None:
    """What a group or a mapping holds by name, without what may change; None for a plain value."""
    if isinstance(value, Settings):
        return {name: entry for name, entry in value if name not in value.changeable}
    return dict(value) if isinstance(value, Mapping) else None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        with reading(path, "config"):
            data = parse_yaml(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        where = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        kind = "" if isinstance(error, RepeatedKeyError) else "not YAML: "
        raise UserError(f"{path}{where}: {kind}{error.problem or error}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML: {error}") from None
    if not isinstance(data, dict):
        raise UserError(
            f"{path}: holds {type(data).__name__}; a config is a mapping with at least `name` and "
            "`data`"
        )
    return data


def _explain(error: pydantic.ValidationError, where: str, kind: type[Settings]) -> str:
    """Word the first mistake as one line with its dotted key; a word too many tells more."""
    mistakes = error.errors(include_url=False)
    first = min(mistakes, key=lambda mistake: mistake["type"] != "extra_forbidden")
    is_unknown = first["type"] == "extra_forbidden"
    words = [str(part) for part in first["loc"]]
    # A key that is not known is the user's own word, whatever it looks like.
    own = words[-1:] if is_unknown else []
    path = [*(word for word in words[: len(words) - len(own)] if not _CHOICE.fullmatch(word)), *own]
    key = ".".join(path)
    if is_unknown:
        near = meant(kind, path)
        known = ", ".join(names_in(kind, path[:-1]))
        hint = f"known are {known}" if near is None else f"did you mean {near!r}?"
        return f"{where}: unknown key {key!r}; {hint}"
    if first["type"] == "missing" and isinstance(first["loc"][-1], str):
        elsewhere = f" or as {key}=... on the command line" if kind.has_overrides else ""
        return f"{where}: {key!r} is missing; add it to the file{elsewhere}"
    if first["type"] == "missing":  # of a list, whose entries have numbers for names
        key = key.rpartition(".")[0]
    return f"{where}: {key} is {first['input']!r}; {_wanted(first, mistakes)}"


def _wanted(mistake: Mapping[str, Any], mistakes: Sequence[Mapping[str, Any]]) -> str:
    """Say what would be right in the place of a mistake, one of those given."""
    if mistake["type"] == "missing":
        absent = [other for other in mistakes if other["loc"][:-1] == mistake["loc"][:-1]]
        return f"it takes {len(mistake['input']) + len(absent)} values"
    if mistake["type"] in _SHAPES:
        return _SHAPES[mistake["type"]].format(**mistake.get("ctx", {}))
    return mistake["msg"][0].lower() + mistake["msg"][1:]
