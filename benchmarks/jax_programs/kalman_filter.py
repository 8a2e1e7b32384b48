"""A Kalman filter whose noise levels are learned: `lax.scan` with small solves, and the gradient through it."""

import jax
import jax.numpy as jnp
from jax import lax, random

STEPS = 100
DT = 0.1
F = jnp.array([[1, 0, DT, 0], [0, 1, 0, DT], [0, 0, 1, 0], [0, 0, 0, 1]])
H = jnp.array([[1.0, 0, 0, 0], [0, 1, 0, 0]])


def log_likelihood(log_scales, observations):
    q = jnp.exp(log_scales[0]) * jnp.eye(4)
    r = jnp.exp(log_scales[1]) * jnp.eye(2)

    def body(carry, z):
        mean, cov = carry
        mean, cov = F @ mean, F @ cov @ F.T + q
        innovation = z - H @ mean
        s = H @ cov @ H.T + r
        gain = jnp.linalg.solve(s, H @ cov).T
        _, log_det = jnp.linalg.slogdet(s)
        log_p = -0.5 * (innovation @ jnp.linalg.solve(s, innovation) + log_det + 2 * jnp.log(2 * jnp.pi))
        return (mean + gain @ innovation, (jnp.eye(4) - gain @ H) @ cov), log_p

    _, log_p = lax.scan(body, (jnp.zeros(4), jnp.eye(4)), observations)
    return log_p.sum()


def setup():
    k1, k2 = random.split(random.key(0))
    velocity = jnp.cumsum(0.1 * random.normal(k1, (STEPS, 2)), axis=0)
    observations = jnp.cumsum(velocity * DT, axis=0) + 0.2 * random.normal(k2, (STEPS, 2))

    @jax.jit
    def step(log_scales):
        value, gradient = jax.value_and_grad(log_likelihood)(log_scales, observations)
        return log_scales + 1e-3 * gradient, value

    return step, jnp.array([-1.0, -1.0])
