"""Results as JSON: arrays become lists, and a number that is not finite becomes null.

And what JSON and YAML files of others hold.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
import yaml

from molequi.runtime.gate import escaped_in_json, reading

# Of the whole numbers of YAML 1.1 all but the octal ones and those to the base of 60; of its words
# for yes and no those that YAML 1.2 has too.
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0b[01_]+|0x[0-9a-fA-F_]+)\Z")
_YES_OR_NO = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")


def json_text(document: object) -> str:
    """Return a document as indented JSON with a line end, safe to print."""
    text = json.dumps(plain(document), indent=1, ensure_ascii=False, allow_nan=False)
    return escaped_in_json(text) + "\n"


def read_json(path: Path) -> Any:
    """Return what a JSON file holds. Raises UserError where it is none."""
    with reading(path, "JSON"):
        return parse_json(path.read_bytes())


def parse_json(text: str | bytes) -> Any:
    """Return what a JSON text says.

    Raises ValueError where it is none, as for NaN and Infinity, or RecursionError.
    """
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


class RepeatedKeyError(yaml.MarkedYAMLError):
    """A key that a mapping of YAML has twice, of which one would be lost without a word."""


class _Loader(yaml.SafeLoader):
    """The safe loader, to which a key that is there twice is a mistake, as the standard says.

    010 is no eight to it, 1:30 is no ninety, and no, on and a date are texts.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Before `<<` is written out, which may well repeat keys.
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], yaml.Node] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            earlier = first.setdefault((key.tag, key.value), key)
            if earlier is not key:
                line = earlier.start_mark.line + 1
                raise RepeatedKeyError(
                    problem=f"{key.value!r} is in line {line} already; leave one of the two out",
                    problem_mark=key.start_mark,
                )
        return node


def _take_fewer_words(loader: type[_Loader]) -> None:
    """Give a loader `_WHOLE` and `_YES_OR_NO` in place of its own words, and no dates."""
    replaced = {f"tag:yaml.org,2002:{name}" for name in ("int", "bool", "timestamp")}
    loader.yaml_implicit_resolvers = {
        first: [(tag, words) for tag, words in resolvers if tag not in replaced]
        for first, resolvers in loader.yaml_implicit_resolvers.items()
    }
    loader.add_implicit_resolver("tag:yaml.org,2002:int", _WHOLE, list("-+0123456789"))
    loader.add_implicit_resolver("tag:yaml.org,2002:bool", _YES_OR_NO, list("tTfF"))


_take_fewer_words(_Loader)


def parse_yaml(text: str) -> Any:
    """Return what a YAML text says, as plain values.

    Raises yaml.YAMLError where it is none, `RepeatedKeyError` for a mapping with a key twice.
    """
    return yaml.load(text, Loader=_Loader)


def json_list(documents: Iterable[object]) -> Iterator[str]:
    """Yield the text that `json_text` gives of a list, a document at a time."""
    opening = "[\n "
    for document in documents:
        text = json.dumps(plain(document), indent=1, ensure_ascii=False, allow_nan=False)
        yield opening + escaped_in_json(text.replace("\n", "\n "))
        opening = ",\n "
    yield "[]\n" if opening.startswith("[") else "\n]\n"


def plain(value: Any) -> Any:
    """Return arrays and tensors as lists, other numbers and texts as they are.

    Anything unknown becomes its text.
    """
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value)
