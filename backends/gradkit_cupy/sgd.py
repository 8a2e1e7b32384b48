"""One step of SGD over many arrays at once: a launch for every few dozen of them instead of several for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cupy
import numpy as np

from gradkit_cupy.launch import C_TYPES, launch
from gradkit_cupy.sources import LEAVES

__all__ = ["sgd_update"]

Raw = Any

LEAF = np.dtype([(name, np.int64) for name in ("parameter", "gradient", "velocity", "new", "new_velocity", "size")])
"""The struct `Leaf` of the CUDA source: five pointers and a size."""


def sgd_update(
    params: Sequence[Raw],
    grads: Sequence[Raw],
    velocities: Sequence[Raw] | None,
    *,
    learning_rate: Any,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    scale: Any,
) -> tuple[list[Raw], list[Raw] | None]:
    """Compute one step over all leaves, as `gradkit.optim.sgd_update` defines it.

    Raises
    ------
    TypeError
        If the leaves are of a dtype that there is no kernel for.
    """
    dtype = params[0].dtype
    kind = C_TYPES.get(dtype.name)
    if kind is None:
        raise TypeError(f"sgd_update: the CUDA kernel takes {', '.join(C_TYPES)}, got {dtype.name}")
    number = dtype.type
    inputs = [
        [cupy.ascontiguousarray(leaf) for leaf in group] for group in (params, grads, velocities) if group is not None
    ]
    new = [cupy.empty(leaf.shape, dtype) for leaf in params]
    new_velocities = None if velocities is None else [cupy.empty(leaf.shape, dtype) for leaf in params]
    groups = [*inputs, new] if new_velocities is None else [*inputs, new, new_velocities]
    computed_rate = _compute(learning_rate, dtype)
    numbers = (
        number(0 if computed_rate is not None else learning_rate),
        _pointer(computed_rate),
        _pointer(_compute(scale, dtype)),
        number(momentum),
        number(weight_decay),
        np.bool_(nesterov),
    )
    for table, count, largest in _tables(groups, velocities is not None):
        launch("sgd_update", f"sgd_update<{kind}>", largest, (table, *numbers), rows=count)
    return new, new_velocities


def _tables(groups: Sequence[Sequence[Raw]], with_velocities: bool) -> Iterator[tuple[Any, int, int]]:
    """Yield the pointers of as many leaves as a launch takes, how many they are, and the size of the largest."""
    positions = (0, 1, 2, 3, 4) if with_velocities else (0, 1, 3)
    leaves = list(zip(*groups, strict=True))
    for start in range(0, len(leaves), LEAVES):
        part = leaves[start : start + LEAVES]
        rows = np.zeros(LEAVES, LEAF)
        for row, arrays in zip(rows, part, strict=False):
            for position, array in zip(positions, arrays, strict=True):
                row[position] = array.data.ptr
            row["size"] = arrays[0].size
        # An array of one element is passed by value: as the struct `Leaves`.
        yield rows.view(np.dtype((np.void, rows.nbytes))), len(part), max(arrays[0].size for arrays in part)


def _compute(value: Any, dtype: Any) -> Raw | None:
    """Return a number that the GPU computed, in the leaves' dtype; None for one that the host knows."""
    return value.astype(dtype, copy=False) if isinstance(value, cupy.ndarray) else None


def _pointer(value: Raw | None) -> Any:
    return np.uintp(0) if value is None else value
