"""Distributions that are functions of uniform, normal and exponential numbers: JAX's numbers, to rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest
from references import usual_widths

import gradkit
import gradkit.numpy as jnp
from gradkit import random

COV = np.asarray([[2.0, 0.3, 0.0], [0.3, 1.0, -0.2], [0.0, -0.2, 0.5]], np.float32)
MEAN = np.asarray([[1.0, -2.0, 0.5], [0.0, 0.0, 1.0]], np.float32)

DRAWS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "rademacher": lambda r, n, key: r.rademacher(key, (3, 50)),
    "rademacher-int8": lambda r, n, key: r.rademacher(key, (7,), n.int8),
    "lognormal": lambda r, n, key: r.lognormal(key, n.asarray([0.5, 1.5]), (40, 2)),
    "lognormal-default": lambda r, n, key: r.lognormal(key, shape=(7,)),
    "maxwell": lambda r, n, key: r.maxwell(key, (40,)),
    "double_sided_maxwell": lambda r, n, key: r.double_sided_maxwell(key, n.asarray([0.5, 1.5]), 2.0, (20,)),
    "rayleigh": lambda r, n, key: r.rayleigh(key, 2.0, (40,)),
    "pareto": lambda r, n, key: r.pareto(key, n.asarray([0.5, 3.0])),
    "weibull_min": lambda r, n, key: r.weibull_min(key, 2.0, n.asarray([0.7, 3.0]), (20, 2)),
    "triangular": lambda r, n, key: r.triangular(key, -1.0, n.asarray([0.0, 0.5]), 2.0, (20, 2)),
    "geometric": lambda r, n, key: r.geometric(key, n.asarray([0.2, 0.9]), (40, 2)),
    "wald": lambda r, n, key: r.wald(key, n.asarray([0.5, 3.0]), (40, 2)),
    "multivariate_normal": lambda r, n, key: r.multivariate_normal(key, n.asarray(MEAN), n.asarray(COV)),
    "multivariate_normal-shape": lambda r, n, key: r.multivariate_normal(key, n.asarray(MEAN[0]), n.asarray(COV), (9,)),
    "multivariate_normal-svd": lambda r, n, key: abs(
        r.multivariate_normal(key, n.zeros(3), n.asarray(np.diag([3.0, 2.0, 1.0]).astype("f")), (4,), method="svd")
    ),
    "multivariate_normal-eigh": lambda r, n, key: abs(
        r.multivariate_normal(key, n.zeros(3), n.asarray(np.diag([1.0, 2.0, 3.0]).astype("f")), (4,), method="eigh")
    ),
    "orthogonal": lambda r, n, key: r.orthogonal(key, 4, (2,)),
    "orthogonal-wide": lambda r, n, key: r.orthogonal(key, 2, m=4),
    "orthogonal-tall": lambda r, n, key: r.orthogonal(key, 4, m=2),
    "clone": lambda r, n, key: r.normal(r.clone(key), (3,)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_distributions_give_jax_numbers(name: str, xp: Any) -> None:
    draw = DRAWS[name]
    for seed in (0, 7):
        got = gradkit.device_get(draw(random, jnp, random.key(seed)))
        with usual_widths():
            expected = np.asarray(draw(jax.random, J, jax.random.key(seed)))
        assert got.dtype == expected.dtype
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-5)


def test_distributions_are_differentiable_in_their_parameters(xp: Any) -> None:
    def loss(r: Any, n: Any) -> Any:
        return lambda cov: n.sum(r.multivariate_normal(r.key(3), n.zeros(3), cov, (4,)) ** 2)

    got = gradkit.grad(loss(random, jnp))(jnp.asarray(COV))
    with usual_widths():
        expected = np.asarray(jax.grad(loss(jax.random, J))(COV))
    np.testing.assert_allclose(gradkit.device_get(got), expected, rtol=1e-4, atol=1e-5)


def test_parameters_that_do_not_fit_are_errors(xp: Any) -> None:
    key = random.key(0)
    with pytest.raises(ValueError, match=r"triangular: left of shape \(2,\), mode of shape \(3,\)"):
        random.triangular(key, jnp.zeros(2), jnp.ones(3), 2.0)
    with pytest.raises(ValueError, match=r"rayleigh: scale must broadcast to the shape of the result, \(3,\)"):
        random.rayleigh(key, jnp.ones(2), (3,))
    with pytest.raises(ValueError, match=r"method must be one of .*'qr'"):
        random.multivariate_normal(key, jnp.zeros(2), jnp.eye(2), method="qr")
    with pytest.raises(ValueError, match=r"mean of shape \(\.\.\., n\) .* got \(2,\) and \(3, 3\)"):
        random.multivariate_normal(key, jnp.zeros(2), jnp.eye(3))
    with pytest.raises(TypeError, match="pareto: key must be a random key"):
        random.pareto(0, 1.0)
