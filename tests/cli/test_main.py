"""Exit codes, one-line errors, and what goes to which stream."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from molequi.cli import main as main_module
from molequi.cli.exits import explain
from molequi.errors import NotConvergedError, UserError


def one_line(result: object) -> str:
    """The only line on stderr; nothing else was printed."""
    assert result.out == ""
    (text,) = result.err.strip().splitlines()
    return text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["predict", "--smilse", "CCO"], "did you mean --smiles?"),
        (["predict", "--frobnicate"], "`molequi predict --help` lists them"),
        (["predcit", "a.xyz"], "predict"),
        (["data", "insect", "a.xyz"], "inspect"),
        (["predict"], "--smiles TEXT"),
        (["check"], "MODEL"),
        (["predict", "a.xyz", "--device", "gpu"], "'auto', 'cpu', 'cuda'"),
        (["predict", "a.xyz", "--batch-size", "0"], "--batch-size"),
        (["md", "a.xyz", "--restart"], "--output"),
        (["train"], "CONFIG is missing"),
        (["train", "nosuchconfig"], "nosuchconfig"),
        (["models", "nosuchmodel"], "nosuchmodel"),
        (["embed", "a.xyz"], "--output"),
        (["relax", "--smiles", "O", "-o", ""], "-o is empty; give a value"),
        (["train", "qm9_sample", "--output="], "--output is empty; give a value"),
        (["predict", ""], "an argument is empty"),
        (["relax", "--smiles", "O", "-o", "."], "the output . is no name"),
        (["vibrations", "--smiles", "O", "-o", ".", "--overwrite"], "the output . is no name"),
    ],
)
def test_wrong_usage_is_one_line_and_2(molequi, arguments, expected):
    result = molequi(*arguments)
    assert result.code == 2
    assert expected in one_line(result)
    assert "Traceback" not in result.err


@pytest.mark.parametrize("arguments", [[], ["data"]])
def test_group_without_command_shows_its_help(molequi, arguments):
    result = molequi(*arguments)
    assert result.code == 2
    assert "Usage" in result.out + result.err
    assert "error" not in result.err


@pytest.mark.parametrize("command", [["predict"], ["train"], ["data", "inspect"], ["embed"]])
def test_a_folder_is_called_a_folder(molequi, tmp_path, command):
    output = ["--output", tmp_path / "x.npz"] if command == ["embed"] else []
    result = molequi(*command, tmp_path, *output)
    assert result.code == 2
    assert str(tmp_path) in one_line(result)
    assert "is a folder" in result.err


def test_brackets_in_help_are_no_style(molequi):
    assert '"molequi[labels]"' in molequi("label", "--help").out.replace("\n", " ")


def test_the_shell_completes_names_and_keys():
    def completed(*words: str) -> list[str]:
        line = " ".join(("molequi", *words))
        run = subprocess.run(
            [sys.executable, "-m", "molequi"],
            capture_output=True,
            text=True,
            check=False,
            env={
                "_MOLEQUI_COMPLETE": "complete_bash",
                "COMP_WORDS": line,
                "COMP_CWORD": str(len(words)),
                "PATH": "",
            },
        )
        return run.stdout.split()

    assert "vibrations" in completed("vib")
    assert completed("train", "rmd1") == ["rmd17"]
    assert completed("train", "rmd17", "training.ep") == ["training.epochs="]
    of_dynamics = completed("train", "spring", "model.")
    assert "model.width=" in of_dynamics
    assert "model.preset=" not in of_dynamics
    for words in (("models",), ("spectrum", "--optics")):
        assert "organic" in completed(*words, "org")


def test_version(molequi):
    result = molequi("--version")
    assert (result.code, result.err) == (0, "")
    assert re.fullmatch(r"molequi \d+\.\d+\.\d+\n", result.out)


def ended_too_early():
    """What typer makes of an EOFError: it was reported as Ctrl-C."""
    error = typer.Abort()
    error.__cause__ = EOFError("no data left")
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("x"), 2),
        (NotConvergedError("x"), 3),
        (KeyboardInterrupt(), 130),
        (typer.Abort(), 130),
        (FileNotFoundError(2, "No such file or directory", "a.xyz"), 2),
        (PermissionError(13, "Permission denied", "a.xyz"), 2),
        (OSError(errno.ENOSPC, "No space left on device"), 2),
        (ended_too_early(), 70),
        (ZeroDivisionError("x"), 70),
        (ValueError("x"), 70),
    ],
)
def test_exit_code_of_each_error(error, code):
    assert explain(error, debug=False)[0] == code


def test_messages_are_folded_to_one_line():
    assert explain(UserError("first\n  second"), debug=False)[1] == "error: first second"


def test_internal_error_keeps_its_traceback_in_a_file(molequi, monkeypatch):
    monkeypatch.setattr(main_module.sys, "stdout", object())  # --version writes to it
    result = molequi("--version")
    assert result.code == 70
    (name,) = re.findall(r"traceback in (\S+);", result.err)
    text = Path(name).read_text()
    Path(name).unlink()
    assert "Traceback" in text
    assert "AttributeError" in text
    assert "Traceback" not in result.err
    assert "Traceback" in molequi("--version", "--debug").err


def test_closed_pipe_is_quiet():
    run = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m molequi.cli data list | true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_ascii_terminal_is_no_error(molequi):
    run = subprocess.run(
        [sys.executable, "-m", "molequi.cli", "--help"],
        capture_output=True,
        check=False,
        env={"PYTHONIOENCODING": "ascii", "PATH": ""},
    )
    assert run.returncode == 0
    assert b"Usage" in run.stdout
