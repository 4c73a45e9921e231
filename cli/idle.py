"""Options that were given and would do nothing: they are refused, never dropped in silence."""

from __future__ import annotations

from collections.abc import Mapping

import typer

from molequi.errors import UserError


def refuse_idle(context: typer.Context, idle: Mapping[str, str]) -> None:
    """Raise UserError where an option of a command was given that has no effect in this call.

    idle: for the parameter of each option without effect, what the option belongs to.
    """
    names = {
        parameter.name: "/".join((*parameter.opts[:1], *parameter.secondary_opts[:1]))
        for parameter in context.command.params
    }
    for parameter, of in idle.items():
        if was_given(context, parameter):
            raise UserError(f"{names[parameter]} would do nothing here: it belongs to {of}")


def was_given(context: typer.Context, parameter: str) -> bool:
    """Tell whether an option of a command was given, and is not its default."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name != "DEFAULT"
