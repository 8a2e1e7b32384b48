"""A neural ordinary differential equation fitted to a spiral: Runge and Kutta's steps by `lax.scan`, Adam."""

import jax
import jax.numpy as jnp
from jax import lax, random

STEPS, H = 24, 0.1


def field(params, y):
    (w1, b1), (w2, b2) = params
    return jnp.tanh(y**3 @ w1 + b1) @ w2 + b2


def rk4(f, y, h):
    k1 = f(y)
    k2 = f(y + h / 2 * k1)
    k3 = f(y + h / 2 * k2)
    k4 = f(y + h * k3)
    return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def trajectory(f, y0):
    def body(y, _):
        y = rk4(f, y, H)
        return y, y

    return lax.scan(body, y0, None, length=STEPS)[1]


def adam(params, grads, state, rate=0.01, b1=0.9, b2=0.999, eps=1e-8):
    m, v, t = state
    t = t + 1
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g**2, v, grads)
    params = jax.tree.map(
        lambda p, m, v: p - rate * (m / (1 - b1**t)) / (jnp.sqrt(v / (1 - b2**t)) + eps), params, m, v
    )
    return params, (m, v, t)


def setup():
    k1, k2, k3 = random.split(random.key(0), 3)
    params = [
        (0.1 * random.normal(k1, (2, 50)), jnp.zeros(50)),
        (0.1 * random.normal(k2, (50, 2)), jnp.zeros(2)),
    ]
    true = jnp.array([[-0.1, 2.0], [-2.0, -0.1]])
    starts = 2 * random.uniform(k3, (20, 2), minval=-1)
    target = trajectory(lambda y: y**3 @ true, starts)

    def loss_fn(params):
        return jnp.mean((trajectory(lambda y: field(params, y), starts) - target) ** 2)

    @jax.jit
    def step(state):
        params, moments = state
        loss, grads = jax.value_and_grad(loss_fn)(params)
        return adam(params, grads, moments), loss

    zeros = jax.tree.map(jnp.zeros_like, params)
    return step, (params, (zeros, zeros, 0))
