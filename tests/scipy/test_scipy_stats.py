"""`gradkit.scipy.stats` against JAX: every function of every distribution, inside its support and outside."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as J
import jax.scipy.stats
import numpy as np
import pytest
from references import by_jax, jaxs

import gradkit
from gradkit.scipy import stats
from gradkit.testing import check_grads

X = np.asarray([-1.3, 0.2, 0.7, 1.4, 3.0, 7.0])
K = np.asarray([-1.0, 0.0, 1.0, 2.0, 3.0, 6.0])
Q = np.asarray([-0.1, 0.05, 0.4, 0.5, 0.9, 1.2])
TABLE: dict[str, tuple[Any, ...]] = {
    "beta": (2.0, 3.0, -0.5, 5.0),
    "cauchy": (0.3, 1.5),
    "chi2": (3.0, -0.5, 1.5),
    "expon": (0.1, 1.5),
    "gamma": (2.5, -0.5, 1.5),
    "gennorm": (1.5,),
    "gumbel_l": (0.3, 1.5),
    "gumbel_r": (0.3, 1.5),
    "laplace": (0.3, 1.5),
    "logistic": (0.3, 1.5),
    "norm": (0.3, 1.5),
    "pareto": (2.5, -0.5, 1.5),
    "t": (4.0, 0.3, 1.5),
    "truncnorm": (-1.0, 1.5, 0.3, 1.5),
    "uniform": (0.1, 2.0),
    "vonmises": (1.5,),
    "wrapcauchy": (0.4,),
    "bernoulli": (0.3,),
    "betabinom": (5.0, 1.5, 2.5),
    "binom": (5.0, 0.3),
    "geom": (0.3,),
    "nbinom": (3.0, 0.3),
    "poisson": (2.5,),
}
DISCRETE = frozenset("bernoulli betabinom binom geom nbinom poisson".split())
JAXS = "logpdf pdf logpmf pmf logcdf cdf logsf sf ppf isf".split()
CASES = [(name, kind) for name in TABLE for kind in JAXS if hasattr(getattr(jax.scipy.stats, name), kind)]
WITHOUT_DERIVATIVE_IN_SHAPES = {("beta", kind) for kind in ("cdf", "sf", "logcdf", "logsf")}


def on(xp: Any, x: Any) -> gradkit.Array:
    return xp.asarray(np.asarray(x))


def close(got: Any, expected: Any, tolerance: float) -> None:
    np.testing.assert_allclose(gradkit.device_get(got), np.asarray(expected), rtol=tolerance, atol=tolerance)


def variable(name: str, kind: str) -> np.ndarray:
    if name == "cauchy" and kind in ("ppf", "isf"):  # JAX has numbers for what is no probability
        return Q[1:-1]
    return Q if kind in ("ppf", "isf") else K if name in DISCRETE else X


@by_jax
def expected(name: str, kind: str) -> Any:
    f = getattr(getattr(jax.scipy.stats, name), kind)
    x, params = variable(name, kind), TABLE[name]
    with jax.enable_x64(True):
        value = f(J.asarray(x), *params)
        inside = np.isfinite(np.asarray(value))
        points = J.asarray(x[inside])
        argnums = differentiated(name, kind)
        if name.startswith("gumbel"):  # of which JAX has no gradient
            return np.asarray(value), inside, None
        gradients = jax.grad(lambda *args: f(*args).sum(), argnums)(points, *params)
        return np.asarray(value), inside, [np.asarray(g) for g in gradients]


def differentiated(name: str, kind: str) -> tuple[int, ...]:
    if (name, kind) in WITHOUT_DERIVATIVE_IN_SHAPES:
        return (0, 3, 4)
    if name in DISCRETE:
        return tuple(range(1, 1 + len(TABLE[name])))
    return tuple(range(1 + len(TABLE[name])))


@pytest.mark.parametrize("name, kind", CASES)
def test_values_and_gradients_are_jaxs(name: str, kind: str, xp: Any) -> None:
    f = getattr(getattr(stats, name), kind)
    value, inside, gradients = expected(name, kind)
    x = variable(name, kind)
    close(f(on(xp, x), *TABLE[name]), value, 1e-9)
    params = [on(xp, p) for p in TABLE[name]]
    if gradients is None:
        check_grads(f, (on(xp, x[inside]), *params), order=2)
        return
    argnums = differentiated(name, kind)
    got = gradkit.grad(lambda *args: f(*args).sum(), argnums)(on(xp, x[inside]), *params)
    for found, right in zip(got, gradients, strict=True):
        if np.isfinite(right).all():  # JAX's own are NaN in a corner or two
            close(found, right, 1e-7)
    batched = gradkit.vmap(f, in_axes=(0, *(None,) * len(params)))(on(xp, x), *params)
    close(batched, value, 1e-9)


def test_every_distribution_is_here() -> None:
    for name, kind in CASES:
        assert callable(getattr(getattr(stats, name), kind))
    with pytest.raises(AttributeError, match="the distribution laplace has no 'isf'"):
        stats.laplace.isf(0.5)


def test_gradients_do_not_leak_out_of_the_support(xp: Any) -> None:
    for name in ("gamma", "chi2", "beta", "expon", "pareto", "uniform"):
        gradient = gradkit.grad(lambda x, name=name: getattr(stats, name).pdf(x, *TABLE[name]).sum())(
            on(xp, [-9.0, 0.6])
        )
        assert np.isfinite(gradkit.device_get(gradient)).all(), name


def test_parameters_have_names_and_broadcast(xp: Any) -> None:
    close(stats.gamma.logpdf(on(xp, 1.0), a=2.0, scale=2.0), jax.scipy.stats.gamma.logpdf(1.0, a=2.0, scale=2.0), 1e-6)
    assert stats.norm.pdf(on(xp, np.zeros((3, 1))), on(xp, np.zeros(2))).shape == (3, 2)
    assert stats.norm.pdf(0.0).dtype == "float32"
    assert stats.poisson.pmf(2, 3.0).dtype == "float32"
    with pytest.raises(TypeError, match="missing a required argument: 'a'"):
        stats.gamma.pdf(1.0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'b'"):
        stats.gamma.pdf(1.0, 2.0, b=2.0)


@pytest.mark.parametrize("mu", [0.0, 0.5, 4.0, 30.0, 250.0])
def test_entropy_of_poisson(mu: float, xp: Any) -> None:
    with jax.enable_x64(True):
        right = jax.scipy.stats.poisson.entropy(J.asarray(mu))
    close(stats.poisson.entropy(on(xp, mu)), right, 1e-9)


COV = np.asarray([[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 1.5]])
POINTS = np.asarray([[0.1, 0.2, -0.3], [1.0, -2.0, 0.5]])


def normal_by_jax(*args: Any) -> Any:
    logpdf = jax.scipy.stats.multivariate_normal.logpdf
    return logpdf(*args), jax.grad(lambda *a: logpdf(*a).sum(), (0, 1, 2))(*map(J.asarray, args))


@pytest.mark.parametrize(
    "mean, cov", [(0.5, 2.0), (np.asarray([0.1, 0.2, 0.3]), 2.0), (np.asarray([0.1, 0.2, 0.3]), COV)]
)
def test_multivariate_normal(mean: Any, cov: Any, xp: Any) -> None:
    pytest.importorskip("gradkit.numpy.linalg")
    with jax.enable_x64(True):
        value, gradients = jaxs(normal_by_jax, POINTS, mean, cov)
    args = [on(xp, a) for a in (POINTS, mean, cov)]
    close(stats.multivariate_normal.logpdf(*args), value, 1e-10)
    close(stats.multivariate_normal.pdf(*args), np.exp(value), 1e-10)
    found = gradkit.grad(lambda *a: stats.multivariate_normal.logpdf(*a).sum(), (0, 1, 2))(*args)
    for got, right in zip(found, gradients, strict=True):
        close(got, right, 1e-9)
    with pytest.raises(ValueError, match="incompatible shapes"):
        stats.multivariate_normal.logpdf(args[0], on(xp, [0.0, 0.0, 0.0]), on(xp, np.eye(2)))


def dirichlet_and_multinomial_by_jax(p: Any, alpha: Any) -> Any:
    theirs = jax.scipy.stats.dirichlet
    return (
        theirs.logpdf(p, alpha),
        jax.grad(lambda a: theirs.logpdf(p[:, 0], a))(alpha),
        theirs.pdf(p[:, :1], alpha),
        jax.scipy.stats.multinomial.logpmf(np.asarray([1, 2, 0]), 3, p[:, 0]),
    )


def test_dirichlet_and_multinomial(xp: Any) -> None:
    p, alpha = np.asarray([[0.2, 0.1], [0.3, 0.6], [0.5, 0.5]]), np.asarray([1.5, 2.0, 0.7])
    with jax.enable_x64(True):
        *right, density, counts = jaxs(dirichlet_and_multinomial_by_jax, p, alpha)
    close(stats.dirichlet.logpdf(on(xp, p), on(xp, alpha)), right[0], 1e-10)
    close(stats.dirichlet.pdf(on(xp, p[:2, :1]), on(xp, alpha)), density, 1e-6)
    close(gradkit.grad(lambda a: stats.dirichlet.logpdf(on(xp, p[:, 0]), a))(on(xp, alpha)), right[1], 1e-10)
    close(stats.multinomial.logpmf(xp.asarray([1, 2, 0]), 3, on(xp, p[:, 0])), counts, 1e-10)
    close(stats.multinomial.pmf(xp.asarray([1, 1, 0]), 3, on(xp, p[:, 0])), 0.0, 0)
    with pytest.raises(ValueError, match="must be of integer type"):
        stats.multinomial.logpmf(on(xp, [1.0]), 1, on(xp, [1.0]))
