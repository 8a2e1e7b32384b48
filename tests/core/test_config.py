"""Settings, the check for NaN, and `gradkit.debug`."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import config, debug
from gradkit.config import _setting_named
from gradkit.core.namespace import PRIMITIVES
from gradkit.primitives.linalg import affine

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")


@pytest.fixture
def checked() -> Iterator[None]:
    with gradkit.debug_nans():
        yield


@pytest.mark.parametrize(
    "f, name",
    [
        (lambda xp, x: xp.log(x - 2), "log"),
        (lambda xp, x: xp.log(x - 2) * 0 + 1, "log"),
        (lambda xp, x: (x / 0 - x / 0).sum(), "subtract"),
        (lambda xp, x: gradkit.vmap(xp.sqrt)(x - 2), "sqrt"),
        (lambda xp, x: gradkit.grad(lambda x: xp.sqrt(x - 1).sum() * 0)(x), "the derivative of sqrt"),
        (
            lambda xp, x: gradkit.grad(lambda x: xp.where(x == 1, 0.0, xp.sqrt(x - 1)).sum())(x),
            "the derivative of sqrt",
        ),
        (lambda xp, x: gradkit.jvp(lambda x: xp.sqrt(x - 1), (x,), (x * 0,)), "multiply"),
        (lambda xp, x: gradkit.jit(lambda x: xp.max(xp.log(-x)))(x), "log"),
        (lambda xp, x: xp.asarray([-1.0, 2.0]) ** 0.5, "pow"),
        (lambda xp, x: -(xp.asarray([-1.0]) ** 0.5), "pow"),
    ],
)
def test_an_operation_that_gives_nan_is_named(f: Any, name: str, checked: None, xp: Any) -> None:
    with pytest.raises(FloatingPointError, match=rf"^invalid value \(nan\) encountered in {name}$"):
        f(xp, xp.ones(3))


def test_the_check_for_nan_lets_good_numbers_pass(checked: None, xp: Any) -> None:
    x = xp.asarray([1.0, 2.0])
    slope = gradkit.grad(lambda x: (xp.log(x) * xp.asarray([1, 2])).sum())(x)
    np.testing.assert_allclose(gradkit.device_get(slope), [1.0, 1.0])
    xp.log(x - 1)  # infinite, and not NaN
    model = gradkit.nn.MLP(2, [3, 1], key=gradkit.random.key(0))
    model(x).sum().backward()
    gradkit.random.truncated_normal(gradkit.random.key(0), -1.0, 1.0, (3,))


def test_the_check_for_nan_ends_with_its_block(xp: Any) -> None:
    def names() -> list[Any]:
        x = xp.ones(2)
        return [type(f(x)) for f in (xp.log, xp.sum, lambda x: x * x)] + [
            primitive.kernel(x.data)
            for primitive in map(gradkit.core.namespace.PRIMITIVES.get, ("log", "sum", "multiply"))
        ]

    before = names()
    with gradkit.debug_nans(), pytest.raises(FloatingPointError):
        xp.log(-xp.ones(2))
    assert names() == before
    assert np.isnan(gradkit.device_get(xp.log(-xp.ones(2)))).all()
    assert not config.jax_debug_nans


def test_derivatives_of_every_primitive_are_looked_at_for_nans(xp: Any) -> None:
    def loss(w: Any) -> Any:
        return xp.sum(affine(xp.asarray([[0.0, 1.0]]), w, xp.asarray([0.0])) * float("inf"))

    pulls = {name: type(primitive).pull for name, primitive in PRIMITIVES.items()}
    with gradkit.debug_nans(True):
        assert not [name for name, pull in pulls.items() if type(PRIMITIVES[name]).pull is pull]
        with pytest.raises(FloatingPointError, match="the derivative of affine"):
            gradkit.grad(loss)(xp.ones((2, 1)))
    assert {name: type(primitive).pull for name, primitive in PRIMITIVES.items()} == pulls


def test_enable_x64_is_for_its_block() -> None:
    with gradkit.enable_x64(True):
        assert config.jax_enable_x64
        assert jnp.asarray(0.5).dtype == jnp.float64
        with gradkit.enable_x64(False):
            assert jnp.asarray(0.5).dtype == jnp.float32
    assert jnp.asarray(0.5).dtype == jnp.float32
    with pytest.raises(ZeroDivisionError), gradkit.enable_x64():
        1 / 0  # noqa: B018
    assert not config.jax_enable_x64


def test_disable_jit_is_a_setting() -> None:
    with gradkit.disable_jit():
        assert config.jax_disable_jit
    assert not config.jax_disable_jit


@pytest.mark.parametrize(
    "name, value",
    [
        ("jax_platform_name", "cpu"),
        ("jax_platforms", "cpu"),
        ("jax_default_matmul_precision", "float32"),
        ("jax_traceback_filtering", "off"),
        ("jax_log_compiles", True),
        ("jax_check_tracer_leaks", False),
        ("jax_threefry_partitionable", True),
        ("jax_numpy_rank_promotion", "allow"),
        ("jax_numpy_dtype_promotion", "standard"),
        ("jax_default_prng_impl", "threefry2x32"),
        ("jax_debug_infs", False),
    ],
)
def test_settings_of_jax_that_change_nothing_are_accepted(name: str, value: Any) -> None:
    assert name in jax.config.values
    before = config.values[name]
    try:
        config.update(name, value)
        assert config.values[name] == getattr(config, name) == value
    finally:
        config.update(name, before)


@pytest.mark.parametrize(
    "name, value, error, words",
    [
        ("jax_enable_x46", True, ValueError, "Did you mean 'jax_enable_x64'"),
        ("jax_enable_x64", 1, TypeError, "True or False, got 1"),
        ("jax_debug_nans", "yes", TypeError, "True or False"),
        ("jax_numpy_rank_promotion", "raise", ValueError, "gradkit has 'allow' alone"),
        ("jax_threefry_partitionable", False, ValueError, "partitionable layout"),
        ("jax_default_prng_impl", "rbg", ValueError, "no other generator"),
        ("jax_debug_infs", True, ValueError, "no check for infinities"),
        ("jax_platform_name", "tpu", ValueError, "expected 'cpu' or 'gpu'"),
    ],
)
def test_settings_that_cannot_be_had_are_errors(name: str, value: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        config.update(name, value)
    with pytest.raises(AttributeError, match="there is no setting 'jax_nothing'"):
        config.jax_nothing  # noqa: B018


# debug.print


def lines(capsys: Any) -> list[str]:
    return capsys.readouterr().out.splitlines()  # type: ignore[no-any-return]


def test_values_are_printed_under_every_transform(capsys: Any, xp: Any) -> None:
    def f(x: Any) -> Any:
        debug.print("x = {x}, twice {:.1f}, {name}", 2 * x, x=x, name="n")
        return xp.sin(x)

    x = xp.asarray(1.5)
    f(x)
    gradkit.grad(f)(x)
    gradkit.jvp(f, (x,), (x,))
    gradkit.jit(f)(x)
    gradkit.grad(gradkit.grad(f))(x)
    assert lines(capsys) == ["x = 1.5, twice 3.0, n"] * 5
    gradkit.vmap(gradkit.grad(f))(xp.asarray([1.0, 2.0]))
    assert lines(capsys) == ["x = 1.0, twice 2.0, n", "x = 2.0, twice 4.0, n"]
    assert "debug_callback" in str(gradkit.make_jaxpr(f)(x))
    assert gradkit.eval_shape(f, x).shape == ()
    assert lines(capsys) == []


def test_under_vmap_it_prints_as_jax_does(capsys: Any) -> None:
    def f(library: Any, array: Any) -> Any:
        def element(x: Any, y: Any) -> Any:
            library.debug.print("{} and {y}", x, y=y)
            return x

        return library.vmap(element, in_axes=(0, None))(array([[1, 2], [3, 4]]), array(5))

    f(gradkit, jnp.asarray)
    ours = lines(capsys)
    f(jax, jax.numpy.asarray)
    jax.effects_barrier()
    assert ours == lines(capsys) == ["[1 2] and 5", "[3 4] and 5"]


def test_what_has_no_arrays_is_printed_too(capsys: Any) -> None:
    debug.print("hello")
    debug.print("{}", {"a": (1, None)}, ordered=True)
    assert lines(capsys) == ["hello", "{'a': (1, None)}"]


def test_wrong_texts_are_found_where_they_stand() -> None:
    with pytest.raises(ValueError, match="Unused positional arguments"):
        debug.print("x", 1)
    with pytest.raises(ValueError, match="Unused keyword arguments"):
        debug.print("x", x=1)
    with pytest.raises(KeyError):
        debug.print("{y}", x=1)
    with pytest.raises(TypeError, match="the text to print"):
        debug.print(jnp.ones(2))  # type: ignore[arg-type]


def test_a_callback_gets_trees_of_arrays(xp: Any) -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        debug.callback(lambda tree, *, tag: seen.append((float(tree["x"]), tag)), {"x": x}, tag="t")
        return x * 2

    gradkit.vmap(f)(xp.asarray([1.0, 2.0]))
    assert seen == [(1.0, "t"), (2.0, "t")]
    with pytest.raises(TypeError, match="must be callable"):
        debug.callback(3)  # type: ignore[arg-type]


def test_a_generator_with_a_block_may_be_continued_or_closed_by_another_task() -> None:
    def generator() -> Iterator[bool]:
        with gradkit.item_assignment():
            yield config.gradkit_item_assignment

    for go_on in (lambda steps: next(steps, None), lambda steps: steps.close()):
        steps = generator()
        assert contextvars.copy_context().run(next, steps)
        assert not config.gradkit_item_assignment
        go_on(steps)
        assert not config.gradkit_item_assignment
        assert not _setting_named("gradkit_item_assignment").on  # for good, in all threads


def test_a_setting_that_is_misspelt_is_an_error() -> None:
    with pytest.raises(AttributeError):
        gradkit.config.jax_enable_x46 = True
