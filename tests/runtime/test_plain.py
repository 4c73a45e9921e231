"""JSON of values: what becomes of arrays, of numbers that are not finite, and of anything else."""

import json
from pathlib import Path

import numpy as np
import torch

from molequi.runtime.plain import json_text, plain


def test_arrays_and_tensors_become_lists():
    document = {
        "array": np.eye(2),
        "scalar": np.float32(0.5),
        "count": np.int64(3),
        "flag": np.bool_(True),
        "tensor": torch.ones(2),
        "tuple": (1, "two", None),
        "zero_d": np.array(2.0),
    }
    assert json.loads(json_text(document)) == {
        "array": [[1.0, 0.0], [0.0, 1.0]],
        "scalar": 0.5,
        "count": 3,
        "flag": True,
        "tensor": [1.0, 1.0],
        "tuple": [1, "two", None],
        "zero_d": 2.0,
    }


def test_numbers_that_are_not_finite_become_null():
    assert plain([np.nan, float("inf"), np.array([1.0, -np.inf])]) == [None, None, [1.0, None]]


def test_keys_and_unknown_objects_become_text():
    assert json.loads(json_text({1: Path("a/b")})) == {"1": "a/b"}
    assert json_text("Å") == '"Å"\n'
