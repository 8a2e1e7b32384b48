"""Lloyd's algorithm: distances by broadcasting, `argmin`, sums by cluster with `segment_sum`."""

import jax
import jax.numpy as jnp
from jax import random

CLUSTERS, POINTS, FEATURES = 8, 1000, 2


def setup():
    k1, k2, k3 = random.split(random.key(0), 3)
    centres = random.uniform(k1, (CLUSTERS, FEATURES), minval=-5, maxval=5)
    labels = random.randint(k2, (POINTS,), 0, CLUSTERS)
    points = centres[labels] + 0.8 * random.normal(k3, (POINTS, FEATURES))

    @jax.jit
    def step(means):
        distances = jnp.sum((points[:, None, :] - means[None, :, :]) ** 2, axis=-1)
        nearest = jnp.argmin(distances, axis=1)
        sums = jax.ops.segment_sum(points, nearest, num_segments=CLUSTERS)
        counts = jnp.bincount(nearest, length=CLUSTERS)
        inertia = jnp.mean(jnp.min(distances, axis=1))
        return jnp.where(counts[:, None] > 0, sums / jnp.maximum(counts, 1)[:, None], means), inertia

    return step, points[:CLUSTERS]
