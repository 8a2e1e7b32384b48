"""Functions that others wrote against the array API standard take gradkit Arrays, and are differentiated.

SciPy reads its switch when it is imported, so its functions and scikit-learn's run in a process of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_extra as xpx
import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp

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


PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
import scipy.integrate, scipy.special, scipy.stats
import sklearn
from sklearn import decomposition, linear_model, metrics, preprocessing
import gradkit
from test_other_peoples_code import check

sklearn.set_config(array_api_dispatch=True)
SCIPY = {{
    "special.logsumexp": lambda x: scipy.special.logsumexp(x, axis=0),
    "special.softmax": lambda x: scipy.special.softmax(x, axis=0)[0, :],
    "special.xlogy": lambda x: scipy.special.xlogy(x, x),
    "stats.gmean": lambda x: scipy.stats.gmean(x, axis=0),
    "stats.hmean": lambda x: scipy.stats.hmean(x, axis=0),
    "stats.pmean": lambda x: scipy.stats.pmean(x, 2.0, axis=0),
    "stats.skew": lambda x: scipy.stats.skew(x, axis=0),
    "stats.kurtosis": lambda x: scipy.stats.kurtosis(x, axis=0),
    "stats.moment": lambda x: scipy.stats.moment(x, 3, axis=0),
    "stats.sem": lambda x: scipy.stats.sem(x, axis=0),
    "stats.zmap": lambda x: scipy.stats.zmap(x * x, x),
    "integrate.trapezoid": lambda x: scipy.integrate.trapezoid(x, axis=0),
    "integrate.cumulative_trapezoid": lambda x: scipy.integrate.cumulative_trapezoid(x, axis=0),
}}
LEARN = {{
    "rbf_kernel": lambda x: metrics.pairwise.rbf_kernel(x, x * 2),
    "polynomial_kernel": lambda x: metrics.pairwise.polynomial_kernel(x, x),
    "cosine_similarity": lambda x: metrics.pairwise.cosine_similarity(x, x * 2 + 1),
    "euclidean_distances": lambda x: metrics.pairwise.euclidean_distances(x, x * 2 + 1),
    "mean_squared_error": lambda x: metrics.mean_squared_error(x, x * x, multioutput="raw_values"),
    "mean_absolute_error": lambda x: metrics.mean_absolute_error(x, x * x, multioutput="raw_values"),
    "normalize": lambda x: preprocessing.normalize(x),
    "MaxAbsScaler": lambda x: preprocessing.MaxAbsScaler().fit_transform(x),
    "MinMaxScaler": lambda x: preprocessing.MinMaxScaler().fit_transform(x),
    "PCA": lambda x: decomposition.PCA(2, svd_solver="full").fit_transform(x) ** 2,
    "Ridge": lambda x: linear_model.Ridge(solver="svd").fit(x, x[:, 0]).predict(x) ** 2,
}}
failed = 0
with gradkit.use_backend({backend!r}), gradkit.item_assignment(), gradkit.enable_x64():
    for name, f in {{**SCIPY, **LEARN}}.items():
        try:
            check(f)
        except Exception as error:
            failed += 1
            print(name, type(error).__name__, error)
        else:
            print(name, "right")
sys.exit(failed > 0)
"""


def test_functions_of_scipy_and_scikit_learn_are_differentiated(backend: Any) -> None:
    program = PROGRAM.format(tests=str(Path(__file__).parent), backend=backend.name)
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


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
