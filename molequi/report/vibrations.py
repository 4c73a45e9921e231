"""Vibrations: the infrared spectrum, as sticks and as bands, and modes that swing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from molequi.errors import UserError
from molequi.report.charts import Labels, Series, chart
from molequi.report.markup import Markup
from molequi.report.molecules import Scene, viewer
from molequi.report.page import Section, figures, paragraph
from molequi.report.structures import length_text, snapshot_of
from molequi.report.tables import Digits, facts, table
from molequi.runtime.gate import reading
from molequi.runtime.plain import read_json
from molequi.runtime.wording import counted
from molequi.structures.inputs import read_inputs

# Full width of a band at half its height, cm^-1: what a liquid at room temperature shows.
_WIDTH = 20.0
_STRUCTURE, _MODES, _RESULT = "structure.xyz", "modes.xyz", "result.json"


def is_vibrations(folder: Path) -> bool:
    """Tell whether `molequi vibrations --output` wrote a folder."""
    return all((folder / name).is_file() for name in (_MODES, _RESULT, _STRUCTURE))


def vibrations_section(title: str, folder: Path, name: str) -> Section:
    """Return the section of a folder of vibrations. name: of the viewer."""
    found = read_json(folder / _RESULT)
    with reading(folder / _RESULT, "vibrations"):
        frequencies = np.array(found["frequencies_cm1"], dtype=float)
        intensities = found["ir_km_mol"]
        heights = None if intensities is None else np.array(intensities, dtype=float)
        told = _facts(found)
    first = next(read_inputs(folder / _STRUCTURE, as_is=True))
    modes = _read_modes(folder / _MODES, len(frequencies))
    titles = [_mode_title(k, frequencies, heights) for k in range(len(frequencies))]
    moves = dict(zip(titles, modes, strict=True))
    scene = Scene(
        [snapshot_of(first, "")], {"displacements": "Å"}, modes=moves, shown=("displacements",)
    )
    content = [
        paragraph(_NOT_CONVERGED, "warning") if found.get("converged") is False else None,
        told,
        _gas_facts(found.get("thermochemistry")),
        figures(*spectra(frequencies, heights)),
        *([viewer(scene, name, _SWING), _table(frequencies, heights)] if modes else [_ALONE]),
    ]
    return Section(title, "", content)


def _read_modes(path: Path, count: int) -> list[np.ndarray]:
    """Read the displacements (N, 3) of each mode, Å; of a lone atom the file is empty."""
    modes = [one.require_atoms() for one in read_inputs(path, as_is=True)] if count else []
    if len(modes) != count or any("mode" not in frame.arrays for frame in modes):
        raise UserError(f"{path} does not hold the modes of {_RESULT} beside it")
    return [frame.arrays["mode"] for frame in modes]


_ALONE = paragraph("A lone atom has no vibrations.")
_SWING = "Choose a mode and let it swing; arrows are the displacements of atoms."
_NOT_CONVERGED = "The relaxation did not converge: these are not the vibrations of a minimum."


def spectra(frequencies: np.ndarray, intensities: np.ndarray | None) -> list[Markup]:
    """Return the chart of an infrared spectrum: as bands and as sticks."""
    is_real = frequencies > 0
    if intensities is None or not is_real.any():
        return []
    places, heights = frequencies[is_real], intensities[is_real]
    x = np.arange(0.0, 1.08 * places.max(), 2.0)
    y = broadened(places, heights, x, _WIDTH)
    bands = f"Harmonic frequencies as Lorentz bands, {_WIDTH:g} cm⁻¹ wide at half their height."
    sticks = "Where the modes lie, and how strongly each absorbs."
    along = "wavenumber (cm⁻¹)"
    return [
        chart(
            Labels("Infrared spectrum", along, "absorption (km/mol · cm)", bands),
            [Series("", x, y)],
            right_to_left=True,
        ),
        chart(
            Labels("Infrared intensities", along, "intensity (km/mol)", sticks),
            [Series("", np.append(places, x[[0, -1]]), np.append(heights, [0, 0]), "sticks")],
            right_to_left=True,
        ),
    ]


def broadened(places: np.ndarray, areas: np.ndarray, x: np.ndarray, width: float) -> np.ndarray:
    """Return the sum of Lorentz bands at x: (n,); each has its area over x.

    places: (K,) and x, width (full, at half height): in one unit.
    """
    half = width / 2.0
    bands = half / np.pi / (np.square(x[:, None] - places[None, :]) + half**2)
    return np.asarray(bands @ areas)


def _mode_title(k: int, frequencies: np.ndarray, heights: np.ndarray | None) -> str:
    strength = "" if heights is None else f", {heights[k]:.0f} km/mol"
    return f"{k}: {frequencies[k]:.0f} cm⁻¹{strength}".replace("-", "−")


def _table(frequencies: np.ndarray, heights: np.ndarray | None) -> Markup:
    """Return the modes with their frequencies, and intensities where there are any."""
    note = "Harmonic modes; imaginary frequencies are negative."
    numbered = [(k, Digits.of(frequency, 1)) for k, frequency in enumerate(frequencies)]
    columns = ["mode", "frequency (cm⁻¹)"]
    if heights is None:
        return table(columns, numbered, note)
    rows = [(*pair, Digits.of(height, 2)) for pair, height in zip(numbered, heights, strict=True)]
    return table([*columns, "IR intensity (km/mol)"], rows, note)


def _gas_facts(gas: dict[str, Any] | None) -> Markup | None:
    """Return the functions of the gas, in eV and J/(mol K), where the folder has them."""
    if gas is None:
        return None
    names = {
        "internal_energy_ev": "internal energy (eV)", "enthalpy_ev": "enthalpy (eV)",
        "entropy_j_mol_k": "entropy (J/(mol K))", "gibbs_energy_ev": "Gibbs energy (eV)",
    }  # fmt: skip
    rows = [
        [form.replace("_", "-"), *(Digits.of(gas[form][name], 4) for name in names)]
        for form in ("harmonic", "quasi_harmonic")
        if form in gas
    ]
    where = f"At {gas['temperature']:g} K and {gas['pressure_bar']:g} bar, electrons included."
    return table(["oscillators", *names.values()], rows, where)


def _facts(found: dict[str, Any]) -> Markup:
    return facts(
        [
            ("structure", f"{found['formula']}, {counted(found['n_atoms'], 'atom')}"),
            ("model", f"{found['model']}, {found['level'] or 'level not stated'}"),
            ("zero-point energy", length_text(found["zpe_ev"], "eV")),
            ("imaginary modes", int(found["n_imaginary"])),
            ("largest force left", length_text(found["fmax"], "eV/Å")),
        ]
    )
