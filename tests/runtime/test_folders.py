"""Folders whose files appear at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from molequi.errors import UserError
from molequi.runtime.folders import check_folder, folder_by_rename


def write(folder: Path, text: str) -> None:
    (folder / "a").write_text(text)
    (folder / "inner").mkdir()
    (folder / "inner" / "b").write_text(text)


def found(path: Path) -> dict[str, str]:
    return {
        str(file.relative_to(path)): file.read_text() for file in path.rglob("*") if file.is_file()
    }


@pytest.mark.parametrize("exists", [False, True])
def test_all_files_appear_at_once(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / "new"
    if exists:
        path.mkdir()
    with folder_by_rename(path) as folder:
        write(folder, "1")
        assert found(path) == {}
        assert path.exists() == exists
    assert found(tmp_path) == {"new/a": "1", "new/inner/b": "1"}


@pytest.mark.parametrize("name", ["x.json", "water.XYZ", "model.safetensors"])
def test_names_of_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"{name} is to be a folder"):
        check_folder(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / name).mkdir()  # somebody's own
    assert check_folder(tmp_path / name) == tmp_path / name
    assert check_folder(tmp_path / "version1.0") == tmp_path / "version1.0"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_of_what_failed(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), folder_by_rename(tmp_path / "new") as folder:
        write(folder, "1")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_files_are_replaced_where_that_is_asked_for_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.mkdir()
    (path / "a").write_text("0")
    (path / "mine").write_text("mine")
    with pytest.raises(UserError, match="old exists already"), folder_by_rename(path):
        pass
    with folder_by_rename(path, overwrite=True) as folder:
        write(folder, "1")
        assert found(path) == {"a": "0", "mine": "mine"}
    assert found(tmp_path) == {"old/a": "1", "old/mine": "mine", "old/inner/b": "1"}


def test_what_has_come_up_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "new"
    with pytest.raises(UserError, match="new exists already"), folder_by_rename(path) as folder:
        write(folder, "1")
        path.mkdir()
        (path / "a").write_text("0")
    assert found(tmp_path) == {"new/a": "0"}


def test_a_missing_parent_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="the folder .*none of the output new does not exist"),
        folder_by_rename(tmp_path / "none" / "new"),
    ):
        pass
