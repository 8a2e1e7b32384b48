"""Digits and MNIST on 1, 2 and 4 processes: the same curves and accuracies, and the same bits when repeated."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from launched import ROOT, launch, needs_mpi

PROGRAM = ROOT / "tests/support/curves_program.py"
MNIST = Path(os.environ.get("GRADKIT_MNIST") or ROOT.parent / "shared" / "data")
needs_mnist = pytest.mark.skipif(
    not MNIST.is_dir(),
    reason=f"there is no folder {MNIST} with MNIST's files; the environment variable GRADKIT_MNIST names another",
)


@needs_mpi
@pytest.mark.long
@pytest.mark.parametrize("backend, how", [("numpy", "eager"), ("numpy", "compiled"), ("strict", "eager")])
@pytest.mark.parametrize("name", ["digits", pytest.param(MNIST, marks=needs_mnist)])
def test_curves_do_not_depend_on_the_number_of_processes(name, backend, how, tmp_path):
    def run(count, number):
        path = tmp_path / f"{number}.json"
        ended = launch(count, PROGRAM, path, name, backend, how, timeout=900)
        assert ended.status == 0, ended.err
        return json.loads(path.read_text())

    one, two, four = (run(count, count) for count in (1, 2, 4))
    for found in (two, four):
        np.testing.assert_allclose(found["loss"], one["loss"], rtol=1e-5)
        np.testing.assert_allclose(found["validation"], one["validation"], rtol=1e-5)
        assert abs(found["accuracy"] - one["accuracy"]) <= 1e-3
    assert run(2, "again") == two
