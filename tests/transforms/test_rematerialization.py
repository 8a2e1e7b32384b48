"""`checkpoint` with a policy, what reverse mode keeps, and pullbacks as pytrees."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.ad_checkpoint
import numpy as np
import pytest
from side_by_side import check_same, x64

import gradkit
import gradkit.ad_checkpoint
import gradkit.numpy as jnp

OURS = gradkit.checkpoint_policies
GENERATOR = np.random.default_rng(3)
W1, W2, W3 = (GENERATOR.standard_normal(shape) for shape in ((5, 4), (6, 5), (7, 6)))
X = GENERATOR.standard_normal(4)
BATCHES = GENERATOR.standard_normal((2, 3, 4)), GENERATOR.standard_normal((2, 4, 5))


def layer(m: Any, n: Any, w: Any, x: Any) -> Any:
    y = n.dot(w, x)
    return n.sin(y)


def network(m: Any, n: Any) -> Callable[..., Any]:
    def f(w1: Any, w2: Any, w3: Any, x: Any) -> Any:
        x = m.ad_checkpoint.checkpoint_name(layer(m, n, w1, x), name="a")
        x = m.ad_checkpoint.checkpoint_name(layer(m, n, w2, x), name="b")
        return m.ad_checkpoint.checkpoint_name(layer(m, n, w3, x), name="c")

    return f


def products_of_batches(m: Any, n: Any) -> Callable[..., Any]:
    def f(a: Any, b: Any) -> Any:
        product = n.matmul(a, b)
        return n.tanh(n.sin(product))

    return f


POLICIES: dict[str, Callable[[Any], Any]] = {
    "everything": lambda p: p.everything_saveable,
    "nothing": lambda p: p.nothing_saveable,
    "dots": lambda p: p.dots_saveable,
    "dots, by its other name": lambda p: p.checkpoint_dots,
    "dots without batches": lambda p: p.dots_with_no_batch_dims_saveable,
    "these names": lambda p: p.save_only_these_names("a", "z"),
    "not these names": lambda p: p.save_any_names_but_these("b"),
    "anything but these names": lambda p: p.save_anything_except_these_names("a", "b"),
    "both": lambda p: p.save_from_both_policies(p.save_only_these_names("a"), p.dots_saveable),
}
SEEN_ALIKE = [name for name in POLICIES if name not in ("everything", "anything but these names")]
"""Where JAX keeps no coefficients of Jacobians, whose place the arguments of functions have here."""


@pytest.mark.parametrize("name", POLICIES)
def test_derivatives_of_a_checkpointed_function_are_jaxs_whatever_is_kept(name: str, xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        def derivatives(w1: Any, w2: Any, w3: Any, x: Any) -> Any:
            kept = m.checkpoint(network(m, n), policy=POLICIES[name](m.checkpoint_policies))

            def loss(*args: Any) -> Any:
                return n.sum(kept(*args) ** 2)

            args = (w1, w2, w3, x)
            return (
                m.grad(loss, (0, 1, 2, 3))(*args),
                m.hessian(loss, 3)(*args),
                m.jvp(m.grad(loss), args, args),
                m.vmap(m.grad(loss, 3), (None, None, None, 0))(w1, w2, w3, n.stack([x, -x])),
                m.grad(lambda x: n.sum(m.vmap(lambda s: loss(w1, w2, w3, s * x))(x)))(x),
            )

        return derivatives

    check_same(program, W1, W2, W3, X)


@pytest.mark.parametrize("program, args", [(network, (W1, W2, W3, X)), (products_of_batches, BATCHES)])
@pytest.mark.parametrize("name", SEEN_ALIKE)
def test_what_is_kept_under_a_policy_is_what_jax_keeps(
    name: str, program: Any, args: Any, capsys: pytest.CaptureFixture[str], xp: Any
) -> None:
    with jax.enable_x64(True):
        policy = POLICIES[name](jax.checkpoint_policies)
        function = jax.checkpoint(program(jax, jax.numpy), policy=policy)
        jax.ad_checkpoint.print_saved_residuals(function, *map(jax.numpy.asarray, args))
    expected = capsys.readouterr().out
    function = gradkit.checkpoint(program(gradkit, jnp), policy=POLICIES[name](OURS))
    gradkit.ad_checkpoint.print_saved_residuals(function, *map(jnp.asarray, args))
    assert capsys.readouterr().out == expected
    assert "from the argument" in expected


def test_saved_residuals_are_named_by_argument_and_line(capsys: pytest.CaptureFixture[str]) -> None:
    def f(params: Any, *xs: Any, scale: Any) -> Any:
        return jnp.sum(jnp.exp(params["w"] * xs[1]) * scale)

    x = jnp.ones(3)
    gradkit.ad_checkpoint.print_saved_residuals(f, {"w": x}, x, gradkit.ShapeDtypeStruct((3,), "float32"), scale=x)
    line = f.__code__.co_firstlineno + 1
    assert capsys.readouterr().out.splitlines() == [
        "f32[3] from the argument params['w']",
        "f32[3] from the argument xs[1]",
        "f32[3] from the argument scale",
        f"f32[3] output of exp from {__file__}:{line}:23 ({f.__qualname__})",
    ]


def counts(function: Callable[..., Any], *args: Any) -> Counter[str]:
    jaxpr = gradkit.make_jaxpr(gradkit.grad(lambda *a: jnp.sum(function(*a)), tuple(range(len(args)))))(*args)
    return Counter(equation.primitive.name for equation in jaxpr.eqns)


@pytest.mark.parametrize(
    "name, products, sines",
    [("everything", 0, 0), ("nothing", 3, 2), ("dots", 0, 2), ("these names", 3, 1), ("both", 0, 1)],
)
def test_what_is_not_kept_is_computed_again_and_only_what_is_read(name: str, products: int, sines: int) -> None:
    args = list(map(jnp.asarray, (W1, W2, W3, X)))
    plain = counts(network(gradkit, jnp), *args)
    again = counts(gradkit.checkpoint(network(gradkit, jnp), policy=POLICIES[name](OURS)), *args)
    assert again["matmul"] - plain["matmul"] == products
    assert again["sin"] - plain["sin"] == sines


@pytest.mark.parametrize("policy", ["nothing", "dots"])
def test_a_policy_bounds_the_memory_of_the_backward_pass(policy: str) -> None:
    def block(w: Any, x: Any) -> Any:
        x = w @ x
        for _ in range(20):
            x = jnp.sin(jnp.cos(x))
        return x

    def peak(function: Callable[..., Any]) -> int:
        w, x = jnp.asarray(np.eye(100)), jnp.asarray(np.ones((100, 100)))

        def loss(x: Any) -> Any:
            for _ in range(6):
                x = function(w, x)
            return jnp.sum(x)

        tracemalloc.start()
        gradkit.grad(loss)(x)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(gradkit.checkpoint(block, policy=POLICIES[policy](OURS))) < 0.35 * peak(block)


def test_a_policy_keeps_values_in_the_memory_of_the_host(xp: Any) -> None:
    args = [jnp.asarray(a) for a in (W1, W2, W3, X)]
    plain = gradkit.grad(lambda *a: jnp.sum(network(gradkit, jnp)(*a)), 3)(*args)
    for policy in (
        OURS.offload_dot_with_no_batch_dims("device", "pinned_host"),
        OURS.save_and_offload_only_these_names(
            names_which_can_be_saved=["a"],
            names_which_can_be_offloaded=["b"],
            offload_src="device",
            offload_dst="pinned_host",
        ),
    ):
        offloading = gradkit.checkpoint(network(gradkit, jnp), policy=policy)
        _, pullback = gradkit.vjp(lambda x, f=offloading: jnp.sum(f(*args[:3], x)), args[3])
        kept = [leaf.shape for leaf in gradkit.tree.leaves(pullback)]
        assert (6,) not in kept
        assert (6, 1) not in kept
        np.testing.assert_allclose(gradkit.device_get(pullback(1.0)[0]), gradkit.device_get(plain))
    with pytest.raises(ValueError, match="exclusive"):
        OURS.save_and_offload_only_these_names(
            names_which_can_be_saved=["a"], names_which_can_be_offloaded=["a"], offload_src="", offload_dst=""
        )
    both = gradkit.checkpoint(
        lambda x: jnp.sin(gradkit.ad_checkpoint.checkpoint_name(x, "b")),
        policy=OURS.save_from_both_policies(policy, policy),
    )
    with pytest.raises(ValueError, match="offload"):
        gradkit.grad(both)(1.0)


def test_a_function_with_a_policy_may_close_over_what_is_differentiated(xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        def f(w: Any, x: Any) -> Any:
            inner = m.checkpoint(lambda x: n.tanh(w @ n.sin(x)), policy=m.checkpoint_policies.dots_saveable)
            return n.sum(inner(x) * x[0])

        return m.grad(f, (0, 1))

    check_same(program, W1, X)


def test_a_policy_of_ones_own_is_asked_for_every_operation() -> None:
    asked = []

    def policy(primitive: Any, *operands: Any, **params: Any) -> bool:
        asked.append((primitive.name, [x.shape for x in operands], params))
        return primitive.name == "exp"

    gradkit.grad(gradkit.checkpoint(lambda x: jnp.sum(jnp.sin(jnp.exp(x))), policy=policy))(jnp.ones(3))
    assert asked == [("exp", [(3,)], {})]


# Pullbacks as pytrees


def with_custom_rules(x: Any) -> Any:
    @gradkit.custom_vjp
    def tripled(x: Any) -> Any:
        return 3 * x, x

    tripled.defvjp(lambda x: (tripled(x), x), lambda x, g: (3 * g[0] + 0 * x,))

    @gradkit.custom_jvp
    def sine(x: Any) -> Any:
        return jnp.sin(x)

    sine.defjvps(lambda t, y, x: jnp.cos(x) * t)
    return sine(tripled(x)[0]) * x


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "elementwise": lambda x: jnp.sin(x) * x + jnp.exp(2.0 * x),
    "several results": lambda x: (jnp.linalg.eigh(jnp.outer(x, x) + jnp.diag(x))[0], {"n": 3, "y": jnp.cos(x)}),
    "custom rules": with_custom_rules,
    "checkpoint": lambda x: gradkit.checkpoint(lambda x: jnp.sin(jnp.exp(x)))(x) * x,
    "checkpoint with a policy": lambda x: gradkit.checkpoint(
        lambda x: jnp.sin(jnp.outer(x, x) @ x), policy=OURS.dots_saveable
    )(x),
    "indices": lambda x: x[jnp.asarray([1, 1])] * x[:2].sum(),
    "scan": lambda x: gradkit.lax.scan(lambda c, e: (jnp.sin(c) * e, c), x[0], x),
    "constant": lambda x: jnp.ones(2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_pullback_taken_apart_and_put_together_is_the_same_function(name: str, xp: Any) -> None:
    with x64():
        x = jnp.asarray(np.asarray([0.3, 1.2, -0.7]))
        y, pullback = gradkit.vjp(FUNCTIONS[name], x)
        cotangent = gradkit.tree.map(lambda leaf: jnp.cos(leaf) if leaf.dtype.kind == "f" else leaf, y)
        (expected,) = pullback(cotangent)
        leaves, treedef = gradkit.tree.flatten(pullback)
        assert all(isinstance(leaf, gradkit.Array) for leaf in leaves)
        again = gradkit.tree.unflatten(treedef, leaves)
        assert gradkit.tree.structure(again) == treedef
        assert gradkit.tree.structure(pullback) == treedef
        assert (again(cotangent)[0] == expected).all()
        assert (pullback(cotangent)[0] == expected).all()

        # From one graph to another, as between the forward and the backward half of a step.
        forward = gradkit.make_jaxpr(lambda x: gradkit.vjp(FUNCTIONS[name], x))
        y, carried = forward(x)(x)
        (got,) = carried(cotangent)
        np.testing.assert_allclose(gradkit.device_get(got), gradkit.device_get(expected), rtol=1e-12)
        leaves, treedef = gradkit.tree.flatten(carried)
        backward = gradkit.make_jaxpr(lambda leaves, g: gradkit.tree.unflatten(treedef, leaves)(g))
        (got,) = backward(leaves, cotangent)(leaves, cotangent)
        np.testing.assert_allclose(gradkit.device_get(got), gradkit.device_get(expected), rtol=1e-12)


def test_a_pullback_keeps_neither_its_results_nor_arguments_that_no_rule_reads(xp: Any) -> None:
    _, pullback = gradkit.vjp(lambda x, y: jnp.sum(jnp.exp(x) + y), jnp.ones(3), jnp.ones(3))
    (kept,) = gradkit.tree.leaves(pullback)
    np.testing.assert_allclose(gradkit.device_get(kept), np.exp(np.ones(3)), rtol=1e-6)


def test_a_pullback_put_together_tells_a_value_from_the_same_value_that_is_not_differentiated(xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        def f(x: Any) -> Any:
            _, pullback = m.vjp(lambda y: y * x * m.lax.stop_gradient(x), 3.0)
            leaves, treedef = m.tree.flatten(pullback)
            return m.tree.unflatten(treedef, leaves)(1.0)[0]

        return lambda x: (m.grad(f)(x), m.jvp(f, (x,), (x,)), m.vmap(m.grad(f))(n.stack([x, x])))

    check_same(program, np.asarray(2.0))


@pytest.mark.parametrize("policy", [None, "nothing_saveable"])
def test_results_of_a_checkpointed_function_that_are_the_same_for_a_batch_stay_so(policy: Any, xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        kept = None if policy is None else getattr(m.checkpoint_policies, policy)
        f = m.checkpoint(lambda x, y: (n.sin(x) * y, y, 3.0), policy=kept)
        return lambda x, y: (
            m.vmap(f, in_axes=(0, None), out_axes=(0, None, None))(x, y),
            m.jacfwd(f, (0, 1))(x, y),
            m.jacfwd(m.jacfwd(f))(x, y),
            m.jacrev(m.jacfwd(f))(x, y),
        )

    check_same(program, np.asarray([0.3, 0.5]), np.asarray(2.0))


def test_a_barrier_is_the_identity_under_every_transform(xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        def f(x: Any) -> Any:
            return m.lax.optimization_barrier(n.sin(x)) ** 2

        def both(x: Any) -> Any:
            return f(x), m.jvp(f, (x,), (n.cos(x),)), m.vmap(m.grad(lambda x: m.grad(f)(x) ** 2))(x)

        return both

    check_same(program, np.asarray([0.3, -1.5, 2.0]))


@pytest.mark.parametrize("policy", ["dots_saveable", "nothing_saveable", "everything_saveable"])
@pytest.mark.parametrize("start, slope", [(0.7, 0.98), (-0.7, 0.0)])
def test_a_choice_in_a_checkpoint_follows_what_the_chosen_branch_does(
    policy: str, start: float, slope: float, xp: Any
) -> None:
    def f(x: Any) -> Any:
        call = gradkit.checkpoint(
            lambda a: 2 * gradkit.lax.cond(a > 0, lambda b: a * b * x, lambda b: b, 0.7),
            policy=getattr(gradkit.checkpoint_policies, policy),
        )
        return call(xp.asarray(start))

    x = xp.asarray(0.5)
    assert float(gradkit.grad(f)(x)) == pytest.approx(slope)
    assert float(gradkit.linearize(f, x)[1](xp.asarray(1.0))) == pytest.approx(slope)


@pytest.mark.parametrize("rule", ["custom_jvp", "custom_vjp", "custom_vjp in a loop"])
def test_the_results_of_rules_are_differentiated_again_inside_checkpoints_as_in_jax(rule: str, xp: Any) -> None:
    """The rule gives the result where a derivative is taken, so the next derivative is that of the rule."""

    def program(m: Any, n: Any) -> Any:
        if rule == "custom_jvp":
            f = m.custom_jvp(lambda x: x)
            f.defjvp(lambda primals, tangents: (n.sin(primals[0]), 2 * tangents[0] * primals[0]))
        else:
            f = m.custom_vjp(lambda x: x)
            f.defvjp(lambda x: (x * x, x), lambda x, g: (2 * g * n.cos(x),))
        call = f if rule != "custom_vjp in a loop" else lambda x: m.lax.scan(lambda c, _: (f(c), None), x, None, 2)[0]
        policies = m.checkpoint_policies
        ways = [
            m.checkpoint(call),
            m.jit(m.checkpoint(call)),
            m.checkpoint(m.jit(call)),
            m.checkpoint(call, policy=policies.nothing_saveable),
            m.checkpoint(lambda x: n.sin(call(x)), policy=policies.dots_saveable),
            m.checkpoint(call, policy=policies.everything_saveable),
        ]

        def found(way: Any) -> Any:
            def g(x: Any, w: Any) -> Any:
                return n.sin(way(x * w)) * x

            return (
                m.value_and_grad(g)(x0, w0),
                m.grad(m.grad(g), 1)(x0, w0),
                m.jvp(lambda w: m.grad(g)(x0, w), (w0,), (w0,)),
                m.vmap(m.grad(m.grad(g)), (None, 0))(x0, n.stack([w0, 2 * w0])),
            )

        x0, w0 = n.asarray(0.7), n.asarray(0.4)
        return lambda: [found(way) for way in ways]

    check_same(program)
