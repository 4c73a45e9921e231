"""What every backbone has from the base: settings that make it again."""

import inspect

import pytest

from molequi.nn.backbones.registry import BACKBONES


@pytest.mark.parametrize("name", BACKBONES)
def test_settings_are_the_arguments_and_make_the_backbone_again(name: str) -> None:
    backbone = BACKBONES[name]((1, 8), cutoff=4)
    arguments = inspect.signature(BACKBONES[name]).parameters
    assert list(backbone.settings) == [
        argument for argument in arguments if argument not in {"elements", "irreps_out"}
    ]
    assert repr(backbone.settings["cutoff"]) == "4.0"
    again = BACKBONES[name](backbone.elements, **backbone.settings)
    assert again.settings == backbone.settings
    assert {key: x.shape for key, x in again.state_dict().items()} == {
        key: x.shape for key, x in backbone.state_dict().items()
    }
