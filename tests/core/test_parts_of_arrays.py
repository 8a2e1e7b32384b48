"""Parts of an array are assigned to as in NumPy, and what shares memory with them there has the new values."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit.core.array import raw

PARTS: dict[str, Callable[[Any, Any], None]] = {
    "a row": lambda x, xp: _assign(x[1], 0, 9.0),
    "a row of rows": lambda x, xp: _assign(x[1:][0], 0, 9.0),
    "two indices": lambda x, xp: x[1].__setitem__(0, 9.0),
    "a column backwards": lambda x, xp: _assign(x[::-1, 1], 0, 9.0),
    "an added axis": lambda x, xp: _assign(x[:, None], (0, 0, 0), 9.0),
    "iteration": lambda x, xp: _assign(list(x)[1], 1, 9.0),
    "transposed": lambda x, xp: _assign(x.T, (0, 1), 9.0),
    "mT": lambda x, xp: _assign(x.mT, (0, 1), 9.0),
    "transpose": lambda x, xp: _assign(x.transpose(1, 0), (0, 1), 9.0),
    "permute_dims": lambda x, xp: _assign(xp.permute_dims(x, (1, 0)), (0, 1), 9.0),
    "moveaxis": lambda x, xp: _assign(xp.moveaxis(x, 0, 1), (0, 1), 9.0),
    "swapaxes": lambda x, xp: _assign(xp.swapaxes(x, 0, 1), (0, 1), 9.0),
    "reshape": lambda x, xp: _assign(xp.reshape(x, (3, 2)), (2, 0), 9.0),
    "reshape method": lambda x, xp: _assign(x.reshape(-1), slice(0, 4, 3), 9.0),
    "ravel": lambda x, xp: _assign(xp.ravel(x), 4, 9.0),
    "ravel method": lambda x, xp: _assign(x.ravel(), 4, 9.0),
    "expand_dims": lambda x, xp: _assign(xp.expand_dims(x, axis=0), (0, 1), 9.0),
    "squeeze": lambda x, xp: _assign(xp.squeeze(x[:1]), 2, 9.0),
    "flip": lambda x, xp: _assign(xp.flip(x, axis=1), (0, 0), 9.0),
    "rot90": lambda x, xp: _assign(xp.rot90(x), (0, 1), 9.0),
    "atleast_3d": lambda x, xp: _assign(xp.atleast_3d(x), (0, 1), 9.0),
    "the second of two, each at_least_2d": lambda x, xp: _assign(xp.atleast_2d(xp.zeros(1), x)[1], (0, 1), 9.0),
    "unstack": lambda x, xp: _assign(xp.unstack(x, axis=1)[2], 0, 9.0),
    "split": lambda x, xp: _add(xp.split(x, [1], axis=1)[1], x[:, :2]),
    "array_split": lambda x, xp: _assign(xp.array_split(x, 2, 1)[0], 0, 9.0),
    "a part of hsplit": lambda x, xp: _add(xp.hsplit(x, 3)[1].T, 9.0),
    "vsplit": lambda x, xp: _assign(xp.vsplit(x, 2)[1], (0, 1), 9.0),
    "twelve axes": lambda x, xp: _add(xp.moveaxis(xp.expand_dims(x, axis=tuple(range(2, 12))), 0, 11), 9.0),
    "flat": lambda x, xp: x.flat.__setitem__(slice(0, None, 4), 9.0),
    "in place": lambda x, xp: _add(x[1], 9.0),
    "in place of a part of a part": lambda x, xp: _add(x.T[1:][0], x[:, 0]),
    "flatten, which copies": lambda x, xp: _assign(x.flatten(), 4, 9.0),
    "take, which copies": lambda x, xp: _assign(xp.take(x, xp.asarray([1]), axis=0), (0, 0), 9.0),
    "a mask, which copies": lambda x, xp: _assign(x[x > 2.5], 0, 9.0),
    "a number, which copies": lambda x, xp: _add(x[0, 0], 9.0),
    "out=": lambda x, xp: np.multiply(x, 2.0, out=x),
    "out= of a part": lambda x, xp: np.multiply(x[1], 2.0, out=x[0]),
    "out= where": lambda x, xp: np.multiply(x, 2.0, out=x, where=x > 2.5),
    "clip with out=": lambda x, xp: np.clip(x, 2.5, 4.5, out=x),
    "add.at": lambda x, xp: np.add.at(x, (np.asarray([0, 0]), np.asarray([1, 1])), 2.0),
    "put_along_axis": lambda x, xp: xp.put_along_axis(x, xp.asarray([[2], [0]]), 9.0, axis=1),
    "fill_diagonal": lambda x, xp: xp.fill_diagonal(x, 9.0),
}


def _assign(part: Any, index: Any, value: Any) -> None:
    part[index] = value


def _add(part: Any, value: Any) -> None:
    part += value


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_assigned_to_as_in_numpy_and_what_shares_its_memory(name: str, xp: Any) -> None:
    def changed(x: Any, library: Any) -> Any:
        row, column = x[0], x.T[1]
        PARTS[name](x, library)
        return library.concat([library.reshape(x, (-1,)), row * 10, column * 100])

    x = np.arange(6.0).reshape(2, 3)
    with gradkit.item_assignment(), gradkit.enable_x64():
        result = changed(jnp.asarray(x), jnp)
        assert gradkit.device_get(result).tolist() == changed(x.copy(), np).tolist()
        # And so are the derivatives: of what NumPy computes a step further on, exactly, since all is linear.
        weights = np.cos(np.arange(result.shape[0]))

        def total(t: Any) -> Any:
            return jnp.sum(changed(jnp.asarray(x) + t * jnp.asarray(x), jnp) * jnp.asarray(weights))

        slope = (changed(x * 1.01, np) - changed(x * 0.99, np)) @ weights / 0.02
        assert float(gradkit.grad(total)(0.0)) == pytest.approx(slope)


def test_iteration_keeps_no_row_but_the_one_it_is_at(xp: Any) -> None:
    x = jnp.asarray(np.arange(10.0).reshape(5, 2))
    with gradkit.item_assignment():
        for row in x:
            _add(row, x[0])
            assert len(row._place.memory.alive()) <= 3  # x, this row, and the one before
    expected = np.arange(10.0).reshape(5, 2)
    for row in expected:
        row += expected[0]
    assert x.tolist() == expected.tolist()


@pytest.mark.parametrize("part", ["real", "imag"])
def test_real_and_imaginary_parts_are_assigned_to_as_in_numpy(part: str, xp: Any) -> None:
    def changed(x: Any, library: Any) -> Any:
        row = x[0]
        getattr(x.T, part)[1:] = x.real.T[1:] * 3.0
        _add(getattr(library, part)(x[1]), 1.0)
        return library.concat([library.reshape(x, (-1,)), row])

    x = (np.arange(6.0) + 1j * np.arange(6.0)[::-1]).reshape(2, 3)
    with gradkit.item_assignment(), gradkit.enable_x64():
        result = changed(jnp.asarray(x), jnp)
        assert gradkit.device_get(result).tolist() == changed(x.copy(), np).tolist()
        weights = np.cos(np.arange(result.shape[0])) + 1j * np.sin(np.arange(result.shape[0]))
        slope = np.real((changed(x * 1.01, np) - changed(x * 0.99, np)) @ weights) / 0.02
        total = lambda t: jnp.sum(jnp.real(changed(jnp.asarray(x) * (1 + t), jnp) * jnp.asarray(weights)))  # noqa: E731
        assert float(gradkit.grad(total)(0.0)) == pytest.approx(slope)


def test_what_an_array_had_is_not_kept_for_parts_that_are_gone(xp: Any) -> None:
    def parts_of(x: Any) -> float:
        row = x.T[0]
        row[0] = 2.0
        return float(row[0])

    x = jnp.asarray([[1.0, 2.0], [3.0, 4.0]])
    with gradkit.item_assignment():
        assert parts_of(x) == 2.0
        value = weakref.ref(raw(x))
        x.data = jnp.ones((2, 2)).data
        assert value() is None
        assert parts_of(x) == 2.0
    assert x.tolist() == [[2.0, 1.0], [1.0, 1.0]]


def test_a_part_of_an_argument_is_not_assigned_to(xp: Any) -> None:
    def f(x: Any) -> Any:
        row = x[0]
        row[0] = 1.0
        return x.sum()

    with gradkit.item_assignment(), pytest.raises(TypeError, match=r"shares memory.*cannot be assigned to"):
        gradkit.grad(f)(jnp.ones((2, 2)))
