"""The functions of scipy.stats with derivatives, in what is random and in the parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["DISTRIBUTIONS"]

M = (3, 3)
# (distribution, shapes of its parameters after x, what is added to them, its functions); all arguments are differentiated.
CONTINUOUS: tuple[tuple[str, int, float, str], ...] = (
    ("norm", 2, 0.0, "pdf logpdf cdf logcdf sf logsf ppf isf"),
    ("uniform", 2, 0.5, "pdf logpdf cdf ppf"),
    ("expon", 2, 0.0, "pdf logpdf cdf logcdf sf logsf ppf"),
    ("cauchy", 2, 0.0, "pdf logpdf cdf logcdf sf logsf ppf isf"),
    ("gumbel_l", 2, 0.0, "pdf logpdf cdf logcdf sf logsf ppf"),
    ("gumbel_r", 2, 0.0, "pdf logpdf cdf logcdf sf logsf ppf"),
    ("laplace", 2, 0.0, "pdf logpdf cdf"),
    ("logistic", 2, 0.0, "pdf logpdf cdf sf ppf isf"),
    ("t", 1, 1.0, "pdf logpdf"),
    ("vonmises", 1, 0.5, "pdf logpdf"),
    ("wrapcauchy", 1, 0.0, "pdf logpdf"),
    ("gennorm", 1, 1.0, "pdf logpdf cdf"),
)
# Those of which JAX does not differentiate a parameter: (distribution, parameters, its functions).
SHAPED: tuple[tuple[str, tuple[float, ...], str], ...] = (
    ("gamma", (2.0,), "pdf logpdf cdf logcdf sf logsf"),
    ("beta", (2.0, 3.0), "pdf logpdf cdf logcdf sf logsf"),
    ("chi2", (3.0,), "pdf logpdf cdf logcdf sf logsf"),
    ("pareto", (2.0, -1.0), "pdf logpdf cdf logcdf sf logsf ppf"),
    ("truncnorm", (-1.0, 2.0), "pdf logpdf cdf logcdf sf logsf"),
)
# Functions of counts, differentiated in their parameters.
COUNTS = np.asarray([1, 0, 2])
DISCRETE: tuple[tuple[str, tuple[int, ...], str], ...] = (
    ("bernoulli", (), "pmf logpmf"),
    ("geom", (), "pmf logpmf"),
    ("poisson", (), "pmf logpmf"),
    ("binom", (4,), "pmf logpmf"),
    ("nbinom", (4,), "pmf logpmf"),
)


def _function(m: Any, name: str, kind: str) -> Any:
    return getattr(getattr(m.scipy.stats, name), kind)


def _of_all(name: str, kind: str, more: float) -> Any:
    return lambda m: lambda x, *rest: _function(m, name, kind)(x, *(r + more for r in rest))


def _of_x(name: str, kind: str, parameters: tuple[float, ...]) -> Any:
    return lambda m: lambda x: _function(m, name, kind)(x, *parameters)


def _of_counts(name: str, kind: str, parameters: tuple[int, ...]) -> Any:
    return lambda m: lambda p: _function(m, name, kind)(m.numpy.asarray(COUNTS), *parameters, p)


SPECIAL: list[tuple[str, Any, tuple[Any, ...]]] = [
    *(
        (f"multivariate_normal.{kind}", lambda m, kind=kind: lambda x, mean: _function(m, "multivariate_normal", kind)(x, mean, m.numpy.eye(3) * 0.7), ((3,), (3,)))
        for kind in ("pdf", "logpdf")
    ),
    ("multivariate_normal.logpdf of a covariance", lambda m: lambda x, a: _function(m, "multivariate_normal", "logpdf")(x, 0.1 * x * x, a @ a.T + m.numpy.eye(3)), ((3,), M)),
    *(
        (f"dirichlet.{kind}", lambda m, kind=kind: lambda a: _function(m, "dirichlet", kind)(m.numpy.asarray([0.2, 0.3, 0.5]), a), ((3,),))
        for kind in ("pdf", "logpdf")
    ),
    *(
        (f"multinomial.{kind}", lambda m, kind=kind: lambda p: _function(m, "multinomial", kind)(m.numpy.asarray([1, 0, 2]), 3, p / p.sum()), ((3,),))
        for kind in ("pmf", "logpmf")
    ),
    *(
        (f"betabinom.{kind}", lambda m, kind=kind: lambda a, b: _function(m, "betabinom", kind)(m.numpy.asarray(COUNTS), 4, a, b), ((3,), (3,)))
        for kind in ("pmf", "logpmf")
    ),
    ("bernoulli.cdf", lambda m: lambda p: _function(m, "bernoulli", "cdf")(m.numpy.asarray([0.0, 0.5, 1.0]), p), ((3,),)),
    ("poisson.cdf", lambda m: lambda mu: _function(m, "poisson", "cdf")(m.numpy.asarray(COUNTS), mu), ((3,),)),
    ("poisson.entropy", lambda m: lambda mu: _function(m, "poisson", "entropy")(mu), ((3,),)),
]  # fmt: skip

DISTRIBUTIONS: list[tuple[str, Any, tuple[Any, ...]]] = [
    *((f"scipy.stats.{name}.{kind}", _of_all(name, kind, more), (M,) * (1 + count)) for name, count, more, kinds in CONTINUOUS for kind in kinds.split()),
    *((f"scipy.stats.{name}.{kind}", _of_x(name, kind, parameters), (M,)) for name, parameters, kinds in SHAPED for kind in kinds.split()),
    *((f"scipy.stats.{name}.{kind}", _of_counts(name, kind, parameters), ((3,),)) for name, parameters, kinds in DISCRETE for kind in kinds.split()),
    *((f"scipy.stats.{name}", call, shapes) for name, call, shapes in SPECIAL),
]  # fmt: skip
