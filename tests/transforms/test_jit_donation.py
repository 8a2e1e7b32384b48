"""Arguments that are donated to a jitted function: whose memory is taken, and what is said of them then."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp


def array(x: Any) -> Any:
    return gradkit.device_get(x)


def test_a_donated_argument_is_deleted_where_a_result_is_like_it(xp: Any) -> None:
    f = gradkit.jit(lambda x, y: (x + y, jnp.sum(x)), donate_argnums=0)
    x, y = jnp.ones(3), jnp.ones(3)
    assert array(f(x, y)[0]).tolist() == [2.0] * 3
    assert x.is_deleted()
    assert not y.is_deleted()
    assert x.shape == (3,)
    assert x.dtype == "float32"
    for use in (
        lambda: x + 1,
        lambda: x[0],
        lambda: print(x),
        lambda: f(x, y),
        lambda: x.data,
        lambda: jnp.stack([y, x]),
    ):
        with pytest.raises(RuntimeError, match=r"Array has been deleted with shape=float32\[3\]"):
            use()
    with pytest.raises(ValueError, match="donated"):
        f(y, y)


def test_what_no_result_is_like_is_not_deleted_and_a_warning_says_so(xp: Any) -> None:
    x = jnp.ones(3)
    with pytest.warns(UserWarning, match="donated buffers were not usable"):
        gradkit.jit(lambda x: jnp.sum(x), donate_argnums=0)(x)
    assert not x.is_deleted()


def test_views_of_a_donated_argument_keep_their_values(xp: Any) -> None:
    update = gradkit.jit(lambda x: x * 2, donate_argnums=0)
    for _ in range(3):  # what runs a program is another thing from the second call on
        for view in (lambda x: x[1:], lambda x: x.reshape(2, 2)):
            x = jnp.arange(4.0) * 1
            seen = view(x)
            update(x)
            np.testing.assert_array_equal(array(seen), view(np.arange(4.0)))
            x = jnp.arange(4.0) * 1
            update(view(x))
            assert array(x).tolist() == [0.0, 1.0, 2.0, 3.0]


def test_a_donated_arguments_memory_is_taken_from_the_first_call_on_and_where_shapes_take_turns() -> None:
    with gradkit.use_backend("numpy"):
        update = gradkit.jit(lambda x: x * 2 + 1, donate_argnums=0)
        for size in (30, 20, 30, 20, 20):
            x = jnp.ones(size) * 1
            address = x.data.ctypes.data
            assert update(x).data.ctypes.data == address


def test_under_a_transform_nothing_is_deleted(xp: Any) -> None:
    f = gradkit.jit(lambda x: x * 2, donate_argnames="x")
    x = jnp.ones(3)
    gradkit.grad(lambda x: jnp.sum(f(x)))(x)
    assert not x.is_deleted()


def test_a_donated_argument_is_deleted_whichever_way_a_call_takes() -> None:
    with gradkit.use_backend("numpy"):
        f = gradkit.jit(lambda p, s: (p - s, p.sum()), donate_argnums=0)
        turned = np.arange(6, dtype=np.float32).reshape(3, 2).T
        for s in (jnp.asarray(2.0), 0.5, np.float32(1), jnp.asarray(2.0), jnp.asarray(1, "int32"), 0.5):
            for raw in (np.ones((2, 3), np.float32), turned, np.arange(6, dtype=np.float32).reshape(2, 3)) * 2:
                p = jnp.asarray(raw.copy("K"))
                found, total = f(p, s)
                np.testing.assert_allclose(np.asarray(found), raw - np.asarray(s), 1e-6)
                np.testing.assert_allclose(float(total), raw.sum(), 1e-6)
                with pytest.raises(RuntimeError, match="deleted"):
                    f(p, s)
                with pytest.raises(RuntimeError, match="deleted"):
                    np.asarray(p)
        kept = jnp.ones(3)
        with pytest.raises(TypeError):
            f(kept, "a word")
        assert float(kept.sum()) == 3
