"""What `molequi md` tells: what came of the dynamics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from molequi.cli.md_progress import in_words
from molequi.cli.output import line, print_table
from molequi.cli.records import print_notes
from molequi.runtime.wording import counted

if TYPE_CHECKING:
    from molequi.simulation.md_settings import MDSettings

Result = Mapping[str, Any]
# meV/atom/ps: what is called kept.
_GOOD_DRIFT = 0.1
# In less than this, ps, a change of energy by less than this, meV/atom, may be the swing of the
# integrator's energy about its mean, which is no drift.
_SHORT, _SWING = 1.0, 1.0
# eV/Å, far beyond 0.07 to 0.4 of ethanol and aspirin at 300 K.
_MUCH_DOUBT = 1.0
# Relaxation times of the thermostat after which little is left of where a run began.
_THERMOSTAT_TIMES = 20


def verdict(result: Result, settings: MDSettings) -> str:
    """Return in words whether the dynamics can be trusted."""
    if result["stopped"] is not None:
        return result["stopped"]
    doubt = result.get("max_doubt_ev_a") or 0.0
    said = [f"forces are doubted by up to {doubt:.2g} eV/Å"] if doubt > _MUCH_DOUBT else []
    drift = result["drift_mev_atom_ps"]
    if drift is not None:
        said.append(_about_drift(drift, result["time_ps"]))
    if settings.has_thermostat and not settings.ramp and result["temperature_std"] is not None:
        said.append(
            f"{result['temperature_mean']:.0f} K for {settings.temperature:g} K, spread "
            f"{result['temperature_std']:.0f} K for {result['temperature_std_canonical']:.0f} K "
            f"of the canonical ensemble{_how_short(result, settings)}"
        )
    return "; ".join(said) or "too short to tell"


def _about_drift(drift: float, time_ps: float) -> str:
    """Say whether the energy is kept; drift in meV/atom/ps."""
    if abs(drift) < _GOOD_DRIFT:
        return f"the energy is kept ({drift:.2g} meV/atom/ps)"
    if time_ps < _SHORT and abs(drift) * time_ps < _SWING:
        return f"{time_ps:.2g} ps are too short to tell whether the energy drifts"
    return (
        f"the energy drifts ({drift:.2g} meV/atom/ps; {_GOOD_DRIFT:g} would be good, take a "
        "shorter timestep)"
    )


def _how_short(result: Result, settings: MDSettings) -> str:
    """Say that a run ends before its thermostat can have done its work."""
    least = _THERMOSTAT_TIMES * settings.relaxation_time / 1000.0
    if result["time_ps"] >= least:
        return ""
    return f" (too short to judge by: the thermostat needs some {least:.1g} ps)"


def print_one(result: Result, settings: MDSettings) -> None:
    """Print what came of one structure."""
    how = settings.ensemble if settings.ensemble != "nvt" else f"nvt, {settings.thermostat}"
    rows = [
        ("structure", f"{result['formula']}, {counted(result['n_atoms'], 'atom')}"),
        ("model", result["model"]),
        ("ensemble", f"{how}, timestep {result['timestep_fs']:g} fs"),
        (
            "length",
            f"{counted(result['steps'], 'step')}, {result['time_ps']:.3f} ps, "
            f"{counted(result['frames'], 'frame')}",
        ),
        ("pace", in_words(result["ns_per_day"]) or "too short to tell"),
        ("mean temperature", _kelvin(result)),
    ]
    if result["drift_mev_atom_ps"] is not None:
        what = "total energy" if settings.ensemble == "nve" else "conserved energy"
        rows.append((f"drift of the {what}", f"{result['drift_mev_atom_ps']:.4f} meV/atom/ps"))
    if result["max_doubt_ev_a"] is not None:
        rows.append(("largest doubt of a force", f"{result['max_doubt_ev_a']:.2f} eV/Å"))
    rows += [
        ("net momentum", f"{result['momentum']:.1e} g/mol Å/fs"),
        ("net angular momentum", f"{result['angular_momentum']:.1e} g/mol Å²/fs"),
        ("trajectory", result["output"] or "not kept; give --output FILE.xyz"),
        ("verdict", verdict(result, settings)),
    ]
    print_table("", ("molecular dynamics", ""), rows, left=("",))
    print_notes([result])


def print_many(results: Sequence[Result], settings: MDSettings) -> None:
    """Print a row for each of many structures."""
    columns = ("#", "formula", "ps", "frames", "T K", "drift meV/atom/ps", "verdict")
    rows = [
        (
            number, result["formula"], f"{result['time_ps']:.3f}", result["frames"],
            _kelvin(result), _drift(result), verdict(result, settings),
        )
        for number, result in enumerate(results)
    ]  # fmt: skip
    print_table("", columns, rows, left=("formula", "verdict"))
    first = results[0]
    line(f"model {first['model']}; level: {first['level'] or 'not stated'}")
    line(f"trajectories: {first['output'] or 'not kept; give --output FILE.xyz'}")
    if pace := in_words(first["ns_per_day"]):
        line(f"pace: {pace}, all together")
    print_notes(list(results))


def _kelvin(result: Result) -> str:
    mean, spread = result["temperature_mean"], result["temperature_std"]
    if mean is None:
        return "none was measured"
    return f"{mean:.1f} K" if spread is None else f"{mean:.1f} ± {spread:.1f} K"


def _drift(result: Result) -> str:
    drift = result["drift_mev_atom_ps"]
    return "" if drift is None else f"{drift:.4f}"
