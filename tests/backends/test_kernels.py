"""A backend's own kernels compute what the general text computes, on that backend."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernel_cases import CALLS, STEPS, Call, leaves

import gradkit
import gradkit.numpy
import gradkit.random
from gradkit.backend import Backend
from gradkit.core.namespace import PRIMITIVES, kernel_namespace
from gradkit.optim.update import sgd_update
from gradkit.primitives.linalg import affine
from gradkit.primitives.losses import mean_square


def general_text(name: str, backend: Backend) -> Any:
    return backend.placed(PRIMITIVES[name].general_text(backend))


def identify(value: Any) -> str | None:
    return value[0] if isinstance(value, tuple) else None


@pytest.mark.parametrize("call", CALLS, ids=identify)
def test_a_kernel_computes_what_the_general_text_computes(call: Call, backend: Backend) -> None:
    name, args, params = call
    kernel = PRIMITIVES[name].kernel_of(backend)
    arrays = [backend.from_host(arg) for arg in args]
    expected = backend.asarray(general_text(name, backend)(*arrays, **params))
    got = backend.asarray(kernel(*arrays, **params))
    assert backend.dtype_of(got) == backend.dtype_of(expected)
    np.testing.assert_allclose(backend.to_host(got), backend.to_host(expected), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    "rate, computed", [(0.1, False), (1.0, False), (0.1, True)], ids=["rate known", "rate of 1", "rate computed"]
)
@pytest.mark.parametrize("count, options", STEPS)
def test_a_step_of_sgd_is_the_general_text(
    count: int, options: dict[str, Any], rate: float, computed: bool, backend: Backend
) -> None:
    kernel = backend.kernels.get("sgd_update", sgd_update)
    params, grads, velocities = ([backend.from_host(leaf) for leaf in leaves(count)] for _ in range(3))
    number = backend.from_host(np.asarray(0.1, np.float32)) if computed else None
    arguments = (params, grads, velocities if options["momentum"] else None)
    numbers = {"learning_rate": number if computed else rate, "scale": number}
    expected, got = sgd_update(*arguments, **options, **numbers), kernel(*arguments, **options, **numbers)
    assert (got[1] is None) == (expected[1] is None)
    for ours, theirs in zip(got, expected, strict=True):
        for one, other in zip(ours or [], theirs or [], strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(backend.to_host(one), backend.to_host(other), rtol=1e-5, atol=1e-6)


PULLED: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "affine": (affine, ((3, 4), (4, 2), (2,))),
    "mean_square": (mean_square, ((3, 4), (3, 4))),
    "square": (gradkit.numpy.square, ((3, 4),)),
    "tanh": (gradkit.numpy.tanh, ((3, 4),)),
}
"""By the primitive that a backend may have a kernel for the pull of: a function, and the shapes of its arguments."""


def pulled(function: Callable[..., Any], arguments: list[Any], positions: tuple[int, ...], scale: float) -> Any:
    weighted = lambda *args: gradkit.numpy.sum(scale * gradkit.numpy.square(function(*args)))  # noqa: E731
    with np.errstate(all="ignore"):  # of the function itself, at infinity
        return gradkit.grad(weighted, positions)(*arguments)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("special", [0.0, 6.0, 20.0, np.inf, np.nan])
@pytest.mark.parametrize("name", sorted(PULLED))
def test_a_kernel_of_a_pull_gives_what_the_rules_give(
    name: str, special: float, dtype: str, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(backend.xp, dtype):
        pytest.skip("the array API standard has no float16")
    function, shapes = PULLED[name]
    random = np.random.default_rng(1)
    hosts = [random.normal(size=shape).astype(dtype) for shape in shapes]
    hosts[0][0, 0] = special
    tracked = [each for n in range(1, len(hosts) + 1) for each in itertools.combinations(range(len(hosts)), n)]
    for positions in tracked:
        arguments = [gradkit.numpy.asarray(backend.from_host(host)) for host in hosts]
        got = pulled(function, arguments, positions, 0.5)
        with monkeypatch.context() as patch:
            patch.setattr(kernel_namespace(backend), "kernel", lambda name: None)
            expected = pulled(function, arguments, positions, 0.5)
        for ours, theirs in zip(got, expected, strict=True):
            assert ours.dtype == theirs.dtype
            np.testing.assert_allclose(
                backend.to_host(ours.data), backend.to_host(theirs.data), rtol=4 * float(np.finfo(dtype).eps)
            )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.9])
@pytest.mark.parametrize("size", [12, 4096, 4097, 30_000])
@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_slopes_of_saturated_elements_are_exact_in_arrays_of_all_sizes(
    name: str, size: int, share: float, order: str, dtype: str, backend: Backend
) -> None:
    random = np.random.default_rng(size)
    host = random.normal(size=(size // 3, 3))
    host[random.uniform(size=host.shape) < share] *= 9
    host.reshape(-1)[:4] = 30.0, -30.0, np.inf, -np.inf  # one that has lost all digits in any case
    host = np.asarray(host, dtype, order=order)
    x = gradkit.numpy.asarray(backend.from_host(host))
    function = {"tanh": gradkit.numpy.tanh, "sigmoid": gradkit.nn.sigmoid}[name]
    slope = backend.to_host(gradkit.grad(lambda x: gradkit.numpy.sum(function(x)))(x).data)
    decay = np.exp(-np.abs(host.astype(np.longdouble)) * (2 if name == "tanh" else 1))
    expected = (4 if name == "tanh" else 1) * decay / (1 + decay) ** 2
    # What the cheap formula may lose just above its bound, 2**-13 or 2**-9 of the digits.
    np.testing.assert_allclose(slope, expected.astype(dtype), rtol=float(np.finfo(dtype).eps) * 2**14, atol=0)


def test_kernels_have_the_names_of_primitives(backend: Backend) -> None:
    assert backend.kernels.keys() <= PRIMITIVES.keys() | {"sgd_update"} | {f"{name}_pull" for name in PULLED}
