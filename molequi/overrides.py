"""Settings on a command line: `group.key=value`, with values as people write them."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Sequence
from typing import Any

import yaml

from molequi.errors import UserError
from molequi.runtime.gate import reading
from molequi.runtime.plain import RepeatedKeyError, parse_yaml

# Groups in whose place a text stands for their kind: `data.split=size`.
BY_KIND = frozenset({"data.split"})
_PAIR = re.compile(r"\s*([^:=\s]+)\s*[:=]\s*(.+?)\s*")


def apply_overrides(data: dict[str, Any], texts: Sequence[str]) -> None:
    """Set one value after the other, as `apply_override`.

    A group of `BY_KIND` as a whole comes before what is inside it, in whatever order they stand.
    """
    for text in sorted(texts, key=lambda text: text.partition("=")[0].strip() not in BY_KIND):
        apply_override(data, text)


def apply_override(data: dict[str, Any], text: str) -> None:
    """Set the value that `text` gives (`group.key=value`, read as YAML) in plain settings.

    Raises UserError where it has another form, or names a value as if it were a group.
    """
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise UserError(
            f"setting {text!r} is not of the form key=value, for example training.epochs=20"
        )
    *parents, last = key.strip().split(".")
    node = data
    for depth, parent in enumerate(parents):
        if node.get(parent) is None:
            node[parent] = {}
        elif isinstance(node[parent], str) and ".".join(parents[: depth + 1]) in BY_KIND:
            node[parent] = {"kind": node[parent]}
        node = node[parent]
        if not isinstance(node, dict):
            raise UserError(
                f"setting {key!r}: {parent!r} is a value, not a group; write {parent}=..."
            )
    try:
        with reading(f"setting {key!r}", "value"):
            node[last] = _mended(parse_yaml(value))
    except RepeatedKeyError as error:
        raise UserError(f"setting {key!r}: {error.problem}") from None
    except yaml.YAMLError:
        node[last] = value


def read_overrides(texts: Sequence[str]) -> dict[str, Any]:
    """Return the plain settings that the texts alone give; raises UserError as `apply_override`."""
    data: dict[str, Any] = {}
    apply_overrides(data, texts)
    return data


def _mended(value: Any) -> Any:
    """Split the keys of `{energy:1}`, which YAML takes for one word without a value."""
    if isinstance(value, list):
        return [_mended(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    mended = {}
    for key, entry in value.items():
        name, colon, text = key.partition(":") if isinstance(key, str) else (key, "", "")
        if entry is None and colon and name and text:
            mended[name] = parse_yaml(text)
        else:
            mended[key] = _mended(entry)
    return mended


def as_written(value: Any, annotation: Any) -> Any:
    """Return what a value of YAML stands for: a text as `from_text`, yes and no as their words.

    The latter where neither is expected, for they would count as the numbers 1 and 0; in a mapping
    too.
    """
    if isinstance(value, str):
        return from_text(value, annotation)
    choices = _choices(annotation)
    if isinstance(value, bool):
        return value if bool in choices else str(value).lower()
    if isinstance(value, dict):
        for choice in choices:
            if typing.get_origin(choice) is dict:
                inner = typing.get_args(choice)[1]
                return {
                    name: as_written(entry, inner) if isinstance(entry, bool) else entry
                    for name, entry in value.items()
                }
    return value


def from_text(text: str, annotation: Any) -> Any:
    """Read a text that stands for something else: None, a list `a,b`, a mapping `a:1,b:2`.

    A text that is none of these, or where a text is expected, stays as it is.
    """
    choices = _choices(annotation)
    origins = {typing.get_origin(choice) for choice in choices}
    if text.strip().lower() == "none" and type(None) in choices and typing.Literal not in origins:
        return None
    if str in choices:
        return text
    words = _unbracketed(text.strip()).split(",")
    if tuple in origins:
        return [word.strip().strip("'\"") for word in words if word.strip()]
    return _mapping(words, text) if dict in origins else text


def _unbracketed(text: str) -> str:
    return text[1:-1] if text[:1] + text[-1:] in {"()", "[]", "{}"} else text


def _mapping(words: list[str], text: str) -> Any:
    """Return the mapping of words such as `a:1` or `a=1`, the text where they are not all such."""
    pairs = [_PAIR.fullmatch(word) for word in words]
    return {pair[1]: parse_yaml(pair[2]) for pair in pairs if pair} if all(pairs) else text


def _choices(annotation: Any) -> tuple[Any, ...]:
    """Return the alternatives of a union, without what pydantic has noted beside a type."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _choices(typing.get_args(annotation)[0])
    if isinstance(annotation, types.UnionType) or origin is typing.Union:
        return tuple(choice for part in typing.get_args(annotation) for choice in _choices(part))
    return (annotation,)
