"""What a config leaves open, or says of other targets than those that are asked for."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from molequi.datasets.formats.assumptions import assume, has_columns, identifier_of
from molequi.datasets.places import find_data
from molequi.errors import UserError
from molequi.overrides import from_text
from molequi.properties import PROPERTIES

logger = logging.getLogger(__name__)

# Attributes of PyTorch's dictionaries of modules, in which the heads of a model stand under their
# names, and arrays of `predictions.npz`.
_TAKEN = frozenset({*dir(nn.ModuleDict()), "n_atoms", "atomic_numbers", "positions", "source"})
# Groups of a config with an entry by target.
_BY_TARGET = ("level", "training.weights", "training.second_stage.weights")


def complete(data: dict[str, Any], own: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Complete plain settings in place; own: what the file itself says, asked: the overrides.

    Entries of the file about targets that the overrides have left out are dropped, its network
    where they name a model to start from, and its level of theory where they name other data, but
    never what is asked for. One level of theory stands for all targets. A heading such as
    `gap [Ha]` names the column of a known property. Targets that are columns of a table and no
    known properties are declared by what stands in these columns, which is logged in one line.
    Numbers and labels of molecules get the head `pooled`, unless something is said of how they come
    from atoms. Raises UserError for a declaration whose name is taken.
    """
    if data.get("init") is not None and own.get("init") is None:
        _drop(_group(data, "model"), _group(own, "model"), keep=_group(asked, "model"))
    targets, path = _targets(data), _path_of_table(data)
    if path is not None:
        _take_headings(data, targets)
    if targets != _targets(own):
        for group in _BY_TARGET:
            entries = _group(data, group)
            of_targets = [name for name in entries if _is_of(name, targets)]
            _drop(entries, _group(own, group), keep={*of_targets, *_group(asked, group)})
    _settle_level(data, own, asked, targets)
    if path is not None:
        _declare(data, path, targets)
    if _group(data, "properties"):
        _refuse_taken(data["properties"])
        data["properties"] = pooled(data["properties"])


def _refuse_taken(declared: Mapping[str, Any]) -> None:
    """Refuse names that a model or its files use for something else. Raises UserError."""
    for name in declared:
        if name in _TAKEN:
            raise UserError(
                f"properties.{name}: the name {name!r} has a meaning of its own in models and "
                f"their files; declare it under another one, such as {name}_, with aliases=[{name}]"
            )


def _settle_level(
    data: dict[str, Any], own: Mapping[str, Any], asked: Mapping[str, Any], targets: list[str]
) -> None:
    """Drop the file's level of theory where the data are others, and let one stand for all."""
    if _is_of_other_data(data, own, asked):
        level, of_file = data.get("level"), own.get("level")
        if isinstance(level, str) and level == of_file and "level" not in asked:
            data["level"] = {}
        _drop(_group(data, "level"), _group(own, "level"), keep=_group(asked, "level"))
    if isinstance(data.get("level"), str) and targets:
        data["level"] = dict.fromkeys(targets, data["level"])


def _is_of_other_data(
    data: Mapping[str, Any], own: Mapping[str, Any], asked: Mapping[str, Any]
) -> bool:
    """Tell whether the overrides name other data than those that the file speaks of.

    A table of one's own is; a file of rmd17 is one of the set as long as a published split divides
    it; elsewhere the path says where the data lie.
    """
    settings, given, usual = _group(data, "data"), _group(asked, "data"), _group(own, "data")
    kind = settings.get("kind")
    if kind == "rmd17" and kind == usual.get("kind"):
        return _group(data, "data.split").get("kind") != "official"
    if kind == "table" and given.get("path", usual.get("path")) != usual.get("path"):
        return True
    return given.get("kind", usual.get("kind")) != usual.get("kind")


def pooled(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Give numbers and labels of molecules the head `pooled` where a declaration leaves it open."""
    return {
        name: {**entry, "head": "pooled"} if _is_of_the_whole(entry) else entry
        for name, entry in declared.items()
    }


def _is_of_the_whole(entry: object) -> bool:
    """Tell whether a declaration is of a number, and says nothing of atoms or of a head."""
    return (
        isinstance(entry, Mapping)
        and str(entry.get("irreps", "0e")) == "0e"
        and not {"head", "extensive", "has_reference", "per_atom", "spread_of"} & set(entry)
    )


def _targets(data: Mapping[str, Any]) -> list[str]:
    found = _group(data, "data").get("targets")
    if isinstance(found, str):
        found = from_text(found, tuple[str, ...])
    if not isinstance(found, list | tuple):
        return []
    return [name.strip() for name in found if isinstance(name, str)]


def _group(data: Mapping[str, Any], dotted: str) -> dict[str, Any]:
    """Return a group of settings; an empty one where there is none."""
    node: Any = data
    for name in dotted.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node if isinstance(node, dict) else {}


def _drop(entries: dict[str, Any], own: Mapping[str, Any], *, keep: Container[str]) -> None:
    """Drop what the file alone says, but for some names."""
    for name in [name for name in entries if name in own and entries[name] == own[name]]:
        if name not in keep:
            del entries[name]


def _is_of(name: object, targets: list[str]) -> bool:
    """Tell whether an entry is of one of the targets, or of a part such as `rosenfeld[0o]`."""
    return not isinstance(name, str) or name.partition("[")[0] in targets


def _path_of_table(data: Mapping[str, Any]) -> Path | None:
    settings = _group(data, "data")
    kind, path = settings.get("kind"), settings.get("path")
    if kind not in (None, "table") or not isinstance(path, str):
        return None
    found = find_data(path)
    return found if has_columns(found) else None


def _take_headings(data: dict[str, Any], targets: list[str]) -> None:
    """Take headings such as `gap [Ha]` for the properties that they name, in place."""
    settings, keys = data["data"], dict(_group(data, "data.keys"))
    if settings.get("keys") and not keys:
        return
    given = {*_group(data, "properties"), *keys}
    for index, name in enumerate(targets):
        known = identifier_of(name)
        is_open = not {name, known} & given and known not in targets
        if is_open and known in PROPERTIES:
            keys[known], targets[index] = name, known
            settings |= {"keys": keys, "targets": targets}


def _declare(data: dict[str, Any], path: Path, targets: list[str]) -> None:
    """Declare the targets that are columns and nothing else, and say what was assumed."""
    given, keys = _group(data, "properties"), _group(data, "data.keys")
    if data.get("properties") and not given:
        return
    open_ones = [name for name in targets if _is_open(name, given.get(name, {}))]
    if not open_ones:
        return
    assumed = assume(path, [str(keys.get(name, name)) for name in open_ones])
    said = []
    for name, entry in zip(open_ones, assumed, strict=True):
        known, declaration, identifier = given.pop(name, {}), entry.declaration, entry.name
        if name in keys:
            declaration.pop("aliases", None)
            identifier = name
        else:
            identifier = _free_name(identifier, declaration)
        if _is_guess(declaration, known):
            said.append(f"{identifier} {entry.text}")
        given[identifier] = {**declaration, **known}
        targets[targets.index(name)] = identifier
    data["properties"], data["data"]["targets"] = given, targets
    _say(path, said, "" if data.get("level") else ", of no stated level of theory")


def _free_name(identifier: str, declaration: dict[str, Any]) -> str:
    """Return a name that models do not use, and keep that of the column as an alias."""
    if identifier not in _TAKEN:
        return identifier
    declaration.setdefault("aliases", [identifier])
    return f"{identifier}_"


def _is_guess(declaration: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Tell whether something of a declaration is said by nobody and no mere default."""
    return "unit" not in known or (declaration["binary"] and "binary" not in known)


def _say(path: Path, assumed: list[str], level: str) -> None:
    """Say in one line what was assumed, and how to say otherwise."""
    if not assumed:
        return
    example = assumed[0].partition(" ")[0]
    logger.info(
        "%s: taken for granted: %s%s; say otherwise with properties.%s.unit=K, "
        "properties.%s.binary=true, level.%s=NAME",
        path, "; ".join(assumed), level, *[example] * 3,
    )  # fmt: skip


def _is_open(name: str, declared: object) -> bool:
    """Tell whether a target is neither known nor declared as something else than one number."""
    if name in PROPERTIES or not isinstance(declared, dict) or declared.get("spread_of"):
        return False
    is_number = str(declared.get("irreps", "0e")) == "0e" and not declared.get("per_atom")
    return is_number and not any({"unit", more} <= set(declared) for more in ("binary", "aliases"))
