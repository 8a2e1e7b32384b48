"""Sliding products: what one-dimensional convolution and correlation are made of."""

from __future__ import annotations

from typing import Any

from gradkit.core import Linear
from gradkit.core.namespace import publish

__all__ = ["sliding_product"]


def _sliding_product(xp: Any, x: Any, y: Any) -> Any:
    size = x.shape[0] - y.shape[0] + 1
    first, position = (xp.arange(n, dtype=xp.int64, device=xp.device_of(x)) for n in (size, y.shape[0]))
    windows = first[:, None] + position[None, :]
    rows = xp.reshape(xp.take(x, xp.reshape(windows, (-1,)), axis=0), (size, y.shape[0]))
    return xp.matmul(rows, y[:, None])[:, 0]


def _pull_long(xp: Any, g: Any, _x: Any, y: Any) -> Any:
    lead, size = y.shape[0] - 1, g.shape[0]
    padded = xp.pad_index(g, index=(slice(lead, lead + size),), shape=(size + 2 * lead,))
    return xp.sliding_product(padded, xp.flip(y, axis=0))


sliding_product = Linear(
    "sliding_product",
    _sliding_product,
    (_pull_long, lambda xp, g, x, _y: xp.sliding_product(x, g)),
    hands_on=False,
    shape=lambda x, y: (x.shape[0] - y.shape[0] + 1,),
)
"""Return the sums ``sum(x[i:i + m] * y)`` for every position i where the m elements of `y` fit into `x`.

Parameters
----------
x : Array, shape (n,)
    The longer vector.
y : Array, shape (m,)
    The shorter one, of the same dtype.

Returns
-------
Array, shape (n - m + 1,)
"""


publish(globals(), __all__)
