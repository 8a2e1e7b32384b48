"""L-BFGS on Rosenbrock's function: a history in arrays, loops over it, a backtracking line search by `while_loop`."""

import jax
import jax.numpy as jnp
from jax import lax

N, MEMORY = 20, 6


def rosenbrock(x):
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def direction(g, s, y, rho):
    def backward(q, pair):
        s, y, rho = pair
        a = rho * (s @ q)
        return q - a * y, a

    q, a = lax.scan(backward, g, (s, y, rho), reverse=True)
    gamma = jnp.where(rho[-1] > 0, (s[-1] @ y[-1]) / jnp.where(rho[-1] > 0, y[-1] @ y[-1], 1.0), 1.0)

    def forward(r, pair):
        s, y, rho, a = pair
        return r + s * (a - rho * (y @ r)), None

    r, _ = lax.scan(forward, gamma * q, (s, y, rho, a))
    return -r


def line_search(x, value, g, d):
    slope = g @ d

    def too_long(carry):
        t, count = carry
        return (rosenbrock(x + t * d) > value + 1e-4 * t * slope) & (count < 20)

    t, _ = lax.while_loop(too_long, lambda carry: (carry[0] * 0.5, carry[1] + 1), (1.0, 0))
    return t


def setup():
    value_and_grad = jax.value_and_grad(rosenbrock)

    @jax.jit
    def step(state):
        x, s, y, rho = state
        value, g = value_and_grad(x)
        d = direction(g, s, y, rho)
        new_x = x + line_search(x, value, g, d) * d
        ds, dy = new_x - x, jax.grad(rosenbrock)(new_x) - g
        curvature = ds @ dy
        new_rho = jnp.where(curvature > 1e-10, 1.0 / jnp.where(curvature > 1e-10, curvature, 1.0), 0.0)
        s = jnp.roll(s, -1, axis=0).at[-1].set(ds)
        y = jnp.roll(y, -1, axis=0).at[-1].set(dy)
        rho = jnp.roll(rho, -1).at[-1].set(new_rho)
        return (new_x, s, y, rho), value

    start = jnp.where(jnp.arange(N) % 2 == 0, -1.2, 1.0)
    return step, (start, jnp.zeros((MEMORY, N)), jnp.zeros((MEMORY, N)), jnp.zeros(MEMORY))
