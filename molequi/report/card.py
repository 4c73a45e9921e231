"""The card of a model: what it gives, for which elements, how it is made, how wrong it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from molequi.models.checkpoint import read_description
from molequi.models.zoo import card, list_models, resolve_model
from molequi.report import comparisons
from molequi.report.markup import Markup, element, joined
from molequi.report.page import Section, paragraph
from molequi.report.tables import Cell, facts, table
from molequi.runtime.wording import capital, counted
from molequi.training.judged import judged, misjudged_lines
from molequi.training.log import beaten_lines, error_columns, yes_no_lines

# Settings of a backbone that say how large a network is, in words.
_SIZES = {
    "cutoff": "cutoff (Å)",
    "n_layers": "layers",
    "n_channels": "channels",
    "l_max": "degree of edges (l)",
    "correlation": "bodies coupled at a node",
}
_ERRORS_NOTE = (
    "Components of vectors count one by one. The baseline knows nothing but the training set: "
    "least squares over the composition for total energies, the mean for other scalars, zero for "
    "the rest."
)


def model_sections(source: str) -> list[Section]:
    """Return the sections of a model: a bundled name, or a file."""
    description = read_description(resolve_model(source))
    if source in list_models():
        told = card(source)
        lead = str(told.pop("description", ""))
        shown = {name: told[name] for name in told if name not in {"name", "elements", "level"}}
        content = [model_facts(description), *(_entry(*item) for item in shown.items())]
        return [Section(f"Model {source}", lead, content)]
    name = description["metadata"].get("name") or Path(source).name
    return [Section(f"Model {name}", "", [model_facts(description), *_errors_of(description)])]


def model_facts(description: Mapping[str, Any]) -> Markup:
    """Return what a model file says of the network and of its training."""
    metadata, backbone = description["metadata"], description["backbone"]
    training = metadata["training"]
    sizes = [(words, backbone.get(key)) for key, words in _SIZES.items()]
    return facts(
        [
            (
                "gives",
                ", ".join(row["name"].replace("_", " ") for row in description["properties"]),
            ),
            ("elements", " ".join(chemical_symbols[number] for number in description["elements"])),
            ("charge (e); multiplicity", _states(metadata["charge_multiplicity"])),
            ("level of theory", _level(metadata["level"])),
            ("structures trained on", training.get("n_structures")),
            ("began from", training.get("init")),
            ("network", str(description["architecture"])),
            ("members", _members(description)),
            ("doubt fixed by", _calibrated(training)),
            *((words, value) for words, value in sizes if isinstance(value, int | float)),
            ("precision", str(description["dtype"])),
        ]
    )


def _members(description: Mapping[str, Any]) -> str | None:
    """Say how many models or heads it is the mean of, where it is one."""
    heads = max((row.get("members", 1) for row in description["properties"]), default=1)
    if "members" in description:
        return f"{description['members']} models"
    return f"{heads} heads" if heads > 1 else None


def _calibrated(training: Mapping[str, Any]) -> str | None:
    """Say which structures took the spreads to errors."""
    rows = list(training.get("calibration", {}).values())
    return f"{counted(rows[0]['structures'], 'structure')} ({rows[0]['part']})" if rows else None


def error_table(result: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Return the errors of an evaluation beside their baselines, and what else it found."""
    columns = error_columns(result)
    rows: list[list[Cell]] = [
        [
            name.replace("_", " "),
            "" if row["unit"] == "1" else row["unit"],
            row["count"],
            *(row.get(key) for key in columns),
        ]
        for name, row in result.items()
        if "coverage" not in row
    ]
    headings = [heading.replace("R2", "R²") for heading in columns.values()]
    notes = (paragraph(text) for text in yes_no_lines(result))
    warnings = (
        paragraph(f"{capital(text)}.", "warning")
        for text in (*beaten_lines(result), *misjudged_lines(result))
    )
    head = ["property", "unit", "count", *headings]
    return joined(*warnings, table(head, rows, _ERRORS_NOTE), *notes, *_doubts(result))


def _doubts(result: Mapping[str, Mapping[str, Any]]) -> list[Markup]:
    """Return how well the model knew its errors: a table and the radii drawn, where it says any."""
    spreads = judged(result)
    if not spreads:
        return []
    shares = list(dict.fromkeys(share for row in spreads.values() for share in row["coverage"]))
    head = ["doubt", "unit", "errors", "Spearman", "mean", *(f"{share} %" for share in shares)]
    rows: list[list[Cell]] = [
        [
            name.replace("_", " "),
            row["unit"],
            row["count"],
            row["rank_correlation"],
            row["mean_spread"],
            *(_percent(row["coverage"].get(share)) for share in shares),
        ]
        for name, row in spreads.items()
    ]
    heading = element("h3", "How well it knows its errors")
    drawn = comparisons.coverage({name: row["coverage"] for name, row in spreads.items()})
    return [heading, table(head, rows, _DOUBTS_NOTE), *([] if drawn is None else [drawn])]


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %"


_DOUBTS_NOTE = (
    "Spearman: rank correlation of the sizes of the errors and the doubt about them. Below a "
    "share: how many errors lie within the radius that is meant to hold that share of them."
)


def _errors_of(description: Mapping[str, Any]) -> list[Markup | None]:
    training = description["metadata"]["training"]
    if not training.get("errors"):
        return []
    heading = element("h3", f"Errors on the {training.get('evaluated_on') or 'test'} structures")
    return [heading, error_table(training["errors"])]


def _states(states: Sequence[Sequence[int]]) -> str:
    """Write which charges and multiplicities a model takes."""
    charges, multiplicities = ({state[part] for state in states} for part in (0, 1))
    low, high = min(charges), max(charges)
    span = f"{low:+d}" if low == high else f"{low:+d} to {high:+d}"
    shown = ", ".join(map(str, sorted(multiplicities)))
    return f"{span}; {shown}".replace("-", "−").replace("+0", "0")


def _level(level: Mapping[str, str] | str) -> str:
    if isinstance(level, str):
        return level
    return "; ".join(dict.fromkeys(filter(None, level.values())))


def _entry(name: str, value: Any) -> Markup | None:
    """Return an entry of a bundled card: groups become tables, sentences a list, the rest facts."""
    if value in (None, "", {}, []):
        return None
    if isinstance(value, Mapping):
        return element(
            "details", element("summary", _heading(name)), *_parts(value), open=_open(name, value)
        )
    if isinstance(value, list):
        items = (element("li", str(item)) for item in value)
        return joined(element("h3", _heading(name)), element("ul", *items))
    return facts([(_heading(name), value if isinstance(value, int | float) else str(value))])


def _open(name: str, value: Mapping[str, Any]) -> str | None:
    """Tell whether an entry is shown at once: what says how wrong a model is."""
    return "open" if name.startswith(("errors", "doubt", "reference")) and len(value) < 20 else None


def _single(value: Mapping[str, Any]) -> Markup:
    return facts((_heading(name), _plain(item)) for name, item in value.items())


def _plain(value: Any) -> Cell:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return value if isinstance(value, int | float) else str(value)


def _parts(value: Mapping[str, Any]) -> list[Markup]:
    """Return the facts of a mapping, then the groups that stand among them."""
    groups = {key: item for key, item in value.items() if isinstance(item, Mapping)}
    single = {key: item for key, item in value.items() if key not in groups}
    return [*([_single(single)] if single else []), *_groups(groups)]


def _groups(groups: Mapping[str, Mapping[str, Any]]) -> list[Markup]:
    """Return groups of the same fields as one table; deeper ones each with a table of its own."""
    deep = {name: group for name, group in groups.items() if _is_deep(group)}
    flat = {name: group for name, group in groups.items() if name not in deep}
    found = [
        element("div", element("h4", _heading(name)), *_parts(group))
        for name, group in deep.items()
    ]
    return [*found, _table_of(flat)] if flat else found


def _is_deep(group: Mapping[str, Any]) -> bool:
    return any(isinstance(item, Mapping) for item in group.values())


def _table_of(groups: Mapping[str, Mapping[str, Any]]) -> Markup:
    columns = list(dict.fromkeys(key for group in groups.values() for key in group))
    rows = [
        [name, *(_plain(group[key]) if key in group else None for key in columns)]
        for name, group in groups.items()
    ]
    return table(["", *columns], rows)


def _heading(name: str) -> str:
    return capital(name.replace("_", " "))
