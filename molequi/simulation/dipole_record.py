"""The infrared spectrum of a trajectory file: its dipoles, times and temperature are read off."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from molequi.errors import UserError
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.prediction.predict import predict
from molequi.prediction.records import PREFIX, size_labels
from molequi.runtime.files import check_output
from molequi.simulation.autocorrelation import Record, infrared_of_record, nyquist
from molequi.simulation.bands import Bands
from molequi.simulation.beginning import count_degrees, in_kelvin
from molequi.simulation.constraints import held_in
from molequi.simulation.intensities import centre_shares
from molequi.simulation.joined import Joined
from molequi.simulation.md_settings import MDSettings
from molequi.simulation.spectrum_files import UNITS, write_spectrum
from molequi.simulation.velocities import without_drift
from molequi.structures.atoms import charge_of, electron_labels, multiplicity_of, origin_of_ions
from molequi.structures.inputs import Input, read_inputs

_LOG = logging.getLogger(__name__)
_FEWEST_FRAMES = 16
_TIME, _TEMPERATURE, _INDEX = (f"{PREFIX}{name}" for name in ("time_fs", "temperature", "index"))
_ORIGINS = (f"{PREFIX}dipole_origin", "dipole_origin")  # of predictions, of labels
_EVEN = 1e-3  # of the interval: rounding of the times in a file


def trajectory_spectrum(
    trajectory: Input, model: str | os.PathLike[str] | MolecularModel | FrozenModel | None = None,
    bands: Bands | None = None, *, correction: str = "harmonic", interval: float | None = None,
    temperature: float | None = None, charge: int | None = None, unsafe: bool = False,
    output: str | os.PathLike[str] | None = None, overwrite: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Compute the infrared spectrum of one molecule from the frames of a trajectory.

    Dipoles are those of the file; where frames have none, `model` gives them, or `organic`, of
    molecules of this charge, e, or of that which the frames state. correction: see
    `autocorrelation.CORRECTIONS`. interval: fs, between frames that do not tell it; temperature: K;
    both read off the frames where they are not given. output: a folder. Returns frames,
    interval_fs, length_ps, temperature, nyquist_cm1, wavenumbers, values (km/mol for each cm^-1),
    labels.
    """
    bands = bands or Bands(shape="gaussian")
    if output is not None:
        check_output(output, overwrite=overwrite)
    _check_positive("interval", interval, "fs")
    _check_positive("temperature", temperature, "K")
    frames = [item.require_atoms() for item in read_inputs(trajectory, charge=charge)]
    _check_frames(frames)
    dipoles, source = _dipoles(frames, model, unsafe=unsafe)
    record = Record(dipoles, _interval(frames, interval), _temperature(frames, temperature))
    curve = infrared_of_record(record, bands, correction)
    result = {
        **size_labels(frames[0]),
        **electron_labels(
            frames[0], charge_of(frames[0]), multiplicity_of(frames[0], charge_of(frames[0]))
        ),
        "model": source,
        **_described(record, bands, correction),
        "wavenumbers": curve.wavenumbers,
        "values": curve.values,
        "output": None if output is None else str(output),
    }
    if output is not None:
        write_spectrum(output, curve, result, overwrite=overwrite)
    return result


def _described(record: Record, bands: Bands, correction: str) -> dict[str, Any]:
    count = len(record.dipoles)
    return {
        "kind": "ir",
        "method": f"dipole autocorrelation, {correction} quantum correction",
        "quantum_correction": correction,
        "unit": UNITS["ir"],
        "width_cm1": bands.width,
        "shape": "gaussian",
        "frames": count,
        "interval_fs": record.interval,
        "length_ps": record.interval * (count - 1) / 1000.0,
        "temperature": record.temperature,
        "nyquist_cm1": nyquist(record.interval),
    }


def _check_positive(name: str, value: float | None, unit: str) -> None:
    if value is not None and not 0 < value < np.inf:
        raise UserError(f"{name} is {value} {unit}; it must be positive")


def _check_frames(frames: Sequence[Atoms]) -> None:
    if len(frames) < _FEWEST_FRAMES:
        raise UserError(
            f"the trajectory has {len(frames)} frames; a spectrum needs at least {_FEWEST_FRAMES}, "
            "and thousands to be smooth"
        )
    numbers = {int(frame.info[_INDEX]) for frame in frames if _INDEX in frame.info}
    if len(numbers) > 1:
        raise UserError(
            f"the frames are of {len(numbers)} structures that moved at once ({_INDEX}); give a "
            "file with the frames of one"
        )
    for number, frame in enumerate(frames):
        if not np.array_equal(frame.numbers, frames[0].numbers):
            raise UserError(
                f"frame {number} is {frame.get_chemical_formula()} and the first is "
                f"{frames[0].get_chemical_formula()}; a trajectory is of the same atoms in the "
                "same order"
            )
        if frame.pbc.any():
            raise UserError(f"frame {number} is periodic, where a cell has no dipole of its own")


def _dipoles(
    frames: Sequence[Atoms],
    model: str | os.PathLike[str] | MolecularModel | FrozenModel | None,
    *,
    unsafe: bool,
) -> tuple[np.ndarray, str]:
    """Return the dipoles (T, 3), e·Å, and the name of the model that they are of.

    Those of isotopes of an ion refer to a centre of mass that stays where it is.
    """
    kept = [_kept_dipole(frame) for frame in frames]
    if all(dipole is not None for dipole in kept):
        source = str(frames[0].info.get(f"{PREFIX}model", "of the file"))
        if model is not None:
            _LOG.warning(
                "every frame has a dipole (%s), which is taken; the model has nothing to do", source
            )
        return np.array(kept), source
    bare = [Atoms(frame.numbers, frame.positions, info=frame.info) for frame in frames]
    records = predict(bare, "organic" if model is None else model, unsafe=unsafe)
    for number, record in enumerate(records):
        if "dipole" not in record:
            raise UserError(
                f"frame {number} has no dipole, and the model gives none: "
                f"{record.get('error', 'it has no such output')}"
            )
    dipoles = np.array([record["dipole"] for record in records])
    return dipoles + np.array([*map(_to_own_centre, frames)]), str(records[0]["model"])


def _kept_dipole(frame: Atoms) -> np.ndarray | None:
    results = {} if frame.calc is None else frame.calc.results
    dipole = results.get("dipole", frame.info.get("dipole"))
    if dipole is None or np.shape(dipole) != (3,):
        return None
    is_ours = origin_of_ions(frame) in (frame.info.get(name) for name in _ORIGINS)
    return np.asarray(dipole, dtype=float) + (_to_own_centre(frame) if is_ours else 0.0)


def _to_own_centre(frame: Atoms) -> np.ndarray:
    """Return what brings a dipole from the origin of ions here to the true centre: (3,), e·Å."""
    return charge_of(frame) * centre_shares(frame) @ frame.positions


def _interval(frames: Sequence[Atoms], given: float | None) -> float:
    """Return the time between frames, fs, as they tell it, or as it is given for those that do not.

    Raises UserError where they tell another one.
    """
    if any(_TIME not in frame.info for frame in frames):
        if given is not None:
            return given
        raise UserError(
            f"the frames do not say their times ({_TIME}); give the time between two in fs with "
            "--interval"
        )
    steps = np.diff([float(frame.info[_TIME]) for frame in frames])
    interval = float(np.median(steps))
    if not interval > 0 or np.abs(steps - interval).max() > _EVEN * interval:
        raise UserError("the frames are not evenly spaced in time; a spectrum needs them to be")
    if given is not None and abs(given - interval) > _EVEN * interval:
        raise UserError(
            f"the frames are {interval:g} fs apart ({_TIME}), and {given:g} fs were given with "
            "--interval; leave that out"
        )
    return interval


def _temperature(frames: Sequence[Atoms], given: float | None) -> float:
    """Return the mean temperature of the nuclei, K; the motion of the whole is not heat."""
    if given is not None:
        return given
    if all(_TEMPERATURE in frame.info for frame in frames):
        return float(np.mean([float(frame.info[_TEMPERATURE]) for frame in frames]))
    if not all(frame.has("momenta") for frame in frames):
        raise UserError(
            "the frames have neither a temperature nor momenta; give it in K with --temperature"
        )
    return _temperature_of_momenta(frames)


def _temperature_of_momenta(frames: Sequence[Atoms]) -> float:
    """Return the mean temperature, K, counted as dynamics that go on from such momenta count it."""
    held = held_in(Joined(frames[:1]), ())
    momenta = [frame.get_momenta() for frame in frames]
    if held.is_free[0] and len(frames[0]) > 1:
        momenta = [without_drift(*moving) for moving in zip(frames, momenta, strict=True)]
    kinetic = Joined(frames).kinetic(np.concatenate(momenta))
    # Where vibrations turn back, rounding may be all that is left of the momenta.
    fastest = Joined([frames[int(np.argmax(kinetic))]])
    n_degrees = count_degrees(fastest, held, MDSettings(keep_velocities=True))
    return float(in_kelvin(kinetic, n_degrees).mean())
