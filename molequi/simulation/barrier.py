"""What a reaction path says: barriers, the saddle point, and the mode that leads over it."""

from __future__ import annotations

import contextlib
import csv
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import write_xyz

from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.runtime.folders import check_folder, folder_by_rename
from molequi.runtime.journal import may_replace
from molequi.runtime.plain import json_text
from molequi.simulation.bare_frames import bare_frame
from molequi.simulation.calculator import Calculator
from molequi.simulation.charts import draw_profile
from molequi.simulation.films import displacement, write_film
from molequi.simulation.path import Band, PathSettings, Progress, find_path
from molequi.simulation.per_mole import KCAL_MOL, KJ_MOL, NAMES, in_three_units
from molequi.simulation.saddle import Saddle, refine_saddle
from molequi.structures.inputs import Input


class _Profile(NamedTuple):
    """Places along the band, Å, and energies above A, eV: (K,) both."""

    places: np.ndarray
    energies: np.ndarray


def run_path(
    a: Input, b: Input,
    model: str | os.PathLike[str] | MolecularModel | FrozenModel | Calculator = "organic",
    settings: PathSettings | None = None, *, output: str | os.PathLike[str] | None = None,
    overwrite: bool = False, progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Find the path between two structures, refine its highest image to the saddle point.

    See `path.find_path`. output: a folder. Returns images (place, energy, relative energies),
    barrier_, reverse_ and reaction_ (ev, kj_mol, kcal_mol), saddle (energy, fmax, n_imaginary,
    imaginary_cm1, is_first_order, positions; None where the path has no top), converged, fmax,
    steps, matched, labels.
    """
    place = None if output is None else Path(output)
    if place is not None:
        overwrite = may_replace(place, overwrite=overwrite)
        check_folder(place, overwrite=overwrite)
    with contextlib.ExitStack() as held:
        band, calculator = find_path(
            a, b, model, settings, held=held, output=place, overwrite=overwrite, progress=progress
        )
        profile = _profile(band)
        top = int(np.argmax(profile.energies))
        has_top = 0 < top < len(band.images) - 1
        saddle = refine_saddle(band.images[top], calculator) if has_top else None
        result = {
            **calculator.labels(band.images[0]),
            **_energies(profile, band, saddle),
            "images": _listed(band, profile),
            "saddle": None if saddle is None else _described(saddle),
            **{name: getattr(band, name) for name in ("converged", "fmax", "steps", "matched")},
            "output": None if output is None else str(output),
        }
        if place is not None:
            _write(place, band, profile, saddle, result, overwrite=overwrite)
    return result


def _listed(band: Band, profile: _Profile) -> list[dict[str, Any]]:
    return [
        {"place": place, "relative_ev": energy, "positions": image.positions}
        for place, energy, image in zip(
            profile.places.tolist(), profile.energies.tolist(), band.images, strict=True
        )
    ]


def _profile(band: Band) -> _Profile:
    energies = np.array([image.get_potential_energy() for image in band.images])
    places = np.array([image.positions for image in band.images])
    lengths = np.sqrt(np.square(np.diff(places, axis=0)).sum(axis=(1, 2)))
    return _Profile(np.concatenate([[0.0], np.cumsum(lengths)]), energies - energies[0])


def _energies(profile: _Profile, band: Band, saddle: Saddle | None) -> dict[str, float]:
    """Return the barriers: to the saddle point where it is one, else to the highest image."""
    top = float(profile.energies.max())
    if saddle is not None and saddle.is_first_order:
        top = float(saddle.atoms.get_potential_energy() - band.images[0].get_potential_energy())
    reaction = float(profile.energies[-1])
    return (
        in_three_units("barrier", top)
        | in_three_units("reverse_barrier", top - reaction)
        | in_three_units("reaction", reaction)
    )


def _described(saddle: Saddle) -> dict[str, Any]:
    frequencies = saddle.modes.frequencies
    return {
        "energy": float(saddle.atoms.get_potential_energy()),
        "fmax": saddle.fmax,
        "n_imaginary": int((frequencies < 0).sum()),
        "imaginary_cm1": frequencies[frequencies < 0],
        "is_first_order": saddle.is_first_order,
        "positions": saddle.atoms.positions,
    }


def _write(
    output: Path,
    band: Band,
    profile: _Profile,
    saddle: Saddle | None,
    result: dict[str, Any],
    *,
    overwrite: bool,
) -> None:
    """Write path.xyz, path.csv, path.png, result.json and, with a top, saddle.xyz, mode.xyz."""
    with folder_by_rename(output, overwrite=overwrite) as folder:
        with (folder / "path.xyz").open("w", encoding="utf-8") as file:
            for number, image in enumerate(band.images):
                write_xyz(file, _frame(image, {"image": number}))
        with (folder / "path.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "place [Å]", *(f"relative [{u}]" for u in NAMES)])
            rows = zip(profile.places.tolist(), profile.energies.tolist(), strict=True)
            writer.writerows(
                [number, place, above, above / KJ_MOL, above / KCAL_MOL]
                for number, (place, above) in enumerate(rows)
            )
        draw_profile(
            profile.places,
            profile.energies / KJ_MOL,
            (f"{result['formula']}: path; {result['model']}", "along the band (Å)", "kJ/mol"),
            folder / "path.png",
        )
        if saddle is not None:
            frame = _frame(saddle.atoms, {"imaginary_cm1": float(saddle.modes.frequencies[0])})
            frame.arrays["mode"] = displacement(saddle.atoms, saddle.modes, 0)
            with (folder / "saddle.xyz").open("w", encoding="utf-8") as file:
                write_xyz(file, frame)
            write_film(folder / "mode.xyz", saddle.atoms, saddle.atoms.calc, saddle.modes, 0)
        (folder / "result.json").write_text(json_text(result), encoding="utf-8")


def _frame(atoms: Atoms, info: dict[str, Any]) -> Atoms:
    frame = bare_frame(atoms, atoms.calc, info)
    frame.calc = SinglePointCalculator(
        frame, energy=atoms.get_potential_energy(), forces=atoms.get_forces()
    )
    return frame
