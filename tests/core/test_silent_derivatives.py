"""What NumPy warns of inside a derivative is no warning; the user's own computation warns as the user wishes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit.nn.activations import ACTIVATIONS

POINTS = np.asarray([-np.inf, -1e30, -100.0, -1.0, -0.0, 0.0, 1.0, 100.0, 1e30, np.inf, np.nan])
NAMES = "arccosh arcsinh arctan arctanh cbrt exp log log1p log2 reciprocal sqrt square tan tanh abs sinc exp2".split()

transforms: dict[str, Callable[..., Any]] = {
    "grad": lambda f: gradkit.grad(lambda x: f(x).sum()),
    "jvp": lambda f: lambda x: gradkit.jvp(f, (x,), (x,)),
    "second": lambda f: gradkit.grad(lambda x: gradkit.grad(lambda x: f(x).sum())(x).sum()),
    "vmap": lambda f: gradkit.vmap(gradkit.grad(f)),
}


@pytest.mark.parametrize("transform", transforms)
@pytest.mark.parametrize("name", NAMES)
def test_derivatives_are_silent(name: str, transform: str, xp: Any) -> None:
    run = transforms[transform](getattr(jnp, name))
    inside = {"arctanh": [0.5, 0.9], "sqrt": [0.0, 1.0], "cbrt": [0.0, 1.0]}
    x = xp.asarray(np.asarray(inside.get(name, [1.5, 2.0])))
    run(x)
    if name == "sqrt" and transform == "grad":
        assert np.asarray(gradkit.device_get(run(x)))[0] == np.inf


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"softmax", "log_softmax"}))
def test_activations_are_silent_at_every_number(name: str, xp: Any) -> None:
    gradkit.vmap(gradkit.value_and_grad(ACTIVATIONS[name]))(xp.asarray(POINTS))


def test_the_users_own_errstate_holds_for_what_the_user_computes() -> None:
    with gradkit.use_backend("numpy"):
        zero = jnp.asarray(0.0)
        with np.errstate(divide="raise"), pytest.raises(FloatingPointError, match="log"):
            jnp.log(zero)
        with np.errstate(divide="raise"):
            assert float(gradkit.grad(jnp.sqrt)(zero)) == np.inf  # no error: a derivative's affair
            with pytest.raises(FloatingPointError):
                np.float64(1) / np.float64(0)
        with pytest.warns(RuntimeWarning, match="divide by zero"):
            jnp.log(zero)
