"""The recipe of the teacher's data set, with springs in the place of the teacher."""

import argparse
import gzip
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("rdkit")
from rdkit import Chem

RECIPES = Path(__file__).parents[2] / "data" / "recipes"
WATER = np.array([[0.0, 0.0, 0.0], [0.0, 0.757, 0.587], [0.0, -0.757, 0.587]])


def recipe(name: str) -> ModuleType:
    """Import a module of data/recipes; skip where a package it needs is absent."""
    if not RECIPES.exists():
        pytest.skip("data/recipes is only in the checkout")
    sys.path.insert(0, str(RECIPES))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        pytest.skip(f"{name} needs {error.name}")
    finally:
        sys.path.remove(str(RECIPES))


identity = recipe("teacher_identity")
tables = recipe("teacher_fragments")
molecules = recipe("teacher_molecules")
geometries = recipe("teacher_geometries")
aimnet = recipe("teacher_aimnet")
complexes = recipe("teacher_complexes")
plans = recipe("teacher_plans")
shards = recipe("teacher_shards")
assembly = recipe("teacher_assemble")
output = recipe("teacher_output")
completion = recipe("teacher_dispersion")
tiny = recipe("teacher_tiny")
tiny_ions = recipe("teacher_ions")
pieces = recipe("teacher_pieces")
teacher = recipe("teacher")


def settings_of(work: Path, **given: object) -> argparse.Namespace:
    """The settings of a stage."""
    rest = {"suites": None, "reserved": None, "seed": 0, "device": "cpu"}
    return argparse.Namespace(work=work, **(rest | given))


class Spring(float):
    """A network that is a force constant; as the teacher's, it marks the positions that it gets."""

    def __call__(self, batch: dict) -> dict:
        positions = batch["coord"].requires_grad_(True)
        energy = 0.5 * float(self) * positions.square().sum()
        return {"forces": -torch.autograd.grad(energy, positions, create_graph=True)[0]}


class Springs:
    """Four networks that hold every atom at the origin, each a little more firmly than the last."""

    networks = tuple(map(Spring, (1.0, 1.1, 1.2, 1.3)))
    padded = staticmethod(aimnet.pad)
    device = torch.device("cpu")

    def __init__(self, *_: object, device: str = "cpu") -> None:
        assert device == "cpu"
        self.n_labels = 0

    def batches(self, structures: list) -> Iterator[np.ndarray]:
        return aimnet.batches([len(s.z) for s in structures])

    def shifts(self) -> dict[str, float]:
        return {"H": -1.0}

    def forces(self, structures: list, k: int) -> list[np.ndarray]:
        return [-self.networks[k] * s.pos for s in structures]

    def label(self, structures: list) -> list:
        self.n_labels += len(structures)
        return [
            aimnet.Label(
                0.575 * float((s.pos**2).sum()),
                0.01,
                -1.15 * s.pos,
                np.full(len(s.z), 0.1),
                np.full(len(s.z), s.charge / len(s.z)),
                np.full(len(s.z), 0.01),
                np.ones(len(s.z)),
            )
            for s in structures
        ]


class LooseSprings(Springs):
    """Springs that let molecules keep their size."""

    networks = (Spring(1e-3),) * 4


def test_resonance_forms_and_stereoisomers_are_one_graph_and_tautomers_one_skeleton() -> None:
    def only(smiles: str) -> tuple:
        (found,) = identity.identify_smiles(smiles)
        return found

    assert only("C1=CC=CC=C1") == only("c1ccccc1")
    assert only("C[C@H](N)C(=O)O") == only("C[C@@H](N)C(O)=O")
    keto, enol = only("CC(=O)CC(C)=O"), only("CC(O)=CC(C)=O")
    assert keto.graph != enol.graph
    assert keto.skeleton == enol.skeleton
    acid, ion = only("CC(=O)O"), only("CC(=O)[O-]")
    assert acid.graph != ion.graph
    assert identity.part_of(acid) == identity.part_of(ion)
    assert identity.identify_smiles("not a molecule") == []


@pytest.mark.parametrize(
    "smiles", ["CC(=O)Nc1ccc(O)cc1", "C[N+](C)(C)C", "CS(=O)(=O)C", "OB(O)C=C"]
)
def test_geometry_and_smiles_give_the_same_identity(smiles: str) -> None:
    z, pos, _ = geometries.embed(smiles, 1)
    assert identity.identify_geometry(z, pos) == identity.identify_smiles(smiles)


def test_parts_are_stable_and_balanced_and_tiny_molecules_train() -> None:
    names = [identity.Identity("", f"C{'C' * n}{'O' * m}", 9) for n in range(60) for m in range(60)]
    parts = [identity.part_of(name) for name in names]
    np.testing.assert_allclose(np.bincount(parts) / len(parts), [0.9, 0.05, 0.05], atol=0.012)
    assert parts[:6] == [identity.part_of(name) for name in names[:6]]
    tiny = {identity.part_of(identity.Identity("", f"{n}", 3)) for n in range(99)}
    assert tiny == {identity.TRAIN}


@pytest.fixture
def suites(tmp_path: Path) -> Path:
    """Write a suite of water + benzene and one with a conformer of dodecane."""
    z, pos, _ = geometries.embed("c1ccccc1", 1)
    pair = {
        "numbers": [8, 1, 1, *z.tolist()],
        "positions": np.concatenate([WATER + [0.0, 0.0, 9.0], pos]).tolist(),
    }
    z, pos, _ = geometries.embed("CCCCCCCCCCCC", 1)
    chain = {"name": "chain", "conformers": [{"numbers": z.tolist(), "positions": pos.tolist()}]}
    for name, content in {"A": {"systems": {"pair": pair}}, "B": {"molecules": [chain]}}.items():
        path = tmp_path / "suites" / f"{name}.json.gz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return tmp_path / "suites"


def test_reserved_molecules_and_combinations_stay_out(suites: Path, tmp_path: Path) -> None:
    listed = tmp_path / "reserved.txt"
    listed.write_text("OCC=CC\nCO\n")
    reserved = identity.read_reserved(suites, listed)

    def out(smiles: str) -> bool:
        return identity.is_reserved(identity.identify_smiles(smiles)[0], reserved)

    assert out("c1ccccc1")
    assert out("C(O)C=CC")
    assert out("CCCCCC=CCCCCC")  # the skeleton of a large reserved molecule
    assert not out("O")
    assert not out("CO")  # tiny molecules are allowed
    assert not out("Cc1ccccc1")

    def entry(smiles: str) -> object:
        return molecules.Entry("common", smiles, 0, 0, 3)

    assert complexes.is_met([entry("O"), entry("c1ccccc1")], reserved)
    assert not complexes.is_met([entry("O"), entry("O")], reserved)


def test_sections_of_the_tables_are_read() -> None:
    assert set(tables.STATES) == set(tables.ELEMENTS)
    assert {"F", "[H]", "c1ccccc1"} <= set(tables.SMALL_SUBSTITUENTS)
    assert min(len(states) for states in tables.STATES.values()) > 20


@pytest.mark.parametrize("element", tables.ELEMENTS)
def test_every_bonding_state_can_be_made(element: str) -> None:
    for state in tables.STATES[element]:
        mol = Chem.MolFromSmiles(state.format(*["C"] * state.count("{}")))
        assert mol is not None, state
        assert element in {atom.GetSymbol() for atom in mol.GetAtoms()}, state


def test_tables_of_ions_and_compounds_hold_closed_shells_of_the_right_charge() -> None:
    signs = {"CATIONS": 1, "ANIONS": -1, "SOLVENTS": 0, "COMMON": 0}
    for name, sign in signs.items():
        for smiles in getattr(tables, name):
            mol = Chem.MolFromSmiles(smiles)
            assert mol is not None, smiles
            assert np.sign(Chem.GetFormalCharge(mol)) == sign, smiles
            assert not any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()), smiles


@pytest.mark.parametrize(
    ("kind", "charge", "n_charged"),
    [("cation", 1, 1), ("anion", -1, 1), ("zwitterion", 0, 2), ("dication", 2, 2)],
)
def test_protons_come_on_and_go_off(kind: str, charge: int, n_charged: int) -> None:
    name = "NCCc1ccc(C(=O)O)nc1"
    for seed in range(20):
        ion = molecules.ionize(name, kind, np.random.default_rng(seed))
        mol = Chem.MolFromSmiles(ion)
        assert Chem.GetFormalCharge(mol) == charge
        assert sum(atom.GetFormalCharge() != 0 for atom in mol.GetAtoms()) == n_charged
        assert not any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
        assert identity.identify(mol).skeleton == identity.identify_smiles(name)[0].skeleton
    assert molecules.ionize("CCCC", kind, np.random.default_rng(0)) == ""


def test_peptides_are_readable_and_charged_as_their_ends_say() -> None:
    rng, charges = np.random.default_rng(0), []
    for _ in range(150):
        mol = Chem.MolFromSmiles(molecules.peptide(rng))
        assert mol is not None
        charges.append(Chem.GetFormalCharge(mol))
    assert {-1, 0, 1} <= set(charges)


def test_admission_names_its_reason() -> None:
    nothing = identity.Reserved(frozenset(), frozenset(), frozenset())
    expected = {
        "CCO": "",
        "C[CH2]": "radical",
        "C[Na]": "element",
        "C" * 60: "size",
        "O.O": "size",
        "C(": "unreadable",
    }
    assert {s: molecules.admit("drug", s, nothing)[1] for s in expected} == expected
    entry, _ = molecules.admit("ion", "C[NH3+]", nothing)
    assert (entry.charge, entry.part, entry.n_atoms) == (1, identity.TRAIN, 8)


def test_catalogue_round_trip(tmp_path: Path) -> None:
    entries = [molecules.Entry("ion", "C[NH3+]", 1, 0, 8), molecules.Entry("drug", "CCO", 0, 2, 9)]
    molecules.write(entries, tmp_path / "catalogue.tsv")
    assert molecules.read(tmp_path / "catalogue.tsv") == entries


def test_elastic_hessian_leaves_rigid_motions_free() -> None:
    z, pos, _ = geometries.embed("CCO", 1)
    hessian = geometries.elastic_hessian(z, pos)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12)
    values = np.linalg.eigvalsh(hessian)
    np.testing.assert_allclose(values[:6], 0.0, atol=1e-10)
    assert values[6] > 1e-4


def test_mode_noise_grows_with_the_temperature() -> None:
    z, pos, _ = geometries.embed("CCO", 1)
    moved = [geometries.mode_noise(z, pos, t, np.random.default_rng(3)) - pos for t in (100, 400)]
    np.testing.assert_allclose(2 * moved[0], moved[1], atol=1e-12)


def test_damage_tells_proton_transfer_from_reaction() -> None:
    z, bonds = np.array([8, 1, 1, 8, 1, 1]), np.array([[0, 1], [0, 2], [3, 4], [3, 5]])
    pos = np.concatenate([WATER, WATER + [0.0, 0.0, 2.6]])
    assert geometries.damage(z, bonds, pos) == 0
    over, lost, joined = pos.copy(), pos.copy(), pos.copy()
    over[1] = [0.0, 0.0, 1.7]
    assert geometries.damage(z, bonds, over) == 1
    lost[1] = [0.0, 9.0, 0.0]
    assert geometries.damage(z, bonds, lost) == 2
    joined[3:] -= [0.0, 0.0, 1.2]
    assert geometries.damage(z, bonds, joined) == 2


def test_separate_sets_the_closest_contact() -> None:
    start = geometries.assemble("dimer", [("O", 0), ("CO", 0)], 0, np.random.default_rng(0))
    assert start.smiles == "O.CO"
    np.testing.assert_array_equal(start.bonds[-1] // 3 > 0, [True, True])
    for closest in (2.0, 6.5, 10.0):
        moved = geometries.separate(start.pos, start.fragment, closest)
        gap = np.linalg.norm(moved[:3, None] - moved[None, 3:], axis=-1).min()
        assert gap == pytest.approx(closest, abs=1e-6)


@pytest.mark.parametrize("names", [["NCCO"], ["O", "CO"], ["[OH3+]", "O", "O"]])
def test_displacements_are_finite_and_deterministic(names: list[str]) -> None:
    start = geometries.assemble("x", [(n, 0) for n in names], 0, np.random.default_rng(0))
    for seed in range(8):
        found, again = (
            geometries.displacements(start, start.pos, np.random.default_rng(seed)) for _ in "ab"
        )
        assert {g.sampler for g in found} <= set(geometries.SAMPLERS)
        for one, other in zip(found, again, strict=True):
            assert one.pos.shape == start.pos.shape
            np.testing.assert_array_equal(one.pos, other.pos)


def test_torsion_scan_turns_one_bond_by_even_steps() -> None:
    z, pos, bonds = geometries.embed("OCCO", 1)
    scan = geometries.torsion_scan(z, pos, 8, np.random.default_rng(0))
    assert len(scan) == 8
    for moved in scan:
        lengths = np.linalg.norm(moved[bonds[:, 0]] - moved[bonds[:, 1]], axis=1)
        before = np.linalg.norm(pos[bonds[:, 0]] - pos[bonds[:, 1]], axis=1)
        np.testing.assert_allclose(lengths, before, atol=0.08)
    assert geometries.torsion_scan(*geometries.embed("C", 1)[:2], 8, np.random.default_rng(0)) == []


def test_batches_hold_every_structure_once_within_the_limit() -> None:
    sizes = np.random.default_rng(0).integers(2, 200, 300).tolist()
    found = list(aimnet.batches(sizes))
    assert sorted(np.concatenate(found)) == list(range(300))
    for rows in found:
        padded = len(rows) * max(sizes[r] for r in rows) ** 2
        assert len(rows) == 1 or padded <= aimnet.PAIRS_PER_BATCH
        assert len(rows) <= 64


def test_padding_is_zero_and_keeps_charges() -> None:
    batch = aimnet.pad(
        [
            aimnet.Structure(np.array([8, 1, 1]), WATER, 0),
            aimnet.Structure(np.array([1, 9]), WATER[:2], -1),
        ]
    )
    assert batch["numbers"].tolist() == [[8, 1, 1], [1, 9, 0]]
    assert batch["coord"].dtype == torch.float32
    assert batch["charge"].tolist() == [0.0, -1.0]
    alone = aimnet.pad([aimnet.Structure(np.array([9]), WATER[:1], -1)])
    assert alone["numbers"].tolist() == [[9, 0]]


def quadratic(structures: list) -> list[np.ndarray]:
    """Return the forces of an elastic network about water."""
    hessian = 2.0 * geometries.elastic_hessian(np.array([8, 1, 1]), WATER)
    return [-(hessian @ (s.pos - WATER).ravel()).reshape(-1, 3) for s in structures]


def test_relaxation_finds_the_minimum() -> None:
    rng = np.random.default_rng(0)
    rattled = [
        aimnet.Structure(np.array([8, 1, 1]), WATER + rng.normal(0, 0.1, (3, 3)), 0) for _ in "abc"
    ]
    (early, late) = aimnet.relax(quadratic, rattled, 30, (1, 30))
    for first, last in zip(early, late, strict=True):
        forces = [
            np.abs(quadratic([aimnet.Structure(rattled[0].z, p, 0)])[0]).max()
            for p in (first, last)
        ]
        assert forces[1] < min(0.03, forces[0])


def test_dynamics_keeps_the_temperature() -> None:
    temperature, stiffness = 500.0, 5.0
    held = [aimnet.Structure(np.array([6] * 40), np.zeros((40, 3)), 0) for _ in range(4)]
    paths = aimnet.langevin(
        lambda items: [-stiffness * s.pos for s in items],
        held,
        np.full(4, temperature),
        300,
        range(100, 301, 10),
        np.random.default_rng(0),
    )
    measured = stiffness * np.mean(np.square(paths)) / geometries.BOLTZMANN
    assert measured == pytest.approx(temperature, rel=0.05)


def catalogue() -> list:
    """Return a small catalogue with something of most categories."""
    names = {
        "drug": "NCCc1ccccc1 CCOC(=O)C",
        "qm9": "OCC1CC1 CC#N",
        "ion": "C[NH3+] CC(=O)[O-] [OH-] [NH4+]",
        "common": "O CO C=O CN",
        "element_B": "CB(O)O",
        "peptide": "NCC(=O)O",
    }
    nothing = identity.Reserved(frozenset(), frozenset(), frozenset())
    entries = [molecules.admit(c, s, nothing)[0] for c, text in names.items() for s in text.split()]
    return [entry._replace(part=0) for entry in entries]


def test_turns_go_through_the_catalogue() -> None:
    order = list("abcdefg")
    assert shards.turn(order, 0, 3, 1) == ["a", "b", "a"]
    assert shards.turn(order, 1, 3, 1) == ["c", "d", "c"]
    assert shards.turn(order, 3, 3, 1) == ["g", "a", "g"]
    assert shards.turn([], 0, 3, 1) == []


def test_complexes_are_of_one_part() -> None:
    nothing = identity.Reserved(frozenset(), frozenset(), frozenset())
    held_out = [e._replace(part=1) for e in catalogue() if e.smiles in ("OCC1CC1", "CB(O)O")]
    train = [e for e in catalogue() if e.smiles not in ("OCC1CC1", "CB(O)O")]
    plan = plans.make_plan([*train, *held_out], nothing, 0)
    rng = np.random.default_rng(0)
    parts = []
    for kind in ("dimer", "ionic", "cluster") * 60:
        partners, part = complexes.draw_complex(plan.pools, plan.reserved, kind, rng)
        parts.append(part)
        assert part in {e.part for e in partners}
        for entry in partners:
            heavy = Chem.MolFromSmiles(entry.smiles).GetNumHeavyAtoms()
            assert entry.part == part or heavy <= 3
    assert set(parts) == {0, 1}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make shards small and quick."""
    monkeypatch.setattr(plans, "QUOTA", {"drug": 3, "ion": 1, "element_B": 1})
    monkeypatch.setattr(plans, "COMPLEXES", {"dimer": 1, "cluster": 1})
    monkeypatch.setattr(shards, "RELAX_STEPS", 7)


def test_a_shard_depends_on_its_number_alone(few: None) -> None:
    nothing = identity.Reserved(frozenset(), frozenset(), frozenset())
    plan = plans.make_plan(catalogue(), nothing, 0)
    first, again, other = (shards.make_shard(LooseSprings(), plan, k, 0) for k in (0, 0, 1))
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
    assert first["pos"].shape != other["pos"].shape or np.abs(first["pos"] - other["pos"]).max() > 0
    n_atoms, n_frames = int(first["n_atoms"].sum()), len(first["n_atoms"])
    assert {len(first[k]) for k in ("z", "pos", "forces", "forces_std", "charges")} == {n_atoms}
    assert {len(first[k]) for k in ("energy", "charge", "category", "sampler")} == {n_frames}
    found = {shards.CATEGORIES[c] for c in first["category"]}
    assert found == {"drug", "ion", "element_B", "dimer", "cluster"}
    # A label belongs to the stored position.
    expected = 0.575 * np.add.reduceat(
        (first["pos"].astype(float) ** 2).sum(1), assembly.offsets(first["n_atoms"])[:-1]
    )
    np.testing.assert_allclose(first["energy"], expected, rtol=1e-6)


def test_large_molecules_are_made_for_measuring_alone(
    few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["C" * n + "O" * (k + 1) for n in range(20, 30) for k in range(3)]
    monkeypatch.setattr(molecules, "large_candidates", lambda _: [*names, "CCO", "C" * 40])
    monkeypatch.setattr(aimnet, "Teacher", LooseSprings)
    monkeypatch.setattr(molecules, "package_file", lambda *_: Path())
    monkeypatch.setattr(plans, "LARGE_QUOTA", {"large": 1})
    settings = settings_of(tmp_path, suites=None, large=1)
    teacher.label_large(settings)
    entries = molecules.read(tmp_path / "catalogue_large.tsv")
    assert {len(e.smiles) for e in entries} <= set(range(21, 33))
    assert all(60 < e.n_atoms <= 100 for e in entries)
    arrays = assembly.read_shards(teacher.finished(settings))
    assert set(arrays["part"]) <= {identity.VALID, identity.TEST}
    assert {shards.CATEGORIES[c] for c in arrays["category"]} == {"large"}


def test_labelling_goes_on_where_it_stopped(
    few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aimnet, "Teacher", LooseSprings)
    monkeypatch.setattr(molecules, "package_file", lambda *_: Path())
    molecules.write(catalogue(), tmp_path / "catalogue.tsv")
    settings = settings_of(tmp_path, suites=None, shards=1)
    teacher.label(settings)
    before = (tmp_path / "shards" / "00000.npz").stat().st_mtime_ns
    (tmp_path / "shards" / "00001.partial.npz").write_bytes(b"cut off")
    settings.shards = 2
    teacher.label(settings)
    assert (tmp_path / "shards" / "00000.npz").stat().st_mtime_ns == before
    assert [p.name for p in teacher.finished(settings)] == ["00000.npz", "00001.npz"]
    journal = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert [line["shard"] for line in journal] == [0, 1]
    arrays = assembly.read_shards(teacher.finished(settings))
    assert len(arrays["name"]) == sum(line["frames"] for line in journal)


def test_ions_of_suites_stay_out_in_every_form(suites: Path) -> None:
    formate = {"numbers": [6, 1, 8, 8], "positions": [[0, 0, 0]] * 4, "charge": -1}
    systems = {"systems": {"one": formate}}
    (suites / "C.json.gz").write_bytes(gzip.compress(json.dumps(systems).encode()))
    ions = identity.read_ions(suites)
    assert ions == {((1, 6, 8, 8), -1)}
    z, pos, _ = geometries.embed("[O-]C=O", 1)
    bonded = geometries.moves.bonds(z, pos)
    assert identity.holds_ion(z, bonded, -1, ions)
    assert not identity.holds_ion(z, bonded, 0, ions)
    far = np.concatenate([z, [8, 1, 1]]), np.concatenate([pos, WATER + 9.0])
    both = geometries.moves.bonds(*far)
    assert identity.holds_ion(far[0], both, -1, ions)
    assert identity.holds_ion(far[0], both, -2, ions)
    assert not identity.holds_ion(far[0][3:], both[3:, 3:], -1, ions)


def test_tiny_molecules_are_combined_by_rules() -> None:
    nothing = identity.Reserved(frozenset(), frozenset(), frozenset())
    chloride = frozenset({((17,), -1)})
    entries = tiny.build(nothing, chloride)
    found = {identity.constitution(e.smiles) for e in entries if e.category == "tiny"}
    expected = "[H][H] FCl NN CBr [SiH3]I BrB(F)F Cl[As](Cl)Cl [F-] [C-]#N [O-]Cl [NH4+] O=S(=O)=O"
    assert {identity.constitution(s) for s in expected.split()} <= found
    assert "[Cl-]" not in found
    assert len(found) > 500
    turns = [e.smiles for e in tiny.order(entries, 0)]
    assert turns.count("[F-]") == tiny.TURNS[1]
    assert turns.count("[NH4+]") == 1
    for name in "TINY_HEADS", "TINY_CENTRES", "TINY_OTHERS", "TINY_IONS", "TINY_PARTNERS":
        for template in getattr(tables, name):
            filled = template.format(*["F"] * template.count("{}"))
            assert molecules.admit("tiny", filled, nothing)[1] == "", filled


def test_complexes_of_tiny_ions_attract_each_other() -> None:
    np.testing.assert_allclose(tiny.bond_charges("O"), [-0.397, 0.198, 0.198], atol=1e-3)
    assert tiny.bond_charges("[NH4+]").sum() == pytest.approx(1.0)
    partners = [("[F-]", -1), ("O", 0)]
    attracted = {
        make.__module__: np.mean(
            [
                tiny.coulomb(make("tiny_complex", partners, 0, np.random.default_rng(seed))) < 0
                for seed in range(60)
            ]
        )
        for make in (tiny.assemble, geometries.assemble)
    }
    assert attracted["teacher_tiny"] > 0.8
    assert attracted["teacher_geometries"] < 0.7


def test_bonds_are_scanned_in_turn() -> None:
    z, pos, bonds = geometries.embed("[H][H]", 1)
    length = np.linalg.norm(pos[1] - pos[0])
    found = tiny.bond_scan(z, pos, bonds, 400, np.random.default_rng(0))
    scales = np.array([np.linalg.norm(p[1] - p[0]) for p in found]) / length
    assert 0.6 <= scales.min() < 0.62
    assert 1.9 < scales.max() <= 2.0
    assert 0.6 < ((scales > 0.7) & (scales < 1.3)).mean() < 0.9
    z, pos, bonds = geometries.embed("O", 1)
    before = np.linalg.norm(pos[1:] - pos[0], axis=1)
    turns = [
        np.abs(np.linalg.norm(moved[1:] - moved[0], axis=1) / before - 1.0)
        for moved in tiny.bond_scan(z, pos, bonds, 40, np.random.default_rng(3))
    ]
    # The rattle by 0.02 Å aside, one bond changes at a time, each in every other frame.
    for k in range(2):
        rows = np.array([turns[0::2], turns[1::2]][k])
        moved, other = rows.argsort(axis=1)[rows.max(1).argmax()][::-1]
        assert rows[:, moved].mean() > 0.15
        assert rows[:, other].max() < 0.1
    assert tiny.bond_scan(z[:1], pos[:1], bonds[:0], 4, np.random.default_rng(0)) == []


@pytest.fixture
def loose_springs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Springs in the place of the teacher, a short way down, and a small catalogue."""
    monkeypatch.setattr(aimnet, "Teacher", LooseSprings)
    monkeypatch.setattr(molecules, "package_file", lambda *_: Path())
    monkeypatch.setattr(shards, "RELAX_STEPS", 7)
    monkeypatch.setattr(tables, "ARENES", tables.ARENES[:1])
    molecules.write(catalogue(), tmp_path / "catalogue.tsv")


@pytest.mark.usefixtures("loose_springs")
def test_tiny_shards_hold_single_atoms_and_complexes(
    suites: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny, "QUOTA", {"tiny": 40})
    monkeypatch.setattr(tiny, "COMPLEXES", {"tiny_complex": 6, "halogen": 6})
    settings = settings_of(tmp_path, suites=suites, tiny=1)
    teacher.label_tiny(settings)
    assert [p.name for p in teacher.finished(settings)] == ["86000.npz"]
    arrays = assembly.read_shards(teacher.finished(settings))
    kinds = np.array([shards.CATEGORIES[c] for c in arrays["category"]])
    assert set(kinds) == {"tiny", "tiny_complex", "halogen"}
    assert arrays["n_atoms"].min() == 1
    assert {"bond", "squeeze"} <= {geometries.SAMPLERS[s] for s in arrays["sampler"]}
    off = assembly.offsets(arrays["n_atoms"])
    for row in np.flatnonzero(arrays["sampler"] == geometries.CODE["contact"]):
        atoms = slice(off[row], off[row + 1])
        pos, fragment = arrays["pos"][atoms], arrays["fragment"][atoms]
        gaps = np.linalg.norm(pos[fragment == 0][:, None] - pos[fragment == 1], axis=-1)
        low, high = (2.4, 6.0) if kinds[row] == "halogen" else (1.3, 8.0)
        assert low - 0.1 < gaps.min() < high + 0.1


def test_protons_move_where_a_closed_shell_is_left() -> None:
    assert set(tiny_ions.moved_protons("O")) == {"[OH-]", "[OH3+]"}
    assert set(tiny_ions.moved_protons("CO")) == {"[CH2-]O", "C[O-]", "C[OH2+]"}
    assert set(tiny_ions.moved_protons("N=O")) == {"[N-]=O", "[NH2+]=O", "N=[OH+]"}
    assert set(tiny_ions.moved_protons("B")) == set()
    assert set(tiny_ions.moved_protons("F[P](F)(F)(F)F")) == set()
    assert set(tiny_ions.moved_protons("CCCCCC")) == set()  # too large


@pytest.mark.usefixtures("loose_springs")
def test_many_complexes_have_few_frames_each(
    suites: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "MANY", dict.fromkeys(plans.MANY, 2))
    monkeypatch.setattr(tiny, "MANY", dict.fromkeys(tiny.MANY, 3))
    settings = settings_of(tmp_path, suites=suites, complexes=1)
    teacher.label_complexes(settings)
    made = molecules.read(tmp_path / "catalogue_tiny_ions.tsv")
    assert {entry.category for entry in made} == {"tiny_ion"}
    known = {e.smiles for e in molecules.read(tmp_path / "catalogue_tiny.tsv")}
    assert not known & {entry.smiles for entry in made}
    arrays = assembly.read_shards(teacher.finished(settings))
    kinds = {shards.CATEGORIES[c] for c in arrays["category"]}
    assert kinds == {*plans.MANY, *tiny.MANY}
    assert np.bincount(arrays["start"]).max() == plans.MOST_OF_MANY
    assert all(len(str(name).split(".")) == 2 for name in arrays["name"])


def flat(n_atoms: list[int], **changed: object) -> dict[str, np.ndarray]:
    """Return plain arrays of frames of hydrogen and carbon."""
    n_frames, total = len(n_atoms), sum(n_atoms)
    arrays = {
        "n_atoms": np.array(n_atoms),
        "z": np.array([6, *[1] * (total - 1)], dtype=np.uint8),
        "pos": np.random.default_rng(0).normal(size=(total, 3)),
        "charge": np.zeros(n_frames, dtype=np.int8),
        "part": np.array([0, 1, 2] * n_frames)[:n_frames],
        "category": np.zeros(n_frames, dtype=np.uint8),
        "sampler": np.full(n_frames, geometries.CODE["md"]),
        "damage": np.zeros(n_frames, dtype=np.uint8),
        "name": np.array(["C"] * n_frames),
        "energy": np.arange(n_frames) - 100.0,
        "energy_std": np.full(n_frames, 0.01, dtype=np.float32),
        "forces": np.ones((total, 3), dtype=np.float32),
        "forces_std": np.full(total, 0.1, dtype=np.float32),
        "charges": np.linspace(-0.1, 0.1, total).astype(np.float32),
        "atom_energies": np.zeros(total, dtype=np.float32),
    }
    return arrays | changed


def test_frames_are_dropped_for_a_named_reason() -> None:
    limits = assembly.Limits(force=40.0, floor=0.8, share=0.1, ceiling=2.5)
    spread = np.array([0.1, 0.9, 0.9, 0.1, 0.1, 2.6], dtype=np.float32).repeat(2)
    forces = np.zeros((12, 3), dtype=np.float32)
    forces[::2, 0] = [1.0, 1.0, 10.0, 41.0, 1.0, 39.0]
    arrays = flat([2] * 6, forces=forces, forces_std=spread, damage=np.array([1, 0, 0, 0, 2, 0]))
    found = assembly.reasons(arrays, limits)
    assert found.tolist() == ["", "spread", "", "force", "reacted", "spread"]
    arrays["sampler"][4] = geometries.CODE["stretch"]
    assert assembly.reasons(arrays, limits)[4] == ""
    arrays["sampler"][4] = geometries.CODE["md"]
    arrays["category"][4] = shards.CATEGORIES.index("tiny")
    assert assembly.reasons(arrays, limits)[4] == ""
    arrays["forces_std"][0] = np.nan
    assert assembly.reasons(arrays, limits)[0] == "spread"


def test_statistics_count_every_frame_once_in_each_group() -> None:
    arrays = flat([5, 3, 30, 45], charge=np.array([0, 1, 0, -1], dtype=np.int8))
    dropped = np.array(["", "", "spread", ""])
    counts = assembly.statistics(arrays, dropped)
    assert counts["all"]["frames"] == {"train": 2, "valid": 1, "test": 0, "dropped, spread": 1}
    for title in ("size", "charge", "category", "sampler"):
        assert sum(sum(row.values()) for row in counts[title].values()) == 4
    assert counts["element"]["C"]["train"] == 1
    assert "dropped, spread" in assembly.table(counts)


def test_dipoles_are_taken_from_the_centre_of_mass() -> None:
    charges = np.array([-0.7, 0.35, 0.35], dtype=np.float32)
    arrays = flat([3], z=np.array([8, 1, 1]), pos=WATER + 5.0, charges=charges)
    np.testing.assert_allclose(assembly.dipoles(arrays)[0], [0.0, 0.0, 0.7 * 0.587], atol=1e-6)
    arrays["charges"] = charges + np.float32(1 / 3)
    expected = WATER.T @ (charges + 1 / 3) - WATER.T @ np.array([15.999, 1.008, 1.008]) / 18.015
    np.testing.assert_allclose(assembly.dipoles(arrays)[0], expected, atol=1e-6)


def test_the_assembled_file_opens_with_its_targets_and_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from molequi.datasets.npz import load_npz

    arrays = flat([4, 3, 6, 5])
    arrays["forces_std"][-1] = 9.0
    arrays["charge"][1] = -1
    monkeypatch.setattr(assembly, "read_shards", lambda _: arrays)
    (tmp_path / "catalogue.json").write_text("{}")
    (tmp_path / "atoms.json").write_text('{"H": -13.6}')
    teacher.assemble(argparse.Namespace(work=tmp_path))
    found = load_npz(tmp_path / "teacher.npz")
    assert found.frames.n_atoms.tolist() == [4, 3, 6]
    assert {name: rows.tolist() for name, rows in found.splits.items()} == {
        "train": [0],
        "valid": [1],
        "test": [2],
    }
    assert found.frames.source[0] == "drug md C"
    np.testing.assert_allclose(found.frames.targets["energy"], [-100.0, -99.0, -98.0])
    assert found.frames.targets["forces_std"].shape == (13,)
    unknown = found.frames.targets["short_range_energies"].isnan()
    assert unknown.tolist() == [False] * 4 + [True] * 3 + [False] * 6
    assert "force_changes" not in found.frames.targets
    assert found.notes["atoms"] == {"H": -13.6}
    assert found.notes["counts"]["all"]["frames"]["dropped, spread"] == 1


def test_changes_of_the_forces_of_springs_are_exact() -> None:
    arrays = flat([3, 4, 5])
    found = aimnet.jacobian_columns(Springs(), arrays, every=2, rng=np.random.default_rng(1))
    assert len(found["row"]) == len(found["n_atoms"]) > 0
    assert len(found["displacements"]) == found["n_atoms"].sum()
    first = found["displacements"][: found["n_atoms"][0]]
    assert np.linalg.norm(first) == pytest.approx(0.05)
    np.testing.assert_allclose(
        found["force_changes"], -1.15 * found["displacements"] / 0.05, atol=1e-5
    )


def test_changes_of_forces_find_their_frames_again(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "jacobian").mkdir()
    paths = [tmp_path / "shards" / f"0000{k}.npz" for k in range(2)]
    for path in paths:
        np.savez(path, n_atoms=np.array([2, 3, 4]))
    assert assembly.force_changes(paths, tmp_path / "jacobian") == {}
    values = np.arange(18.0, dtype=np.float32).reshape(6, 3)
    np.savez(
        tmp_path / "jacobian" / "00001.npz",
        row=np.array([0, 2]),
        n_atoms=np.array([2, 4]),
        displacements=values,
        force_changes=-values,
    )
    found = assembly.force_changes(paths, tmp_path / "jacobian")
    known = np.repeat([False, False, False, True, False, True], [2, 3, 4, 2, 3, 4])
    for name, sign in (("displacements", 1), ("force_changes", -1)):
        np.testing.assert_array_equal(found[name][known], sign * values)
        assert np.isnan(found[name][~known]).all()


def test_molecules_of_a_complex_are_labelled_alone(tmp_path: Path) -> None:
    """By springs, whose energies are those of the atoms that they are asked for."""
    names = ("O", "[NH4+].[Cl-]", "[H][H].[H][H].O")
    parts = [[number for one in pieces.molecules_of(name) for number in one[0]] for name in names]
    assert [len(part) for part in parts] == [3, 6, 7]
    arrays = flat([len(part) for part in parts])
    arrays |= {"z": np.concatenate(parts), "name": np.array(names), "charge": np.zeros(3, int)}
    arrays["energy"] = np.array([0.0, 6.0, 7.0])
    asked = []

    class Counting:
        def label(self, structures: list) -> list:
            asked.extend((s.z.tolist(), s.charge) for s in structures)
            return [Springs().label([s])[0]._replace(energy=float(len(s.z))) for s in structures]

    found = pieces.piece_labels(Counting(), arrays)
    assert asked == [
        ([7, 1, 1, 1, 1], 1), ([17], -1), ([1, 1], 0), ([1, 1], 0), ([8, 1, 1], 0)
    ]  # fmt: skip
    assert found["row"].tolist() == [1, 2]
    assert found["alone"].tolist() == [6.0, 7.0]
    assert found["pieces"][:6].tolist() == [[0, 1]] * 5 + [[1, -1]]
    arrays |= {name: np.zeros(3, dtype=int) for name in ("part", "category", "sampler")}
    alone = pieces.alone(Springs(), arrays, rng=np.random.default_rng(3))
    assert {str(name) for name in alone["smiles"]} <= {"[NH4+]", "[Cl-]"}
    (tmp_path / "shards").mkdir()
    (tmp_path / "pieces").mkdir()
    np.savez(tmp_path / "shards" / "00000.npz", n_atoms=arrays["n_atoms"])
    np.savez(tmp_path / "pieces" / "00000.npz", **found)
    joined = assembly.pieces([tmp_path / "shards" / "00000.npz"], tmp_path / "pieces")
    np.testing.assert_array_equal(joined["alone"], [np.nan, 6.0, 7.0])
    np.testing.assert_array_equal(joined["pieces"][3:], found["pieces"])
    assert np.isnan(joined["pieces"][:3]).all()


def test_of_a_shard_without_complexes_nothing_is_written_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = flat([3]) | {"z": np.array([8, 1, 1]), "name": np.array(["O"])}
    monkeypatch.setattr(assembly, "read_shards", lambda _paths: arrays)
    pieces.add_to_shards(Springs(), [Path("00000.npz")], tmp_path / "alone", 1, pieces.alone)
    assert not list((tmp_path / "alone").iterdir())


def test_complexes_that_share_electrons_are_dropped() -> None:
    arrays = flat([2, 3, 4])
    arrays |= {"alone": np.array([np.nan, np.nan, 1.0])}
    arrays["pieces"] = np.array([[np.nan] * 2] * 2 + [[0.0, 0.0]] * 7)
    assert assembly.reasons(arrays, assembly.Limits()).tolist() == ["", "shared", ""]


def test_checks_cover_the_range_of_spreads() -> None:
    dft = recipe("teacher_dft")
    spread, n_atoms = np.geomspace(0.01, 10.0, 100), np.array([5, 50] * 50)
    rows = dft.choose_checks(spread, n_atoms, 12, 10)
    assert len(set(rows)) == 10
    assert set(n_atoms[rows]) == {5}
    assert np.diff(np.log(spread[rows])).max() < 1.0
    assert len(dft.choose_checks(spread, n_atoms, 12, 200)) == 50


def test_interactions_of_pairs_with_an_ion_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Energies of -N² eV for N atoms: two of 5 and 1 interact by -10 eV, of 3 and 1 by -6 eV."""
    checks = recipe("teacher_checks")
    names = ("O", "[NH4+].[Cl-]", "O.O", "[Cl-].O", "[NH4+].[Cl-]")
    parts = [[z for one in checks.molecules_of(name) for z in one[0]] for name in names]
    arrays = flat([len(part) for part in parts])
    arrays |= {"z": np.concatenate(parts), "name": np.array(names)}
    monkeypatch.setattr(checks.assembly, "read_shards", lambda _: arrays)
    monkeypatch.setattr(checks.dft, "energy", lambda z, *_: -float(len(z) ** 2))

    class Squares:
        def label(self, structures: list) -> list:
            return [SimpleNamespace(energy=-2.0 * len(s.z) ** 2) for s in structures]

    settings = argparse.Namespace(checks=9, most_atoms=6)
    path = tmp_path / "interactions.jsonl"
    checks.interactions([], path, settings, Squares())
    checks.interactions([], path, settings, Squares())  # goes on where it was stopped
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["row"] for line in lines] == [1, 3, 4]
    exact = np.array([-10.0, -6.0, -10.0]) * checks.KCAL
    np.testing.assert_allclose([line["exact"] for line in lines], exact, atol=1e-3)
    np.testing.assert_allclose([line["teacher"] for line in lines], 2 * exact, atol=1e-3)


def test_dispersion_and_functional_are_the_teachers() -> None:
    dft = recipe("teacher_dft")
    energy, forces = dft.single_point(np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.75]]), 0)
    assert energy == pytest.approx(-31.8486, abs=2e-3)  # eV, of this functional and basis set
    np.testing.assert_allclose(forces.sum(0), 0.0, atol=2e-3)


def test_dispersion_that_the_teacher_lacks_is_added() -> None:
    sf6 = 1.56 * np.array([[0, 0, 0], *np.eye(3), *-np.eye(3)])
    methane = 0.63 * np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    arrays = {
        "z": np.array([16] + 6 * [9] + [6] + 4 * [1], dtype=np.uint8),
        "pos": np.concatenate([sf6, methane]).astype(np.float32),
        "n_atoms": np.array([7, 5], dtype=np.int32),
        "energy": np.array([-1.0, -2.0]),
        "forces": np.zeros((12, 3)),
    }
    found, n_changed = completion.complete(arrays)
    # The package dftd3 1.7.0 gives -0.2027968 eV, the module of AIMNet2 -0.1006700 eV.
    np.testing.assert_allclose(found["energy"], [-1.0 - 0.2027968 + 0.1006700, -2.0], atol=1e-6)
    assert n_changed == 1
    assert not found["forces"][7:].any()

    def energy(shift: float) -> float:
        moved = arrays["pos"][:7].astype(np.float64)
        moved[1, 0] += shift
        return completion.missing(arrays["z"][:7], moved, np.array([7]))[0][0]

    slope = (energy(1e-4) - energy(-1e-4)) / 2e-4
    np.testing.assert_allclose(found["forces"][1], [-slope, 0.0, 0.0], atol=1e-6)

    # Beside itself, far away, and alone it lacks the same; of a frame of one piece nothing is told.
    pair = np.concatenate([arrays["pos"][:7], arrays["pos"][:7] + [40.0, 0.0, 0.0]])
    beside = {
        "z": np.concatenate([arrays["z"], arrays["z"][:7], arrays["z"][:7]]),
        "pos": np.concatenate([arrays["pos"], pair]),
        "n_atoms": np.array([7, 5, 14]),
        "energy": np.zeros(3),
        "forces": np.zeros((26, 3)),
        "alone": np.array([np.nan, np.nan, 0.0]),
        "pieces": np.concatenate([np.full((12, 2), np.nan), np.eye(2).repeat(7, 0)]),
    }
    found, _ = completion.complete(beside)
    np.testing.assert_allclose(found["alone"][2], -2 * 0.1021268, atol=1e-6)
    np.testing.assert_allclose(found["energy"][2] - found["alone"][2], 0.0, atol=1e-6)
    assert np.isnan(found["alone"][:2]).all()


def test_molecules_that_share_electrons_are_told_by_coulombs_law() -> None:
    """Charges of +1 and -1 at 7 Å attract each other by 14.39964 / 7 eV."""
    alone = [SimpleNamespace(energy=1.0, charges=np.array([q])) for q in (1.0, -1.0)]
    for distance, more, shared in ((7.0, 0.0, False), (7.0, -0.4, True), (3.0, -0.4, False)):
        pos = np.array([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]])
        energy = 2.0 - 14.39964 / distance + more
        assert pieces.is_shared(pos, np.array([0, 1]), energy, alone) == shared


def few_of_all_kinds(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """Let shards of all kinds have few molecules, and n complexes of each kind."""
    monkeypatch.setattr(plans, "QUOTA", {"drug": 3, "ion": 1})
    for name in ("BATCHED", "BATCHED_MANY", "BATCHED_SMALLEST", "BATCHED_TINY"):
        monkeypatch.setattr(plans, name, dict.fromkeys(getattr(plans, name), n))


@pytest.mark.usefixtures("loose_springs")
def test_shards_made_in_batches_hold_all_kinds(
    suites: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from molequi.datasets.npz import load_npz

    batched = recipe("teacher_batched")
    few_of_all_kinds(monkeypatch, 1)
    settings = settings_of(tmp_path, suites=suites, batched=1)
    teacher.label_batched(settings)
    arrays = assembly.read_shards(teacher.finished(settings))
    kinds = {shards.CATEGORIES[c] for c in arrays["category"]}
    assert kinds >= {"drug", "ion", *plans.BATCHED, *plans.BATCHED_MANY, *plans.BATCHED_SMALLEST}
    is_complex = np.array(["." in str(name) for name in arrays["name"]])
    starts = np.bincount(arrays["start"][is_complex])
    assert starts.max() <= batched.MOST_OF_COMPLEX
    made_by = np.array([geometries.SAMPLERS[k] for k in arrays["sampler"]])
    smallest = np.isin(arrays["category"], [shards.CATEGORIES.index(k) for k in tiny.COMPLEXES])
    assert not {"relaxed", "md"} & set(made_by[smallest])
    assert {"relaxing", "relaxed", "modes"} <= set(made_by)
    # Molecules of complexes alone are frames of their own, without pieces.
    for settings.stage in ("pieces", "alone"):
        teacher.beside(settings)
    (tmp_path / "catalogue.json").write_text("{}")
    teacher.assemble(settings)
    with np.load(tmp_path / "alone" / f"alone_{teacher.FIRST_BATCHED}.npz") as file:
        n_alone = len(file["n_atoms"])
    loaded = load_npz(tmp_path / "teacher.npz")
    is_alone = np.array(["." not in line for line in loaded.frames.source])
    is_pieced = ~loaded.frames.targets["interaction_energy"].isnan().numpy()
    assert 0 < n_alone
    assert is_pieced.any()
    assert not (is_pieced & is_alone).any()
    assert len(loaded.frames) <= len(arrays["n_atoms"]) + n_alone
    assert is_alone.sum() > (~is_complex).sum() / 2


@pytest.mark.usefixtures("loose_springs")
def test_wide_shards_have_two_frames_of_each_start(
    suites: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_of_all_kinds(monkeypatch, 2)
    settings = settings_of(tmp_path, suites=suites, wide=1)
    teacher.label_wide(settings)
    arrays = assembly.read_shards(teacher.finished(settings))
    kinds = np.array([shards.CATEGORIES[c] for c in arrays["category"]])
    assert {"drug", "ion", *plans.BATCHED_MANY, *plans.BATCHED_SMALLEST} <= set(kinds)
    assert np.bincount(arrays["start"]).max() == 2
    made_by = np.array([geometries.SAMPLERS[k] for k in arrays["sampler"]])
    is_complex = np.array(["." in str(name) for name in arrays["name"]])
    is_smallest = np.isin(kinds, [*tiny.COMPLEXES, *tiny.MANY])
    # Molecules are warmed twice; nothing of the smallest complexes goes downhill.
    assert set(made_by[~is_complex]) == {"modes"}
    assert set(made_by[is_complex & ~is_smallest]) <= {"modes", "relaxed"}
    assert "relaxed" not in set(made_by[is_smallest])
    assert set(made_by[is_smallest]) - {"modes"}


@pytest.mark.usefixtures("loose_springs")
def test_chains_have_conformers_each_relative_to_the_next(
    suites: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from molequi.datasets.npz import load_npz

    chains = recipe("teacher_chains")
    monkeypatch.setattr(plans, "CHAINS", {"chain": 3, "drug": 1})
    monkeypatch.setattr(plans, "CONFORMERS", 3)
    monkeypatch.setattr(chains, "RELAX_STEPS", 3)
    monkeypatch.setattr(chains, "N_CHAINS", 8)
    settings = settings_of(tmp_path, suites=suites, chains=1)
    teacher.label_chains(settings)
    entries = molecules.read(tmp_path / "catalogue_chains.tsv")
    assert len({e.smiles for e in entries}) == 8
    assert not any(Chem.MolFromSmiles(e.smiles).HasSubstructMatch(chains.CROWDED) for e in entries)
    arrays = assembly.read_shards(teacher.finished(settings))
    assert {shards.CATEGORIES[c] for c in arrays["category"]} == {"chain", "drug"}
    made_by = np.array([geometries.SAMPLERS[k] for k in arrays["sampler"]])
    assert set(made_by) <= {"relaxed", "modes", "torsion"}
    (tmp_path / "catalogue.json").write_text("{}")
    teacher.assemble(settings)
    frames = load_npz(tmp_path / "teacher.npz").frames
    is_relaxed = np.array([line.split()[1] == "relaxed" for line in frames.source])
    told = ~frames.targets["relative_energy"].isnan().numpy()
    assert told.any()
    assert not told[~is_relaxed].any()
    # Round a ring of conformers the differences add up to nothing, and each is of the next one's.
    for name in {frames.source[k] for k in np.flatnonzero(told)}:
        rows = [k for k, line in enumerate(frames.source) if line == name]
        assert len(rows) <= 3
        labels = frames.targets["relative_energy"][rows]
        assert float(labels.sum()) == pytest.approx(0.0, abs=1e-9)
        for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
            there = frames.subset(torch.tensor([other])).positions
            here = frames.subset(torch.tensor([row])).targets["other_positions"]
            assert torch.equal(here, there)
