"""Functions that others wrote against the array API standard take gradkit Arrays, and are differentiated.

SciPy reads its switch when it is imported, so its functions and scikit-learn's run in a process of their own.
`tests/support/others` has a table of them, and measures: docs/other-libraries.md is what it found.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import array_api_extra as xpx
import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp

ROOT = Path(__file__).resolve().parents[2]
MEASURE = ROOT / "tests" / "support" / "others" / "measure.py"
PAGE = ROOT / "docs" / "other-libraries.md"
README = ROOT / "README.md"

X = np.random.default_rng(0).uniform(0.2, 1.0, (5, 3))

EXTRA: dict[str, Callable[[Any], Any]] = {
    "cov": lambda x: xpx.cov(x.T),
    "kron": lambda x: xpx.kron(x, x),
    "sinc": lambda x: xpx.sinc(x),
    "pad": lambda x: xpx.pad(x, 1),
    "create_diagonal": lambda x: xpx.create_diagonal(x[0, :]),
    "apply_where": lambda x: xpx.apply_where(x > 0.5, x, lambda a: a * a, fill_value=0.0),
    "partition": lambda x: xpx.partition(x, 1, axis=1)[:, 1],
}


@pytest.mark.parametrize("name", EXTRA)
def test_functions_of_array_api_extra_are_differentiated(name: str, xp: Any) -> None:
    with gradkit.item_assignment(), gradkit.enable_x64():
        check(EXTRA[name])


def check(f: Callable[[Any], Any]) -> None:
    """Compare the gradient along a direction with a central difference, at the Array and by finite steps."""
    direction = np.cos(np.arange(X.size, dtype=float)).reshape(X.shape)
    result = f(jnp.asarray(X))
    assert type(result) is gradkit.Array
    gradient = gradkit.device_get(gradkit.grad(lambda x: jnp.sum(f(x) * 1.0))(jnp.asarray(X)))

    def total(x: np.ndarray) -> float:
        return float(jnp.sum(f(jnp.asarray(x))))

    step = 1e-6
    expected = (total(X + step * direction) - total(X - step * direction)) / (2 * step)
    np.testing.assert_allclose((gradient * direction).sum(), expected, rtol=1e-5, atol=1e-8)
    tangent = gradkit.jvp(lambda x: jnp.sum(f(x)), (jnp.asarray(X),), (jnp.asarray(direction),))[1]
    np.testing.assert_allclose(float(tangent), expected, rtol=1e-5, atol=1e-8)


SELECTION = """
    scipy.special.softmax scipy.special.j0 scipy.special.gammaincinv scipy.special.fdtrc scipy.stats.gmean
    scipy.stats.kurtosis scipy.stats.zmap scipy.stats.f_oneway scipy.stats.false_discovery_control
    scipy.signal.oaconvolve scipy.signal.hilbert scipy.fft.rfft scipy.integrate.tanhsinh scipy.integrate.romb
    scipy.optimize.rosen_der scipy.optimize.elementwise.find_root scipy.differentiate.jacobian
    scipy.spatial.Rotation.as_matrix scipy.spatial.RigidTransform.inv scipy.linalg.block_diag
    sklearn.metrics.pairwise.rbf_kernel sklearn.metrics.mean_squared_error sklearn.preprocessing.MinMaxScaler
    sklearn.preprocessing.PolynomialFeatures sklearn.decomposition.PCA sklearn.linear_model.Ridge
    sklearn.mixture.GaussianMixture.score_samples array_api_extra.at.set einops.pack
""".split()
"""Some of each kind of code: assignment, in place, on parts, to special functions, by NumPy's functions."""

REFUSED = {
    "scipy.fft.dct": "converts",
    "scipy.ndimage.sobel": "converts",
    "sklearn.metrics.max_error": "a number",
    "scipy.special.zeta": "refused",
    "scipy.linalg.toeplitz": "refused",
}
"""Those whose derivative would be lost: each is an error, of gradkit's."""


def measure(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(MEASURE), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "SCIPY_ARRAY_API": "1", "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_functions_of_scipy_and_scikit_learn_are_differentiated() -> None:
    results = json.loads(measure(*SELECTION, *REFUSED))
    expected = {**dict.fromkeys(SELECTION, "right"), **REFUSED}
    assert results == {name: {"numpy": result, "strict": result} for name, result in expected.items()}


ROW = re.compile(r"^\| `(?P<name>[^`]+)` \| (?P<numpy>[^|]+) \| (?P<strict>[^|]+) \|$", re.MULTILINE)


def test_the_page_counts_its_rows() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = [match.groupdict() for match in ROW.finditer(text)]
    assert len(rows) > 500
    right = [sum(row[backend] == "right" for row in rows) for backend in ("numpy", "strict")]
    assert min(right) > 350
    assert f"| all | {len(rows)} | {right[0]} / {right[1]} |" in text
    assert not any("wrong" in row[backend] for row in rows for backend in ("numpy", "strict"))
    assert f"of {len(rows)} that were tried" in README.read_text(encoding="utf-8")


@pytest.mark.long
def test_the_page_says_what_is_measured() -> None:
    text = PAGE.read_text(encoding="utf-8")
    measured_with = re.search(r"^Measured with (.*)\.$", text, re.MULTILINE)
    assert measured_with
    here = ", ".join(f"{name} {version(name)}" for name in re.findall(r"([a-z-]+) [0-9.]+", measured_with[1]))
    if here != measured_with[1]:
        pytest.skip(f"the page is of {measured_with[1]}, and here is {here}")
    assert measure("--page") == text


def test_a_function_that_converts_to_numpy_is_an_error_under_a_transform(xp: Any) -> None:
    with pytest.raises(gradkit.errors.TracerArrayConversionError, match="would lose its derivative"):
        gradkit.grad(lambda x: np.asarray(x).sum())(jnp.ones(2))


def test_items_are_assigned_where_that_is_switched_on(xp: Any) -> None:
    def f(x: Any) -> Any:
        y = jnp.asarray(x * 1.0, copy=True)
        before = y + 0
        y[0] = 5.0
        y[jnp.asarray([False, True, False])] = x[2] ** 2
        return before.sum() + (y**2).sum()

    x = jnp.asarray([1.0, 2.0, 3.0])
    with gradkit.item_assignment():
        assert gradkit.device_get(gradkit.grad(f)(x)).tolist() == [1.0, 1.0, 1.0 + 4 * 27.0 + 6.0]
        with pytest.raises(TypeError, match="cannot be assigned to"):
            gradkit.grad(lambda x: x.__setitem__(0, 1.0) or x.sum())(x)
    with pytest.raises(TypeError, match=r"x = x.at\[idx\].set\(y\)"):
        x[0] = 1.0
