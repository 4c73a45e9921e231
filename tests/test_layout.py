"""The order of modules: every own import points up this list, at the top of the file."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "molequi"

# Modules and subpackages from the most basic to the most derived. A module may import what stands on the lines before its own.
ORDER = (
    ("errors", "outputs", "resources", "signals"),
    ("graph",),
    ("neighbors",),
    ("skin",),
    ("probes",),
    ("properties",),
    ("settings",),
    ("config",),
    ("symmetry",),
    ("kernels",),
    ("nn",),
    ("model",),
    ("diagnostics",),
    ("plots",),
    ("datasets",),
    ("checkpoint",),
    ("zoo",),
    ("normalization",),
    ("metrics",),
    ("dynamics",),
    ("training",),
    ("records",),
    ("structures", "writers"),
    ("label",),
    ("calculator",),
    ("simulate",),
    ("relaxation", "vibrations"),
    ("predict",),
    ("bench",),
    ("align",),
    ("report",),
)
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
FILE_FORMATS = {"datasets", "label", "records", "structures", "writers", "calculator", "simulate", "relaxation", "vibrations"}
FILE_FORMATS |= {"predict", "align", "report"}


def rank_of(part: str) -> int | None:
    """`training_loop` shares the line of `training`: a concept that needs several files."""
    return RANK.get(part, RANK.get(part.partition("_")[0]))


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Every imported name in full; `from a import b` counts as `a.b`, for b may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node, f"{'.' * node.level}{node.module or ''}.{alias.name}") for alias in node.names)


def own_part(name: str) -> str | None:
    """`molequi.nn.radial.bessel` -> `nn`."""
    parts = name.split(".")
    return parts[1] if parts[0] == "molequi" and len(parts) > 1 else None


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_up(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    here = own_part(name_of(path))
    assert here is not None
    assert rank_of(here) is not None, f"{here} has no place in the order of modules; give it one in this test"
    top_level = {id(node) for node in tree.body} | {
        id(child) for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" for child in node.body
    }
    for node, name in imports(tree):
        where = f"{path.name}:{node.lineno} imports {name}"
        assert not name.startswith("."), f"{where}: relative"
        part = own_part(name)
        if part is None:
            continue
        assert id(node) in top_level, f"{where} inside a function or block"
        if part == here:
            continue
        assert rank_of(part) is not None, f"{where}, which has no place in the order"
        # Files that share a line of the order may use each other; that they form no cycle is tested below.
        assert rank_of(part) <= rank_of(here), f"{where}, which stands below it"
        assert {part, here} != {"datasets", "nn"}, f"{where}: datasets and nn must not know each other"


def test_modules_form_no_cycle() -> None:
    names = {name_of(path) for path in modules()}
    graph = {}
    for path in modules():
        found = {name for _, name in imports(ast.parse(path.read_text(encoding="utf-8")))}
        targets = {name if name in names else name.rpartition(".")[0] for name in found}
        graph[name_of(path)] = targets & names - {name_of(path)}
    # Take away what needs nothing that is left, and what nothing that is left needs: a circle has neither.
    while free := {name for name, needs in graph.items() if not needs & set(graph)} | (set(graph) - set().union(*graph.values())):
        graph = {name: needs for name, needs in graph.items() if name not in free}
    assert not graph, f"these modules import each other in a circle: {sorted(graph)}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_file_formats_stay_at_the_boundary(path: Path) -> None:
    here = own_part(name_of(path))
    if here in FILE_FORMATS or here.partition("_")[0] in FILE_FORMATS:
        return
    for node, name in imports(ast.parse(path.read_text(encoding="utf-8"))):
        foreign = name.split(".")[0] in {"ase", "rdkit"} and not name.startswith("ase.units") and not name.startswith("ase.data")
        assert not foreign, f"{path.name}:{node.lineno} imports {name}; ASE and RDKit objects belong to {sorted(FILE_FORMATS)}"


def test_every_package_is_installed() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no TOML reader")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    own = {name_of(path.parent) for path in PACKAGE.rglob("__init__.py")} | {"molequi"}
    assert set(settings["packages"]) == own | {"molequi.cli", "molequi._configs", "molequi._data"}


@pytest.mark.parametrize("module", ["molequi", "molequi.cli.main"])
def test_import_is_light(module: str) -> None:
    """Milliseconds, measured as what is not imported: a clock in a busy test run would lie."""
    heavy = "torch", "numpy", "ase", "rdkit", "e3nn", "matplotlib", "pydantic_core"
    code = f"import {module}, sys; print([name for name in {heavy!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_predict_stays_a_function_beside_its_module() -> None:
    code = "import molequi, molequi.predict; from molequi.predict import predict; assert molequi.predict is predict is molequi.predict"
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_unknown_public_name_is_refused() -> None:
    import molequi

    with pytest.raises(AttributeError, match="it has Calculator"):
        molequi.Calculater  # noqa: B018
    assert set(molequi.__all__) <= set(dir(molequi))
