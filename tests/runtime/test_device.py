"""Devices by the names that users give them."""

from __future__ import annotations

import pytest
import torch

from molequi.errors import UserError
from molequi.models.making import make_model
from molequi.models.zoo import load
from molequi.runtime.device import as_device
from molequi.simulation.calculator import Calculator


@pytest.mark.parametrize("name", ["gpu", "GPU", "", "cuda:x", "meta", "xpu", "cpu,cuda", None, 1.5])
def test_what_is_no_device_is_refused(name) -> None:
    with pytest.raises(UserError, match="is not possible; it is cpu, cuda, cuda:N of several"):
        as_device(name)


def test_devices_by_name_and_as_such(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    given = ["cpu", "cuda", "cuda:1", "auto", torch.device("cpu")]
    assert [as_device(device) for device in given] == ["cpu", "cuda", "cuda:1", "cuda", "cpu"]
    with pytest.raises(UserError, match="cuda:2 was asked for, but .* from 0 to 1"):
        as_device("cuda:2")


def test_every_door_of_a_model_refuses_it() -> None:
    model = make_model((1, 8), ["energy"], n_channels=4)
    for door in (
        lambda: Calculator(device="gpu"),
        lambda: Calculator(model, device="gpu"),
        lambda: load("organic", device="gpu"),
        lambda: model.freeze(device="gpu"),
    ):
        with pytest.raises(UserError, match="device 'gpu' is not possible"):
            door()
