"""Trains by each of optax's optimizers, as its own documentation does, and prints the loss and the parameters."""

from __future__ import annotations

import json
import sys

if "--gradkit" in sys.argv:
    import gradkit_as_jax

    gradkit_as_jax.install()

import jax
import jax.numpy as jnp
import optax

NAMES = "adabelief adagrad adam adamw lamb lion nadam radam rmsprop sgd yogi".split()


def loss(params, x, y):
    hidden = jax.nn.gelu(x @ params["w1"] + params["b1"])
    return jnp.mean(optax.losses.softmax_cross_entropy_with_integer_labels(hidden @ params["w2"], y))


def train(name):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (40, 3))
    y = (x[:, 0] * x[:, 1] > 0).astype(jnp.int32)
    params = {
        "w1": jax.random.normal(keys[1], (3, 8)),
        "b1": jnp.zeros(8),
        "w2": jax.random.normal(keys[2], (8, 2)),
    }
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), getattr(optax, name)(optax.cosine_decay_schedule(0.05, decay_steps=30))
    )
    state = optimizer.init(params)

    @jax.jit
    def step(params, state):
        value, grads = jax.value_and_grad(loss)(params, x, y)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    for _ in range(20):
        params, state, value = step(params, state)
    return [float(value), *(float(leaf.sum()) for leaf in jax.tree.leaves(params))]


print(json.dumps({"array": jax.Array.__module__, "results": {name: train(name) for name in NAMES}}))
