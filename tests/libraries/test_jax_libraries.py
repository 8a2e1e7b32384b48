"""A library that was written for JAX runs on gradkit in JAX's place, and gives the numbers that it gives under JAX."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

SUPPORT = Path(__file__).parents[1] / "support"


def training(*options: str, **environment: str) -> dict[str, Any]:
    process = subprocess.run(
        [sys.executable, SUPPORT / "optax_training.py", *options],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_optax_trains_on_gradkit_as_it_does_on_jax() -> None:
    expected, got, strict = (
        training(),
        training("--gradkit", GRADKIT_BACKEND="numpy"),
        training("--gradkit", GRADKIT_BACKEND="strict"),
    )
    assert expected["array"].startswith("jax")
    for run in (got, strict):
        assert run["array"].startswith("gradkit")
        for name, numbers in expected["results"].items():
            np.testing.assert_allclose(run["results"][name], numbers, rtol=1e-3, atol=1e-4, err_msg=name)
