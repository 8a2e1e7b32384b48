"""A convolutional classifier of small pictures: `lax.conv_general_dilated`, `lax.reduce_window`, dropout, SGD."""

import jax
import jax.numpy as jnp
from jax import lax, random

BATCH, SIDE, CLASSES = 32, 16, 10


def conv(x, w, b):
    x = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jax.nn.relu(x + b)


def max_pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def forward(params, x, key):
    x = max_pool(conv(x, *params["conv1"]))
    x = max_pool(conv(x, *params["conv2"]))
    x = x.reshape(x.shape[0], -1)
    x = jax.nn.relu(x @ params["dense"][0] + params["dense"][1])
    x = jnp.where(random.bernoulli(key, 0.9, x.shape), x / 0.9, 0)
    return x @ params["out"][0] + params["out"][1]


def loss_fn(params, x, labels, key):
    logits = forward(params, x, key)
    accuracy = jnp.mean(jnp.argmax(logits, axis=-1) == labels)
    return -jnp.mean(jnp.sum(jax.nn.log_softmax(logits) * jax.nn.one_hot(labels, CLASSES), axis=-1)), accuracy


def setup():
    k = random.split(random.key(0), 6)
    he = jax.nn.initializers.he_normal()
    flat = (SIDE // 4) ** 2 * 16
    params = {
        "conv1": (he(k[0], (3, 3, 1, 8)), jnp.zeros(8)),
        "conv2": (he(k[1], (3, 3, 8, 16)), jnp.zeros(16)),
        "dense": (he(k[2], (flat, 64)), jnp.zeros(64)),
        "out": (he(k[3], (64, CLASSES)), jnp.zeros(CLASSES)),
    }
    x = random.normal(k[4], (BATCH, SIDE, SIDE, 1))
    labels = random.randint(k[5], (BATCH,), 0, CLASSES)

    @jax.jit
    def step(state):
        params, key = state
        key, subkey = random.split(key)
        (loss, accuracy), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, x, labels, subkey)
        return (jax.tree.map(lambda p, g: p - 0.05 * g, params, grads), key), (loss, accuracy)

    return step, (params, random.key(1))
