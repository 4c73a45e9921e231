"""One table of what a model is good for: errors, geometries, frequencies, stability, speed.

    python tests/benchmarks/targets.py MODEL [--data teacher.npz] [--suites DIR] [--ani1x FILE]
    [--geometries teacher_geometries.extxyz] [--frequencies teacher_frequencies.json]
    [--picoseconds 20] [--teacher FILE.jpt] [--threads 2] [--only WORDS] [--json]

A row without its file is left out. What a model refuses, for elements or charges, is counted in the
last column. floor and aim: what the bundled models shall reach.

--data: a set of `data/recipes/teacher.py`, whose part `test` the model has not seen. --suites: a
folder of reference energies. --ani1x: ANI-1x conformations with `dipole_tz` (e·Å,
ωB97X/def2-TZVPP). --geometries, --frequencies: what `data/recipes/teacher_reference.py` writes;
those in tests/files by default. --teacher: the TorchScript file of four AIMNet2 networks, one of
which is timed. --picoseconds: of dynamics, for each of two temperatures; 0 leaves it out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import ase.io
import numpy as np
import survival
import torch
from ase import Atoms
from ase.data import covalent_radii

from molequi.datasets.load import load_labelled
from molequi.datasets.making import Electrons, make_frames
from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph, collate
from molequi.models.freeze import FrozenModel
from molequi.models.zoo import load
from molequi.prediction.energies import ModelEnergies
from molequi.prediction.suite_places import read_suites
from molequi.prediction.suite_scores import evaluate_suite
from molequi.prediction.suites import KCAL_MOL, ConformerSuite
from molequi.properties import DEBYE
from molequi.simulation.calculator import Calculator
from molequi.simulation.relaxation import relax_atoms
from molequi.simulation.vibrations import vibrations
from molequi.structures.atoms import graph_from_atoms
from molequi.training.evaluation import predict_frames

FILES = Path(__file__).resolve().parents[1] / "files"
SIZES = ((2, 10), (11, 24), (25, 40), (41, 60), (61, 100))
BONDED = 1.25  # times the sum of the covalent radii
N_SPEED, ATOMS_PER_BATCH = 64, 1024
SUITES = {  # floor, aim; kcal/mol
    "S66": (0.9, 0.7), "S22": (None, None), "A24": (None, None), "X40": (None, None),
    "AHB21": (2.5, 1.2), "ACONF": (0.3, 0.2), "BUT14DIOL": (0.4, 0.2), "BHROT27": (None, None),
    "ISOL23": (None, None),
}  # fmt: skip


class Row(NamedTuple):
    """One line of the table; floor and aim are None where nothing is asked."""

    what: str
    value: float | None
    unit: str
    floor: float | None = None
    aim: float | None = None
    note: str = ""


class Subject(NamedTuple):
    """The model as it is named, and frozen."""

    name: str
    model: FrozenModel


def held_out(subject: Subject, path: Path | None) -> Iterator[Row]:
    """Errors on the part `test` of a labelled set, and by size."""
    if path is None:
        return
    network = load(subject.name)
    names = ("energy", "forces")
    labelled = load_labelled(path, [network.properties[name] for name in names])
    frames = labelled.frames.subset(labelled.splits["test"])
    known = [
        k for k in range(len(frames)) if accepts(subject.model, frames_graph(frames, k, subject))
    ]
    note = f"{len(known)} of {len(frames)} frames"
    frames = frames.subset(torch.tensor(known, dtype=torch.int64))
    found = predict_frames(network, frames, names)
    wrong = (found["forces"] - frames.targets["forces"]).abs().mean(dim=1)
    off = (found["energy"] - frames.targets["energy"]).abs() / KCAL_MOL
    owner = torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)
    yield Row("forces, held out", 1e3 * mean(wrong), "meV/Å", 50, 35, note)
    small = off[frames.n_atoms <= 60]
    yield Row("energy, held out, up to 60 atoms", mean(small), "kcal/mol", 1.5, 0.8, note)
    for low, high in SIZES:
        mine = (frames.n_atoms >= low) & (frames.n_atoms <= high)
        if mine.any():
            what = f"forces, {low} to {high} atoms"
            yield Row(
                what, 1e3 * mean(wrong[mine[owner]]), "meV/Å", note=f"{int(mine.sum())} frames"
            )


def frames_graph(frames: object, index: int, subject: Subject) -> AtomGraph:
    """Return the graph of one frame."""
    return frames.batch(torch.tensor([index]), subject.model.cutoff)[0]


def accepts(model: FrozenModel, graph: AtomGraph) -> bool:
    """Whether the model was made for a structure."""
    try:
        model.check_input(graph)
    except UserError:
        return False
    return True


def mean(values: torch.Tensor) -> float | None:
    """Return the mean, None of nothing."""
    return float(values.mean()) if len(values) else None


def suites(subject: Subject, folder: Path | None) -> Iterator[Row]:
    """Errors on the suites of a folder, or on those that are bundled."""
    source = ModelEnergies(subject.model)
    given = ["s66", "s22"] if folder is None else [folder]
    for suite in read_suites(given):
        found = evaluate_suite(suite, source)
        note = f"{len(found['refused'])} refused" if found["refused"] else ""
        if isinstance(suite, ConformerSuite):
            name = suite.origin.name
            yield Row(f"{name}, Spearman", found["spearman_median"], "", 0.72, 0.80, note)
            centred = found["centred_mae_median"]
            yield Row(f"{name}, centred MAE", centred, "kcal/mol", 0.28, 0.22, note)
        else:
            name = suite.origin.name.upper()
            yield Row(name, found["mae"], "kcal/mol", *SUITES.get(name, (None, None)), note)


def dipoles(subject: Subject, path: Path | None) -> Iterator[Row]:
    """Mean length of the error of the dipole vectors of the ANI-1x sample."""
    if path is None or "dipole" not in subject.model.outputs:
        return
    with np.load(path, allow_pickle=False) as arrays:
        z, pos, n_atoms, reference = (arrays[k] for k in ("z", "pos", "n_atoms", "dipole_tz"))
    ends = np.cumsum(n_atoms)
    graphs, wanted = [], []
    for end, size, dipole in zip(ends, n_atoms, reference, strict=True):
        if np.isfinite(dipole).all():
            atoms = Atoms(z[end - size : end], pos[end - size : end].astype(np.float64))
            graphs.append(graph_from_atoms(atoms, subject.model.cutoff))
            wanted.append(dipole)
    found = [subject.model.compute(g, forces=False)["dipole"].numpy() for g in batches(graphs)]
    error = np.linalg.norm(np.concatenate(found) - np.array(wanted), axis=1).mean() / DEBYE
    yield Row("dipoles of ANI-1x", float(error), "D", 0.30, 0.25, f"{len(wanted)} vectors")


def batches(graphs: list[AtomGraph]) -> Iterator[AtomGraph]:
    """Join graphs, about a thousand atoms at a time."""
    waiting: list[AtomGraph] = []
    for graph in graphs:
        if waiting and sum(g.n_atoms for g in waiting) + graph.n_atoms > ATOMS_PER_BATCH:
            yield collate(waiting)
            waiting = []
        waiting.append(graph)
    if waiting:
        yield collate(waiting)


def water_dimer(subject: Subject, _: object) -> Iterator[Row]:
    """Distance of the oxygens of the relaxed dimer; energy at the geometry of S22."""
    (suite,) = read_suites(["s22"])
    reaction = next(
        r for r in suite.reactions if {len(suite.systems[s]) for _, s in r.terms} == {3, 6}
    )
    result = evaluate_suite(suite, ModelEnergies(subject.model))
    row = next((r for r in result["reactions"] if r["name"] == reaction.name), None)
    if row is None:
        return
    sign = np.sign(next(c for c, s in reaction.terms if len(suite.systems[s]) == 6))
    note = "floor: -4.5 to -5.5"
    yield Row("water dimer, energy at S22", sign * row["model"], "kcal/mol", note=note)
    dimer = next(suite.systems[s] for _, s in reaction.terms if len(suite.systems[s]) == 6).copy()
    dimer.calc = Calculator(subject.model)
    relaxed = relax_atoms(dimer, fmax=0.002, steps=500).atoms
    distance = relaxed.get_distance(*np.flatnonzero(relaxed.numbers == 8))
    yield Row("water dimer, O-O", float(distance), "Å", note="floor: 2.85 to 2.98")


def geometries(subject: Subject, path: Path | None) -> Iterator[Row]:
    """Bonds after relaxation from the reference's geometry, beside that."""
    if path is None:
        return
    calculator = Calculator(subject.model)
    errors, worst, refused, unsettled = [], [], 0, 0
    for atoms in ase.io.read(path, index=":"):
        if not accepts(subject.model, graph_from_atoms(atoms, subject.model.cutoff)):
            refused += 1
            continue
        start = atoms.copy()
        start.calc = calculator
        relaxed = relax_atoms(start, fmax=0.01, steps=300)
        unsettled += not relaxed.converged
        off = np.abs(relaxed.atoms.get_all_distances() - atoms.get_all_distances())[bonds(atoms)]
        errors.append(off)
        worst.append((float(off.max(initial=0.0)), atoms.info["name"]))
    note = f"{len(errors)} molecules, {refused} refused, {unsettled} not at rest"
    every = np.concatenate(errors) if errors else np.zeros(0)
    yield Row("bonds after relaxation, MAE", mean(torch.tensor(every)), "Å", 0.003, 0.002, note)
    for k, (size, name) in enumerate(sorted(worst, reverse=True)[:3]):
        yield Row(
            "worst bond" if k == 0 else "", size, "Å", *((0.03, 0.015) if k == 0 else ()), note=name
        )


def bonds(atoms: Atoms) -> np.ndarray:
    """Return which pairs are bonded: (N, N), bool, above the diagonal."""
    radii = covalent_radii[atoms.numbers]
    near = atoms.get_all_distances() < BONDED * (radii[:, None] + radii)
    return np.triu(near, 1)


def frequencies(subject: Subject, path: Path | None) -> Iterator[Row]:
    """Harmonic frequencies beside those of the reference, in order."""
    if path is None:
        return
    model, errors = load(subject.name, dtype="float64"), {}
    for name, entry in json.loads(path.read_text(encoding="utf-8")).items():
        atoms = Atoms(entry["numbers"], entry["positions"])
        if accepts(subject.model, graph_from_atoms(atoms, subject.model.cutoff)):
            found = vibrations(atoms, model)["frequencies_cm1"]
            errors[name] = np.abs(np.subtract(found, entry["frequencies_cm1"])).tolist()
    every = [error for mine in errors.values() for error in mine]
    note = ", ".join(f"{name} {np.mean(mine):.0f}" for name, mine in errors.items())
    yield Row("frequencies, MAE", mean(torch.tensor(every)), "cm⁻¹", 25, 12, note)


def stability(subject: Subject, path: Path | None, picoseconds: float) -> Iterator[Row]:
    """How many of up to 30 molecules of 20 to 60 atoms survive dynamics at 300 and at 500 K."""
    if path is None or not picoseconds:
        return
    fitting = [
        atoms
        for atoms in ase.io.read(path, index=":")
        if 20 <= len(atoms) <= 60
        and accepts(subject.model, graph_from_atoms(atoms, subject.model.cutoff))
    ][:30]
    if not fitting:
        return
    frames = make_frames(
        torch.as_tensor(np.concatenate([atoms.positions for atoms in fitting])),
        torch.as_tensor(np.concatenate([atoms.numbers for atoms in fitting])),
        torch.tensor([len(atoms) for atoms in fitting]),
        electrons=Electrons(
            torch.tensor([float(atoms.info["charge"]) for atoms in fitting]),
            torch.ones(len(fitting)),
        ),
    )
    for temperature in (300.0, 500.0):
        found = survival.run(subject.name, frames, picoseconds, temperature)
        lost = [
            atoms.info["name"]
            for atoms, time in zip(fitting, found["lived_ps"], strict=True)
            if time < picoseconds
        ]
        what = f"survivors of {len(fitting)}, {picoseconds:g} ps at {temperature:g} K"
        note = f"mean {found['temperature_mean']:.0f} K" + "".join(f", lost {n}" for n in lost)
        yield Row(what, float(found["survived"]), "", len(fitting), len(fitting), note)


def speed(subject: Subject, folder: Path | None, teacher: Path | None) -> Iterator[Row]:
    """Energy and forces of 64 drug-size molecules, beside one network of the teacher."""
    if folder is None:
        return
    (suite,) = [s for s in read_suites([folder]) if isinstance(s, ConformerSuite)]
    structures = [molecule.structures[0] for molecule in suite.molecules]
    model = load(subject.name).freeze(kernels="specialized")
    fitting = [a for a in structures if accepts(model, graph_from_atoms(a, model.cutoff))][:N_SPEED]
    if not fitting:
        return

    def ours() -> None:
        for graph in batches([graph_from_atoms(a, model.cutoff) for a in fitting]):
            model.compute(graph, forces=True)

    n_atoms, n_threads = sum(map(len, fitting)), torch.get_num_threads()
    note = f"{len(fitting)} molecules, {n_atoms} atoms, {n_threads} threads"
    own, theirs = median_seconds(ours), None
    yield Row("energy and forces, ours", 1e3 * own, "ms", note=note)
    if teacher is not None:
        theirs = median_seconds(lambda: run_teacher(teacher, fitting))
        yield Row("energy and forces, teacher's network", 1e3 * theirs, "ms")
        yield Row("how many times as fast", theirs / own, "", 8, 15)


def median_seconds(function: Callable[[], object]) -> float:
    """Return the median time of three calls after one."""
    times = []
    for _ in range(4):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return float(np.median(times[1:]))


_NETWORKS: dict[Path, torch.nn.Module] = {}


def run_teacher(path: Path, structures: list[Atoms]) -> None:
    """Run the first network of the teacher, molecules of similar size together."""
    if path not in _NETWORKS:
        _NETWORKS[path] = getattr(torch.jit.load(str(path), map_location="cpu").models, "0")
    order = sorted(structures, key=len)
    for k in range(0, len(order), 8):
        batch = order[k : k + 8]
        width = max(map(len, batch))
        numbers = torch.zeros(len(batch), width, dtype=torch.int64)
        coord = torch.zeros(len(batch), width, 3)
        for row, atoms in enumerate(batch):
            numbers[row, : len(atoms)] = torch.as_tensor(atoms.numbers)
            coord[row, : len(atoms)] = torch.as_tensor(atoms.positions)
        charge = torch.tensor([float(atoms.info["charge"]) for atoms in batch])
        _NETWORKS[path]({"coord": coord, "numbers": numbers, "charge": charge})


def rows(settings: argparse.Namespace) -> Iterator[Row]:
    """Measure whatever there are files for."""
    subject = Subject(settings.model, load(settings.model).freeze())
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "data": lambda: held_out(subject, settings.data),
        "suites": lambda: suites(subject, settings.suites),
        "dipoles": lambda: dipoles(subject, settings.ani1x),
        "water": lambda: water_dimer(subject, None),
        "geometries": lambda: geometries(subject, settings.geometries),
        "frequencies": lambda: frequencies(subject, settings.frequencies),
        "stability": lambda: stability(subject, settings.geometries, settings.picoseconds),
        "speed": lambda: speed(subject, settings.suites, settings.teacher),
    }
    for name, part in parts.items():
        if not settings.only or name in settings.only:
            yield from part()


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    for name in ("data", "suites", "ani1x", "teacher"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--geometries", type=Path, default=FILES / "teacher_geometries.extxyz.gz")
    parser.add_argument("--frequencies", type=Path, default=FILES / "teacher_frequencies.json")
    parser.add_argument("--picoseconds", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=[], help="data suites dipoles water ...")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def print_row(row: Row) -> None:
    """Print a row as it is found."""
    value, floor, aim = ("-" if x is None else f"{x:.4g}" for x in (row.value, row.floor, row.aim))
    sys.stdout.write(
        f"{row.what:40s} {value:>9s} {row.unit:9s} {floor:>7s} {aim:>7s}  {row.note}\n"
    )
    sys.stdout.flush()


def main() -> None:
    """Parse, measure, print."""
    settings = parse()
    torch.set_num_threads(settings.threads)
    if settings.json:
        found = [row._asdict() for row in rows(settings)]
        sys.stdout.write(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        return
    sys.stdout.write(f"{'what':40s} {'value':>9s} {'unit':9s} {'floor':>7s} {'aim':>7s}  note\n")
    for row in rows(settings):
        print_row(row)


if __name__ == "__main__":
    main()
