"""Two processes on each backend have the numbers of two of NumPy's, in trees, collectives, gradients and training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from launched import launch, needs_mpi

PROGRAM = Path(__file__).with_name("backends_program.py")


def numbers(part, path=()):
    """Return the numbers of nested lists and dicts, each with its place."""
    if not isinstance(part, dict | list):
        return {path: float(part)}
    found = {}
    for key, inner in part.items() if isinstance(part, dict) else enumerate(part):
        found |= numbers(inner, (*path, key))
    return found


@needs_mpi
@pytest.mark.skip_backend("numpy", reason="the others are compared with it")
@pytest.mark.skip_backend("python", reason="its arrays are single numbers, which do not travel between processes")
def test_two_processes_compute_what_two_of_numpy_s_do(backend, tmp_path):
    ended = launch(2, PROGRAM, tmp_path / "found.json", "numpy", backend.name, timeout=300)
    assert ended.status == 0, ended.err
    found = json.loads((tmp_path / "found.json").read_text())
    for part, values in found[backend.name].items():
        own, expected = numbers(values), numbers(found["numpy"][part])
        assert own.keys() == expected.keys()
        assert len(own) > 2, part
        np.testing.assert_allclose(list(own.values()), list(expected.values()), rtol=2e-5, atol=1e-6, err_msg=part)
