"""A recurrent network that learns to write, letter by letter: `lax.scan` over time, clipped gradients, SGD."""

import jax
import jax.numpy as jnp
from jax import lax, random

TEXT = "the quick brown fox jumps over the lazy dog and then it sleeps in the sun until the evening comes again. " * 8
LETTERS = sorted(set(TEXT))
HIDDEN, LENGTH, BATCH = 64, 32, 16


def init(key):
    k1, k2, k3 = random.split(key, 3)
    n = len(LETTERS)
    return {
        "wx": 0.1 * random.normal(k1, (n, HIDDEN)),
        "wh": random.normal(k2, (HIDDEN, HIDDEN)) / jnp.sqrt(HIDDEN),
        "bh": jnp.zeros(HIDDEN),
        "wo": 0.1 * random.normal(k3, (HIDDEN, n)),
        "bo": jnp.zeros(n),
    }


def loss_fn(params, inputs, targets):
    def cell(h, x):
        h = jnp.tanh(x @ params["wx"] + h @ params["wh"] + params["bh"])
        return h, h @ params["wo"] + params["bo"]

    x = jax.nn.one_hot(inputs.T, len(LETTERS))
    _, logits = lax.scan(cell, jnp.zeros((inputs.shape[0], HIDDEN)), x)
    log_p = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.take_along_axis(log_p, targets.T[..., None], axis=-1))


def setup():
    letters = jnp.array([LETTERS.index(c) for c in TEXT])

    @jax.jit
    def step(state):
        params, key = state
        key, subkey = random.split(key)
        begin = random.randint(subkey, (BATCH,), 0, letters.size - LENGTH - 1)
        window = letters[begin[:, None] + jnp.arange(LENGTH + 1)]
        loss, grads = jax.value_and_grad(loss_fn)(params, window[:, :-1], window[:, 1:])
        grads = jax.tree.map(lambda g: jnp.clip(g, -1, 1), grads)
        return (jax.tree.map(lambda p, g: p - 0.5 * g, params, grads), key), loss

    return step, (init(random.key(0)), random.key(1))
