"""What a page is made from, told apart, and the page written."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

from molequi.errors import UserError
from molequi.models.zoo import list_models
from molequi.report.card import model_sections
from molequi.report.evaluations import RESULT, evaluation_section, is_evaluation
from molequi.report.page import Section, page
from molequi.report.profiles import is_path, is_scan, path_section, scan_section
from molequi.report.rounds import active_sections, is_active
from molequi.report.runs import run_sections
from molequi.report.spectra import is_spectrum, spectrum_section
from molequi.report.structures import MOST_ROWS, info_of, structures_section
from molequi.report.trajectory import is_trajectory, read_film, trajectory_section
from molequi.report.vibrations import is_vibrations, vibrations_section
from molequi.runtime.files import check_output, write_text
from molequi.structures.counting import count_structures
from molequi.structures.inputs import read_inputs
from molequi.structures.structure import Structure

Source = str | os.PathLike[str]
_MODEL = ".safetensors"
_PIPED = "-"


def write_report(
    sources: Source | Sequence[Source],
    output: Source | None = None,
    *,
    title: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one HTML page, which needs no network, about all sources; return its path.

    sources: run directories, folders of `active`, `vibrations`, `spectrum`, `scan`, `path` or
    `evaluate`, model files, names of bundled models, and files of structures or trajectories.
    output: by default beside the only source, or report.html. title: of the page. Raises UserError
    for a source that is nothing of these, and where the output exists and may not be replaced.
    """
    given = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    names = [os.fspath(source) for source in given]
    if not names:
        raise UserError("nothing to report on: give a run, a file of structures or a model")
    path = Path(output) if output is not None else default_output(names)
    if path.suffix.lower() not in {".html", ".htm"}:
        raise UserError(f"the page {path} must end in .html")
    check_output(path, overwrite=overwrite)
    sections = [
        section
        for number, name in enumerate(names, start=1)
        for section in _sections(name, f"scene-{number}")
    ]
    write_text(path, page(title or sections[0].title, sections))
    return path


def default_output(names: Sequence[str]) -> Path:
    """Return where a page about these goes: into a folder, beside a file, else report.html here."""
    if len(names) > 1 or not Path(names[0]).exists():
        return Path("report.html")
    only = Path(names[0])
    return only / "report.html" if only.is_dir() else only.with_name(f"{only.name}.html")


def _sections(source: str, name: str) -> list[Section]:
    """Return what a source has to show. name: of its viewer."""
    path = Path(source)
    if path.is_dir():
        return _of_folder(path, name)
    if path.suffix == _MODEL or (not path.exists() and source in list_models()):
        return model_sections(source)
    if not path.exists() and source != _PIPED:
        raise UserError(
            f"nothing to report on at {source}: give a run directory, a file of structures, a "
            f"model file or a bundled model ({', '.join(list_models())})"
        )
    return [_of_structures(path, name)]


def _of_folder(path: Path, name: str) -> list[Section]:
    title = path.resolve().name
    if (path / "config.yaml").is_file():
        return run_sections(f"Run: {title}", path, name)
    if is_active(path):
        return active_sections(f"Active learning: {title}", path, name)
    if is_vibrations(path):
        return [vibrations_section(f"Vibrations: {title}", path, name)]
    if is_spectrum(path):
        return [spectrum_section(f"Spectrum: {title}", path)]
    if is_scan(path):
        return [scan_section(f"Scan: {title}", path, name)]
    if is_path(path):
        return [path_section(f"Path: {title}", path, name)]
    if is_evaluation(path):
        return [evaluation_section(f"Evaluation: {title}", path)]
    raise UserError(
        f"the folder {path} holds nothing to report on: no run (config.yaml), no active learning "
        "(rounds.csv), no vibrations (modes.xyz), no spectrum (spectrum.csv), no scan (scan.xyz), "
        f"no path (path.xyz) and no evaluation ({RESULT})"
    )


def _of_structures(path: Path, name: str) -> Section:
    """Return the section of a file: a film where its structures follow each other in time."""
    structures = read_inputs(path, as_is=True)
    first = list(itertools.islice(structures, 2))
    if is_trajectory(first, path.suffix.lower()):
        own = info_of(first[0], "index")  # of those that were run together, frame by frame
        every = itertools.chain(first, structures)
        film = read_film(one for one in every if one.atoms is None or info_of(one, "index") == own)
        which = "" if own is None else f", structure {own} of those run together"
        return trajectory_section(f"Trajectory: {path.name}{which}", film, name)
    shown = list(itertools.islice(itertools.chain(first, structures), MOST_ROWS))
    if shown and all(one.atoms is None for one in shown):
        raise UserError(_unreadable(path, shown))
    has_more = next(structures, None) is not None
    total = count_structures([path]) if has_more else len(shown)
    title = "standard input" if str(path) == _PIPED else path.name
    return structures_section(f"Structures: {title}", shown, total, name)


def _unreadable(path: Path, structures: Sequence[Structure]) -> str:
    """Say that a file has no structure to show, and that the folder of a result may have them."""
    try:
        _of_folder(path.parent, "")
    except (UserError, OSError):
        folder = ""
    else:
        folder = f"; give the folder {path.parent}, which holds the result"
    first = "" if len(structures) == 1 else f"{len(structures)} structures, of which the first: "
    error = (structures[0].error or "").removeprefix(f"{path} ")
    return f"nothing to report on in {path}: {first}{error}{folder}"
