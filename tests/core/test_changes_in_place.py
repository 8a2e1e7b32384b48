"""`x.data += y` between forward and backward: the gradient is that at the old values, or an error; never a mixture."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from abilities import needs_changes_in_place
from primitive_cases import CASES, Case, arguments, loss

import gradkit
import gradkit.numpy as jnp
from gradkit import nn

SAMPLE = [pytest.param(cases[0], id=name) for name, cases in CASES.items()]
MODIFIED = "modified by an inplace operation"


def leaves(case: Case, xp: Any) -> list[Any]:
    with gradkit.enable_x64():
        args = [xp.asarray(arg.copy()) for arg in arguments(case)]
    for arg in args:
        arg.requires_grad = True
    return args


def increase(x: Any) -> None:
    x.data += 0.125


def view(x: Any) -> None:
    other = x.detach()
    other.data *= 1.125


def through_a_ufunc(x: Any) -> None:
    np.add(gradkit.numpy.asarray(x.data) * 1.0, 0.125, out=x.data)


SEEN: dict[str, Callable[[Any], None]] = {"+=": increase, "*= on an array of the same memory": view}


def gradients(case: Case, xp: Any, change: Callable[[Any], None] | None, position: int) -> list[Any]:
    args = leaves(case, xp)
    result = loss(case, xp)(*args)
    if change is not None:
        change(args[position])
    result.backward()
    return [None if arg.grad is None else gradkit.device_get(jnp.asarray(arg.grad)) for arg in args]


@pytest.mark.parametrize("how", SEEN)
@pytest.mark.parametrize("case", SAMPLE)
def test_the_gradient_is_that_of_the_old_values_or_an_error(case: Case, how: str, xp: Any) -> None:
    expected = gradients(case, xp, None, 0)
    for position in range(len(case.shapes)):
        try:
            found = gradients(case, xp, SEEN[how], position)
        except RuntimeError as error:
            assert MODIFIED in str(error)  # noqa: PT017 - or no error at all
            continue
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("case", SAMPLE)
def test_with_checksums_no_change_goes_unseen(case: Case, xp: Any) -> None:
    needs_changes_in_place()

    def overwrite(x: Any) -> None:
        x.data[...] = x.data * 1.25 + 0.125

    expected = gradients(case, xp, None, 0)
    with gradkit.debug_changes():
        assert all(map(np.array_equal, gradients(case, xp, None, 0), expected))
        for position in range(len(case.shapes)):
            try:
                found = gradients(case, xp, overwrite, position)
            except RuntimeError as error:
                assert MODIFIED in str(error)  # noqa: PT017 - or no error at all
                continue
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, other)


WAYS: dict[str, Callable[..., Any]] = {
    "jit": gradkit.jit,
    "checkpoint": gradkit.checkpoint,
    "jit of a checkpoint": lambda f: gradkit.jit(gradkit.checkpoint(f)),
    "scan": lambda f: lambda x: gradkit.lax.scan(lambda c, _: (c + f(x), c), 0.0, None, 2)[0] / 2,
    "jit of a scan": lambda f: gradkit.jit(WAYS["scan"](f)),
    "jit of a choice": lambda f: gradkit.jit(lambda x: gradkit.lax.cond(x[0] > 0, f, lambda x: x[0], x)),
    "vmap": lambda f: lambda x: gradkit.vmap(f)(x[None])[0],
}


@pytest.mark.parametrize("way", WAYS)
def test_checksums_are_compared_around_functions_that_are_captured(way: str, xp: Any) -> None:
    needs_changes_in_place()
    f = WAYS[way](lambda x: jnp.sum(1 / x))
    with gradkit.debug_changes():
        x = parameter(xp, 1.0, -2.0)
        np.testing.assert_allclose(gradkit.device_get(gradkit.grad(f)(x)), [-1.0, -0.25])
        np.testing.assert_allclose(gradkit.device_get(gradkit.jacfwd(gradkit.grad(f))(x)), [[2, 0], [0, -0.25]])
        result = f(x)
        x.data[0] = 5.0
        try:
            result.backward()
        except RuntimeError as error:
            assert MODIFIED in str(error)  # noqa: PT017 - or it has kept a copy
        else:
            np.testing.assert_allclose(gradkit.device_get(jnp.asarray(x.grad)), [-1.0, -0.25])


def parameter(xp: Any, *values: float) -> Any:
    p = xp.asarray(list(values))
    p.requires_grad = True
    return p


READERS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda p: 1 / p,
    "a view": lambda p: 1 / p.reshape((2, 1)),
    "a transposed view": lambda p: p.reshape((1, 2)).T @ p.reshape((1, 2)),
    "a slice": lambda p: jnp.sin(p[1:]),
    "its result": lambda p: jnp.exp(p * 1.0) * 2,
    "a checkpoint": lambda p: gradkit.checkpoint(jnp.sin)(p),
    "a batch": lambda p: gradkit.vmap(lambda a: a * a * a)(p),
    "a constant": lambda p: gradkit.numpy.asarray(p.data) * p,
}


@pytest.mark.parametrize("reader", READERS)
def test_what_reads_the_old_values_is_an_error(reader: str, xp: Any) -> None:
    needs_changes_in_place()
    p = parameter(xp, 1.0, 2.0)
    result = READERS[reader](p).sum()
    p.data += 1.0
    if reader == "its result":  # p itself is not read
        result.backward()
        return
    with pytest.raises(RuntimeError, match=MODIFIED):
        result.backward()
    assert p.grad is None


@pytest.mark.parametrize(
    "change",
    [
        lambda p: setattr(p, "data", p.data + 1.0),
        lambda p: gradkit.optim.SGD(0.1).step([p]),
        lambda p: setattr(p, "grad", None),
    ],
)
def test_new_memory_leaves_what_was_recorded(change: Any, xp: Any) -> None:
    p = parameter(xp, 1.0, 2.0)
    (p * 1.0).sum().backward()
    first = (1 / p).sum()
    change(p)
    p.grad = None
    first.backward()
    np.testing.assert_allclose(gradkit.device_get(jnp.asarray(p.grad)), [-1.0, -0.25])


def test_half_of_an_array_is_not_the_other_half(backend: Any, xp: Any) -> None:
    needs_changes_in_place()
    whole = xp.asarray([1.0, 2.0, 3.0, 4.0])
    first, second = gradkit.Array(whole.data[:2]), gradkit.Array(whole.data[2:])
    first.requires_grad = second.requires_grad = True
    result = (1 / first).sum() + (second**3).sum()
    second.data += 1.0
    with pytest.raises(RuntimeError, match=MODIFIED):
        result.backward()
    result = (1 / first).sum()
    second.data += 1.0
    result.backward()
    np.testing.assert_allclose(gradkit.device_get(jnp.asarray(first.grad)), [-1.0, -0.25])


def test_the_lecture_s_loop_never_raises(xp: Any) -> None:
    model = nn.MLP(2, [4, 4, 1], key=gradkit.random.key(0))
    x = xp.asarray([[0.5, -1.0], [1.0, 2.0]])
    losses = []
    for _ in range(5):
        loss = (model(x) ** 2).mean()
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data += -0.05 * p.grad
        losses.append(float(loss))
    assert losses == sorted(losses, reverse=True)


def test_a_graph_that_is_retained_is_refused_after_the_change(xp: Any) -> None:
    needs_changes_in_place()
    p = parameter(xp, 1.0, 2.0)
    result = (1 / p).sum()
    result.backward(retain_graph=True)
    result.backward(retain_graph=True)
    p.data -= 0.5
    with pytest.raises(RuntimeError, match=MODIFIED):
        result.backward()
    # What is recorded anew is not.
    p.grad = None
    (1 / p).sum().backward()
    np.testing.assert_allclose(gradkit.device_get(jnp.asarray(p.grad)), [-4.0, -4 / 9], rtol=1e-6)


@pytest.mark.parametrize("f", [lambda x: 1 / x, gradkit.grad(lambda x: (1 / x).sum())])
def test_a_pullback_is_refused_too(f: Any, xp: Any) -> None:
    needs_changes_in_place()
    p = xp.asarray([1.0, 2.0])
    pullback = gradkit.vjp(f, p)[1]
    p.data += 1.0
    with pytest.raises(RuntimeError, match=MODIFIED):
        pullback(xp.asarray([1.0, 1.0]))


def test_a_linearized_function_has_read_what_it_needs(xp: Any) -> None:
    p = xp.asarray([1.0, 2.0])
    f_jvp = gradkit.linearize(lambda x: 1 / x, p)[1]
    p.data += 1.0
    np.testing.assert_allclose(gradkit.device_get(f_jvp(xp.asarray([1.0, 1.0]))), [-1.0, -0.25])


def test_a_change_that_was_refused_is_remembered(xp: Any) -> None:
    needs_changes_in_place()
    p = parameter(xp, 1.0, 2.0)
    y = jnp.exp(p)
    result = y.sum()
    with pytest.raises(ValueError, match="result of a recorded operation"):
        y.data += 1.0
    with pytest.raises(RuntimeError, match=MODIFIED):
        result.backward()


def test_what_a_ufunc_writes_is_seen(backend: Any) -> None:
    if backend.name != "numpy":
        pytest.skip("NumPy's ufuncs write to NumPy's arrays")
    p = parameter(jnp, 1.0, 2.0)
    result = (1 / p).sum()
    through_a_ufunc(p)
    with pytest.raises(RuntimeError, match=MODIFIED):
        result.backward()


def test_a_thread_that_changes_its_own_model_disturbs_nobody(xp: Any) -> None:
    errors: list[BaseException] = []
    ready = threading.Barrier(2)

    def train(seed: int) -> None:
        try:
            model = nn.MLP(2, [3, 1], key=gradkit.random.key(seed))
            ready.wait(10)
            for _ in range(20):
                loss = (model(jnp.asarray([[0.5, -1.0]])) ** 2).mean()
                model.zero_grad()
                loss.backward()
                for p in model.parameters():
                    p.data += -0.05 * p.grad
        except BaseException as error:  # noqa: BLE001 - whatever a thread raises is the test's
            errors.append(error)

    threads = [threading.Thread(target=train, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not errors


def test_assigning_the_same_array_is_no_change_where_checksums_tell(xp: Any) -> None:
    needs_changes_in_place()
    with gradkit.debug_changes():
        x = xp.asarray([1.0, 2.0])
        x.requires_grad = True
        result = jnp.sum(1 / x)
        x.data = x.data
        x.data += 0.0
        result.backward()
        np.testing.assert_allclose(gradkit.device_get(jnp.asarray(x.grad)), [-1.0, -0.25])
        result = jnp.sum(1 / x)
        x.data += 1.0
        with pytest.raises(RuntimeError, match=MODIFIED):
            result.backward()
