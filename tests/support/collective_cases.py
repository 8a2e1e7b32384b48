"""Functions of parts with collectives, for gradkit and JAX alike: what `test_across_processes.py` compares."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

COUNT = 4


class Case(NamedTuple):
    """A function of `m` (a package: numpy, lax), and what it is given: arrays that are divided by their first axes."""

    name: str
    function: Any
    whole: bool
    """Whether the result is the same in all processes, and not divided by its first axis."""


def extremum(m: Any, name: str, x: Any) -> Any:
    """Return the largest or smallest of all; JAX, which has no derivative of it, computes it another way."""
    if m.__name__ == "gradkit":
        return getattr(m.lax, f"p{name}")(x, "i")
    return getattr(m.numpy, name)(m.lax.all_gather(x, "i"), axis=0)


def signs(m: Any, x: Any) -> Any:
    """Return equal numbers that have the derivatives of different ones."""
    return x + m.lax.stop_gradient(m.numpy.sign(x) - x)


RING = [(i, (i + 1) % COUNT) for i in range(COUNT)]

CASES = [
    Case("psum", lambda m, x, w: m.lax.psum(m.numpy.sin(x * w), "i"), True),
    Case("psum of a tree", lambda m, x, w: m.lax.psum({"a": x * w, "b": m.numpy.sum(x)}, "i")["a"], True),
    Case("pmean", lambda m, x, w: m.lax.pmean(m.numpy.sum(x * w) ** 2, "i"), True),
    Case("product of psum and own", lambda m, x, w: x * m.lax.psum(m.numpy.exp(x * w), "i"), False),
    Case("softmax", lambda m, x, w: m.numpy.exp(x) / m.lax.psum(m.numpy.exp(x * w).sum(), "i"), False),
    Case("all_gather", lambda m, x, w: m.numpy.sum(m.lax.all_gather(x * w, "i") ** 2, axis=0) * x, False),
    Case("all_gather, tiled", lambda m, x, w: m.lax.all_gather(x, "i", axis=1, tiled=True)[:, 1:3] * w[:, :1], False),
    Case("psum_scatter", lambda m, x, w: m.lax.psum_scatter(x * w, "i", scatter_dimension=1, tiled=True), False),
    Case("psum_scatter, not tiled", lambda m, x, w: m.lax.psum_scatter((x * w), "i", scatter_dimension=1), False),
    Case("ppermute", lambda m, x, w: x * m.lax.ppermute(m.numpy.sin(x * w), "i", RING), False),
    Case("ppermute to some", lambda m, x, w: x + m.lax.ppermute(x * w, "i", [(0, 2), (3, 1)]), False),
    Case("all_to_all", lambda m, x, w: m.lax.all_to_all(m.numpy.sin(x * w), "i", 1, 0, tiled=True), False),
    Case("all_to_all, not tiled", lambda m, x, w: m.lax.all_to_all((x * w) ** 2, "i", 1, 1), False),
    Case("axis_index", lambda m, x, w: x * w * (1 + m.lax.axis_index("i")), False),
    Case("pmax", lambda m, x, w: x * m.lax.stop_gradient(m.lax.pmax(m.lax.stop_gradient(x * w), "i")), False),
    Case("pmin", lambda m, x, w: m.lax.pmin(m.lax.stop_gradient(x * w), "i") + m.lax.psum(x, "i"), True),
    Case("pmax, differentiated", lambda m, x, w: x * extremum(m, "max", m.numpy.sin(x * w)), False),
    Case("pmin, differentiated", lambda m, x, w: extremum(m, "min", signs(m, x) * w) ** 3 + w, True),
    Case("several", lambda m, x, w: m.lax.psum(x * m.lax.ppermute(m.lax.psum(x, "i") * w, "i", RING), "i"), True),
]  # fmt: skip


def arguments() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return x, whose rows are divided, and w, which all have."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(2 * COUNT, 4)).astype("float32"), rng.normal(size=(2, 4)).astype("float32")


def results(m: Any, shard_map: Any, P: Any, case: Case, jit: Any) -> dict[str, Any]:
    """Return a case's values and derivatives, from outside and from inside, in both modes, under vmap and jit."""
    x, w = map(m.numpy.asarray, arguments())
    out = P() if case.whole else P("i")
    f = shard_map(lambda x, w: case.function(m, x, w), (P("i"), P()), out)

    def loss(x: Any, w: Any) -> Any:
        return m.numpy.sum(m.numpy.sin(f(x, w)))

    def inside(x: Any, w: Any) -> Any:
        return m.grad(lambda x: m.numpy.sum(m.numpy.sin(case.function(m, x, w))))(x)

    def batched(x: Any, w: Any) -> Any:
        return m.vmap(lambda s: case.function(m, x * s, w), out_axes=-1)(m.numpy.asarray([0.5, 2.0]))

    def second(x: Any, w: Any) -> Any:
        return m.jvp(lambda x: m.grad(loss)(x, w), (x,), (m.numpy.cos(x),))[1]

    found = {
        "value": f(x, w),
        "jitted": jit(f)(x, w),
        "gradients": m.grad(loss, argnums=(0, 1))(x, w),
        "jitted gradients": jit(m.grad(loss, argnums=(0, 1)))(x, w),
        "tangent": m.jvp(f, (x, w), (m.numpy.cos(x), m.numpy.sin(w)))[1],
        "second": second(x, w),
        "inside": shard_map(inside, (P("i"), P()), P("i"))(x, w),
        "batched": shard_map(batched, (P("i"), P()), out)(x, w),
    }
    return {name: [np.asarray(part).tolist() for part in m.tree.leaves(value)] for name, value in found.items()}
