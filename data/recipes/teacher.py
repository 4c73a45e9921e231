"""Make the training set of the bundled models from AIMNet2: 14 elements, ions, complexes.

    python data/recipes/teacher.py label --work DIR [--suites DIR] [--reserved FILE] [--shards 200]

Environment (Python 3.11): pip install torch==2.13.0 numpy scipy rdkit ase qm9pack, then pip install
--no-deps Auto3D==2.3.1 molsets==0.3.1 qc-b3db==1.1.1; pyscf and dftd3 for `check` and `atoms`,
molequi for `assemble`. One thread, under 1 GiB (`assemble`: 3 GiB).

Stages, each goes on where it was stopped; files lie in --work:
  catalogue  molecules by category: `catalogue.tsv`, its counts `catalogue.json`
  label      shards of about 1,200 frames, `shards/00000.npz` ...; a line each in `journal.jsonl`;
             the teacher's shifts of the elements (eV), `shifts.json`.
             Shard k is made from its number and the seed alone and holds all categories, so any
             number of shards is a balanced set
  large      shards of molecules of 61 to 100 atoms of valid and test, to measure errors by size
  stacks     shards of flat rings and other molecules face to face
  arenes     the same of arenes with few substituents, `catalogue_arenes.tsv`
  tiny       shards of the smallest molecules and ions, their complexes with small molecules, and
             halogen bonds, `catalogue_tiny.tsv`; after `arenes`, whose halides it takes as well
  complexes  shards of many complexes of all kinds, few frames of each, and of ions of the smallest
             molecules, `catalogue_tiny_ions.tsv`; after `tiny`
  batched    shards of all kinds, made and labelled in batches on the --device, such as a GPU
  wide       shards of all kinds, two frames of each start: five times the molecules per hour
  chains     shards of conformers, most of them of chains, `catalogue_chains.tsv`
  check      labels of small frames against PySCF at the teacher's own level: `checks.jsonl`
  check_interactions  the same of interaction energies of small complexes with an ion, at contacts
             of all lengths: `interactions.jsonl`
  atoms      energies of the isolated atoms by PySCF: `atoms.json`
  jacobian   how forces change along a displacement of every seventh frame: `jacobian/00000.npz`
  pieces     energies of the molecules of complexes, each alone: `pieces/00000.npz`
  alone      some of these molecules as frames of their own: `alone/alone_00000.npz`
  assemble   drop frames (`teacher_assemble.reasons`), complete the dispersion of the others, write
             `teacher.npz` in molequi's flat format with the split, and the counts, `teacher.json`

Split: by hash of the skeleton, so that stereoisomers, tautomers and protonation states of a
molecule stand in one part; molecules of up to three heavy atoms always train, and all larger
molecules of a complex are of one part. Kept out: what --suites and --reserved name, except
molecules of up to three heavy atoms, and every complex that is a system of a suite, whatever the
size of its molecules (`teacher_identity`). `tiny` also keeps out every ion of a suite, however
small, and whatever has the composition of a charged system.
"""

import argparse
import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")

import teacher_catalogues as catalogues
import teacher_identity as identity
import teacher_journal as journal
import teacher_molecules as molecules
import teacher_plans as plans

if TYPE_CHECKING:
    from teacher_aimnet import Teacher

LOG = logging.getLogger("teacher")
TEACHER_FILE = "models/aimnet2_wb97m_ens_f.jpt"
# Numbers of their first shards.
FIRST_STACKS, FIRST_ARENES, FIRST_TINY, FIRST_LARGE = 80000, 85000, 86000, 90000
FIRST_COMPLEXES, FIRST_BATCHED, FIRST_WIDE, FIRST_CHAINS = 95000, 110000, 120000, 140000
LEVEL = "ωB97M-D3(BJ)/def2-TZVPP, by four AIMNet2 networks (Auto3D 2.3.1)"


def label(settings: argparse.Namespace) -> None:
    """Make the shards that are not there yet, in order."""
    reserved = catalogues.make_catalogue(settings)
    entries = molecules.read(settings.work / "catalogue.tsv")
    plan = plans.make_plan(entries, reserved, settings.seed)
    make_shards(settings, plan, range(settings.shards))


def label_large(settings: argparse.Namespace) -> None:
    """Make --large shards of molecules of 61 to 100 atoms, which are never trained on."""
    reserved = identity.read_reserved(settings.suites, settings.reserved)
    path = settings.work / "catalogue_large.tsv"
    if not path.exists():
        molecules.write(molecules.build_large(settings.seed, reserved), path)
    plan = plans.make_large_plan(molecules.read(path), reserved, settings.seed)
    make_shards(settings, plan, range(FIRST_LARGE, FIRST_LARGE + settings.large))


def label_stacks(settings: argparse.Namespace) -> None:
    """Make --stacks shards of molecules face to face."""
    reserved = catalogues.make_catalogue(settings)
    entries = molecules.read(settings.work / "catalogue.tsv")
    plan = plans.make_stack_plan(entries, reserved, settings.seed)
    make_shards(settings, plan, range(FIRST_STACKS, FIRST_STACKS + settings.stacks))


def label_arenes(settings: argparse.Namespace) -> None:
    """Make --arenes shards of arenes face to face."""
    reserved = catalogues.make_catalogue(settings)
    entries = molecules.read(settings.work / "catalogue.tsv")
    plan = plans.make_arene_plan(entries, catalogues.read_arenes(settings, reserved), reserved)
    make_shards(settings, plan, range(FIRST_ARENES, FIRST_ARENES + settings.arenes))


def label_tiny(settings: argparse.Namespace) -> None:
    """Make --tiny shards of the smallest molecules, their complexes, and halogen bonds."""
    found = catalogues.read_tiny(settings)
    plan = plans.make_tiny_plan(found.entries, found.halides, found.kept_out, settings.seed)
    make_shards(settings, plan, range(FIRST_TINY, FIRST_TINY + settings.tiny))


def label_complexes(settings: argparse.Namespace) -> None:
    """Make --complexes shards of many complexes of all kinds."""
    plan = catalogues.plan_complexes(settings, catalogues.read_tiny(settings))
    make_shards(settings, plan, range(FIRST_COMPLEXES, FIRST_COMPLEXES + settings.complexes))


def label_batched(settings: argparse.Namespace) -> None:
    """Make --batched shards of all kinds, in batches on the --device."""
    plan = plans.make_batched_plan(*plans_of_all_kinds(settings))
    make_shards(settings, plan, range(FIRST_BATCHED, FIRST_BATCHED + settings.batched))


def label_wide(settings: argparse.Namespace) -> None:
    """Make --wide shards of all kinds, two frames of each start."""
    plan = plans.make_wide_plan(*plans_of_all_kinds(settings))
    make_shards(settings, plan, range(FIRST_WIDE, FIRST_WIDE + settings.wide))


def label_chains(settings: argparse.Namespace) -> None:
    """Make --chains shards of conformers."""
    reserved = catalogues.make_catalogue(settings)
    entries = molecules.read(settings.work / "catalogue.tsv")
    found = catalogues.read_chains(settings, reserved)
    plan = plans.make_chain_plan(entries, found, reserved, settings.seed)
    make_shards(settings, plan, range(FIRST_CHAINS, FIRST_CHAINS + settings.chains))


def plans_of_all_kinds(settings: argparse.Namespace) -> tuple[plans.Plan, plans.Plan, plans.Plan]:
    """Return the plans of molecules, of many complexes and of the smallest."""
    found = catalogues.read_tiny(settings)
    entries = molecules.read(settings.work / "catalogue.tsv")
    return (
        plans.make_plan(entries, found.kept_out[0], settings.seed),
        catalogues.plan_complexes(settings, found),
        plans.make_tiny_plan(found.entries, found.halides, found.kept_out, settings.seed),
    )


def read_teacher(settings: argparse.Namespace) -> "Teacher":
    """Read the networks."""
    import teacher_aimnet as aimnet  # noqa: PLC0415  # loads torch, which other stages do without

    return aimnet.Teacher(molecules.package_file("Auto3D", TEACHER_FILE), device=settings.device)


def make_shards(settings: argparse.Namespace, plan: plans.Plan, numbers: range) -> None:
    """Make the shards of these numbers that are not there yet."""
    import teacher_shards as shards  # noqa: PLC0415

    teacher = read_teacher(settings)
    (settings.work / "shifts.json").write_text(json.dumps(teacher.shifts(), indent=1))
    folder = settings.work / "shards"
    folder.mkdir(exist_ok=True)
    for shard in numbers:
        path = folder / f"{shard:05d}.npz"
        if path.exists():
            continue
        begin = time.monotonic()
        arrays = shards.make_shard(teacher, plan, shard, settings.seed)
        shards.save(path, arrays)
        seconds = time.monotonic() - begin
        line = {"shard": shard, "seconds": round(seconds, 1), **shards.summary(arrays)}
        journal.append(settings.work / "journal.jsonl", line)
        LOG.info("%s, %.1f frames/s", line, line["frames"] / seconds)


def finished(settings: argparse.Namespace) -> list[Path]:
    """List the finished shards."""
    return sorted((settings.work / "shards").glob("[0-9]*[0-9].npz"))


def check(settings: argparse.Namespace) -> None:
    """Compare --checks labels of the first shards with PySCF, a line each in `checks.jsonl`."""
    import teacher_checks as checks  # noqa: PLC0415

    checks.frames(finished(settings)[:4], settings.work / "checks.jsonl", settings)


def check_interactions(settings: argparse.Namespace) -> None:
    """Compare --checks interaction energies with PySCF, a line each in `interactions.jsonl`."""
    import teacher_checks as checks  # noqa: PLC0415

    teacher = read_teacher(settings)
    checks.interactions(finished(settings), settings.work / "interactions.jsonl", settings, teacher)


def atoms(settings: argparse.Namespace) -> None:
    """Compute the isolated atoms."""
    import teacher_dft as dft  # noqa: PLC0415

    dft.write_atoms(settings.work / "atoms.json")


def beside(settings: argparse.Namespace) -> None:
    """Compute what a stage puts beside finished shards, for those that have none yet."""
    import teacher_aimnet as aimnet  # noqa: PLC0415
    import teacher_pieces as pieces  # noqa: PLC0415

    # Of shards, with their names; those of `alone` are shards themselves.
    make, prefix = {
        "jacobian": (aimnet.jacobian_columns, ""),
        "pieces": (pieces.piece_labels, ""),
        "alone": (pieces.alone, "alone_"),
    }[settings.stage]
    teacher = read_teacher(settings)
    folder = settings.work / settings.stage
    pieces.add_to_shards(teacher, finished(settings), folder, settings.seed, make, prefix)


def assemble(settings: argparse.Namespace) -> None:
    """Write the data set and its counts."""
    import teacher_assemble as assembly  # noqa: PLC0415
    import teacher_dispersion as dispersion  # noqa: PLC0415  # needs molequi
    import teacher_output as output  # noqa: PLC0415  # needs molequi

    paths = finished(settings) + sorted((settings.work / "alone").glob("alone_*[0-9].npz"))
    arrays = assembly.read_shards(paths)
    arrays |= assembly.force_changes(paths, settings.work / "jacobian")
    arrays |= assembly.pieces(paths, settings.work / "pieces")
    dropped = assembly.reasons(arrays, limits := assembly.Limits())
    counts = assembly.statistics(arrays, dropped)
    LOG.info("\n%s", assembly.table(counts))
    arrays, n_completed = dispersion.complete(assembly.select(arrays, dropped == ""))
    notes = {
        "level": LEVEL,
        "limits": limits._asdict(),
        "counts": counts,
        "completed_dispersion": n_completed,
        "catalogue": json.loads((settings.work / "catalogue.json").read_text()),
    }
    for name in ("atoms.json", "shifts.json"):
        if (settings.work / name).exists():
            notes[name.split(".", maxsplit=1)[0]] = json.loads((settings.work / name).read_text())
    path = settings.work / "teacher.npz"
    output.write(path, arrays, notes)
    path.with_suffix(".json").write_text(json.dumps(notes, indent=1, ensure_ascii=False))


STAGES = {
    "catalogue": catalogues.make_catalogue,
    "label": label,
    "large": label_large,
    "stacks": label_stacks,
    "arenes": label_arenes,
    "tiny": label_tiny,
    "complexes": label_complexes,
    "batched": label_batched,
    "wide": label_wide,
    "chains": label_chains,
    "check": check,
    "check_interactions": check_interactions,
    "atoms": atoms,
    "jacobian": beside,
    "pieces": beside,
    "alone": beside,
    "assemble": assemble,
}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--suites", type=Path, help="folder of suites whose molecules stay out")
    parser.add_argument("--reserved", type=Path, help="file of SMILES that stay out, one per line")
    parser.add_argument("--shards", type=int, default=200)
    parser.add_argument("--large", type=int, default=6, help="shards of large molecules")
    parser.add_argument("--stacks", type=int, default=20, help="shards of stacks")
    parser.add_argument("--arenes", type=int, default=20, help="shards of arenes")
    parser.add_argument("--tiny", type=int, default=12, help="shards of the smallest molecules")
    parser.add_argument("--complexes", type=int, default=56, help="shards of many complexes")
    parser.add_argument("--batched", type=int, default=65, help="shards made in batches")
    parser.add_argument("--wide", type=int, default=160, help="shards of two frames of each start")
    parser.add_argument("--chains", type=int, default=20, help="shards of conformers")
    parser.add_argument("--device", default="cpu", help="where the networks lie, such as cuda")
    parser.add_argument("--checks", type=int, default=50, help="labels to compare with PySCF")
    parser.add_argument("--most-atoms", type=int, default=12, help="largest frame to compare")
    parser.add_argument("--seed", type=int, default=20260112)
    return parser.parse_args(arguments)


def main() -> None:
    """Run a stage."""
    settings = parse()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings.work.mkdir(parents=True, exist_ok=True)
    STAGES[settings.stage](settings)


if __name__ == "__main__":
    main()
