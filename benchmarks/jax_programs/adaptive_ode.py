"""Van der Pol's oscillator by Dormand and Prince's pair: the step size is chosen as it goes, by `while_loop`."""

import jax
import jax.numpy as jnp
from jax import lax

A = jnp.array(
    [
        [0, 0, 0, 0, 0, 0],
        [1 / 5, 0, 0, 0, 0, 0],
        [3 / 40, 9 / 40, 0, 0, 0, 0],
        [44 / 45, -56 / 15, 32 / 9, 0, 0, 0],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0, 0],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0],
    ]
)
B5 = jnp.array([35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84])
ERROR = jnp.array([71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])
RTOL = ATOL = 1e-4


def van_der_pol(y, mu):
    return jnp.array([y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]])


def attempt(f, y, h):
    k = jnp.zeros((7, y.size)).at[0].set(f(y))

    def stage(i, k):
        return k.at[i].set(f(y + h * (A[i] @ k[:6])))

    k = lax.fori_loop(1, 6, stage, k)
    new = y + h * (B5 @ k[:6])
    k = k.at[6].set(f(new))
    error = h * (ERROR @ k)
    scale = ATOL + RTOL * jnp.maximum(jnp.abs(y), jnp.abs(new))
    return new, jnp.sqrt(jnp.mean((error / scale) ** 2))


def integrate(f, y, duration):
    def unfinished(carry):
        t, _, _, count = carry
        return (t < duration) & (count < 1000)

    def body(carry):
        t, y, h, count = carry
        h = jnp.minimum(h, duration - t)
        new, ratio = attempt(f, y, h)
        accepted = ratio <= 1
        factor = jnp.clip(0.9 * ratio**-0.2, 0.2, 5.0)
        t, y = lax.cond(accepted, lambda: (t + h, new), lambda: (t, y))
        return t, y, h * factor, count + 1

    _, y, _, count = lax.while_loop(unfinished, body, (0.0, y, 0.01, 0))
    return y, count


def setup():
    @jax.jit
    def step(y):
        return integrate(lambda y: van_der_pol(y, 2.0), y, 1.0)

    return step, jnp.array([2.0, 0.0])
