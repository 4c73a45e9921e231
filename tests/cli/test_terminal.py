"""What files and names say reaches neither the terminal as orders nor a spreadsheet as formulas."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import pytest

HARM = "\x1b]0;title\x07\x1b[31m\x9b31m\u202e"
# All that a terminal may obey, a line's end aside.
ORDERS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
WATER = "O 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"
SDF = """{name}
     RDKit          3D

  3  2  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 O   0  0
    0.9600    0.0000    0.0000 H   0  0
   -0.2400    0.9300    0.0000 H   0  0
  1  2  1  0
  1  3  1  0
M  END
>  <{name}>
{name}

$$$$
"""


@pytest.fixture
def harmful(tmp_path: Path) -> Path:
    """A folder with files that have orders in their names, comments and columns."""
    keys = f'name="{HARM}" note{HARM}=1 anion{HARM} charge: x{HARM}'
    names = ["name", f"{HARM}smiles", "smiles"]
    files = {
        "good": f'3\nname="{HARM}" radical{HARM}\n{WATER}',
        "bad": f"3\n{keys}\n{WATER}",
        "symbol": f"3\n\n{WATER.replace('O', 'O' + HARM, 1)}",
        "label": f'3\nProperties=species:S:1:pos:R:3 energy=1 {HARM}=2 x{HARM}="{HARM}"\n{WATER}',
    }
    for name, text in files.items():
        (tmp_path / f"{name}{HARM}.xyz").write_text(text)
    (tmp_path / f"record{HARM}.sdf").write_text(SDF.format(name=f"n{HARM}"))
    (tmp_path / f"lines{HARM}.smi").write_text(f"O {HARM}\nO{HARM}\n")
    (tmp_path / f"table{HARM}.csv").write_text(f"{','.join(names)}\n{HARM},x,O{HARM}\n")
    (tmp_path / f"model{HARM}.safetensors").write_text(HARM)
    (tmp_path / f"config{HARM}.yaml").write_text(f'name: "a"\n"{HARM!r}": "{HARM!r}"\n')
    return tmp_path


def test_no_order_reaches_the_terminal(molequi, tiny_model: Path, harmful: Path) -> None:
    model = ("--model", tiny_model)
    good = harmful / f"good{HARM}.xyz"
    lines = [
        *(("predict", path, *model) for path in sorted(harmful.iterdir())),
        *(("predict", path, *model, "--json") for path in sorted(harmful.glob("*.xyz"))),
        *(("data", "inspect", path) for path in sorted(harmful.iterdir())),
        *(("config", "show", path) for path in sorted(harmful.glob("*.yaml"))),
        ("predict", *sorted(harmful.glob("*.xyz")), *model),
        ("predict", "--smiles", f"C{HARM}", *model),
        ("predict", good, "--model", harmful / f"model{HARM}.safetensors"),
        ("predict", good, *model, "--output", harmful / f"out{HARM}.csv"),
        ("relax", good, *model, "--steps", "0"),
        ("embed", good, *model, "--output", harmful / f"out{HARM}.npz"),
        ("align", good, good),
        ("md", good, *model, "--steps", "0", "--output", harmful / f"md{HARM}.xyz"),
        ("vibrations", harmful / f"bad{HARM}.xyz", *model),
        ("evaluate", tiny_model, harmful / f"label{HARM}.xyz"),
        ("label", good, "--level", f"hf{HARM}"),
        ("train", f"extxyz{HARM}"),
        ("train", "extxyz", f"data.{HARM}=1"),
        ("config", "show", "extxyz", f"data.path={HARM}"),
        ("models", HARM),
        (HARM,),
        ("predict", f"--{HARM}"),
    ]  # fmt: skip
    codes = set()
    for words in lines:
        code, out, err = molequi(*words)
        found = ORDERS.search(out + err)
        assert found is None, (words, found, out + err)
        assert code in {0, 1, 2, 3}, (words, err)
        codes.add(code)
    assert {0, 2} <= codes


def test_a_table_begins_no_formula(molequi, tiny_model: Path, tmp_path: Path) -> None:
    """Cells of text that begin like one get an apostrophe; numbers stay numbers."""
    names = ["=1+1", "+A1", "-1+1", "@SUM(A1)", "plain", "-5.0", "=cmd|' /C calc'!A0"]
    (tmp_path / "=w.smi").write_text("".join(f"O {name}\n" for name in names))
    output = tmp_path / "out.csv"
    current = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert molequi("predict", "=w.smi", "--model", tiny_model, "--output", output).code == 0
    finally:
        os.chdir(current)
    with output.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    heading, *rows = rows
    assert [row[heading.index("name")].removeprefix("'") for row in rows] == names
    for row in [heading, *rows]:
        for cell in row:
            assert not re.match(r"[=+@\t\r]", cell), cell
            assert not cell.startswith("-") or float(cell) <= 0.0
    energies = [float(row[heading.index("energy [eV]")]) for row in rows]
    assert energies == pytest.approx([energies[0]] * len(names), rel=1e-5)


def test_a_table_of_ours_is_read_as_what_it_was_made_of(
    molequi, tiny_model: Path, tmp_path: Path
) -> None:
    """Numbers with a sign, decimal commas and names with one come back as they went in."""
    rows = [
        ["name", "smiles", "rotation", "charge", "note"],
        ["(+)-x", "CO", "+13.5", "0", "-OH group"],
        ["-C", "CO", "-0,31", "-0", "=1"],
        ["ma", "CO", "+1e-3", "+0", "-"],
    ]
    given, output, again = (tmp_path / f"{name}.csv" for name in ("given", "output", "again"))
    with given.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    for source, target in ((given, output), (output, again)):
        assert molequi("predict", source, "--model", tiny_model, "--output", target).code == 0
    numbers = [row[2:4] for row in rows[1:]]
    for path in (output, again):
        with path.open(newline="", encoding="utf-8") as file:
            found = list(csv.DictReader(file))
        assert [[line["rotation"], line["charge"]] for line in found] == numbers
        assert [line["name"] for line in found] == ["(+)-x", "'-C", "ma"]
        assert [line["note"] for line in found] == ["'-OH group", "'=1", "-"]


@pytest.mark.skipif(os.name != "posix", reason="file names are texts elsewhere")
def test_file_names_that_are_no_utf8(molequi, tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xff"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("the file system takes no such names")
    source = folder / os.fsdecode(b"w\xe9.xyz")
    source.write_text(f"3\nProperties=species:S:1:pos:R:3 energy=1\n{WATER}")
    model = ("--model", tiny_model)
    code, out, _ = molequi("predict", source, *model, "--json")
    assert (code, json.loads(out)[0]["source"]) == (0, str(source))
    for suffix in ("xyz", "csv", "json"):
        output = folder / os.fsdecode(b"out\xfe." + suffix.encode())
        code, _, err = molequi("predict", source, *model, "--output", output)
        assert (code, output.is_file()) == (0, True), err
        assert r"out\udcfe" in err
    for words in (
        ("data", "inspect", source),
        ("data", "inspect", source, "--json"),
        ("evaluate", tiny_model, source),
        ("md", source, *model, "--steps", "1", "--output", folder / "md.xyz"),
        ("predict", folder / "none.xyz", *model),
        ("train", "extxyz", f"data.path={source}", "--output", folder / "run"),
    ):
        code, out, err = molequi(*words)
        (out + err).encode()  # can be printed
        assert code in {0, 2}, (words, err)
