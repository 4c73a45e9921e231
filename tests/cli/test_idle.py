"""Options that would do nothing are refused before anything is computed."""

from __future__ import annotations

import pytest

_RIGID = "it belongs to a relaxed scan, and --rigid relaxes nothing"
_LANGEVIN = "it belongs to --ensemble nvt --thermostat langevin"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("md --thermostat bussi", "--thermostat would do nothing here: it belongs to --ensemble"),
        ("md --pressure 1", "--pressure would do nothing here: it belongs to --ensemble npt"),
        ("md --ensemble nvt --cell full", "--cell would do nothing here"),
        ("md --ensemble nvt --thermostat bussi --friction 0.1", _LANGEVIN),
        ("md --ensemble nvt --thermostat-time 10", "--thermostat-time would do nothing here"),
        ("md --ensemble npt --thermostat langevin", "--thermostat would do nothing here"),
        ("scan --bond 0-1 --to 1.2 --rigid --fmax 0.1", _RIGID),
        ("scan --bond 0-1 --to 1.2 --rigid --one-way", f"--both-ways/--one-way would do nothing "
         f"here: {_RIGID}"),
        ("vibrations --no-relax --fmax 0.1", "--fmax would do nothing here"),
        ("spectrum --gibbs", "--gibbs would do nothing here"),
        ("spectrum --temperature 400", "it belongs to --conformers, two or more"),
        ("spectrum --optics chiroptical", "it belongs to --kind raman"),
        ("spectrum --interval 2", "it belongs to --trajectory"),
        ("md --ensemble nvt --ramp 50:0,300:1 --temperature 300", "it belongs to runs without"),
        ("spectrum --trajectory --seed 2", "not to that of a --trajectory"),
        ("spectrum --trajectory --scale 0.9", "not to that of a --trajectory"),
    ],
)  # fmt: skip
def test_an_option_without_effect_is_refused(molequi, water, line, said):
    command, *rest = line.split()
    result = molequi(command, water, *rest)
    assert result.code == 2
    assert said in result.err
    assert len(result.err.splitlines()) == 1


def test_an_option_with_an_effect_is_taken(molequi, tiny_model, water):
    how = ("--ensemble", "nvt", "--thermostat", "bussi", "--thermostat-time", "50", "--steps", "1")
    result = molequi("md", water, "--model", tiny_model, *how, "--temperature", "10")
    assert result.code == 0, result.err
    assert "1 step, 0.001 ps, 1 frame " in result.out  # neither 1 steps nor 1 frames
