"""`molequi vibrations`: harmonic frequencies and thermochemistry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from molequi.cli import dynamics_options as moving
from molequi.cli import options
from molequi.cli.exits import ExitCode
from molequi.cli.idle import refuse_idle
from molequi.cli.loading import load_calculator, read_one
from molequi.cli.output import STDERR, line, line_of_files, print_json, print_table, say
from molequi.cli.records import print_notes
from molequi.errors import UserError

Fmax = Annotated[float, moving.fmax("of the relaxation")]
Temperature = Annotated[float, moving.temperature("of the thermochemistry")]
Pressure = Annotated[float, moving.pressure("of the ideal gas")]
SymmetryNumber = Annotated[
    int | None,
    typer.Option(
        "--symmetry-number",
        show_default=False,
        help="In how many ways the molecule can be turned onto itself; read off the geometry.",
    ),
]
Films = Annotated[
    bool, typer.Option("--films", help="Write each mode as a film, films/mode_000.xyz, too.")
]
Folder = Annotated[Path | None, moving.folder("Folder for frequencies.csv, modes.xyz, ...")]

_ENERGIES = {"U": "internal_energy", "H": "enthalpy", "G": "gibbs_energy"}
_FORMS = {"harmonic": "harmonic", "quasi-RRHO (Grimme)": "quasi_harmonic"}


def vibrations(
    context: typer.Context,
    input_: options.Input = None, *, smiles: options.OneSmiles = None,
    model: options.Model = "organic", no_relax: moving.NoRelax = False, fmax: Fmax = 1e-3,
    temperature: Temperature = 298.15, pressure: Pressure = 1.01325,
    symmetry_number: SymmetryNumber = None, films: Films = False, output: Folder = None,
    charge: options.Charge = None, add_hydrogens: options.AddHydrogens = False,
    as_is: options.AsIs = False, json: options.Json = False,
    dispersion: options.Dispersion = None, unsafe: options.Unsafe = False,
    device: options.DeviceOption = options.Device.cpu,
    dtype: options.DtypeOption = options.Dtype.float64, seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
) -> int:  # fmt: skip
    """Compute harmonic frequencies, infrared intensities and thermochemistry.

    The structure is relaxed first. Imaginary frequencies are printed as negative numbers. Exit code
    3 when the relaxation did not converge.
    """
    if films and output is None:
        raise UserError("--films needs --output FOLDER, where they are written")

    if no_relax:
        refuse_idle(context, {"fmax": "the relaxation, which --no-relax leaves out"})

    from molequi.simulation.vibrations import vibrations as run

    structure = read_one(input_, smiles, charge, seed, add_hydrogens=add_hydrogens, as_is=as_is)
    calculator = load_calculator(model, device, dtype, dispersion=dispersion, unsafe=unsafe)
    with STDERR.status("relaxing, then the Hessian"):
        result = run(
            structure, calculator, relax_first=not no_relax, fmax=fmax, temperature=temperature,
            pressure=pressure, symmetry_number=symmetry_number, films=films, output=output,
            overwrite=overwrite,
        )  # fmt: skip
    (print_json if json else _print)(result)
    if result["converged"] is False:
        say(f"the relaxation did not converge: the largest force is {result['fmax']:.4f} eV/Å")
        return ExitCode.NOT_CONVERGED
    return ExitCode.DONE


def _print(result: dict[str, Any]) -> None:
    intensities = result["ir_km_mol"] or [None] * len(result["frequencies_cm1"])
    rows = [
        (mode, f"{frequency:.1f}", None if value is None else f"{value:.4f}")
        for mode, (frequency, value) in enumerate(
            zip(result["frequencies_cm1"], intensities, strict=True)
        )
    ]
    print_table(
        f"{result['formula']}: vibrations", ("mode", "frequency cm⁻¹", "IR intensity km/mol"), rows
    )
    line(
        f"zero-point energy {result['zpe_ev']:.4f} eV; {result['n_imaginary']} imaginary; largest "
        f"force {result['fmax']:.1e} eV/Å"
    )
    if "max_forces_std" in result:
        line(f"the model doubts a force by {result['max_forces_std']:.3f} eV/Å at most")
    if result["n_imaginary"]:
        line("no minimum: `molequi relax --minimum` leads to one")
    _print_rotation(result)
    _print_thermochemistry(result)
    line(f"model {result['model']}; level: {result['level'] or 'not stated'}")
    print_notes([result])
    files = "frequencies.csv, modes.xyz, structure.xyz, result.json"
    line_of_files(result["output"], files, "structure and modes are")


def _print_rotation(result: dict[str, Any]) -> None:
    if result["rotational_constants_ghz"] is None:
        return
    constants = zip(
        "ABC", result["rotational_constants_cm1"], result["rotational_constants_ghz"], strict=True
    )
    texts = [f"{name} {cm1:.4f} ({ghz:.3f})" for name, cm1, ghz in constants if cm1 is not None]
    line(f"rotational constants cm⁻¹ (GHz): {', '.join(texts)}; masses: {result['masses']}")


def _print_thermochemistry(result: dict[str, Any]) -> None:
    found = result["thermochemistry"]
    if found is None:
        line("no thermochemistry: a periodic structure is no ideal gas")
        return
    rows = [
        (
            name,
            *(found[form][f"{key}_ev"] - result["energy"] for key in _ENERGIES.values()),
            found[form]["entropy_j_mol_k"],
            found[form]["gibbs_energy_ev"],
        )
        for name, form in _FORMS.items()
    ]
    headings = [f"{name} - E eV" for name in _ENERGIES]
    print_table(
        f"{found['temperature']:g} K, {found['pressure_bar']:g} bar, symmetry number "
        f"{found['symmetry_number']} ({found['symmetry_number_source']})",
        ("ideal gas", *headings, "S J/(mol K)", "G eV"),
        rows,
    )
