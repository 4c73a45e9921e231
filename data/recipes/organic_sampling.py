"""How many frames of which kind the organic training set holds, and their energies and forces."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import organic_frames as fr
import organic_molecules as mo

# Constitutions drawn per heavy-atom count; smaller molecules are all taken.
SIZES = {7: 1100, 8: 1400, 9: 1900}
N_EXTRA = 8000
FRAMES = {"rattle": 6500, "stretch": 3000, "xh": 1500, "torsion": 2500, "pair": 1000}
TRAJECTORIES, PAIR_TRAJECTORIES = 1900, 250
SNAPSHOTS = (60, 100, 140, 180)
PAIR_SNAPSHOTS = (80, 160)
TEMPERATURES = (300.0, 450.0, 600.0, 800.0, 1000.0)
CHUNK = 64


def weight(molecule: mo.Molecule) -> float:
    """Return how often a molecule is drawn: common and small ones more."""
    if molecule.common:
        return 8.0
    return {6: 1.5}.get(mo.heavy_atoms(molecule.z), 4.0 if mo.heavy_atoms(molecule.z) <= 5 else 1.0)


def draw(molecules: Sequence[mo.Molecule], n: int, rng: np.random.Generator) -> list[mo.Molecule]:
    """Draw n molecules by `weight`, spread evenly (systematic resampling of a random order)."""
    order = rng.permutation(len(molecules))
    edges = np.cumsum([weight(molecules[i]) for i in order])
    points = (np.arange(n) + rng.random()) * edges[-1] / n
    return [molecules[order[k]] for k in np.searchsorted(edges, points)]


def frame(
    molecule: mo.Molecule, pos: np.ndarray, source: str, mu: float = float("nan")
) -> fr.Frame:
    """Make a frame of a molecule at `pos`."""
    return fr.Frame(molecule.z, pos, molecule.constitution, molecule.split, fr.CODE[source], mu)


def dynamics(
    molecules: Sequence[mo.Molecule],
    temperatures: np.ndarray,
    snapshots: Sequence[int],
    folder: Path,
) -> list[np.ndarray]:
    """Run Langevin dynamics of all molecules; returns (len(snapshots), n, 3) Å for each.

    Every batch is kept in `folder`, so that a stopped run goes on where it was.
    """
    from organic_teachers import Ani, batches, langevin  # noqa: PLC0415

    ani, result = Ani(), [np.empty(0)] * len(molecules)
    folder.mkdir(parents=True, exist_ok=True)
    for k, rows in enumerate(batches([len(m.z) for m in molecules], CHUNK)):
        path = folder / f"{k:05d}.npy"
        if not path.exists():
            geometries = [(molecules[i].z, molecules[i].pos) for i in rows]
            pos = langevin(ani, geometries, temperatures[rows], snapshots, seed=k)
            np.save(path.with_suffix(".tmp.npy"), pos)
            path.with_suffix(".tmp.npy").replace(path)
        pos = np.load(path)
        for column, i in enumerate(rows):
            result[i] = pos[:, column, : len(molecules[i].z)]
    return result


def quench(molecules: Sequence[mo.Molecule], folder: Path) -> list[mo.Molecule]:
    """Relax molecules by damped dynamics at 0 K (150 fs)."""
    relaxed = dynamics(molecules, np.zeros(len(molecules)), (150,), folder)
    return [m._replace(pos=pos[0]) for m, pos in zip(molecules, relaxed, strict=True)]


def sample_md(
    molecules: Sequence[mo.Molecule],
    snapshots: Sequence[int],
    source: str,
    folder: Path,
    rng: np.random.Generator,
) -> list[fr.Frame]:
    """Return the snapshots of one trajectory of every molecule, temperatures of TEMPERATURES."""
    temperatures = rng.choice(TEMPERATURES, len(molecules))
    if source == "pair_md":
        temperatures = np.full(len(molecules), 300.0)
    trajectories = dynamics(molecules, temperatures, snapshots, folder)
    return [frame(m, x, source) for m, xs in zip(molecules, trajectories, strict=True) for x in xs]


def sample_each(
    molecules: Sequence[mo.Molecule], n: int, source: str, move: Callable, rng: np.random.Generator
) -> list[fr.Frame]:
    """Apply move(z, pos, rng) to n drawn molecules; those it returns None for are skipped."""
    drawn = [(m, move(m.z, m.pos, rng)) for m in draw(molecules, n, rng)]
    return [frame(m, pos, source) for m, pos in drawn if pos is not None]


def make_pairs(
    molecules: Sequence[mo.Molecule], n: int, rng: np.random.Generator
) -> list[mo.Molecule]:
    """Join n pairs of molecules with at most five heavy atoms, both of the same split."""
    small = [m for m in molecules if mo.heavy_atoms(m.z) <= 5]
    pairs = []
    for a in draw(small, n, rng):
        b = draw([m for m in small if m.split == a.split], 1, rng)[0]
        z, pos = fr.place_pair((a.z, a.pos), (b.z, b.pos), rng)
        name = ".".join(sorted((a.constitution, b.constitution)))
        pairs.append(mo.Molecule(z, pos, name, a.split, float("nan"), common=False))
    return pairs


def static_frames(
    qm9: Sequence[mo.Molecule], common: Sequence[mo.Molecule], extra: Sequence[mo.Molecule],
    share: float, rng: np.random.Generator,
) -> list[fr.Frame]:  # fmt: skip
    """Make all frames that need no dynamics; `share` scales every count."""
    both = [*qm9, *common]
    n = {name: max(1, round(count * share)) for name, count in FRAMES.items()}
    moves = {
        "rattle": lambda z, pos, g: fr.rattle(pos, g.uniform(0.02, 0.12), g),
        "stretch": lambda z, pos, g: fr.stretch(z, pos, 0.8, 1.4, g, only_xh=False),
        "xh": lambda z, pos, g: fr.stretch(z, pos, 0.75, 1.6, g, only_xh=True),
        "torsion": fr.twist,
    }
    frames = [frame(m, m.pos, "equilibrium", m.mu) for m in qm9]
    frames += [frame(m, m.pos, "relaxed") for m in common]
    for source, move in moves.items():
        frames += sample_each(both, n[source], source, move, rng)
    frames += [frame(m, m.pos, "pair") for m in make_pairs(both, n["pair"], rng)]
    return frames + [frame(m, m.pos, "extra", m.mu) for m in extra]


def moving_frames(
    molecules: Sequence[mo.Molecule], share: float, work: Path, rng: np.random.Generator
) -> list[fr.Frame]:
    """Make all frames by dynamics, pairs first; `share` scales every count."""
    pairs = make_pairs(molecules, max(1, round(PAIR_TRAJECTORIES * share)), rng)
    frames = sample_md(pairs, PAIR_SNAPSHOTS, "pair_md", work / "pair_md", rng)
    moving = draw(molecules, max(1, round(TRAJECTORIES * share)), rng)
    return frames + sample_md(moving, SNAPSHOTS, "md", work / "md", rng)


def near_equilibrium(arrays: dict[str, np.ndarray]) -> list[mo.Molecule]:
    """Return the molecules of the equilibrium and relaxed frames, to start dynamics from."""
    off = fr.offsets(arrays["n_atoms"])
    rows = np.flatnonzero(np.isin(arrays["source"], [fr.CODE["equilibrium"], fr.CODE["relaxed"]]))
    return [
        mo.Molecule(
            arrays["z"][off[i] : off[i + 1]].astype(int), arrays["pos"][off[i] : off[i + 1]],
            str(arrays["constitution"][i]), int(arrays["split"][i]), float("nan"),
            common=bool(arrays["source"][i] == fr.CODE["relaxed"]),
        )
        for i in rows
    ]  # fmt: skip


def hydrogen_frames(rng: np.random.Generator, n: int = 60) -> dict[str, np.ndarray]:
    """Return flat frames of H2 with their labels, bond lengths 0.6 to 1.2 Å, the first at rest."""
    from organic_teachers import hydrogen_molecule  # noqa: PLC0415

    lengths = np.concatenate([[0.7414], rng.uniform(0.6, 1.2, n)])
    bonds = (
        np.array([random[0] for random in (fr.random_rotation(rng) for _ in lengths)])
        * lengths[:, None]
    )
    sources = [fr.CODE["relaxed"]] + [fr.CODE["xh"]] * n
    frames = [
        fr.Frame(
            np.array([1, 1]), np.array([-0.5 * bond, 0.5 * bond]), "[H][H]", mo.TRAIN, source, 0.0
        )
        for bond, source in zip(bonds, sources, strict=True)
    ]
    energy, slope = hydrogen_molecule(lengths)
    pull = (slope / lengths)[:, None] * bonds
    forces = np.stack([pull, -pull], axis=1).reshape(-1, 3)
    return fr.flatten(frames) | {
        "energy": energy,
        "forces": forces,
        "disagreement": np.zeros(len(frames)),
    }


def label_all(
    arrays: dict[str, np.ndarray], folder: Path, chunk: int = 2048
) -> dict[str, np.ndarray]:
    """Return energy (B,) eV, forces (A, 3) eV/Å and disagreement (B,) eV/Å of flat frames.

    Every chunk is kept in `folder`, so that a stopped run goes on where it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for start in range(0, len(arrays["n_atoms"]), chunk):
        path = folder / f"{start:06d}.npz"
        if not path.exists():
            labels = label_chunk(arrays, range(start, min(start + chunk, len(arrays["n_atoms"]))))
            np.savez(path.with_suffix(".tmp.npz"), **labels)
            path.with_suffix(".tmp.npz").replace(path)
        with np.load(path, allow_pickle=False) as file:
            parts.append(dict(file))
    return {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}


def label_chunk(arrays: dict[str, np.ndarray], rows: range) -> dict[str, np.ndarray]:
    """Label the frames `rows` with the ANI-1ccx ensemble."""
    from organic_teachers import Ani, batches, pad  # noqa: PLC0415

    ani, off = Ani(), fr.offsets(arrays["n_atoms"])
    first = off[rows.start]
    energy, disagreement = np.empty(len(rows)), np.empty(len(rows))
    forces = np.empty((off[rows.stop] - first, 3))
    for batch in batches(arrays["n_atoms"][rows.start : rows.stop], CHUNK):
        spans = [slice(off[rows[i]], off[rows[i] + 1]) for i in batch]
        z, pos = pad([(arrays["z"][s], arrays["pos"][s]) for s in spans])
        mean, force, spread = ani.label(z, pos)
        energy[batch], disagreement[batch] = mean.numpy(), spread.numpy()
        for s, f in zip(spans, force.numpy(), strict=True):
            forces[s.start - first : s.stop - first] = f[: s.stop - s.start]
    return {"energy": energy, "forces": forces, "disagreement": disagreement}


def relaxed_energies(arrays: dict[str, np.ndarray], energy: np.ndarray) -> np.ndarray:
    """Return for every frame the energy (eV) of its relaxed constitution.

    Pairs add their members'.
    """
    known: dict[str, float] = {}
    for name, source, value in zip(arrays["constitution"], arrays["source"], energy, strict=True):
        if fr.SOURCES[source] in ("equilibrium", "relaxed", "extra"):
            known[str(name)] = min(value, known.get(str(name), np.inf))
    return np.array(
        [sum(known[part] for part in str(name).split(".")) for name in arrays["constitution"]]
    )


def self_energies() -> tuple[np.ndarray, np.ndarray]:
    """Return the atomic numbers and ANI-1ccx's atomic self energies in eV."""
    from organic_teachers import Ani  # noqa: PLC0415

    energies = Ani().self_energies
    numbers = np.array([mo.ATOMIC_NUMBERS[s] for s in energies], dtype=np.uint8)
    return numbers, np.array(list(energies.values()))


def dft_order(
    arrays: dict[str, np.ndarray], done: Iterable[int], rng: np.random.Generator
) -> np.ndarray:
    """Return the frames in the order in which their DFT dipoles are computed.

    Each constitution has a key, exponential with a rate that falls as the seventh power of its
    number of atoms and is twenty times as large for held-out constitutions; it comes from the
    SMILES' hash, so that the order survives new frames. Molecules of up to five atoms have key 0.
    The k-th frame of a constitution (those in `done` count first) has k times its key, and at least
    20 (k - 1) times its number of atoms; nine tenths of the equilibrium frames, whose |mu| QM9
    knows, come last.
    """
    rows = rng.permutation(np.flatnonzero(arrays["source"] != fr.CODE["extra"]))
    settled = (arrays["source"][rows] == fr.CODE["equilibrium"]) & (rng.random(len(rows)) < 0.9)
    finished = np.isin(rows, np.fromiter(done, dtype=int))
    rows = rows[np.lexsort((settled, ~finished))]
    seen: Counter[str] = Counter()
    keys = np.empty(len(rows))
    for k, row in enumerate(rows):
        name, n_atoms = str(arrays["constitution"][row]), float(arrays["n_atoms"][row])
        seen[name] += 1
        rate = 6400.0 * n_atoms**-7 * (20.0 if arrays["split"][row] else 1.0)
        base = 0.0 if n_atoms <= 5 else -np.log(mo.hash_fraction(f"dft:{name}")) / rate
        keys[k] = base * seen[name] + 20.0 * n_atoms * (seen[name] - 1)
    return rows[np.argsort(keys, kind="stable")]


def counts(arrays: dict[str, np.ndarray]) -> dict[str, dict[str, int]]:
    """Count frames, constitutions and dipoles of each split, and frames of each source."""
    result = {}
    for code, name in enumerate(("train", "valid", "test")):
        part = arrays["split"] == code
        result[name] = {
            "frames": int(part.sum()),
            "constitutions": len(set(arrays["constitution"][part])),
            "dipole": int(np.isfinite(arrays["dipole"][part, 0]).sum()),
            "dipole_gfn2": int(np.isfinite(arrays["dipole_gfn2"][part, 0]).sum()),
            "dipole_magnitude": int(np.isfinite(arrays["dipole_magnitude"][part]).sum()),
        }
    result["source"] = {s: int((arrays["source"] == c).sum()) for c, s in enumerate(fr.SOURCES)}
    return result
