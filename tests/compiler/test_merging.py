"""Nests that are put together read nothing of each other but what is at hand at the same position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit.backend import get_backend

PRINTERS = [printer.name for printer in get_backend("numpy").printers if printer.why_unusable() is None]
N = 4
SQUARE = np.random.default_rng(0).normal(size=(N, N)).astype(np.float32)
POSITIONS = np.random.default_rng(1).integers(0, N, size=(N, N))

KEPT: dict[str, Callable[[Any], Any]] = {
    "computed": lambda x: jnp.exp(x),
    "copied": lambda x: x.T,
    "turned": lambda x: x[::-1],
    "summed": lambda x: x.sum(1),
    "largest": lambda x: x.max(0),
    "joined": lambda x: jnp.concatenate([x[:2], x[3:], x[2:3]]),
    "in part": lambda x: x.at[1:3].set(x[:2]),
    "added at": lambda x: x.at[jnp.asarray([0, 0, 2, 3])].add(x),
    "product": lambda x: x + x @ x,
}
READ: dict[str, Callable[[Any, Any], Any]] = {
    "at positions": lambda y, i: jnp.take(y, i[0], axis=0),
    "at positions along an axis": lambda y, i: jnp.take_along_axis(y, i if y.ndim == 2 else i[0], 0),
    "at one position": lambda y, i: jnp.take(y, i[0, :1], axis=0),
    "in another shape": lambda y, i: y.reshape(2, -1)[::-1].reshape(y.shape),
    "backwards": lambda y, i: y[::-1],
    "transposed": lambda y, i: y.T,
    "at the same place": lambda y, i: y,
}


@pytest.mark.dealt("kept", "read", "given", "printer")
@pytest.mark.parametrize("printer", PRINTERS)
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("kept", KEPT)
def test_what_is_kept_is_read_after_it_is_written(
    kept: str, read: str, given: bool, printer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def function(x: Any, i: Any) -> Any:
        y = KEPT[kept](x)
        found = x + READ[read](y, i)
        return (y, found, found * y) if given else found

    monkeypatch.setenv("GRADKIT_COMPILER", printer)
    with gradkit.use_backend("numpy"):
        arguments = jnp.asarray(SQUARE), jnp.asarray(POSITIONS)
        for one, other in zip(
            gradkit.tree.leaves(gradkit.jit(function)(*arguments)),
            gradkit.tree.leaves(function(*arguments)),
            strict=True,
        ):
            np.testing.assert_allclose(np.asarray(one), np.asarray(other), 2e-5, 2e-5)


@pytest.mark.parametrize("printer", PRINTERS)
@pytest.mark.parametrize("reduce", [jnp.sum, jnp.max, jnp.prod, jnp.mean])
def test_a_reshaped_sum_is_read_after_the_sum(reduce: Any, printer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def function(x: Any) -> Any:
        return x + reduce(x, axis=2).reshape(4)

    monkeypatch.setenv("GRADKIT_COMPILER", printer)
    with gradkit.use_backend("numpy"):
        x = jnp.asarray(SQUARE.reshape(2, 2, 4))
        np.testing.assert_allclose(np.asarray(gradkit.jit(function)(x)), np.asarray(function(x)), 2e-5, 2e-5)


@pytest.mark.parametrize("printer", PRINTERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@pytest.mark.parametrize("kind", ["int", "uint"])
def test_floats_that_fit_become_that_integer(
    kind: str, bits: int, dtype: Any, printer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = np.iinfo(f"{kind}{bits}")
    ends = [form.min, form.min + 1, form.min // 2, 0, 1, form.max // 4 * 3, form.max // 2 + 1, form.max // 2, form.max]
    exact = [float(x) for x in map(dtype, ends) if form.min <= int(x) <= form.max]
    monkeypatch.setenv("GRADKIT_COMPILER", printer)
    with gradkit.use_backend("numpy"), gradkit.enable_x64():
        found = gradkit.jit(lambda x: x.astype(form.dtype))(jnp.asarray(np.asarray(exact, dtype)))
        assert [int(x) for x in np.asarray(found)] == [int(x) for x in exact]
