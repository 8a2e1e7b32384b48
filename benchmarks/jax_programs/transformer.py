"""A small causal transformer, its attention by `einsum`, learning to copy; Adam with weight decay."""

import jax
import jax.numpy as jnp
from jax import random

VOCABULARY, WIDTH, HEADS, LAYERS, LENGTH, BATCH = 32, 32, 4, 2, 32, 8


def layer_norm(x, scale, bias, eps=1e-5):
    mean = x.mean(axis=-1, keepdims=True)
    variance = x.var(axis=-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + eps) * scale + bias


def attention(p, x):
    q = jnp.einsum("btd,dhk->bthk", x, p["wq"])
    k = jnp.einsum("btd,dhk->bthk", x, p["wk"])
    v = jnp.einsum("btd,dhk->bthk", x, p["wv"])
    scores = jnp.einsum("bqhk,bshk->bhqs", q, k) / jnp.sqrt(q.shape[-1])
    mask = jnp.tril(jnp.ones((x.shape[1], x.shape[1]), dtype=bool))
    weights = jax.nn.softmax(jnp.where(mask, scores, -1e9), axis=-1)
    return jnp.einsum("bhqs,bshk,hkd->bqd", weights, v, p["wo"])


def block(p, x):
    x = x + attention(p, layer_norm(x, p["s1"], p["b1"]))
    h = jax.nn.gelu(layer_norm(x, p["s2"], p["b2"]) @ p["w1"] + p["c1"])
    return x + h @ p["w2"] + p["c2"]


def forward(params, tokens):
    x = params["embedding"][tokens] + params["position"][: tokens.shape[1]]
    for p in params["blocks"]:
        x = block(p, x)
    return layer_norm(x, params["s"], params["b"]) @ params["embedding"].T


def loss_fn(params, tokens):
    logits = forward(params, tokens[:, :-1])
    log_p = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(log_p, tokens[:, 1:, None], axis=-1)
    return -picked.mean()


def init(key):
    def normal(key, *shape):
        return 0.02 * random.normal(key, shape)

    head = WIDTH // HEADS
    k_embedding, k_position, *keys = random.split(key, 2 + LAYERS)
    blocks = []
    for k in keys:
        k = random.split(k, 6)
        blocks.append(
            {
                "wq": normal(k[0], WIDTH, HEADS, head),
                "wk": normal(k[1], WIDTH, HEADS, head),
                "wv": normal(k[2], WIDTH, HEADS, head),
                "wo": normal(k[3], HEADS, head, WIDTH),
                "w1": normal(k[4], WIDTH, 4 * WIDTH),
                "c1": jnp.zeros(4 * WIDTH),
                "w2": normal(k[5], 4 * WIDTH, WIDTH),
                "c2": jnp.zeros(WIDTH),
                **{name: jnp.ones(WIDTH) for name in ("s1", "s2")},
                **{name: jnp.zeros(WIDTH) for name in ("b1", "b2")},
            }
        )
    return {
        "embedding": normal(k_embedding, VOCABULARY, WIDTH),
        "position": normal(k_position, LENGTH, WIDTH),
        "blocks": blocks,
        "s": jnp.ones(WIDTH),
        "b": jnp.zeros(WIDTH),
    }


def setup():
    def adamw(params, grads, m, v, t):
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, v, grads)
        rate = 1e-3 * jnp.sqrt(1 - 0.99**t) / (1 - 0.9**t)
        params = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-8) - 1e-5 * p, params, m, v)
        return params, m, v

    @jax.jit
    def step(state):
        params, m, v, t, key = state
        key, subkey = random.split(key)
        half = random.randint(subkey, (BATCH, LENGTH // 2), 0, VOCABULARY)
        tokens = jnp.concatenate([half, half], axis=1)
        loss, grads = jax.value_and_grad(loss_fn)(params, tokens)
        t = t + 1
        return (*adamw(params, grads, m, v, t), t, key), loss

    params = init(random.key(0))
    zeros = jax.tree.map(jnp.zeros_like, params)
    return step, (params, zeros, zeros, jnp.zeros((), jnp.int32), random.key(1))
