"""Suites of reference energies: what is read, what is refused, and errors worked out by hand."""

from __future__ import annotations

import gzip
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.calculators.lj import LennardJones
from scipy.stats import spearmanr

from molequi import plots
from molequi.errors import RunInterruptedError, UserError
from molequi.prediction.energies import CalculatorEnergies, ModelEnergies, Refusal
from molequi.prediction.kept_energies import kept_source
from molequi.prediction.suite_places import bundled_suites, is_suite, read_suites
from molequi.prediction.suite_plots import plot_suite
from molequi.prediction.suite_scores import evaluate_suite, spearman
from molequi.prediction.suite_yaml import parse_reaction
from molequi.prediction.suites import KCAL_MOL

# Two argon atoms at their distance of least energy, 2^(1/6) sigma, have the energy -epsilon; three
# at the corners of a triangle of that side have -3 epsilon.
EPSILON, SIGMA = 0.01, 3.4
SIDE = 2 ** (1 / 6) * SIGMA
TRIANGLE = [[0, 0, 0], [SIDE, 0, 0], [SIDE / 2, SIDE * np.sqrt(0.75), 0]]


def lennard_jones():
    return LennardJones(epsilon=EPSILON, sigma=SIGMA, rc=100.0, smooth=False, shift=False)


@pytest.fixture
def argon():
    # ASE shifts the pair energy to zero at rc; at 100 Å that is 6e-12 eV.
    return CalculatorEnergies(lennard_jones)


def entry(positions, numbers=None, charge=0, **others):
    numbers = [18] * len(positions) if numbers is None else numbers
    return {"numbers": numbers, "positions": positions, "charge": charge, **others}


def document():
    return {
        "source": "by hand",
        "licence": "CC0",
        "systems": {
            "Ar": entry([[0, 0, 0]]),
            "Ar2": entry(TRIANGLE[:2]),
            "Ar3": entry(TRIANGLE),
        },
        "reactions": [
            {"name": "two", "terms": [[1, "Ar2"], [-2, "Ar"]], "kcal_mol": -0.5},
            {"name": "three", "terms": [[1, "Ar3"], [-3, "Ar"]], "kcal_mol": -0.25},
        ],
    }


def conformers():
    """Pairs at distances whose energies are 4 epsilon (x^12 - x^6) with x = sigma / r."""
    pairs = [entry([[0, 0, 0], [0, 0, SIGMA / x]]) for x in (1.0, 0.8, 0.9)]
    energies = [0.0, 1.0, 2.0]
    pairs = [pair | {"kcal_mol": e} for pair, e in zip(pairs, energies, strict=True)]
    return {"molecules": [{"name": "pair", "conformers": pairs}]}


def write(folder: Path, name: str, content: dict) -> Path:
    path = folder / f"{name}.json.gz"
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


def read(folder: Path, content: dict, name: str = "hand"):
    (suite,) = read_suites([write(folder, name, content)])
    return suite


def test_errors_of_reactions_are_those_worked_out_by_hand(tmp_path, argon):
    found = evaluate_suite(read(tmp_path, document()), argon)
    epsilon = EPSILON / (units.kcal / units.mol)
    errors = [-epsilon + 0.5, -3 * epsilon + 0.25]
    assert [row["error"] for row in found["reactions"]] == pytest.approx(errors, abs=1e-6)
    assert [row["model"] for row in found["reactions"]] == pytest.approx(
        [-epsilon, -3 * epsilon], abs=1e-6
    )
    assert found["mae"] == pytest.approx(np.abs(errors).mean(), abs=1e-6)
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(errors))), abs=1e-6)
    assert found["mean_signed_error"] == pytest.approx(np.mean(errors), abs=1e-6)
    assert found["max"] == pytest.approx(max(np.abs(errors)), abs=1e-6)
    assert (found["kind"], found["unit"], found["count"]) == ("reactions", "kcal/mol", 2)
    assert (found["source"], found["licence"], found["refused"]) == ("by hand", "CC0", [])
    assert [(row["index"], row["name"]) for row in found["reactions"]] == [(0, "two"), (1, "three")]


def test_conformers_are_centred_and_ranked(tmp_path, argon):
    found = evaluate_suite(read(tmp_path, conformers()), argon)
    x = np.array([1.0, 0.8, 0.9])
    model = 4 * EPSILON * (x**12 - x**6) / KCAL_MOL
    difference = model - model.mean() - (np.array([0.0, 1.0, 2.0]) - 1.0)
    (row,) = found["molecules"]
    # The model orders them 0.9, 0.8, 1.0; the reference 1.0, 0.8, 0.9: exactly the reverse.
    assert row["spearman"] == pytest.approx(-1.0)
    assert row["centred_mae"] == pytest.approx(np.abs(difference).mean(), abs=1e-6)
    assert found["spearman_median"] == pytest.approx(-1.0)
    assert found["centred_mae_median"] == pytest.approx(row["centred_mae"])
    assert sum(row["reference"]) == pytest.approx(0.0)


def test_spearman_agrees_with_scipy_ties_included():
    rng = np.random.default_rng(0)
    for _ in range(5):
        a, b = rng.integers(0, 4, 9), rng.integers(0, 4, 9)
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert spearman(np.ones(3), np.arange(3)) is None


def test_what_a_model_does_not_know_is_refused_by_name_and_the_rest_goes_on(tmp_path, network):
    content = {
        "systems": {
            "H2": entry([[0, 0, 0], [0, 0, 0.74]], [1, 1]),
            "HCl": entry([[0, 0, 0], [0, 0, 1.28]], [1, 17]),
            "OH": entry([[0, 0, 0], [0, 0, 0.97]], [8, 1], charge=-1),
            "O2": entry([[0, 0, 0], [0, 0, 1.2]], [8, 8], multiplicity=3),
        },
        "reactions": [
            {"name": name, "terms": [[1, name], [-1, name]], "kcal_mol": 0.0}
            for name in ("H2", "HCl", "OH", "O2")
        ],
    }
    found = evaluate_suite(read(tmp_path, content), ModelEnergies(network))
    assert [row["name"] for row in found["reactions"]] == ["H2"]
    assert found["mae"] == 0.0
    reasons = {row["name"]: row["reason"] for row in found["refused"]}
    assert "element Cl (atom 1) is not in this model" in reasons["HCl"]
    assert "charge -1" in reasons["OH"]
    assert "spin multiplicity 3" in reasons["O2"]
    assert [row["index"] for row in found["refused"]] == [1, 2, 3]
    nothing = evaluate_suite(
        read(tmp_path, {**content, "reactions": content["reactions"][1:]}), ModelEnergies(network)
    )
    assert (nothing["count"], nothing["mae"]) == (0, None)


@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_energies_do_not_depend_on_the_batch(network, batch_size):
    structures = [
        Atoms("CH4", [[0, 0, 0], *(d * np.ones((4, 3)) * s)])
        for d in (0.6, 0.63, 0.66, 0.7)
        for s in [np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])]
    ]
    found = ModelEnergies(network, batch_size=batch_size).energies(structures)
    alone = [ModelEnergies(network).energies([atoms])[0] for atoms in structures]
    assert found == pytest.approx(alone, abs=1e-9)
    assert len(set(found)) == 4


class Electrons(Calculator):
    """Its energy says how it has been told the electrons."""

    implemented_properties = ("energy",)

    def __init__(self, charge=None, spin_multiplicity=None):
        super().__init__()
        self.told = charge, spin_multiplicity

    def calculate(self, atoms=None, properties=None, system_changes=()):
        super().calculate(atoms, properties, system_changes)
        if atoms.numbers[0] == 2:
            raise RuntimeError("no\nhelium")
        charge = atoms.get_initial_charges().sum()
        unpaired = atoms.get_initial_magnetic_moments().sum()
        assert charge == pytest.approx(atoms.info["charge"])
        assert unpaired == pytest.approx(atoms.info["spin_multiplicity"] - 1)
        assert atoms.info["spin"] == atoms.info["spin_multiplicity"]
        assert self.told in {(None, None), (atoms.info["charge"], atoms.info["spin"])}
        self.results["energy"] = 10 * charge + unpaired + (0 if self.told == (None, None) else 100)


def without_arguments():
    return Electrons()


@pytest.mark.parametrize(("make", "extra"), [(Electrons, 100), (without_arguments, 0)])
def test_electrons_reach_a_calculator_in_every_way(make, extra):
    cation = Atoms("OH3", np.eye(4)[:, :3], info={"charge": 1})
    radical = Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], info={"spin_multiplicity": 3})
    helium = Atoms("He", [[0, 0, 0]])
    energies = CalculatorEnergies(make).energies([cation, radical, cation, helium])
    assert energies[:3] == [10 + extra, 2 + extra, 10 + extra]
    assert energies[3] == Refusal("RuntimeError: no helium")
    assert cation.info == {"charge": 1}
    assert not cation.has("initial_charges")


class Gives(Calculator):
    """Gives results as they are."""

    implemented_properties = ("energy", "forces")

    def __init__(self, **results):
        super().__init__()
        self.given = results

    def calculate(self, atoms=None, properties=None, system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results.update(self.given)


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ({"energy": "1.0"}, "'1.0' as energy, which is no number"),
        ({"energy": 1j}, "1j as energy, which is no number"),
        ({"energy": [1.0, 2.0]}, "energy of the shape (2,)"),
        ({"energy": [[1.0], [1.0, 2.0]]}, "no array of numbers as energy"),
        ({"energy": float("nan")}, "no finite energy"),
        ({"energy": 1.0, "forces": np.zeros((2, 3))}, "forces of the shape (2, 3)"),
        ({"energy": 1.0, "forces": [["0", "0", "0"]]}, "[['0', '0', '0']] as forces, which is no"),
    ],
)
def test_what_is_no_number_is_a_refusal(results, reason):
    source = CalculatorEnergies(Gives(**results))
    refusal = source.compute(Atoms("H"), list(results))
    assert refusal.reason.startswith(f"the calculator gives {reason}")
    if len(results) == 1:
        assert source.energies([Atoms("H")]) == [refusal]


def test_an_energy_in_an_array_of_one_is_a_number():
    assert CalculatorEnergies(Gives(energy=np.array([1.5]))).energies([Atoms("H")]) == [1.5]


def test_a_factory_of_something_else_is_an_error():
    with pytest.raises(UserError, match="gives a int, which is no ASE calculator"):
        CalculatorEnergies(lambda: 3).energies([Atoms("H2", [[0, 0, 0], [0, 0, 0.7]])])


def broken(change):
    content = document()
    change(content)
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            broken(lambda c: c["reactions"][0].update(terms=[[1, "Ar2"], [-1, "Ar"]])),
            r"reaction two is not balanced: Ar \+1",
        ),
        (
            broken(lambda c: c["systems"]["Ar2"].update(charge=1, multiplicity=2)),
            r"not balanced: charge \+1",
        ),
        (
            broken(lambda c: c["reactions"][1].update(terms=[[1, "Ar33"], [-3, "Ar"]])),
            r"reaction three: no system 'Ar33'; did you mean 'Ar3'",
        ),
        (broken(lambda c: c["systems"]["Ar"].update(multiplicity=2)), "system Ar: multiplicity 2"),
        (broken(lambda c: c["systems"]["Ar"].pop("numbers")), "no 'numbers'"),
        (broken(lambda c: c["systems"]["Ar"].update(numbers=[], positions=[])), "no atoms"),
        (broken(lambda c: c["reactions"][0].update(kcal_mol="nan")), "nan is no energy"),
        (broken(lambda c: c["reactions"][0]["terms"][0].__setitem__(0, "inf")), "inf is no energy"),
        (broken(lambda c: c["systems"]["Ar"].update(charge=10**30)), "charge 1000.* is beyond"),
        (broken(lambda c: c.update(reactions=[])), "no reactions"),
        (broken(lambda c: c.update(molecules=[])), "either `systems` and `reactions`, or"),
        ({"molecules": []}, "no molecules"),
        ({"molecules": [], "systems": {}}, "either `systems` and `reactions`, or"),
        (
            {"molecules": [{"name": "a", "conformers": [entry(TRIANGLE, kcal_mol=0.0)]}]},
            "molecule a: one conformer",
        ),
        (
            {
                "molecules": [
                    {"name": "a", "conformers": [entry(TRIANGLE[:k], kcal_mol=0.0) for k in (2, 3)]}
                ]
            },
            "its conformers are Ar2, Ar3",
        ),
    ],
)
def test_mistakes_are_named(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, content)


def test_places(tmp_path):
    write(tmp_path, "b", document())
    write(tmp_path, "a", conformers())
    (tmp_path / "note.txt").write_text("not a suite")
    (tmp_path / "c.json").write_text(json.dumps(document()))
    (tmp_path / "ase.json").write_text(json.dumps({"ids": [1], "1": {"numbers": [1]}}))
    (tmp_path / "config.yaml").write_text("name: run\ndata: {kind: frames}\n")
    assert [suite.origin.name for suite in read_suites([tmp_path])] == ["a", "b", "c"]
    assert is_suite(tmp_path)
    assert is_suite(tmp_path / "c.json")
    assert is_suite("S66")
    assert not is_suite(tmp_path / "ase.json")
    assert not is_suite(tmp_path / "config.yaml")
    assert not is_suite("qm9")
    assert not is_suite(",".join(["a.xyz"] * 900))
    assert {"s22", "s66"} <= set(bundled_suites())
    with pytest.raises(UserError, match="two suites are called b"):
        read_suites([tmp_path, tmp_path / "b.json.gz"])
    with pytest.raises(UserError, match=r"no suite s67.*bundled are .*s66"):
        read_suites(["s67"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no suite"):
        read_suites([tmp_path / "empty"])
    (tmp_path / "d.json.gz").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="holds no JSON"):
        read_suites([tmp_path / "d.json.gz"])


def test_bundled_suites_are_those_of_the_reference_data(reference_data):
    for name in ("S22", "S66"):
        (bundled,), (given,) = (
            read_suites([name]),
            read_suites([reference_data(f"suites/{name}.json.gz")]),
        )
        assert bundled.reactions == given.reactions
        assert bundled.origin.licence == "CC BY 4.0"


YAML = """
unit: kJ/mol
source: by hand
systems:
  Ar: {smiles: "[Ar]"}
  Ar2: {file: argon.xyz, index: 0}
  Ar3: {file: argon.xyz, index: 1}
  Ar+: {file: atom.xyz, charge: 1}
reactions:
  - {reaction: 2 Ar -> Ar2, energy: -4.184}
  - {name: three, terms: {Ar3: 1/3, Ar: -1}, energy: -0.1, unit: eV}
  - {reaction: Ar+ + Ar = Ar + Ar+, energy: 1, unit: kcal/mol}
"""


@pytest.fixture
def written(tmp_path):
    frames = [f"{k}\n\n" + "".join(f"Ar {x} {y} {z}\n" for x, y, z in TRIANGLE[:k]) for k in (2, 3)]
    (tmp_path / "argon.xyz").write_text("".join(frames))
    (tmp_path / "atom.xyz").write_text("1\n\nAr 0 0 0\n")
    return tmp_path


def read_yaml(folder: Path, text: str):
    path = folder / "mine.yaml"
    path.write_text(text)
    (suite,) = read_suites([path])
    return suite


def test_yaml_of_reactions(written, argon):
    suite = read_yaml(written, YAML)
    assert suite.origin == ("mine", "by hand", "")
    two, three, exchange = suite.reactions
    assert two.name == "2 Ar -> Ar2"
    assert two.kcal_mol == pytest.approx(-1.0)
    assert three.kcal_mol == pytest.approx(-0.1 * 23.060548, rel=1e-6)
    assert (exchange.kcal_mol, suite.systems["Ar+"].info) == (
        1.0,
        suite.systems["Ar+"].info | {"charge": 1, "spin_multiplicity": 2},
    )
    found = evaluate_suite(suite, argon)
    epsilon = EPSILON / KCAL_MOL
    models = [row["model"] for row in found["reactions"]]
    assert models == pytest.approx([-epsilon, -epsilon, 0.0], abs=1e-6)


def test_yaml_of_conformers(written):
    (written / "two.xyz").write_text("2\n\nAr 0 0 0\nAr 0 0 4\n")
    suite = read_yaml(
        written,
        "name: pairs\nunit: kcal/mol\nmolecules:\n"
        "  pair: {files: [two.xyz, two.xyz], energies: [0, 1], charge: 2}\n",
    )
    assert suite.origin.name == "pairs"
    assert [atoms.info["charge"] for atoms in suite.molecules[0].structures] == [2, 2]
    assert suite.molecules[0].kcal_mol.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("unit: kJ/mol\n", "", "'unit' is missing"),
        ("kJ/mol", "Hartree", "unit is 'Hartree'"),
        ("index: 0", "indx: 0", "unknown key 'systems.Ar2.indx'; did you mean 'systems.Ar2.index'"),
        (", index: 0", "", "system Ar2: argon.xyz holds 2 structures; give `index`, from 0"),
        ("index: 1", "index: 2", "system Ar3: argon.xyz holds 2 structures; there is no 2"),
        ('smiles: "[Ar]"', 'smiles: "[Ar"', r"system Ar: SMILES '\[Ar' cannot be read"),
        ("atom.xyz", "atm.xyz", r"system Ar\+: .*atm.xyz does not exist"),
        ("{file: atom.xyz, ", "{", "give either a `file` or a `smiles`"),
        ("2 Ar -> Ar2", "2 Ar -> Ar4", "no system 'Ar4'; did you mean"),
        ("2 Ar -> Ar2", "3 Ar -> Ar2", r"not balanced: Ar -1"),
        ("2 Ar -> Ar2", "2 Ar", "is not of the form"),
        ("2 Ar -> Ar2, energy: -4.184", "2 Ar -> Ar2",
         "'reactions.0.energy' is missing; add it to the file$"),
        ("energy: -4.184", "reference: -4.184", "unknown key 'reactions.0.reference'; known are"),
        ("1/3", "1/0", "reactions.1.terms.Ar3 is '1/0'"),
        ("1/3", "1e999999999", "reactions.1.terms.Ar3 is inf"),
        ("1/3", "7" * 400, "reactions.1.terms.Ar3"),
        ("2 Ar -> Ar2", "1/0 Ar -> Ar2", "the coefficient of '1/0 Ar' is no number"),
        ("2 Ar -> Ar2", "7" * 400 + " Ar -> Ar2", "the coefficient of '7777.* is no number"),
        ("  Ar2:", "  true:", "reads this name as True; put it in quotes"),
        ('smiles: "[Ar]"', 'smiles: "[Ar]", index: 3', "system Ar: `index` is of a `file`"),
        (YAML.partition("reactions:")[2], " []\nmolecules: {a: {file: argon.xyz, energies: [1]}}",
         "give either `systems` and `reactions`, or `molecules`"),
        ("index: 0", "index: 0, multiplicity: 2",
         "system Ar2: multiplicity 2 does not go with the 36 electrons of Ar2 with charge 0$"),
        ("reactions:", "molecules: {a: {file: argon.xyz, energies: [1]}}\nreactions:", "either"),
    ],
)  # fmt: skip
def test_mistakes_in_yaml_are_named(written, old, new, message):
    assert old in YAML
    with pytest.raises(UserError, match=message):
        read_yaml(written, YAML.replace(old, new))


def test_nitric_oxide_is_a_name(written):
    assert read_yaml(written, YAML.replace("Ar2", "NO")) is not None


@pytest.mark.parametrize("name", ["../outside", "S66/HB", "..", r"a\\b", r"a\tb"])
def test_a_name_that_no_file_can_have_is_refused(written, name):
    """The picture of a suite is called so."""
    with pytest.raises(UserError, match="cannot be that of a file; leave slashes"):
        read_yaml(written, f'name: "{name}"\n{YAML}')


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("2 H2 + O2 -> 2 H2O", [(-2, "H2"), (-1, "O2"), (2, "H2O")]),
        ("2H2 + 1/2 O2 → 2*H2O", [(-2, "H2"), (-0.5, "O2"), (2, "H2O")]),
        ("Na+ + Cl- -> 0.5 NaCl", [(-1, "Na+"), (-1, "Cl-"), (0.5, "NaCl")]),
        ("2-butanol -> 2 2-butanol", [(-1, "2-butanol"), (2, "2-butanol")]),
    ],
)
def test_reactions_as_text(text, terms):
    names = dict.fromkeys(["H2", "O2", "H2O", "Na+", "Cl-", "NaCl", "2-butanol"])
    assert list(parse_reaction(text, names)) == terms


def test_energies_of_a_run_go_on(tmp_path: Path) -> None:
    """What a stopped run has computed is not computed again, a refusal neither, to the last bit."""
    suite, journal, asked = read(tmp_path, document()), tmp_path / "out.journal", []

    class Counting(CalculatorEnergies):
        def _energy(self, atoms):
            asked.append(str(atoms.symbols))
            return super()._energy(atoms) if len(asked) != 2 else Refusal("no Ar2 today")

    def run(progress=None):
        source = Counting(lennard_jones)
        given = {"identity": {"calculator": "lj"}, "journal": journal, "progress": progress}
        with kept_source(source, [suite], **given) as kept:
            return evaluate_suite(suite, kept)

    def stop(done: int, _total: int) -> None:
        if done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(RunInterruptedError, match="2 of .* structures are in .*out.journal"):
        run(stop)
    first = list(asked)
    found = run()
    assert len(first) == 2
    assert len(asked) == len(suite.structures)
    assert not journal.exists()
    assert any("no Ar2 today" in row["reason"] for row in found["refused"])
    asked.clear()
    assert run() == found  # another run, from its beginning


@pytest.mark.parametrize("content", [document(), conformers()])
def test_what_a_picture_says_is_not_cut_off(tmp_path, argon, content, monkeypatch):
    found, drawn = evaluate_suite(read(tmp_path, content), argon), []
    monkeypatch.setattr(plots, "save_figure", lambda figure, _path: drawn.append(figure))
    plot_suite("conformers of alcohols", found, tmp_path / "one.png")
    (axes,) = drawn[0].axes
    (note,) = axes.texts
    assert note.get_window_extent().x1 < axes.get_window_extent().x1
    assert note.get_text().endswith("\n1 molecule" if "molecules" in content else "\n2 reactions")
