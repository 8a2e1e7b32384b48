"""A variational autoencoder of small binary pictures: noise drawn inside the step, momentum."""

import jax
import jax.numpy as jnp
from jax import random

PIXELS, HIDDEN, LATENT, BATCH = 64, 128, 8, 64


def dense(p, x):
    return x @ p["w"] + p["b"]


def encode(params, x):
    h = jax.nn.relu(dense(params["e1"], x))
    return dense(params["mean"], h), dense(params["log_var"], h)


def decode(params, z):
    return dense(params["d2"], jax.nn.relu(dense(params["d1"], z)))


def negative_elbo(params, x, key):
    mean, log_var = encode(params, x)
    z = mean + jnp.exp(0.5 * log_var) * random.normal(key, mean.shape)
    logits = decode(params, z)
    reconstruction = jnp.sum(jnp.logaddexp(0.0, logits) - x * logits, axis=-1)
    kl = -0.5 * jnp.sum(1 + log_var - mean**2 - jnp.exp(log_var), axis=-1)
    return jnp.mean(reconstruction + kl)


def setup():
    def layer(key, m, n):
        return {"w": random.normal(key, (m, n)) * jnp.sqrt(1 / m), "b": jnp.zeros((n,))}

    keys = random.split(random.key(0), 6)
    params = {
        "e1": layer(keys[0], PIXELS, HIDDEN),
        "mean": layer(keys[1], HIDDEN, LATENT),
        "log_var": layer(keys[2], HIDDEN, LATENT),
        "d1": layer(keys[3], LATENT, HIDDEN),
        "d2": layer(keys[4], HIDDEN, PIXELS),
    }
    pictures = (random.uniform(keys[5], (1024, PIXELS)) < jnp.linspace(0, 1, PIXELS)).astype(jnp.float32)

    @jax.jit
    def step(state):
        params, velocity, key = state
        key, k_batch, k_noise = random.split(key, 3)
        x = pictures[random.choice(k_batch, pictures.shape[0], (BATCH,))]
        loss, grads = jax.value_and_grad(negative_elbo)(params, x, k_noise)
        velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, grads)
        params = jax.tree.map(lambda p, v: p - 1e-3 * v, params, velocity)
        return (params, velocity, key), loss

    return step, (params, jax.tree.map(jnp.zeros_like, params), random.key(1))
