"""Random numbers as JAX draws them: explicit keys, and the same numbers on every backend.

The generator is JAX's default, Threefry-2x32 with partitionable counters. `bits`, `uniform`, `randint`, `permutation`,
`choice` and `bernoulli` are equal to JAX's bit for bit; what goes through a logarithm or another transcendental
function is equal to rounding.

Examples
--------
>>> import gradkit
>>> key = gradkit.random.key(0)
>>> key, batch_key = gradkit.random.split(key)
>>> gradkit.random.randint(batch_key, (3,), 0, 100).shape
(3,)
"""

from gradkit.random.choices import bernoulli, categorical, choice, permutation
from gradkit.random.distributions import (
    double_sided_maxwell,
    geometric,
    lognormal,
    maxwell,
    multivariate_normal,
    orthogonal,
    pareto,
    rademacher,
    rayleigh,
    triangular,
    wald,
    weibull_min,
)
from gradkit.random.floats import cauchy, exponential, gumbel, laplace, logistic, normal, truncated_normal, uniform
from gradkit.random.integers import bits, randint
from gradkit.random.keys import PRNGKey, clone, fold_in, key, key_data, key_impl, split, wrap_key_data
from gradkit.random.state import next_key, seed

__all__ = [
    "PRNGKey", "bernoulli", "bits", "categorical", "cauchy", "choice", "clone", "double_sided_maxwell", "exponential",
    "fold_in", "geometric", "gumbel", "key", "key_data", "key_impl", "laplace", "logistic", "lognormal", "maxwell",
    "multivariate_normal", "next_key", "normal", "orthogonal", "pareto", "permutation", "rademacher", "randint",
    "rayleigh", "seed", "split", "triangular", "truncated_normal", "uniform", "wald", "weibull_min", "wrap_key_data",
]  # fmt: skip
