"""Make the training set of the bundled `organic` model: energies, forces and dipoles of H C N O.

    python data/recipes/organic.py --output organic.npz [--exclude FILE] [--sample 0.02]

Environment (Python 3.11): pip install torch==2.13.0 numpy "setuptools<80" lark-parser requests ase
rdkit pyscf tblite qm9pack, then pip install --no-deps torchani==2.0.

Stages, each resumable (`--stage NAME` runs one; the files between them lie in OUTPUT.work):
  frames    choose constitutions, make the geometries that need no dynamics
  md        Langevin dynamics of one ANI-1ccx network
  hydrogen  H2, which ANI-1ccx binds at 0.07 Å, by CCSD near the basis set limit
  energies  label them with the ANI-1ccx ensemble, reject some, write OUTPUT
  gfn2      GFN2-xTB dipole of every frame         } appended to a checkpoint, row by row;
  dft       B3LYP dipoles until --minutes are over } `merge` brings them into OUTPUT
  merge     rewrite OUTPUT with all dipoles so far, and OUTPUT's twin `_start`, whose `dipole` is
  GFN2's

Format: arrays of one npz without pickles; the atoms of molecule i are rows off[i]:off[i+1],
off = concat([0], cumsum(n_atoms)); absent labels are NaN.
  n_atoms (B,), z (A,), pos (A, 3) Å, energy (B,) eV, forces (A, 3) eV/Å, dipole (B, 3) e·Å
  (B3LYP/6-31G(2df,p)), dipole_gfn2 (B, 3) e·Å, dipole_magnitude (B,) D (QM9's mu, the level of
  `dipole`), split (B,) 0 train 1 valid 2 test, constitution (B,) SMILES, source (B,),
  reference_numbers, reference_energies (eV, ANI-1ccx self energies), meta (JSON).
source: 0 equilibrium (QM9), 1 md, 2 rattle, 3 stretch (one bond), 4 xh (one X-H bond), 5 torsion,
  6 pair, 7 pair_md, 8 relaxed (common compounds), 9 extra (QM9 equilibrium, train constitutions).
Split: by hash of the constitution (`organic_molecules.split_of`); the common compounds are
always train; a pair joins two molecules of the same part.
"""

import argparse
import importlib.metadata
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import organic_frames as fr
import organic_molecules as mo
import organic_sampling as sa

LOG = logging.getLogger("organic")
LEVELS = {
    "energy": "ANI-1ccx, mean of 8 networks (torchani 2.0); H2: CCSD, cc-pV(T,Q)Z extrapolated "
    "(PySCF)",
    "forces": "as energy",
    "dipole": "B3LYP/6-31G(2df,p), density fitting (PySCF)",
    "dipole_gfn2": "GFN2-xTB (tblite)",
    "dipole_magnitude": "B3LYP/6-31G(2df,p) (QM9)",
}


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an npz by rename."""
    temporary = path.with_suffix(".tmp.npz")
    np.savez_compressed(temporary, **arrays)
    temporary.replace(path)


def load(path: Path) -> dict[str, np.ndarray]:
    """Read an npz into memory."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def make_frames(settings: argparse.Namespace, work: Path) -> None:
    """Choose the molecules and make the geometries that need no dynamics: frames.npz in `work`."""
    rng = np.random.default_rng(settings.seed)
    excluded = mo.read_excluded(settings.exclude)
    table = mo.read_qm9(settings.limit)
    table = table[~table.constitution.isin(excluded)]
    share = settings.sample
    sizes = {heavy: max(1, round(n * share)) for heavy, n in sa.SIZES.items()}
    main, extra = mo.choose_qm9(table, sizes, round(sa.N_EXTRA * share), rng)
    common = mo.common_molecules(excluded, (mo.TINY if share < 0.1 else (*mo.TINY, *mo.COMMON)))
    common = sa.quench(common, work / "quench")
    known = {m.constitution for m in common}
    qm9 = [
        m._replace(split=mo.TRAIN) if m.constitution in known else m for m in mo.qm9_molecules(main)
    ]
    frames = sa.static_frames(qm9, common, mo.qm9_molecules(extra), share, rng)
    arrays = fr.flatten(frames)
    LOG.info("%d geometries of %d constitutions", len(frames), len(set(arrays["constitution"])))
    save(work / "frames.npz", arrays)


def make_md(settings: argparse.Namespace, work: Path) -> None:
    """Run the dynamics: md.npz in `work`."""
    molecules = sa.near_equilibrium(load(work / "frames.npz"))
    rng = np.random.default_rng([settings.seed, 1])
    save(work / "md.npz", fr.flatten(sa.moving_frames(molecules, settings.sample, work, rng)))


def make_hydrogen(settings: argparse.Namespace, work: Path) -> None:
    """Label H2, which ANI-1ccx does not describe: hydrogen.npz in `work`."""
    save(work / "hydrogen.npz", sa.hydrogen_frames(np.random.default_rng([settings.seed, 2])))


def select_frames(arrays: dict[str, np.ndarray], keep: np.ndarray) -> dict[str, np.ndarray]:
    """Keep the frames where `keep` (B,) is true, in flat arrays."""
    atoms = np.repeat(keep, arrays["n_atoms"])
    n_frames = len(keep)
    return {k: a[keep] if len(a) == n_frames else a[atoms] for k, a in arrays.items()}


def label_frames(work: Path) -> dict[str, np.ndarray]:
    """Return the geometries of all finished stages with energies, forces and disagreement."""
    parts = []
    for name in ("frames", "md"):
        if (work / f"{name}.npz").exists():
            arrays = load(work / f"{name}.npz")
            parts.append(arrays | sa.label_all(arrays, work / f"labels_{name}"))
    if (work / "hydrogen.npz").exists():
        parts.append(load(work / "hydrogen.npz"))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def reasons_to_reject(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return `organic_frames.rejection` of every frame (B,)."""
    above = arrays["energy"] - sa.relaxed_energies(arrays, arrays["energy"])
    off, force = fr.offsets(arrays["n_atoms"]), np.linalg.norm(arrays["forces"], axis=1)
    spans = [slice(a, b) for a, b in zip(off[:-1], off[1:], strict=True)]
    rows = zip(spans, above, arrays["disagreement"], strict=True)
    return np.array([fr.rejection(arrays["pos"][s], e, d, force[s].max()) for s, e, d in rows])


def make_energies(settings: argparse.Namespace, work: Path) -> None:
    """Label all geometries with ANI-1ccx, reject the bad ones, write the output."""
    arrays = label_frames(work)
    reasons = reasons_to_reject(arrays)
    del arrays["disagreement"]
    bad = [f"{fr.SOURCES[s]}:{r}" for s, r in zip(arrays["source"], reasons, strict=True) if r]
    LOG.info(
        "rejected %d of %d: %s",
        len(bad),
        len(reasons),
        rejected := dict(sorted(Counter(bad).items())),
    )
    blank = np.full((len(reasons), 3), np.nan)
    arrays |= {
        "forces": arrays["forces"].astype(np.float32),
        "dipole": blank,
        "dipole_gfn2": blank.copy(),
    }
    arrays = select_frames(arrays, reasons == "")
    numbers, energies = sa.self_energies()
    arrays |= {"reference_numbers": numbers, "reference_energies": energies}
    meta = {
        "levels": LEVELS,
        "rejected": rejected,
        "seed": settings.seed,
        "sources": fr.SOURCES,
        "versions": versions(),
    }
    save(settings.output, arrays | {"meta": np.array(json.dumps(meta))})
    merge(settings, work)


def versions() -> dict[str, str]:
    """Return the versions of the packages that made the labels."""
    names = ("torchani", "torch", "tblite", "pyscf", "qm9pack", "rdkit", "ase", "numpy")
    return {name: importlib.metadata.version(name) for name in names}


def read_rows(path: Path) -> dict[int, np.ndarray]:
    """Read a dipole checkpoint: lines 'row x y z' (e·Å; NaN where the level failed)."""
    rows = {}
    if path.exists():
        for line in path.read_text().splitlines():
            words = line.split()
            if len(words) == 5 and words[4] == ";":
                rows[int(words[0])] = np.array(words[1:4], dtype=np.float64)
    return rows


def append_dipoles(
    arrays: dict[str, np.ndarray], order: np.ndarray, path: Path, dipole: Callable, minutes: float
) -> None:
    """Compute dipoles of frames in `order`, appending each to `path`, until the time is over."""
    done, off, start, n = read_rows(path), fr.offsets(arrays["n_atoms"]), time.monotonic(), 0
    with path.open("a") as file:
        file.write("\n")
        for i in order:
            if i in done or time.monotonic() - start > 60 * minutes:
                continue
            atoms = slice(off[i], off[i + 1])
            try:
                value = dipole(arrays["z"][atoms].astype(int), arrays["pos"][atoms])
            except RuntimeError as error:
                LOG.warning("row %d: %s", i, error)
                value = np.full(3, np.nan)
            file.write(f"{i} {value[0]:.6f} {value[1]:.6f} {value[2]:.6f} ;\n")
            file.flush()
            n += 1
            if n in (1, 10) or n % 100 == 0:
                LOG.info("%s: %d rows, %.3f s each", path.stem, n, (time.monotonic() - start) / n)


def make_gfn2(settings: argparse.Namespace, work: Path) -> None:
    """Append GFN2-xTB dipoles of all frames."""
    from organic_teachers import gfn2_dipole  # noqa: PLC0415  # loads torch, which the merge does without

    arrays = load(settings.output)
    order = np.random.default_rng(settings.seed).permutation(len(arrays["n_atoms"]))
    append_dipoles(arrays, order, work / "gfn2.txt", gfn2_dipole, settings.minutes)


def make_dft(settings: argparse.Namespace, work: Path) -> None:
    """Append B3LYP dipoles, small and held-out molecules first on average."""
    from organic_dft import dft_dipole  # noqa: PLC0415

    arrays = load(settings.output)
    order = sa.dft_order(arrays, read_rows(work / "dft.txt"), np.random.default_rng(settings.seed))
    append_dipoles(arrays, order, work / "dft.txt", dft_dipole, settings.minutes)


def merge(settings: argparse.Namespace, work: Path) -> None:
    """Rewrite the output with the dipoles computed so far, and its counts."""
    arrays = load(settings.output)
    for name, file in (("dipole", "dft.txt"), ("dipole_gfn2", "gfn2.txt")):
        arrays[name] = np.full_like(arrays[name], np.nan)
        for row, value in read_rows(work / file).items():
            arrays[name][row] = value
    meta = json.loads(str(arrays["meta"])) | {"counts": sa.counts(arrays)}
    LOG.info("%s", meta["counts"])
    save(settings.output, arrays | {"meta": np.array(json.dumps(meta))})
    # The first half of the training learns GFN2-xTB's vectors as its dipole.
    start = {
        name: values
        for name, values in arrays.items()
        if name not in ("dipole_gfn2", "dipole_magnitude")
    }
    meta["levels"] = meta["levels"] | {"dipole": "GFN2-xTB (tblite)"}
    path = settings.output.with_name(f"{settings.output.stem}_start.npz")
    save(path, start | {"dipole": arrays["dipole_gfn2"], "meta": np.array(json.dumps(meta))})


STAGES = {
    "frames": make_frames, "md": make_md, "hydrogen": make_hydrogen, "energies": make_energies,
    "gfn2": make_gfn2, "dft": make_dft, "merge": merge,
}  # fmt: skip


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--exclude", type=Path, help="file of SMILES to leave out, one per line")
    parser.add_argument(
        "--sample", type=float, default=1.0, metavar="N", help="share of the full set to make"
    )
    parser.add_argument("--limit", type=int, help="read only this many molecules of QM9")
    parser.add_argument("--stage", choices=[*STAGES, "all"], default="all")
    parser.add_argument(
        "--minutes", type=float, default=90.0, help="time for one run of gfn2 or dft"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=20260101)
    return parser.parse_args(arguments)


def main() -> None:
    """Run the stages asked for; a stage whose file is there is not run again under `all`."""
    settings = parse()
    os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    work = settings.output.with_suffix(".work")
    work.mkdir(parents=True, exist_ok=True)
    finished = {
        "frames": work / "frames.npz",
        "md": work / "md.npz",
        "hydrogen": work / "hydrogen.npz",
        "energies": settings.output,
    }
    for name, stage in STAGES.items():
        if settings.stage == name or (
            settings.stage == "all" and not finished.get(name, work / "none").exists()
        ):
            LOG.info("stage %s", name)
            stage(settings, work)


if __name__ == "__main__":
    main()
