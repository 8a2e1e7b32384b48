"""Hamiltonian Monte Carlo for a logistic regression: leapfrog steps by `fori_loop`, one transition a step."""

import jax
import jax.numpy as jnp
from jax import lax, random
from jax.scipy.stats import norm

LEAPS, EPSILON = 16, 0.05


def setup():
    kx, kw, ky = random.split(random.key(0), 3)
    x = random.normal(kx, (100, 5))
    w = random.normal(kw, (5,))
    y = random.bernoulli(ky, jax.nn.sigmoid(x @ w)).astype(jnp.float32)

    def log_density(w):
        logits = x @ w
        prior = norm.logpdf(w, scale=2.0).sum()
        return prior + jnp.sum(y * jax.nn.log_sigmoid(logits) + (1 - y) * jax.nn.log_sigmoid(-logits))

    gradient = jax.grad(log_density)

    def leapfrog(q, p):
        p = p + EPSILON / 2 * gradient(q)

        def body(_, qp):
            q, p = qp
            q = q + EPSILON * p
            return q, p + EPSILON * gradient(q)

        q, p = lax.fori_loop(0, LEAPS - 1, body, (q, p))
        q = q + EPSILON * p
        return q, -(p + EPSILON / 2 * gradient(q))

    @jax.jit
    def step(state):
        q, key = state
        key, k1, k2 = random.split(key, 3)
        p = random.normal(k1, q.shape)
        new_q, new_p = leapfrog(q, p)
        energy = -log_density(q) + 0.5 * jnp.sum(p**2)
        new_energy = -log_density(new_q) + 0.5 * jnp.sum(new_p**2)
        accept = jnp.log(random.uniform(k2)) < energy - new_energy
        q = jnp.where(accept, new_q, q)
        return (q, key), q

    return step, (jnp.zeros(5), random.key(1))
