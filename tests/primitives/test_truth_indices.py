"""Truth values and masks of no axes in an index: NumPy's rules, for reading, updating and assigning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp

X = np.arange(1.0, 13.0).reshape(3, 4)
INDICES: list[Any] = [
    *(
        index
        for truth in (True, False)
        for index in (
            truth,
            np.bool_(truth),
            np.asarray(truth),
            (truth,),
            (truth, 0),
            (0, truth),
            (truth, slice(1, 3)),
            (slice(1, 3), truth),
            (Ellipsis, truth),
            (Ellipsis, truth, 1),
            (None, truth),
            (truth, True),
            (truth, np.asarray(True), 1, slice(None)),
        )
    ),
    (True, np.asarray([0, 2])),
    (np.asarray([True, False, True]), True),
    (True, np.asarray([True, False, True])),
]


def converted(index: Any, form: str) -> Any:
    if isinstance(index, tuple):
        return tuple(converted(part, form) for part in index)
    is_array = isinstance(index, np.ndarray | np.bool_)
    return jnp.asarray(np.asarray(index)) if is_array and form == "Array" else index


@pytest.mark.parametrize("form", ["NumPy", "Array"])
@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_truth_values_pick_the_whole_or_nothing(index: Any, form: str, xp: Any) -> None:
    x, place = xp.asarray(X), converted(index, form)
    expected = X[index]
    np.testing.assert_array_equal(gradkit.device_get(x[place]), expected)
    np.testing.assert_array_equal(gradkit.device_get(x.at[place].get()), expected)
    values = np.cos(np.arange(expected.size)).reshape(expected.shape)
    for name, change in {
        "set": lambda a, v: a.__setitem__(index, v),
        "add": lambda a, v: a.__setitem__(index, a[index] + v),
        "multiply": lambda a, v: a.__setitem__(index, a[index] * v),
        "max": lambda a, v: a.__setitem__(index, np.maximum(a[index], v)),
    }.items():
        for value in (5.0, values):
            right = X.copy()
            change(right, value)
            given = value if isinstance(value, float) else xp.asarray(value)
            ours = getattr(x.at[place], name)(given)
            np.testing.assert_allclose(gradkit.device_get(ours), right, rtol=1e-6)
    with gradkit.item_assignment():
        y = jnp.asarray(x, copy=True)
        y[place] = xp.asarray(values)
    right = X.copy()
    right[index] = values
    np.testing.assert_allclose(gradkit.device_get(y), right, rtol=1e-6)


@pytest.mark.parametrize("truth", [True, False])
def test_a_mask_without_axes_has_derivatives(truth: bool, xp: Any) -> None:
    x = xp.asarray([1.0, 2.0])
    for mask in (truth, xp.asarray(truth)):
        slope = gradkit.grad(lambda x, m=mask: (x[m] ** 2).sum() + (x.at[m].set(3 * x) ** 3).sum())(x)
        expected = [2 + 81.0, 4 + 324.0] if truth else [3.0, 12.0]
        assert gradkit.device_get(slope).tolist() == expected


def test_a_mask_without_a_value_updates(xp: Any) -> None:
    x = xp.asarray([1.0, 2.0])
    ours = gradkit.vmap(lambda m: x.at[m].set(5.0))(xp.asarray([True, False]))
    assert gradkit.device_get(ours).tolist() == [[5.0, 5.0], [1.0, 2.0]]
    ours = gradkit.vmap(lambda m, y: x.at[m].add(y))(
        xp.asarray([True, False]), xp.asarray([[[1.0, 1.0]], [[2.0, 2.0]]])
    )
    assert gradkit.device_get(ours).tolist() == [[2.0, 3.0], [1.0, 2.0]]
