"""`molequi spectrum`: infrared and Raman spectra."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molequi.cli import completion, options
from molequi.cli import dynamics_options as moving
from molequi.cli.exits import ExitCode
from molequi.cli.idle import refuse_idle, was_given
from molequi.cli.loading import load_calculator, load_network, read_one
from molequi.cli.output import STDERR, line, line_of_files, print_json, print_table, say
from molequi.cli.records import print_notes
from molequi.errors import UserError

if TYPE_CHECKING:
    from molequi.models.molecular import MolecularModel
    from molequi.simulation.bands import Bands


class Kind(str, Enum):
    """Which spectrum."""

    ir = "ir"
    raman = "raman"
    vcd = "vcd"


class Shape(str, Enum):
    """The form of a band."""

    lorentzian = "lorentzian"
    gaussian = "gaussian"


class Correction(str, Enum):
    """What turns the classical spectrum of a trajectory into a quantum one."""

    harmonic = "harmonic"
    standard = "standard"
    schofield = "schofield"
    none = "none"


KindOption = Annotated[
    Kind, typer.Option("--kind", "-k", help="ir, raman; vcd is not available yet.")
]
FromTrajectory = Annotated[
    bool,
    typer.Option(
        "--trajectory", help="INPUT is a trajectory of one molecule: ir from its dipole in time."
    ),
]
Optics = Annotated[
    str | None,
    typer.Option(
        "--optics",
        show_default=False,
        autocompletion=completion.models,
        help="The model of the polarizability, for raman; MODEL where it has one, else the "
        "bundled chiroptical.",
    ),
]
Conformers = Annotated[
    int,
    typer.Option(
        "--conformers", min=1, help="Relax up to so many different ones, and take their mean."
    ),
]
Temperature = Annotated[
    float | None,
    moving.temperature(
        "of the Boltzmann mean, 298.15 by default; of a trajectory that has none",
        shown=False,
    ),
]
Gibbs = Annotated[
    bool, typer.Option("--gibbs", help="Weigh conformers by their Gibbs energies (quasi-RRHO).")
]
Width = Annotated[float, typer.Option("--width", help="cm⁻¹, of a band at half of its height.")]
ShapeOption = Annotated[
    Shape | None,
    typer.Option(
        "--shape", show_default=False, help="Of a band; lorentzian, of a trajectory gaussian."
    ),
]
Low = Annotated[float, typer.Option("--low", help="cm⁻¹, where the spectrum begins.")]
High = Annotated[float, typer.Option("--high", help="cm⁻¹, where it ends.")]
Scale = Annotated[float, typer.Option("--scale", help="Factor of the harmonic frequencies.")]
CorrectionOption = Annotated[
    Correction,
    typer.Option("--quantum-correction", help="Of a trajectory's classical spectrum."),
]
Interval = Annotated[
    float | None,
    typer.Option(
        "--interval",
        show_default=False,
        help="fs, between the frames of a trajectory that does not say.",
    ),
]
# Options of spectra of normal modes alone.
_OF_MODES = (
    "optics", "conformers", "gibbs", "no_relax", "scale", "seed", "add_hydrogens", "as_is",
    "dispersion",
)  # fmt: skip
Folder = Annotated[Path | None, moving.folder("Folder for spectrum.csv, .png, sticks.csv.")]


def spectrum(
    context: typer.Context, input_: options.Input = None, *, smiles: options.OneSmiles = None,
    kind: KindOption = Kind.ir, trajectory: FromTrajectory = False,
    model: options.Model = "organic", optics: Optics = None, conformers: Conformers = 1,
    temperature: Temperature = None, gibbs: Gibbs = False, no_relax: moving.NoRelax = False,
    scale: Scale = 1.0, width: Width = 10.0, shape: ShapeOption = None, low: Low = 0.0,
    high: High = 4200.0, correction: CorrectionOption = Correction.harmonic,
    interval: Interval = None, output: Folder = None, charge: options.Charge = None,
    add_hydrogens: options.AddHydrogens = False, as_is: options.AsIs = False,
    json: options.Json = False, dispersion: options.Dispersion = None, seed: options.Seed = 0,
    unsafe: options.Unsafe = False, device: options.DeviceOption = options.Device.cpu,
    dtype: options.DtypeOption = options.Dtype.float64, overwrite: options.Overwrite = False,
) -> int:  # fmt: skip
    """Compute an infrared or Raman spectrum, as sticks and as bands.

    The structure is relaxed and its normal modes taken; --conformers makes the Boltzmann mean over
    many. With --trajectory that of dynamics. Exit code 3 when a relaxation did not converge.
    """
    from molequi.simulation.bands import Bands
    from molequi.simulation.spectrum import SpectrumSettings, check_kind

    check_kind(kind.value)
    refuse_idle(context, _idle(kind, conformers, from_frames=trajectory))
    bands = Bands(width, (shape or Shape.lorentzian).value, low, high)
    if trajectory:
        source = _trajectory_file(input_, smiles, kind, shape)
        return _of_trajectory(
            source, _network_asked_for(context, model, device, dtype), bands, json=json,
            correction=correction.value, interval=interval, temperature=temperature,
            charge=charge, unsafe=unsafe, output=output, overwrite=overwrite,
        )  # fmt: skip
    settings = SpectrumSettings(
        kind.value, not no_relax, conformers=conformers, gibbs=gibbs, scale=scale, seed=seed,
        temperature=298.15 if temperature is None else temperature,
    )  # fmt: skip
    structure = read_one(input_, smiles, charge, seed, add_hydrogens=add_hydrogens, as_is=as_is)
    calculator = load_calculator(model, device, dtype, dispersion=dispersion, unsafe=unsafe)
    network = None if optics is None else load_network(optics, device, dtype)
    how = {"optics": network, "output": output, "overwrite": overwrite}
    return _shown(_run(structure, calculator, settings, bands, **how), json=json)


def _idle(kind: Kind, conformers: int, *, from_frames: bool) -> dict[str, str]:
    """Return the options that say nothing to this kind of spectrum, and what they belong to."""
    if from_frames:
        return dict.fromkeys(_OF_MODES, "spectra of normal modes, not to that of a --trajectory")
    idle = dict.fromkeys(("correction", "interval"), "--trajectory")
    if kind is not Kind.raman:
        idle["optics"] = "--kind raman"
    if conformers == 1:
        idle |= dict.fromkeys(("temperature", "gibbs"), "--conformers, two or more")
    return idle


def _network_asked_for(
    context: typer.Context, model: str, device: options.Device, dtype: options.Dtype | None
) -> MolecularModel | None:
    """Return the model; None where nobody asks for one, as frames with dipoles need none."""
    asked = any(was_given(context, name) for name in ("model", "device", "dtype"))
    return load_network(model, device, dtype) if asked else None


def _trajectory_file(
    source: str | None, smiles: str | None, kind: Kind, shape: Shape | None
) -> str:
    if smiles is not None or source is None or kind is not Kind.ir or shape is Shape.lorentzian:
        raise UserError(
            "--trajectory needs a FILE of frames, --kind ir and gaussian bands: other spectra, and "
            "a SMILES, are computed from normal modes"
        )
    return source


def _run(*what: Any, **how: Any) -> dict[str, Any]:
    """Compute a spectrum of normal modes, and show that it is being computed."""
    from molequi.simulation.spectrum import spectrum as run

    with STDERR.status("relaxing, then the Hessian"):
        return run(*what, **how)


def _shown(result: dict[str, Any], *, json: bool) -> ExitCode:
    (print_json if json else _print)(result)
    if any(one["converged"] is False for one in result["conformers"]):
        say("a relaxation did not converge: its largest force is in `fmax` of result.json")
        return ExitCode.NOT_CONVERGED
    return ExitCode.DONE


def _of_trajectory(
    source: str, network: MolecularModel | None, bands: Bands, *, json: bool, **how: Any
) -> int:
    from molequi.simulation.dipole_record import trajectory_spectrum

    with STDERR.status("the autocorrelation of the dipole"):
        result = trajectory_spectrum(source, network, bands, **how)
    if json:
        print_json(result)
        return ExitCode.DONE
    line(
        f"{result['formula']}: {result['frames']} frames, {result['length_ps']:.3f} ps, every "
        f"{result['interval_fs']:g} fs, {result['temperature']:.1f} K; {result['method']}"
    )
    rows = [(f"{place:.0f}", height) for place, height in _peaks(result)]
    print_table("", ("band cm⁻¹", "height km/mol per cm⁻¹"), rows)
    line(f"dipoles by {result['model']}")
    print_notes([result])
    _print_files(result)
    return ExitCode.DONE


def _peaks(result: dict[str, Any], count: int = 12) -> list[tuple[float, float]]:
    """Return the highest maxima of a curve, by wavenumber."""
    places, values = result["wavenumbers"].tolist(), result["values"].tolist()
    tops = [
        (places[k], values[k])
        for k in range(1, len(values) - 1)
        if values[k - 1] < values[k] >= values[k + 1] and values[k] > _LOWEST_PEAK * max(values)
    ]
    return sorted(sorted(tops, key=lambda top: -top[1])[:count])


_LOWEST_PEAK = 0.01  # of the highest


def _print(result: dict[str, Any]) -> None:
    many, is_raman = len(result["conformers"]) > 1, result["kind"] == "raman"
    hidden = [*([] if many else ["conformer"]), *([] if is_raman else ["depolarisation"])]
    rows = [
        (row["conformer"], row["mode"], f"{row['wavenumber_cm1']:.1f}", f"{row['strength']:.4f}",
         row.get("depolarisation"))
        for row in result["sticks"]
    ]  # fmt: skip
    heading = f"{'activity' if is_raman else 'intensity'} {result['unit']}"
    print_table(
        f"{result['formula']}: {result['kind']}, harmonic modes",
        ("conformer", "mode", "wavenumber cm⁻¹", heading, "depolarisation"),
        rows,
        hidden=hidden,
    )
    if many:
        print_table(
            f"Boltzmann mean at {result['temperature']:g} K by {result['weights_by']}",
            ("conformer", "weight", "relative energy eV"),
            [
                (number, one["weight"], one["relative_energy"])
                for number, one in enumerate(result["conformers"])
            ],
        )
    for text in result["left_out"]:
        line(f"left out: {text}")
    line(f"model {result['model']}; level: {result['level'] or 'not stated'}")
    if is_raman:
        line(f"polarizability by {result['optics']}; level: {result['optics_level']}")
    print_notes([result])
    _print_files(result)


def _print_files(result: dict[str, Any]) -> None:
    files = f"spectrum.csv, spectrum.png, result.json{', sticks.csv' * ('sticks' in result)}"
    line_of_files(result["output"], files, "the spectrum is")
