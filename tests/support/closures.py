"""Small programs that close over variables, ways to call their functions, and stacks of transforms around them.

Each program is a function of two numbers, w and x: a function of x that closes over w is called by a wrapper. A stack
of transforms makes another function of w and x of it, whose result is a number again: so stacks are of any height.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

__all__ = ["BODIES", "RULES", "STACKS", "STEPS", "WRAPPERS", "program", "stacked"]

Function = Callable[..., Any]


# Functions that close over w: each is made by body(m, n, w), with m gradkit or JAX and n its `numpy`


def plain(m: Any, n: Any, w: Any) -> Function:
    return lambda h: n.sin(w * h)


def itself_alone(m: Any, n: Any, w: Any) -> Function:
    return lambda h: n.exp(w) * w


def the_argument_alone(m: Any, n: Any, w: Any) -> Function:
    return lambda h: n.sin(h) * h


def nested(m: Any, n: Any, w: Any) -> Function:
    y = w * w

    def outer(h: Any) -> Any:
        def inner() -> Any:
            return n.cos(y) * h

        return inner() * h + y

    return outer


def indexing(m: Any, n: Any, w: Any) -> Function:
    v = n.stack([w, w * w, n.sin(w)])
    return lambda h: n.sin(h * v[1]) + h * v[0]


def reducing(m: Any, n: Any, w: Any) -> Function:
    v = n.stack([w, w * w, n.sin(w)])
    return lambda h: n.sum(v) * h * h + n.max(v)


def reshaping(m: Any, n: Any, w: Any) -> Function:
    v = n.stack([w, w * w, n.sin(w), n.cos(w)])
    return lambda h: n.sum(n.reshape(v, (2, 2)).T @ n.stack([h, h * h]))


def default_argument(m: Any, n: Any, w: Any) -> Function:
    def f(h: Any, scale: Any = w) -> Any:
        return n.tanh(scale * h)

    return f


class Layer:
    def __init__(self, n: Any, w: Any) -> None:
        self.n = n
        self.w = w

    def method(self, h: Any) -> Any:
        return self.n.tanh(self.w * h) * h


def method(m: Any, n: Any, w: Any) -> Function:
    return Layer(n, w).method


HELD: dict[str, Any] = {}


def global_variable(m: Any, n: Any, w: Any) -> Function:
    HELD["w"] = w
    return lambda h: n.sin(HELD["w"] * h) * h


def without_its_derivative(m: Any, n: Any, w: Any) -> Function:
    return lambda h: m.lax.stop_gradient(w * h) * h


def comparing(m: Any, n: Any, w: Any) -> Function:
    return lambda h: n.where(w > 0.9, h * h, n.sin(h))


def deriving(m: Any, n: Any, w: Any) -> Function:
    return lambda h: m.grad(lambda z: n.sin(z * w) * z)(h) + m.jvp(lambda z: z * z * w, (h,), (w,))[1]


def batching(m: Any, n: Any, w: Any) -> Function:
    return lambda h: n.sum(m.vmap(lambda e: n.sin(e * w) * h)(n.stack([h, w, h * w])))


def choosing(m: Any, n: Any, w: Any) -> Function:
    v = n.stack([w, w * w])
    return lambda h: m.lax.cond(h * w > 0.7, lambda u: u * v[0], lambda u: n.sin(u) * n.sum(v), h)


def recomputing(m: Any, n: Any, w: Any) -> Function:
    return lambda h: m.checkpoint(lambda u: n.sin(u * w) * h)(h * w)


def looping(m: Any, n: Any, w: Any) -> Function:
    v = n.stack([w, w * w])

    def step(carry: Any, e: Any) -> Any:
        return carry * n.sin(e) + v[0], carry * w

    def f(h: Any) -> Any:
        carry, ys = m.lax.scan(step, h, v * h)
        return carry + n.sum(ys)

    return f


def ruling(m: Any, n: Any, w: Any) -> Function:
    @m.custom_jvp
    def sine(u: Any) -> Any:
        return n.sin(u)

    sine.defjvp(lambda primals, tangents: (sine(*primals), n.cos(primals[0]) * tangents[0]))
    return lambda h: sine(w * h) * h


def solving(m: Any, n: Any, w: Any) -> Function:
    def f(h: Any) -> Any:
        a = 2.5 + n.sin(w * h)
        return m.lax.custom_linear_solve(
            lambda u: a * u, w * h, lambda matvec, b: b / matvec(n.ones_like(b)), symmetric=True
        )

    return f


def ruling_backward(m: Any, n: Any, w: Any) -> Function:
    @m.custom_vjp
    def product(u: Any, v: Any) -> Any:
        return n.sin(u) * v

    def forward(u: Any, v: Any) -> Any:
        return product(u, v), (u, v)

    def backward(kept: Any, share: Any) -> Any:
        return share * n.cos(kept[0]) * kept[1], share * n.sin(kept[0])

    product.defvjp(forward, backward)
    return lambda h: product(w, h) * h


BODIES = [
    plain,
    itself_alone,
    the_argument_alone,
    nested,
    indexing,
    reducing,
    reshaping,
    default_argument,
    method,
    global_variable,
    without_its_derivative,
    comparing,
    deriving,
    batching,
    choosing,
    recomputing,
    looping,
    ruling,
]
OF_REVERSE_MODE = [ruling_backward, solving]  # the first cannot be pushed forward


# Ways to call a function f at x that change nothing: wrapper(m, n, f, x)


def checkpoint(m: Any, n: Any, f: Function, x: Any) -> Any:
    return m.checkpoint(lambda h: f(h))(x)


def checkpoint_of_itself(m: Any, n: Any, f: Function, x: Any) -> Any:
    return m.checkpoint(f)(x)


def checkpoint_twice(m: Any, n: Any, f: Function, x: Any) -> Any:
    return m.checkpoint(lambda h: m.checkpoint(lambda u: f(u))(h))(x)


def checkpoint_of_a_constant(m: Any, n: Any, f: Function, x: Any) -> Any:
    return m.checkpoint(lambda h: f(x * h))(n.ones(()))


def checkpoint_without_arguments(m: Any, n: Any, f: Function, x: Any) -> Any:
    return m.checkpoint(lambda: f(x))()


def checkpoint_with_a_policy(m: Any, n: Any, f: Function, x: Any) -> Any:
    return m.checkpoint(lambda h: f(h), policy=m.checkpoint_policies.dots_saveable)(x)


def cond(m: Any, n: Any, f: Function, x: Any) -> Any:
    return m.lax.cond(x > 0.4, lambda h: f(h), lambda h: f(h) + 0 * h, x)


def cond_of_closures(m: Any, n: Any, f: Function, x: Any) -> Any:
    return m.lax.cond(x > 0.4, lambda: f(x) * 1, lambda: f(x))


def switch(m: Any, n: Any, f: Function, x: Any) -> Any:
    return m.lax.switch(
        n.where(x > 0.9, 2, n.where(x > 0.4, 1, 0)), [lambda h: f(h), lambda h: f(h) * 1, lambda h: f(x)], x
    )


def scan(m: Any, n: Any, f: Function, x: Any) -> Any:
    return m.lax.scan(lambda c, e: (c + f(e), None), 0 * x, n.stack([x, x * 0.5]))[0] - f(x * 0.5)


def cond_in_scan(m: Any, n: Any, f: Function, x: Any) -> Any:
    def step(carry: Any, e: Any) -> Any:
        return carry + m.lax.cond(e > 0.4, lambda h: f(h), lambda h: f(h) * 1, e), None

    return m.lax.scan(step, 0 * x, n.stack([x, x * 0.5]))[0] - f(x * 0.5)


def checkpoint_in_scan(m: Any, n: Any, f: Function, x: Any) -> Any:
    def step(carry: Any, e: Any) -> Any:
        return carry + m.checkpoint(lambda h: f(h))(e), None

    return m.lax.scan(step, 0 * x, n.stack([x, x * 0.5]))[0] - f(x * 0.5)


def checkpoint_in_cond(m: Any, n: Any, f: Function, x: Any) -> Any:
    return m.lax.cond(x > 0.4, lambda h: m.checkpoint(lambda u: f(u))(h), lambda h: m.checkpoint(lambda: f(h))(), x)


def fori_loop(m: Any, n: Any, f: Function, x: Any) -> Any:
    return m.lax.fori_loop(0, 2, lambda i, c: c + f(x * (i + 1.0)), 0 * x) - f(x * 2)


def map_over(m: Any, n: Any, f: Function, x: Any) -> Any:
    return n.sum(m.lax.map(lambda e: f(e), n.stack([x, x * 0.5]))) - f(x * 0.5)


def while_loop(m: Any, n: Any, f: Function, x: Any) -> Any:
    return m.lax.while_loop(lambda s: s[0] < 1, lambda s: (s[0] + 1, f(s[1])), (0, x))[1]


def jit(m: Any, n: Any, f: Function, x: Any) -> Any:
    return m.jit(lambda h: f(h))(x)


WRAPPERS = [
    checkpoint,
    checkpoint_of_itself,
    checkpoint_twice,
    checkpoint_of_a_constant,
    checkpoint_without_arguments,
    checkpoint_with_a_policy,
    cond,
    cond_of_closures,
    switch,
    scan,
    cond_in_scan,
    checkpoint_in_scan,
    checkpoint_in_cond,
    fori_loop,
    map_over,
    while_loop,
    jit,
]


# Ways to call it with a rule, which may be an error: a rule says nothing of the derivative by w


def custom_jvp(m: Any, n: Any, f: Function, x: Any) -> Any:
    g = m.custom_jvp(lambda h: f(h))
    g.defjvp(lambda primals, tangents: (g(*primals), 3 * tangents[0] * primals[0]))
    return g(x)


def custom_jvp_whose_rule_closes_over_it(m: Any, n: Any, f: Function, x: Any) -> Any:
    g = m.custom_jvp(lambda h: f(h))
    g.defjvp(lambda primals, tangents: (f(*primals), f(*primals) * tangents[0]))
    return g(x)


def custom_jvp_of_a_constant(m: Any, n: Any, f: Function, x: Any) -> Any:
    g = m.custom_jvp(lambda h: f(h))
    g.defjvp(lambda primals, tangents: (g(*primals), 3 * tangents[0] * primals[0]))
    return g(0.5 * n.ones(())) * x


def custom_jvp_that_closes_over_nothing(m: Any, n: Any, f: Function, x: Any) -> Any:
    g = m.custom_jvp(lambda h: n.sin(h) * h)
    g.defjvp(lambda primals, tangents: (g(*primals), 3 * tangents[0] * primals[0]))
    return g(x) * f(x)


def custom_vjp(m: Any, n: Any, f: Function, x: Any) -> Any:
    g = m.custom_vjp(lambda h: f(h))
    g.defvjp(lambda h: (f(h), h), lambda h, ct: (3 * ct * h,))
    return g(x)


def custom_vjp_that_calls_itself(m: Any, n: Any, f: Function, x: Any) -> Any:
    g = m.custom_vjp(lambda h: f(h))
    g.defvjp(lambda h: (g(h), h), lambda h, ct: (3 * ct * h,))
    return g(x)


def custom_vjp_of_a_constant(m: Any, n: Any, f: Function, x: Any) -> Any:
    g = m.custom_vjp(lambda h: f(h))
    g.defvjp(lambda h: (g(h), h), lambda h, ct: (3 * ct * h,))
    return g(0.5 * n.ones(())) * x


def custom_vjp_whose_backward_rule_closes_over_it(m: Any, n: Any, f: Function, x: Any) -> Any:
    g = m.custom_vjp(lambda h: n.sin(h))
    g.defvjp(lambda h: (g(h), h), lambda h, ct: (ct * f(h),))
    return g(x)


RULES = [
    custom_jvp,
    custom_jvp_whose_rule_closes_over_it,
    custom_jvp_of_a_constant,
    custom_jvp_that_closes_over_nothing,
    custom_vjp,
    custom_vjp_that_calls_itself,
    custom_vjp_of_a_constant,
    custom_vjp_whose_backward_rule_closes_over_it,
]


def program(m: Any, n: Any, body: Function, wrapper: Function | None) -> Function:
    """Return a function of w and x; without a wrapper the function itself is called."""

    def loss(w: Any, x: Any) -> Any:
        f = body(m, n, w)
        y = f(x) if wrapper is None else wrapper(m, n, f, x)
        return y * n.cos(x)

    return loss


# Transforms: each makes, of a function of w and x, another one


def of(name: str, transform: Function) -> Function:
    transform.__name__ = name
    return transform


def _by(place: int) -> list[Function]:
    """Return the transforms by w or by x."""
    letter = "wx"[place]

    def alone(f: Function, args: tuple[Any, Any]) -> Function:
        return lambda z: f(*(z if i == place else arg for i, arg in enumerate(args)))

    def directional(m: Any, n: Any, f: Function) -> Function:
        return lambda *args: m.jvp(alone(f, args), (args[place],), (1 + 0 * args[place],))[1]

    def linearized(m: Any, n: Any, f: Function) -> Function:
        return lambda *args: m.linearize(alone(f, args), args[place])[1](2 + 0 * args[place])

    def pulled(m: Any, n: Any, f: Function) -> Function:
        return lambda *args: m.vjp(alone(f, args), args[place])[1](args[1 - place])[0]

    def mapped(m: Any, n: Any, f: Function) -> Function:
        axes = tuple(0 if i == place else None for i in range(2))

        def total(*args: Any) -> Any:
            batch = n.stack([args[place], 0.3 * args[place], 1.7 * args[place]])
            return n.sum(m.vmap(f, axes)(*(batch if i == place else a for i, a in enumerate(args))) * n.sin(batch))

        return total

    return [
        of(f"grad_{letter}", lambda m, n, f: m.grad(f, argnums=place)),
        of(f"jvp_{letter}", directional),
        of(f"vmap_{letter}", mapped),
        of(f"jacfwd_{letter}", lambda m, n, f: m.jacfwd(f, argnums=place)),
        of(f"jacrev_{letter}", lambda m, n, f: m.jacrev(f, argnums=place)),
        of(f"linearize_{letter}", linearized),
        of(f"vjp_{letter}", pulled),
        of(f"hessian_{letter}", lambda m, n, f: m.hessian(f, argnums=place)),
    ]


def vmap_both(m: Any, n: Any, f: Function) -> Function:
    def total(w: Any, x: Any) -> Any:
        return n.sum(m.vmap(f)(n.stack([w, 0.8 * w]), n.stack([x, -0.4 * x])))

    return total


def vmap_columns(m: Any, n: Any, f: Function) -> Function:
    def total(w: Any, x: Any) -> Any:
        columns = n.stack([n.stack([w, 2 * w, x]), n.stack([0.5 * w, w, w])])
        return n.sum(m.vmap(lambda c, z: f(c[0], z * x), (1, None))(columns, x) * columns[0])

    return total


def graph(m: Any, n: Any, f: Function) -> Function:
    if not hasattr(m.make_jaxpr(lambda z: z)(1.0), "in_tree"):
        return f  # JAX, which is the reference
    return lambda w, x: m.make_jaxpr(f)(w, x)(w, x)


def graph_of_closures(m: Any, n: Any, f: Function) -> Function:
    if not hasattr(m.make_jaxpr(lambda z: z)(1.0), "in_tree"):
        return f
    return lambda w, x: m.make_jaxpr(lambda z: f(w, z))(x)(x)


STEPS = [*_by(0), *_by(1), vmap_both, vmap_columns, graph, graph_of_closures]
STACKS = [stack for height in (1, 2, 3) for stack in itertools.product(STEPS, repeat=height)]


def stacked(m: Any, n: Any, f: Function, stack: tuple[Function, ...]) -> Function:
    """Return the function under the transforms, the first of which is the outermost."""
    return functools.reduce(lambda g, step: step(m, n, g), reversed(stack), f)
