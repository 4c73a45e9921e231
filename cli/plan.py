"""What `molequi train --dry-run` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from molequi.cli.output import line, print_json


def print_plan(plan: Mapping[str, Any], *, json: bool) -> None:
    """Print what `experiments.Experiment.plan` found, a line each."""
    if json:
        print_json(plan)
        return
    for name, text in _lines(plan):
        line(f"{name:12}{text}")
    line("a dry run: nothing was written")


def _lines(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "reads", str(plan["reads"])
    yield "structures", ", ".join(f"{name} {n}" for name, n in plan["structures"].items())
    if "labels" not in plan:
        yield "model", f"{plan['weights']:,} weights to train"
    else:
        least, most = plan["atoms"]
        sizes = str(most) if least == most else f"{least} to {most}"
        yield "elements", f"{' '.join(plan['elements'])}; structures of {sizes} atoms"
        for name, row in plan["labels"].items():
            unit = "" if row["unit"] == "1" else f" ({row['unit']})"
            yield "learns", f"{name}{unit} from {row['structures']} structures"
        yield (
            "model",
            (
                f"{plan['architecture']}, cutoff {plan['cutoff']:g} Å, {plan['dtype']}, "
                f"{plan['weights']:,} weights to train"
            ),
        )
        minutes = plan["max_minutes"]
        budget = "" if minutes is None else f", {minutes:g} min at most"
        yield "runs", f"epochs: {plan['epochs']} at most, steps in each: {plan['steps']}{budget}"
    yield "output", plan["output"]
