"""PyTorch's own call for each primitive that has a better one than the namespace's function, or needs another one."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gradkit_torch.threefry import fold_in, random_bits, random_order

__all__ = ["KERNELS"]

Raw = Any
Axis = int | tuple[int, ...] | None


def getitem(x: Raw, index: tuple[Any, ...]) -> Raw:
    # A tensor's strides are not negative: what is read backwards is turned round, and read forwards.
    if not _runs_backwards(index):
        return x[index]
    turned: list[int] = []
    plain: list[Any] = []
    axis = 0
    for part in index:
        if part is None:
            plain.append(part)
            continue
        if type(part) is slice and part.step is not None and part.step < 0:
            size = x.shape[axis]
            positions = range(size)[part]
            turned.append(axis)
            if len(positions):
                start = size - 1 - positions[0]
                plain.append(slice(start, start + len(positions) * -part.step, -part.step))
            else:
                plain.append(slice(0, 0))
        else:
            plain.append(part)
        axis += 1
    return torch.flip(x, turned)[tuple(plain)]


def _runs_backwards(index: tuple[Any, ...]) -> bool:
    return any(type(part) is slice and part.step is not None and part.step < 0 for part in index)


def updated(result: Raw, index: tuple[Any, ...], y: Raw) -> Raw:
    """Write `y` at slices of `result`, some of which may run backwards."""
    if not _runs_backwards(index):
        result[index] = y
        return result
    plain: list[Any] = []
    turned: list[int] = []
    kept = 0
    for axis, part in enumerate(index):
        if type(part) is slice:
            positions = range(result.shape[axis])[part]
            if part.step is not None and part.step < 0 and len(positions):
                turned.append(kept)
                positions = positions[::-1]
            plain.append(slice(positions.start, positions.stop, positions.step) if len(positions) else slice(0, 0))
            kept += 1
        else:
            plain.append(part)
    place = result[tuple(plain)]
    place.copy_(torch.flip(torch.broadcast_to(y, place.shape), turned) if turned else y)
    return result


def _by_parts(operation: Callable[[Raw, Raw], Raw]) -> Callable[[Raw, Raw], Raw]:
    """Return a sum or difference that treats the parts of complex numbers on their own.

    PyTorch multiplies one operand by the complex number 1 before: an infinite part makes the other one NaN.
    """

    def run(x: Raw, y: Raw) -> Raw:
        if not (isinstance(x, Tensor) and isinstance(y, Tensor) and x.is_complex() and x.dtype is y.dtype):
            return operation(x, y)
        return torch.view_as_complex(operation(*(torch.view_as_real(z.resolve_conj()) for z in (x, y))))

    return run


def permute_dims(x: Raw, axes: tuple[int, ...]) -> Raw:
    return x.permute(axes)


def broadcast_to(x: Raw, shape: tuple[int, ...]) -> Raw:
    return x.expand(shape)


def masked(x: Raw, mask: Raw) -> Raw:
    return torch.where(mask, x, torch.zeros((), dtype=x.dtype, device=x.device))


def relu(x: Raw) -> Raw:
    return x.clamp_min(0)


BLOCK = 16
"""The base length of XLA's ReduceWindowRewriter, in whose order `running_sum` adds."""


def running_sum(x: Raw) -> Raw:
    # The order of the general text, which adds with the library's cumulative sum: PyTorch's adds float32 in float64 on
    # the CPU, and by a scan on a GPU.
    *batch, size = x.shape
    blocks = -(-size // BLOCK)
    rows = torch.zeros((*batch, blocks * BLOCK), dtype=x.dtype, device=x.device)
    rows[..., :size] = x
    rows = rows.reshape(*batch, blocks, BLOCK)
    for i in range(1, min(size, BLOCK)):
        rows[..., i] += rows[..., i - 1]
    if blocks > 1:
        rows[..., 1:, :] += running_sum(rows[..., :-1, BLOCK - 1])[..., None]
    return rows.reshape(*batch, blocks * BLOCK)[..., :size]


def scatter_add(updates: Raw, indices: Raw, *, axis: int, size: int) -> Raw:
    """Add the updates into zeros."""
    shape = updates.shape[:axis] + (size,) + updates.shape[axis + 1 :]
    result = torch.zeros(shape, dtype=updates.dtype, device=updates.device)
    positions = indices if indices.dtype in (torch.int64, torch.int32) else indices.to(torch.int64)
    return result.index_add_(axis, positions, updates)


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
    """Take a step over all leaves, in as many launches as there are operations."""
    steps = list(grads) if scale is None else torch._foreach_mul(list(grads), scale)
    if weight_decay:
        steps = torch._foreach_add(steps, list(params), alpha=weight_decay)
    new = None
    if velocities is not None:
        new = torch._foreach_mul(list(velocities), momentum)
        torch._foreach_add_(new, steps)
        steps = torch._foreach_add(steps, new, alpha=momentum) if nesterov else new
    if isinstance(learning_rate, Tensor):
        return torch._foreach_sub(list(params), torch._foreach_mul(steps, learning_rate.to(steps[0].dtype))), new
    return torch._foreach_add(list(params), steps, alpha=-learning_rate), new


KERNELS: dict[str, Callable[..., Any]] = {
    "add": _by_parts(operator.add),
    "subtract": _by_parts(operator.sub),
    "multiply": operator.mul,
    "broadcast_to": broadcast_to,
    "fold_in": fold_in,
    "getitem": getitem,
    "masked": masked,
    "permute_dims": permute_dims,
    "random_bits": random_bits,
    "random_order": random_order,
    "relu": relu,
    "running_sum": running_sum,
    "scatter_add": scatter_add,
    "sgd_update": sgd_update,
}
