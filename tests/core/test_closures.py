"""What a function closes over counts as what it is given: a program is the same whether a checkpoint, a choice or a
loop calls its function or the program itself does, under whatever transforms."""

from __future__ import annotations

import itertools
import random
from typing import Any

import closures
import jax
import jax.numpy
import numpy as np
import pytest
from references import kept
from side_by_side import check_same, x64

import gradkit
import gradkit.numpy as jnp
from gradkit import nn
from gradkit.errors import UnexpectedTracerError

W, X = np.asarray(1.2), np.asarray(0.6)


def cases(functions: list[Any], count: int, seed: int) -> list[tuple[Any, Any, Any]]:
    """Return a selection of bodies, wrappers and stacks of up to three transforms, the same at every run."""
    generator = random.Random(seed)
    found = []
    while len(found) < count:
        height = generator.choice([1, 2, 2, 3, 3])
        stack = tuple(generator.choice(closures.STEPS) for _ in range(height))
        if sum(step.__name__.startswith("hessian") for step in stack) < 2:
            found.append((generator.choice(closures.BODIES), generator.choice(functions), stack))
    return found


def value(m: Any, n: Any, body: Any, wrapper: Any, stack: Any) -> Any:
    return closures.stacked(m, n, closures.program(m, n, body, wrapper), stack)(n.asarray(W), n.asarray(X))


def name_of(body: Any, wrapper: Any, stack: Any) -> str:
    return " of ".join([*(step.__name__ for step in stack), wrapper.__name__, body.__name__])


def check_unchanged(count: int, seed: int) -> None:
    wrong = []
    with x64():
        for body, wrapper, stack in cases(closures.WRAPPERS, count, seed):
            expected = float(value(gradkit, jnp, body, None, stack))
            try:
                got = float(value(gradkit, jnp, body, wrapper, stack))
            except ValueError as error:
                if wrapper is closures.while_loop and "Reverse-mode differentiation does not work" in str(error):
                    continue  # in graphs, as in JAX
                raise
            if not np.isclose(got, expected, rtol=1e-8, atol=1e-8):
                wrong.append(f"{name_of(body, wrapper, stack)}: {got}, right {expected}")
    assert not wrong, "\n".join(wrong)


def test_what_calls_a_function_that_closes_over_variables_changes_no_derivative(backend: Any) -> None:
    check_unchanged(60, 0)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_many_more_of_them(seed: int, backend: Any) -> None:
    check_unchanged(400, seed)


def test_a_rule_of_reverse_mode_may_be_inside_what_is_computed_again(xp: Any) -> None:
    forward = ("jvp", "jacfwd", "hessian", "graph")
    steps = [step for step in closures.STEPS if not step.__name__.startswith(forward)]
    stacks = [(NAMED["linearize_w"], *rest) for rest in itertools.product(steps, repeat=1)]
    stacks += [(NAMED["linearize_x"], NAMED["linearize_w"], step) for step in steps]
    wrong = []
    with x64():
        for stack in stacks:
            for body in closures.OF_REVERSE_MODE:
                expected = float(value(gradkit, jnp, body, None, stack))
                for wrapper in (closures.checkpoint, closures.checkpoint_twice, closures.checkpoint_in_cond):
                    got = outcome(gradkit, jnp, body, wrapper, stack)
                    if not isinstance(got, float) or not np.isclose(got, expected, rtol=1e-8, atol=1e-8):
                        wrong.append(f"{name_of(body, wrapper, stack)}: {got!r}, right {expected}")
    assert not wrong, "\n".join(wrong)


# Against JAX


@pytest.mark.parametrize(
    "wrapper",
    [closures.checkpoint, closures.checkpoint_in_cond, closures.cond_in_scan, closures.switch],
    ids=lambda wrapper: wrapper.__name__,
)
def test_per_example_derivatives_by_what_a_function_closes_over_are_jaxs(wrapper: Any, xp: Any) -> None:
    def derivatives(m: Any, n: Any) -> Any:
        return of_loss(m, closures.program(m, n, closures.indexing, wrapper))

    def of_loss(m: Any, loss: Any) -> Any:
        def of(w: Any, x: Any) -> Any:
            return (
                m.vmap(m.grad(loss), (None, 0))(w, x),
                m.vmap(m.jacfwd(m.grad(loss, 1)), (0, 0))(x, x),
                m.jvp(lambda x: m.vmap(lambda x: m.grad(loss)(w, x))(x), (x,), (1 + x,))[1],
                m.vmap(m.vmap(m.grad(loss, (0, 1)), (None, 0)), (0, None))(x, x),
                m.grad(lambda w: m.vmap(m.vmap(loss, (None, 0)), (0, None))(w * x, x).sum())(w),
            )

        return of

    check_same(derivatives, W, np.asarray([0.5, -0.2, 1.0]))


def test_the_gradients_of_each_example_by_a_model_in_a_checkpoint_are_those_without_it(xp: Any) -> None:
    model = nn.MLP(3, [5, 4, 2], key=gradkit.random.key(0))
    x, y = gradkit.random.normal(gradkit.random.key(1), (6, 3)), jnp.asarray([0, 1, 1, 0, 1, 0])

    def loss(call: Any) -> Any:
        return lambda model, x, y: nn.softmax_cross_entropy(call(model)(x[None]), y[None])

    def plain(model: Any) -> Any:
        return model

    def whole(model: Any) -> Any:
        return gradkit.checkpoint(lambda x: model(x))

    def itself(model: Any) -> Any:
        return gradkit.checkpoint(model)

    def as_argument(model: Any) -> Any:
        return lambda x: gradkit.checkpoint(lambda model, x: model(x))(model, x)

    expected = gradkit.vmap(gradkit.grad(loss(plain)), (None, 0, 0))(model, x, y)
    one_by_one = [gradkit.grad(loss(plain))(model, x[i], y[i]) for i in range(6)]
    for call in (plain, whole, itself, as_argument):
        found = gradkit.vmap(gradkit.grad(loss(call)), (None, 0, 0))(model, x, y)
        for leaves in zip(*map(gradkit.tree.leaves, (found, expected, *one_by_one)), strict=True):
            got, want, *each = (np.asarray(gradkit.device_get(leaf)) for leaf in leaves)
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(got, np.stack(each), rtol=1e-4, atol=1e-6)
    for call in (whole, itself):
        for parameter in model.parameters():
            parameter.grad = None
        gradkit.vmap(lambda x, y, call=call: loss(call)(model, x, y))(x, y).sum().backward()
        for parameter, want in zip(model.parameters(), gradkit.tree.leaves(expected), strict=True):
            got, want = gradkit.device_get((parameter.grad, want))
            np.testing.assert_allclose(got, want.sum(0), rtol=1e-4, atol=1e-6)


@pytest.mark.dealt("body")
@pytest.mark.parametrize("body", closures.BODIES, ids=lambda body: body.__name__)
def test_the_tape_follows_what_a_function_closes_over(body: Any, xp: Any, pytestconfig: pytest.Config) -> None:
    # Each way to call it under each stack; in short under one of the four, which is another one for the next body.
    stacks = [(), (closures.vmap_both,), (closures.vmap_both, closures.vmap_columns), closures.STEPS[1:3]]
    number, turn = 1 if pytestconfig.getoption("--long") else len(stacks), closures.BODIES.index(body)
    with x64():
        for place, stack in enumerate(stacks):
            wrappers = closures.WRAPPERS[(place + turn) % number :: number]
            gradients = []
            for wrapper in (None, *wrappers):
                w, x = jnp.asarray(W), jnp.asarray(X)
                w.requires_grad = x.requires_grad = True
                loss = closures.stacked(gradkit, jnp, closures.program(gradkit, jnp, body, wrapper), stack)
                (loss(w, x) + 0 * w * x).backward()
                gradients.append([float(w.grad), float(x.grad)])
            for wrapper, found in zip(wrappers, gradients[1:], strict=True):
                np.testing.assert_allclose(found, gradients[0], rtol=1e-9, atol=1e-9, err_msg=wrapper.__name__)


def test_a_checkpoint_closes_over_what_ends_before_it_runs_again(xp: Any) -> None:
    """The result does not tell that a transform follows what it closes over, which matters when it runs again."""

    def program(m: Any, n: Any) -> Any:
        def f(w: Any, x: Any) -> Any:
            return m.checkpoint(lambda h: n.where(w > 1, h * h * m.lax.stop_gradient(w), n.sin(h)))(x)

        return lambda w, x: (
            m.grad(lambda x: m.jvp(lambda w: f(w, x), (w,), (w,))[0])(x),
            m.grad(lambda x: m.vjp(lambda w: f(w, x), w)[0])(x),
            m.grad(m.grad(lambda x: m.jvp(lambda w: f(w, x), (w,), (w,))[0] + m.grad(f)(w, x)))(x),
            m.grad(lambda x: m.vmap(lambda w: f(w[0] + x, x))(n.stack([w, w]).reshape(2, 1)).sum())(x),
        )

    check_same(program, W, X)


def test_a_checkpointed_functions_number_of_results_that_depend_may_not_change() -> None:
    calls = []

    @gradkit.checkpoint
    def f(x: Any) -> Any:
        calls.append(x)
        return x * x if len(calls) == 1 else jnp.ones(())

    with pytest.raises(RuntimeError, match="has to compute the same when it runs again"):
        gradkit.grad(f)(1.0)


# Functions with rules of their own, against JAX


def outcome(m: Any, n: Any, *case: Any) -> Any:
    """Return a case's value, or its error."""
    try:
        return float(value(m, n, *case))
    except (
        UnexpectedTracerError,
        jax.errors.UnexpectedTracerError,
        TypeError,
        ValueError,
        NotImplementedError,
    ) as error:
        return error


def value_or_error_by_jax(*case: Any) -> np.ndarray:
    with jax.enable_x64(True):
        found = outcome(jax, jax.numpy, *case)
    return np.asarray(found if isinstance(found, float) else type(found).__name__)


def check_rule(*case: Any) -> str:
    """Return how a case differs from JAX: nothing if not. Where JAX gives a value gradkit's is that."""
    body, wrapper, stack = case
    expected = kept(value_or_error_by_jax, *case).item()
    with x64():
        got = outcome(gradkit, jnp, *case)
    if isinstance(expected, float):
        same = isinstance(got, float) and np.isclose(got, expected, rtol=1e-8, atol=1e-8)
    else:
        # What JAX refuses may have a value: a derivative by what is closed over that is 0 whatever the rule says.
        is_zero = body in (closures.without_its_derivative, closures.comparing)
        followed = wrapper is closures.custom_vjp_whose_backward_rule_closes_over_it  # by the operations of the rule
        transposed = any(step.__name__.startswith("linearize") for step in stack)  # which is reverse mode here
        same = isinstance(got, Exception) or is_zero or followed or transposed
    return "" if same else f"{name_of(*case)}: {got!r}, JAX: {expected!r}"


PAIRS = [
    ("grad_w", "grad_x"),
    ("grad_x", "grad_w"),
    ("grad_x", "jvp_w"),
    ("vmap_w", "grad_x"),
    ("grad_x", "vmap_w"),
    ("jvp_w", "vmap_x"),
]
NAMED = {step.__name__: step for step in closures.STEPS}


@pytest.mark.parametrize("rule", closures.RULES, ids=lambda rule: rule.__name__)
def test_a_rule_that_says_nothing_of_what_is_closed_over_is_never_a_silent_zero(rule: Any, xp: Any) -> None:
    differences = [check_rule(closures.plain, rule, tuple(NAMED[name] for name in pair)) for pair in PAIRS]
    assert not any(differences), "\n".join(filter(None, differences))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(25))  # JAX keeps the programs of a test, megabytes each, until it ends
def test_rules_of_functions_that_close_over_variables_are_jaxs(seed: int, xp: Any) -> None:
    graphs = (closures.graph, closures.graph_of_closures)
    chosen = [case for case in cases(closures.RULES, 40, seed) if not any(graph in case[2] for graph in graphs)]
    differences = [check_rule(*case) for case in chosen]
    assert not any(differences), "\n".join(filter(None, differences))


def test_the_error_for_a_derivative_by_what_a_rule_does_not_see_says_what_to_do() -> None:
    def program(w: Any, x: Any) -> Any:
        f = gradkit.custom_jvp(lambda x: w * x)
        f.defjvp(lambda primals, tangents: (f(*primals), tangents[0]))
        return f(x)

    for derivative in (
        gradkit.grad(program),
        lambda w, x: gradkit.grad(lambda x: gradkit.grad(program)(w, x))(x),
        lambda w, x: gradkit.grad(lambda w: gradkit.grad(program, 1)(w, x))(w),
        lambda w, x: gradkit.vmap(gradkit.grad(program), (None, 0))(w, jnp.stack([x, x])),
        lambda w, x: gradkit.jvp(lambda x: gradkit.jvp(lambda w: program(w, x), (w,), (w,))[1], (x,), (x,)),
    ):
        with pytest.raises(UnexpectedTracerError, match=r"custom_jvp function with respect to a closed-over value"):
            derivative(jnp.asarray(2.0), jnp.asarray(3.0))


def test_a_rule_may_call_its_own_function_on_the_tangent(xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        @m.custom_jvp
        def twice(x: Any) -> Any:
            return x + x

        twice.defjvp(lambda primals, tangents: (twice(*primals), twice(*tangents)))

        @m.custom_jvp
        def scaled(w: Any, x: Any) -> Any:
            return w * twice(x)

        @scaled.defjvp
        def _(primals: Any, tangents: Any) -> Any:
            (w, x), (w_t, x_t) = primals, tangents
            return scaled(w, x), scaled(w_t, x) + scaled(w, x_t)

        def f(x: Any) -> Any:
            return n.sum(n.sin(twice(x)) * scaled(x, twice(x)))

        return lambda x: (
            m.grad(f)(x),
            m.linearize(f, x)[1](x),
            m.vjp(f, x)[1](n.ones(())),
            m.jvp(f, (x,), (x,)),
            m.hessian(f)(x),
            m.grad(lambda x: n.sum(m.grad(f)(x) ** 2))(x),
            m.vmap(m.grad(lambda e: f(n.stack([e, 2 * e]))))(x),
            m.grad(lambda x: n.sum(m.vmap(lambda e: f(n.stack([e, 2 * e])))(x)))(x),
            m.checkpoint(m.grad(m.checkpoint(f)))(x),
        )

    check_same(program, np.asarray([0.3, -0.7]))


def test_a_loops_rule_may_call_its_own_function_on_the_tangent(xp: Any) -> None:
    f = gradkit.custom_jvp(lambda x: x * 3)
    f.defjvp(lambda primals, tangents: (f(*primals), f(*tangents)))
    captured = gradkit.make_jaxpr(gradkit.grad(lambda x: gradkit.lax.scan(lambda c, _: (f(c), None), x, None, 3)[0]))
    assert float(captured(2.0)(2.0)) == 27.0


def test_what_the_pullback_of_a_custom_gradient_closes_over_goes_from_one_graph_to_another(xp: Any) -> None:
    def program(m: Any, n: Any) -> Any:
        @m.custom_gradient
        def f(x: Any, y: Any) -> Any:
            s = n.sin(x)
            return {"a": x * y, "b": s}, lambda g: (g["a"] * y * 2 + g["b"] * s, g["a"] * s)

        def h(x: Any, y: Any) -> Any:
            found = f(x, y)
            return found["a"] * found["b"]

        def loop(x: Any, y: Any) -> Any:
            return m.lax.scan(lambda c, _: (h(c, y), None), x, None, 2)[0]

        return lambda x, y: (
            m.grad(m.jit(h), (0, 1))(x, y),
            m.grad(m.grad(m.jit(h)), 1)(x, y),
            m.jit(m.grad(loop))(x, y),
            m.grad(m.checkpoint(h), (0, 1))(x, y),
            m.vmap(m.grad(m.jit(h)), (0, None))(n.stack([x, y]), y),
        )

    check_same(program, np.asarray(0.7), np.asarray(0.4))
