"""A library that was written for JAX runs on gradkit in JAX's place, and gives the numbers that it gives under JAX."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from references import kept

from gradkit.backend import Backend


def program() -> Path:
    """Return the file of the program, which is no constant: where it lies is nothing that numbers are kept by."""
    return Path(find_spec("optax_training").origin)  # type: ignore[union-attr, arg-type]


def training(*options: str, **environment: str) -> dict[str, Any]:
    process = subprocess.run(
        [sys.executable, program(), *options],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def by_jax(text: str) -> dict[str, Any]:
    """Return the numbers of each optimizer under JAX; they are kept by the text of the program, and optax's version."""
    run = training()
    assert run["array"].startswith("jax")
    return {name: np.asarray(numbers, np.float32) for name, numbers in run["results"].items()}


@pytest.mark.skip_backend("jax", reason="its arrays are those of the library whose place gradkit takes")
@pytest.mark.dealt
def test_optax_trains_on_gradkit_as_it_does_on_jax(backend: Backend) -> None:
    expected = kept(by_jax, f"optax {version('optax')}\n{program().read_text()}")
    run = training("--gradkit", GRADKIT_BACKEND=backend.name)
    assert run["array"].startswith("gradkit")
    assert run["results"].keys() == expected.keys()
    for name, numbers in expected.items():
        np.testing.assert_allclose(run["results"][name], numbers, rtol=1e-3, atol=1e-4, err_msg=name)
