"""Model-agnostic meta-learning of sines: a gradient of a gradient, over a batch of tasks by `vmap`."""

import jax
import jax.numpy as jnp
from jax import grad, random, vmap

SHOTS, TASKS = 10, 16
INNER_RATE, OUTER_RATE = 0.001, 0.0001


def net(params, x):
    *hidden, (w, b) = params
    for v, c in hidden:
        x = jax.nn.relu(jnp.dot(x, v) + c)
    return jnp.dot(x, w) + b


def loss(params, x, y):
    return jnp.mean((net(params, x) - y) ** 2)


def adapt(params, x, y):
    return jax.tree.map(lambda p, g: p - INNER_RATE * g, params, grad(loss)(params, x, y))


def maml_loss(params, x1, y1, x2, y2):
    return loss(adapt(params, x1, y1), x2, y2)


def batch_loss(params, x1, y1, x2, y2):
    return jnp.mean(vmap(maml_loss, in_axes=(None, 0, 0, 0, 0))(params, x1, y1, x2, y2))


def tasks(key):
    ka, kp, kx = random.split(key, 3)
    amplitude = random.uniform(ka, (TASKS, 1, 1), minval=0.1, maxval=0.5)
    phase = random.uniform(kp, (TASKS, 1, 1), minval=0.0, maxval=jnp.pi)
    x = random.uniform(kx, (TASKS, 2 * SHOTS, 1), minval=-5.0, maxval=5.0)
    y = amplitude * jnp.sin(x + phase)
    return x[:, :SHOTS], y[:, :SHOTS], x[:, SHOTS:], y[:, SHOTS:]


def setup():
    widths = 1, 40, 40, 1
    keys = random.split(random.key(0), 3)
    params = [
        (random.normal(k, (m, n)) * jnp.sqrt(2 / m), jnp.zeros(n))
        for k, m, n in zip(keys, widths[:-1], widths[1:], strict=True)
    ]

    @jax.jit
    def step(state):
        params, key = state
        key, subkey = random.split(key)
        value, grads = jax.value_and_grad(batch_loss)(params, *tasks(subkey))
        return (jax.tree.map(lambda p, g: p - OUTER_RATE * g, params, grads), key), value

    return step, (params, random.key(1))
