"""`jax.scipy.stats`'s distributions: ``norm.logpdf(x, loc, scale)`` and the like, with derivatives.

Most need SciPy (``pip install 'gradkit[scipy]'``), or CuPy on a GPU.

Examples
--------
>>> import gradkit
>>> from gradkit.scipy.stats import norm
>>> gradkit.grad(norm.logpdf)(1.0, 0.0, 2.0)
Array(-0.25, dtype=float32)
"""

import sys

from gradkit.scipy.stats.continuous import (
    cauchy,
    expon,
    gumbel_l,
    gumbel_r,
    laplace,
    logistic,
    norm,
    pareto,
    t,
    truncnorm,
    uniform,
    vonmises,
    wrapcauchy,
)
from gradkit.scipy.stats.discrete import bernoulli, betabinom, binom, geom, multinomial, nbinom, poisson
from gradkit.scipy.stats.distribution import Distribution
from gradkit.scipy.stats.gammas import beta, chi2, gamma, gennorm
from gradkit.scipy.stats.multivariate import dirichlet, multivariate_normal

__all__ = [
    "Distribution", "bernoulli", "beta", "betabinom", "binom", "cauchy", "chi2", "dirichlet", "expon", "gamma",
    "gennorm", "geom", "gumbel_l", "gumbel_r", "laplace", "logistic", "multinomial", "multivariate_normal", "nbinom",
    "norm", "pareto", "poisson", "t", "truncnorm", "uniform", "vonmises", "wrapcauchy",
]  # fmt: skip

# Each distribution is a module in JAX: `import gradkit.scipy.stats.norm as norm` finds it here.
sys.modules.update({f"{__name__}.{name}": globals()[name] for name in __all__ if name != "Distribution"})
