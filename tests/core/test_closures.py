"""What a function closes over counts as what it is given: a program is the same whether a checkpoint, a choice or a
loop calls its function or the program itself does, under whatever transforms."""

from __future__ import annotations

import itertools
import math
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
from gradkit import Array, nn
from gradkit.errors import JAXTypeError, UnexpectedTracerError

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


@pytest.mark.parametrize("rule", ["t * t", "t ** 3", "jnp.sin(t)", "jnp.abs(t)", "t / (1 + t)", "jnp.max(t) * t"])
def test_a_rule_that_is_not_linear_in_the_tangent_is_refused_where_it_is_transposed(rule: str, xp: Any) -> None:
    f = gradkit.custom_jvp(lambda x: x * 1.0)
    f.defjvp(lambda primals, tangents: (primals[0], eval(rule, {"jnp": jnp, "t": tangents[0]})))
    x = xp.asarray(2.0)
    assert gradkit.jvp(f, (x,), (x,))[1] == eval(rule, {"jnp": jnp, "t": x})
    for reverse in (
        gradkit.grad(f),
        lambda x: gradkit.vjp(f, x),
        lambda x: gradkit.vmap(gradkit.grad(f))(jnp.stack([x, x])),
        lambda x: gradkit.grad(lambda x: gradkit.checkpoint(f)(x))(x),
    ):
        with pytest.raises(
            NotImplementedError, match="not implemented: the rule of a custom_jvp function is not linear"
        ):
            reverse(x)


@pytest.mark.parametrize(
    "rule",
    ["3 * t", "t / x", "-t + x * t", "jnp.where(x > 1, t, 0)", "jnp.sum(jnp.stack([t, t]))", "t.astype('float32')"],
)
def test_a_rule_that_is_linear_in_the_tangent_is_transposed(rule: str, xp: Any) -> None:
    f = gradkit.custom_jvp(lambda x: x * 1.0)
    f.defjvp(lambda primals, tangents: (primals[0], eval(rule, {"jnp": jnp, "x": primals[0], "t": tangents[0]})))
    x = xp.asarray(2.0)
    assert gradkit.grad(f)(x) == gradkit.jvp(f, (x,), (xp.asarray(1.0),))[1]


def answered(name: str, t: Any) -> Any:
    """Return what a function of NumPy's names gives for one number, if that is a number as well, else None."""
    try:
        with np.errstate(all="ignore"):
            value = getattr(jnp, name)(t)
    except (TypeError, ValueError, IndexError, AttributeError):
        return None
    real = isinstance(value, Array) and value.shape == t.shape and value.dtype == t.dtype
    return value if real else None


# Their results are constants, which a rule may return.
CONSTANT = {"empty_like", "ones_like", "zeros_like"}


def test_every_function_of_one_number_is_linear_or_refused_as_the_rule_of_tangents(xp: Any) -> None:
    one, x = xp.asarray(1.0), xp.asarray(2.0)
    wrong, linear, refused = [], [], []
    for name in sorted(set(jnp.__all__) - CONSTANT):
        at_one = answered(name, one)
        if at_one is None:
            continue
        f = gradkit.custom_jvp(lambda x: x * 1.0)
        f.defjvp(lambda primals, tangents, name=name: (primals[0], getattr(jnp, name)(tangents[0])))
        try:
            with np.errstate(all="ignore"):
                slope = float(gradkit.grad(f)(x))
        except (NotImplementedError, JAXTypeError):
            refused.append(name)
            continue
        values = [float(answered(name, xp.asarray(t))) for t in (-2.5, 0.25, 1.0, 3.0)]
        (linear if values == pytest.approx([slope * t for t in (-2.5, 0.25, 1.0, 3.0)]) else wrong).append(name)
    assert not wrong
    assert {"negative", "sum", "real", "conj", "deg2rad"} <= set(linear)
    assert {"sign", "floor", "rint", "trunc", "exp", "abs", "nan_to_num", "spacing"} <= set(refused)


@pytest.mark.parametrize(
    "rule",
    [
        "t + jnp.sign(t)",
        "jnp.where(t > 0, t, 0)",
        "t * (t > 0)",
        "jnp.isfinite(t) * x",
        "jnp.argmax(jnp.stack([t, x])) * t",
        "jnp.copysign(x, t)",
        "jnp.nextafter(t, x)",
        "t % 1",
        "gradkit.lax.stop_gradient(t)",
        "t.detach()",
        "gradkit.lax.select(t > 0, t, 2 * t)",
        "t if t > 0 else 2 * t",
        "gradkit.lax.cond(t > 0, lambda t: t, lambda t: 2 * t, t)",
    ],
)
def test_what_has_no_derivative_is_not_linear_in_a_tangent_either(rule: str, xp: Any) -> None:
    names = {"jnp": jnp, "gradkit": gradkit}
    f = gradkit.custom_jvp(lambda x: x * 1.0)
    f.defjvp(lambda primals, tangents: (primals[0], eval(rule, {**names, "x": primals[0], "t": tangents[0]})))
    x = xp.asarray(2.0)
    assert gradkit.jvp(f, (x,), (x,))[1] == eval(rule, {**names, "x": x, "t": x})
    for reverse in (
        gradkit.grad(f),
        lambda x: gradkit.linearize(f, x)[1](x),
        lambda x: gradkit.vmap(gradkit.grad(f))(jnp.stack([x, x])),
        lambda x: gradkit.grad(lambda x: gradkit.grad(f)(x) * x)(x),
        lambda x: gradkit.make_jaxpr(gradkit.grad(f))(x)(x),
    ):
        with pytest.raises((NotImplementedError, JAXTypeError)):
            reverse(x)


def test_what_a_rule_asks_of_a_tangent_and_does_not_use_may_be_anything(xp: Any) -> None:
    f = gradkit.custom_jvp(lambda x: x * 1.0)

    @f.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        unused = jnp.sign(tangents[0]) + (tangents[0] > 0)
        assert unused.shape == ()
        return primals[0], 3 * tangents[0]

    assert float(gradkit.grad(f)(xp.asarray(2.0))) == 3.0


# What runs a function that a rule hands a tangent to: each is made by way(f), for a function f of one number

m = gradkit
lax = gradkit.lax


def with_own_rule(f: Any) -> Any:
    function = m.custom_jvp(lambda t: f(t))
    function.defjvp(lambda primals, tangents: m.jvp(f, primals, tangents))
    return function


def with_own_reverse_rule(f: Any) -> Any:
    function = m.custom_vjp(lambda t: f(t))
    function.defvjp(lambda t: (f(t), t), lambda t, g: m.vjp(f, t)[1](g))
    return function


WAYS = {
    "itself": lambda f: f,
    "jit": m.jit,
    "jit in jit": lambda f: m.jit(lambda t: m.jit(f)(t)),
    "checkpoint": m.checkpoint,
    "checkpoint in jit": lambda f: m.jit(m.checkpoint(f)),
    "policy": lambda f: m.checkpoint(f, policy=m.checkpoint_policies.nothing_saveable),
    "policy that keeps": lambda f: m.checkpoint(f, policy=m.checkpoint_policies.everything_saveable),
    "scan": lambda f: m.jit(lambda t: lax.scan(lambda c, _: (c, f(c)), t, None, 2)[1][0]),
    "scan of rows": lambda f: m.jit(lambda t: lax.scan(lambda c, t: (c, f(t)), 0.0, jnp.stack([t, t]))[1][0]),
    "scan's carry": lambda f: m.jit(lambda t: lax.scan(lambda c, _: (f(c), c), t, None, 1)[0]),
    "cond": lambda f: m.jit(lambda t: lax.cond(True, f, f, t)),
    "map": lambda f: m.jit(lambda t: lax.map(f, jnp.stack([t, t]))[1]),
    "vmap": lambda f: lambda t: m.vmap(m.jit(f))(jnp.stack([t, t]))[0],
    "custom_jvp": with_own_rule,
    "custom_vjp": with_own_reverse_rule,
    "custom_jvp in jit": lambda f: m.jit(with_own_rule(f)),
    "custom_vjp in jit": lambda f: m.jit(with_own_reverse_rule(f)),
}
ONE_WAY = {"custom_vjp", "custom_vjp in jit"}  # functions that forward mode cannot go through


def solved(a: Any, b: Any) -> Any:
    return lax.custom_linear_solve(lambda y: a * y, b, lambda _, b: b / a, lambda _, b: b / a)


def root(a: Any) -> Any:
    return lax.custom_root(
        lambda y: y * y - a, a * 0 + 1, lambda f, y: jnp.sqrt(y - f(y) - y * (1 - y)), lambda g, y: y
    )


IN_RULES = {"jnp": jnp, "solved": solved, "root": root}


def function_with_rule(rule: Any) -> Any:
    f = m.custom_jvp(jnp.sin)
    f.defjvp(lambda primals, tangents: (f(*primals), rule(primals[0], tangents[0])))
    return f


def in_reverse(f: Any) -> list[Any]:
    return [
        m.grad(f),
        m.make_jaxpr(m.grad(f)),
        lambda x: m.linearize(f, x)[1](jnp.ones_like(x)),
        lambda x: m.vmap(m.grad(f))(jnp.stack([x, x]))[0],
    ]


def slope(reverse: Any, x: Any) -> float:
    found = reverse(x)
    return float(found(x) if callable(found) else found)


@pytest.mark.dealt("way")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", ["jnp.sign(t)", "t * t", "x + t - t * (t > 0)", "solved(x + t, x)", "root(x + t)"])
def test_what_is_not_linear_in_a_tangent_is_refused_in_whatever_runs_it(rule: str, way: str, xp: Any) -> None:
    x = xp.asarray(0.5)
    f = function_with_rule(lambda x, t: WAYS[way](lambda t: eval(rule, {**IN_RULES, "x": x, "t": t}))(t))
    for reverse in in_reverse(f):
        with pytest.raises((NotImplementedError, JAXTypeError)):
            reverse(x)


@pytest.mark.dealt("way")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", ["x * t", "jnp.stack([x, t])[1]", "solved(x, t)"])
def test_what_is_linear_in_a_tangent_is_transposed_in_whatever_runs_it(rule: str, way: str, xp: Any) -> None:
    x = xp.asarray(0.5)
    f = function_with_rule(lambda x, t: WAYS[way](lambda t: eval(rule, {**IN_RULES, "x": x, "t": t}))(t))
    right = float(eval(rule, {**IN_RULES, "x": x, "t": xp.asarray(1.0)}))
    assert [slope(reverse, x) for reverse in in_reverse(f)] == [right] * 4


@pytest.mark.dealt("way")
@pytest.mark.parametrize("way", sorted(WAYS.keys() - ONE_WAY))
def test_a_rule_may_push_its_tangent_through_a_function_that_goes_on_with_its_value(way: str, xp: Any) -> None:
    inner = WAYS[way](jnp.sin)
    f = function_with_rule(lambda x, t: 2 * m.jvp(lambda x: jnp.exp(inner(x)) * inner(x), (x,), (t,))[1])
    x = xp.asarray(0.5)
    plain = m.grad(lambda x: jnp.exp(jnp.sin(x)) * jnp.sin(x))
    assert [slope(reverse, x) for reverse in in_reverse(f)] == pytest.approx([2 * float(plain(x))] * 4, rel=1e-5)
    assert float(m.grad(m.grad(f))(x)) == pytest.approx(2 * float(m.grad(plain)(x)), rel=1e-4)


def test_a_tangent_may_not_be_in_the_matrix_of_a_system(xp: Any) -> None:
    def rule(x: Any, t: Any) -> Any:
        return lax.custom_linear_solve(lambda y: (1 + t) * y, x, lambda _, b: b / (1 + t), lambda _, b: b / (1 + t))

    for reverse in in_reverse(function_with_rule(rule)):
        with pytest.raises(NotImplementedError, match="custom_linear_solve"):
            reverse(xp.asarray(0.5))


def test_a_rule_may_push_its_tangent_through_a_choice_that_differs_between_elements(xp: Any) -> None:
    def inner(x: Any) -> Any:
        def branch(y: Any) -> Any:
            return lax.cond(x > 1, jnp.sin, lambda y: y * x, y)

        return lax.cond(x > 0.6, m.checkpoint(branch), jnp.cos, x)

    f = m.custom_jvp(inner)
    f.defjvp(lambda primals, tangents: (f(*primals), 2 * m.jvp(inner, primals, tangents)[1]))
    x = xp.asarray([0.5, 0.7, 1.2])
    slopes = [2 * -math.sin(0.5), 2 * 1.4, 2 * math.cos(1.2)]
    for take in (m.grad(lambda x: jnp.sum(m.vmap(f)(x))), m.vmap(m.grad(f))):
        assert take(x).tolist() == pytest.approx(slopes, rel=1e-5)
        assert m.jit(take)(x).tolist() == pytest.approx(slopes, rel=1e-5)
    bends = [2 * -math.cos(0.5), 4.0, 2 * -math.sin(1.2)]
    for take in (m.grad(lambda x: jnp.sum(m.vmap(m.grad(f))(x))), m.vmap(m.grad(m.grad(f)))):
        assert take(x).tolist() == pytest.approx(bends, rel=1e-5)
        assert m.jit(take)(x).tolist() == pytest.approx(bends, rel=1e-5)


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


def test_a_rule_in_a_loop_has_the_second_derivative_that_it_has_without(xp: Any) -> None:
    f = function_with_rule(lambda x, t: t * jnp.cos(x) * x)

    def looped(x: Any) -> Any:
        return lax.scan(lambda c, _: (f(c) * jnp.sin(c), None), x, None, 2)[0]

    def unrolled(x: Any) -> Any:
        for _ in range(2):
            x = f(x) * jnp.sin(x)
        return x

    x = xp.asarray(0.4)
    for take in (lambda f: m.grad(m.grad(f)), lambda f: m.jacfwd(m.grad(f)), lambda f: m.jit(m.grad(m.grad(f)))):
        assert float(take(looped)(x)) == pytest.approx(float(take(unrolled)(x)), rel=1e-5)
