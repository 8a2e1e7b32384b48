"""A Gaussian process whose hyperparameters are fitted by gradients of the marginal likelihood: Cholesky and solves."""

import jax
import jax.numpy as jnp
import jax.scipy as jsp
from jax import random


def softplus(x):
    return jnp.logaddexp(x, 0.0)


def covariance(x1, x2, amplitude, scale):
    distance = jnp.sum(((x1[:, None, :] - x2[None, :, :]) / scale) ** 2, axis=-1)
    return amplitude**2 * jnp.exp(-0.5 * distance)


def negative_log_likelihood(params, x, y):
    amplitude, scale, noise = (softplus(params[name]) for name in ("amplitude", "scale", "noise"))
    n = x.shape[0]
    k = covariance(x, x, amplitude, scale) + jnp.eye(n) * (noise**2 + 1e-4)
    chol = jnp.linalg.cholesky(k)
    alpha = jsp.linalg.cho_solve((chol, True), y - y.mean())
    return 0.5 * jnp.dot(y - y.mean(), alpha) + jnp.sum(jnp.log(jnp.diag(chol))) + 0.5 * n * jnp.log(2 * jnp.pi)


def setup():
    kx, ky = random.split(random.key(0))
    x = random.uniform(kx, (60, 2), minval=-3, maxval=3)
    y = jnp.sin(x[:, 0]) * jnp.cos(x[:, 1]) + 0.1 * random.normal(ky, (60,))

    @jax.jit
    def step(state):
        params, momentum = state
        loss, grads = jax.value_and_grad(negative_log_likelihood)(params, x, y)
        momentum = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, momentum, grads)
        return (jax.tree.map(lambda p, m: p - 0.01 * m, params, momentum), momentum), loss

    params = {"amplitude": jnp.zeros(()), "scale": jnp.zeros(2), "noise": jnp.array(-2.0)}
    return step, (params, jax.tree.map(jnp.zeros_like, params))
