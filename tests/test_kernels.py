"""A backend's own kernels compute what the general text computes, on that backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import CALLS, STEPS, Call, leaves

import gradkit.random  # noqa: F401 - declares its primitives
from gradkit.backend import Backend
from gradkit.core.namespace import PRIMITIVES
from gradkit.optim.update import sgd_update


def general_text(name: str, backend: Backend) -> Any:
    return PRIMITIVES[name].general_text(backend)


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


def test_kernels_have_the_names_of_primitives(backend: Backend) -> None:
    assert backend.kernels.keys() <= PRIMITIVES.keys() | {"sgd_update"}
