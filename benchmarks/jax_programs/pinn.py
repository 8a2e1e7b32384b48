"""A physics-informed network for Burgers' equation: second derivatives of a network, point by point under `vmap`."""

import jax
import jax.numpy as jnp
from jax import grad, random, vmap

WIDTHS = 2, 20, 20, 20, 1
NU = 0.01 / jnp.pi


def net(params, t, x):
    h = jnp.stack([t, x])
    for w, b in params[:-1]:
        h = jnp.tanh(h @ w + b)
    w, b = params[-1]
    return (h @ w + b)[0]


def residual(params, t, x):
    u = net(params, t, x)
    u_t = grad(net, argnums=1)(params, t, x)
    u_x = grad(net, argnums=2)(params, t, x)
    u_xx = grad(grad(net, argnums=2), argnums=2)(params, t, x)
    return u_t + u * u_x - NU * u_xx


def loss_fn(params, t, x, x0):
    inside = vmap(residual, (None, 0, 0))(params, t, x)
    initial = vmap(net, (None, None, 0))(params, 0.0, x0) + jnp.sin(jnp.pi * x0)
    left = vmap(net, (None, 0, None))(params, t, -1.0)
    right = vmap(net, (None, 0, None))(params, t, 1.0)
    return jnp.mean(inside**2) + jnp.mean(initial**2) + jnp.mean(left**2) + jnp.mean(right**2)


def setup():
    kp, kt, kx = random.split(random.key(0), 3)
    glorot = jax.nn.initializers.glorot_normal()
    params = [
        (glorot(k, (m, n)), jnp.zeros(n)) for k, m, n in zip(random.split(kp, 4), WIDTHS[:-1], WIDTHS[1:], strict=True)
    ]
    t = random.uniform(kt, (200,))
    x = random.uniform(kx, (200,), minval=-1, maxval=1)
    x0 = jnp.linspace(-1, 1, 50)

    @jax.jit
    def step(params):
        loss, grads = jax.value_and_grad(loss_fn)(params, t, x, x0)
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, grads), loss

    return step, params
