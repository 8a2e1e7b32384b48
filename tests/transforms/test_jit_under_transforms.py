"""`jit` under every transform and on the tape: an operation as others are, captured once."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from counting import Counting
from side_by_side import check_same
from test_compositions import TRANSFORMS, function_of

import gradkit
import gradkit.numpy as jnp
from gradkit import lax, nn

X = np.asarray([0.3, -0.8, 1.2])


def array(x: Any) -> Any:
    return gradkit.device_get(x)


PROGRAMS = {
    "smooth": [("sin", 0, 0), ("multiply", 0, 1), ("matmul", 2, 1), ("tanh", 3, 0)],
    "with kinks": [("where", 0, 0), ("max", 1, 0), ("set", 1, 2), ("take", 3, 0), ("var", 4, 3)],
}
STACKS = [
    stack for length in (1, 2, 3) for stack in itertools.product(sorted(TRANSFORMS), repeat=length) if "jit" in stack
]


def of_stack(program: str, stack: Any, counting: bool = False) -> Any:
    f = function_of(PROGRAMS[program], jnp)
    f = counted = Counting(f)
    for name in stack:
        f = TRANSFORMS[name](gradkit, jnp, f)
    return (f, counted) if counting else f


def compare_stacks(program: str, stacks: Any) -> None:
    known: dict[Any, Any] = {}
    with gradkit.enable_x64():
        x = jnp.asarray(X)
        for stack in stacks:
            plain = tuple(name for name in stack if name != "jit")
            if plain not in known:
                known[plain] = array(of_stack(program, plain)(x))
            f = of_stack(program, stack)
            for _ in range(2):
                assert np.allclose(array(f(x)), known[plain], rtol=1e-10, atol=1e-12), stack


@pytest.mark.parametrize("program", PROGRAMS)
def test_stacks_of_transforms_with_jit_in_them_give_what_they_give_without(
    program: str, xp: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("GRADKIT_COMPILER", "interpreter")
    compare_stacks(program, STACKS[:: 16 if program == "with kinks" else 11])


@pytest.mark.long
@pytest.mark.parametrize("program", PROGRAMS)
def test_all_stacks_of_three_transforms_give_what_they_give_without_jit(program: str, xp: Any) -> None:
    compare_stacks(program, STACKS)


@pytest.mark.parametrize("outer", ["grad", "jvp", "vmap", "linearize", "jacrev", "vjp", "checkpoint", "scan", "cond"])
@pytest.mark.parametrize("inner", ["grad", "jvp", "vmap", "jit"])
def test_a_function_that_is_jitted_first_is_captured_once_under_transforms(
    outer: str, inner: str, xp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADKIT_COMPILER", "interpreter")  # whatever runs the graph
    f, counted = of_stack("smooth", ("jit", inner, outer), counting=True)
    x = jnp.asarray(X)
    for _ in range(3):
        f(x)
    assert counted.count == 1


def test_rules_are_captured_once(xp: Any) -> None:
    count: list[str] = []

    @gradkit.custom_jvp
    def f(x: Any) -> Any:
        count.append("function")
        return jnp.sin(x)

    @f.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        count.append("rule")
        return f(*primals), jnp.cos(primals[0]) * tangents[0]

    g = gradkit.grad(gradkit.jit(lambda x: f(x) * 2))
    for _ in range(3):
        assert abs(float(g(1.0)) - 2 * np.cos(1.0)) < 1e-6
    assert count.count("rule") == 1


def closures(m: Any, n: Any) -> Any:
    def program(x: Any) -> Any:
        def of(w: Any) -> Any:
            inner = m.jit(lambda y: n.sum(n.sin(y * w)))
            return m.grad(inner)(x) * w

        return (
            m.jacfwd(of)(x),
            m.jacrev(of)(x),
            m.vmap(of)(n.stack([x, x * 2])),
            m.jit(of)(x),
            m.hessian(lambda w: m.jit(lambda y: n.sum(y * w**3))(x))(x),
            m.jit(m.vmap(lambda w: m.jit(lambda y: y * w)(x)))(n.asarray([1.0, 2.0, 3.0])),
            m.jvp(lambda w: m.lax.scan(lambda c, s: (m.jit(lambda c: c * w)(c), s), w, x)[0], (x,), (x,)),
        )

    return program


def test_jitted_functions_may_close_over_what_transforms_follow(xp: Any) -> None:
    check_same(closures, X, tolerance=1e-9)


def rules(m: Any, n: Any) -> Any:
    @m.custom_vjp
    def clipped(x: Any) -> Any:
        return n.sin(x)

    clipped.defvjp(lambda x: (n.sin(x), x), lambda x, g: (n.clip(g, -0.5, 0.5) * n.cos(x),))

    @m.custom_jvp
    def doubled(x: Any) -> Any:
        return x * x

    doubled.defjvp(lambda p, t: (doubled(*p), 3.0 * p[0] * t[0]))

    def f(x: Any) -> Any:
        y = m.checkpoint(lambda x: n.tanh(clipped(x)) * 2)(doubled(x))
        y = m.lax.cond(y[0] > 0, lambda y: y * 2, lambda y: n.sin(y), y)
        y = m.lax.fori_loop(0, 3, lambda i, y: m.jit(lambda y: n.cos(y) + i)(y), y)
        return n.sum(m.lax.scan(lambda c, s: (c * s, c), n.sum(y), y)[1]) + n.sum(m.nn.softmax(y))

    g = m.jit(f)
    return lambda x: (
        g(x), m.grad(g)(x), m.jit(m.grad(g))(x), m.vmap(m.grad(g))(n.stack([x, 2 * x])), m.jit(m.value_and_grad(f))(x),
    )  # fmt: skip


def test_rules_checkpoints_and_control_flow_inside_give_jax_numbers(xp: Any) -> None:
    check_same(rules, X, tolerance=1e-7)


def test_a_checkpoint_inside_recomputes(xp: Any) -> None:
    def f(x: Any) -> Any:
        return jnp.sin(jnp.sin(x))

    def sines(g: Any) -> int:
        return str(gradkit.make_jaxpr(gradkit.grad(g))(1.0)).count("= sin ")

    assert sines(gradkit.jit(lambda x: f(x) * 2.0)) == 2
    assert sines(gradkit.jit(lambda x: gradkit.checkpoint(f)(x) * 2.0)) > 2
    assert sines(gradkit.jit(lambda x: gradkit.checkpoint(gradkit.jit(f))(x) * 2.0)) > 2
    # A policy sees what is inside of a jitted function.
    named = gradkit.jit(lambda x: jnp.cos(gradkit.transforms.checkpoint_name(jnp.sin(x), "a")))
    for name, times in (("a", 2), ("b", 3)):  # the derivative of cos is a sine as well
        policy = gradkit.checkpoint_policies.save_only_these_names(name)
        assert sines(gradkit.checkpoint(named, policy=policy)) == times
    count: list[int] = []
    g = gradkit.jit(lambda x: gradkit.debug.callback(lambda: count.append(1)) or f(x))
    gradkit.grad(gradkit.checkpoint(g))(1.0)
    assert len(count) == 2


def test_axes_that_vmap_names_are_known_inside(xp: Any) -> None:
    f = gradkit.jit(lambda x: x / lax.psum(x, "i") + lax.psum(1, "i"))
    mean = gradkit.jit(lambda x: x / lax.psum(1, "i"))
    for size in (2, 3, 2):
        x = jnp.arange(1.0, size + 1.0)
        expected = array(x) / array(x).sum() + size
        assert np.allclose(array(gradkit.vmap(f, axis_name="i")(x)), expected, rtol=1e-6)
        assert np.allclose(array(gradkit.vmap(mean, axis_name="i")(x)), array(x) / size, rtol=1e-6)
        assert np.allclose(array(gradkit.jit(gradkit.vmap(f, axis_name="i"))(x)), expected, rtol=1e-6)


# The tape


def test_the_tape_differentiates_what_is_jitted(xp: Any) -> None:
    w = jnp.asarray([1.0, 2.0])
    w.requires_grad = True
    closed = jnp.asarray([0.5, -1.0])
    closed.requires_grad = True
    f = Counting(lambda w, x: jnp.sum(jnp.sin(w * x) * closed))
    g = gradkit.jit(f)
    for _ in range(2):
        w.grad = closed.grad = None
        g(w, jnp.asarray([3.0, 4.0])).backward()
        assert np.allclose(
            np.asarray(gradkit.device_get(jnp.asarray(w.grad))), np.cos([3.0, 8.0]) * [1.5, -4.0], rtol=1e-5
        )
        assert np.allclose(np.asarray(gradkit.device_get(jnp.asarray(closed.grad))), np.sin([3.0, 8.0]), rtol=1e-5)
    assert f.count == 1


def test_a_training_step_is_captured_once_and_keeps_no_tape(xp: Any) -> None:
    model = nn.MLP(3, [4, 1], key=gradkit.random.key(0))
    optimizer = gradkit.optim.SGD(0.1, momentum=0.9)

    def loss(model: Any, x: Any) -> Any:
        return jnp.mean(model(x) ** 2)

    def step(model: Any, state: Any, x: Any) -> Any:
        value, gradient = gradkit.value_and_grad(loss)(model, x)
        new, state = optimizer.update(model, gradient, state)
        return new, state, value

    x = jnp.ones((5, 3))
    expected, state = model, optimizer.init(model)
    for _ in range(3):
        expected, state, _ = step(expected, state, x)
    counted = Counting(step)
    jitted = gradkit.jit(counted)
    found, state = model, optimizer.init(model)
    for _ in range(3):
        found, state, value = jitted(found, state, x)
        assert not value.requires_grad
    assert counted.count == 1
    for a, b in zip(gradkit.tree.leaves(found), gradkit.tree.leaves(expected), strict=True):
        assert np.allclose(array(a), array(b), rtol=1e-5)
    gradkit.jit(loss)(model, x).backward()  # and this is recorded
    assert all(p.grad is not None for p in model.parameters())


def test_what_no_grad_hides_stays_hidden(xp: Any) -> None:
    @gradkit.jit
    def f(x: Any) -> Any:
        with gradkit.no_grad():
            hidden = x * 3.0
        return x * hidden

    x = jnp.asarray(2.0)
    x.requires_grad = True
    f(x).backward()
    assert float(x.grad) == 6.0
    assert float(gradkit.grad(f)(2.0)) == 12.0
