"""Formats told by what standard input contains."""

import io

import pytest
from rdkit import Chem

from molequi.errors import UserError
from molequi.structures.readers import read_structures
from molequi.structures.sniff import sniff

WATER = Chem.AddHs(Chem.MolFromSmiles("O"))
TEXTS = {
    "xyz": "\n3\n\nO 0 0 0\nH 0 0 1\nH 0 1 0\n",
    "sdf": "\n     RDKit          3D\n\n" + Chem.MolToMolBlock(WATER).split("\n", 3)[3],
    "pdb": "REMARK\nATOM      1  O   HOH A   1       0.000   0.000   0.118  1.00\n",
    "mol2": "#\n@<TRIPOS>MOLECULE\na\n@<TRIPOS>ATOM\n1 O 0 0 0 O.3\n",
    "orca": "! HF def2-SVP\n* xyz 0 1\nO 0.0 0.0 0.0\n*\n",
    "gaussian": "# hf\n\ntitle\n\n0 1\nO 0.0 0.0 0.0\n\n",
    "table": "id;Canonical SMILES;x\n1;CCO;0.1 0.2 0.3\n",
    "smiles": "CCO ethanol\nC1=CC=CC=C1\t1.5 2.5\n# a comment\n",
}


@pytest.mark.parametrize("kind", list(TEXTS))
def test_each_format(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sniff(TEXTS[kind]) == kind
    data = TEXTS[kind].encode("utf-16")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    found = [item for _, item in read_structures("-")]
    assert found
    assert not any(isinstance(item, str) for item in found), found


def test_the_name_of_a_record_may_be_a_number() -> None:
    """PubChem's records begin with the CID."""
    assert sniff("887" + TEXTS["sdf"]) == "sdf"
    assert sniff("3\n\nO 0 0 0\nH 0 0 1\nH 0 1 0\n") == "xyz"


def test_coordinates_are_no_smiles() -> None:
    with pytest.raises(UserError, match="line 2: 'O 0.0 0.0 0.1178' is no SMILES; standard input"):
        sniff("water\nO 0.0 0.0 0.1178\nH 0.0 0.7 -0.4\n")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("smiles\nCCO\nCO\n", "table"),
        ("SMILES name\nCCO ethanol\n", "table"),
        ('"InChI","x"\n"InChI=1S/CH4/h1H4",1\n', "table"),
        ("sep=;\ndrug;x\nCCO;1\n", "table"),
        ("InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3\nInChI=1S/CH4/h1H4\n", "smiles"),
        ("CCO smiles\n", "smiles"),
        ("inchikey\nCCO\n", "smiles"),
    ],
)
def test_a_table_is_told_by_its_heading(text: str, kind: str) -> None:
    assert sniff(text) == kind
