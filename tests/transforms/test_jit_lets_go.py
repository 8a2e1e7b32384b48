"""What a compiled function has closed over is let go of with the function, whatever programs are kept."""

from __future__ import annotations

import gc
import weakref

import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import lax


def scanned(w):
    return lambda x: lax.scan(lambda c, _: (c + jnp.sum(x * w), None), jnp.sum(x), None, length=3)[0]


def looped(w):
    return lambda x: lax.while_loop(lambda c: c < 3, lambda c: c + 1 + 0 * jnp.sum(w), jnp.sum(x) * 0)


WAYS = {
    "jit": lambda w: gradkit.jit(lambda x: jnp.sum(x * w)),
    "number": lambda w: gradkit.jit(lambda x: jnp.sum(x * jnp.full(5, 3.0)) + w[0]),
    "jit in jit": lambda w: gradkit.jit(lambda x: gradkit.jit(lambda x: jnp.sum(x * w))(x) + 1),
    "scan": lambda w: gradkit.jit(scanned(w)),
    "while": lambda w: gradkit.jit(looped(w)),
    "cond": lambda w: gradkit.jit(lambda x: lax.cond(x[0] > 0, lambda x: jnp.sum(x * w), jnp.sum, x)),
    "grad of jit": lambda w: gradkit.grad(gradkit.jit(lambda x: jnp.sum(jnp.sin(x * w)))),
    "jit of grad": lambda w: gradkit.jit(gradkit.grad(lambda x: jnp.sum(jnp.sin(x * w)))),
    "checkpoint": lambda w: gradkit.jit(gradkit.grad(gradkit.checkpoint(lambda x: jnp.sum(jnp.sin(x * w))))),
    "vmap": lambda w: gradkit.vmap(gradkit.jit(lambda x: x * w[0])),
    "linearize": lambda w: gradkit.linearize(gradkit.jit(lambda x: jnp.sum(x * w)), jnp.ones(5))[1],
    "not jitted": scanned,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_function_that_is_gone_holds_nothing_that_it_closed_over(way, xp):
    w = jnp.arange(5.0) + 0.5
    held = weakref.ref(w.data)
    function = WAYS[way](w)
    function(jnp.ones(5))
    function(jnp.ones(5))
    del w, function
    gc.collect()
    assert held() is None
