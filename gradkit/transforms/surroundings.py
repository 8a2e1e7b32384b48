"""The settings that a captured function depends on beside its arguments, as one small number."""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from typing import Any

from gradkit.backend import chosen_device, current_backend, openings
from gradkit.config import config
from gradkit.processes import axes_in_scope

__all__ = ["described", "surroundings"]

NAMES = (
    "jax_enable_x64", "jax_debug_nans", "jax_disable_jit", "gradkit_assigning_libraries", "gradkit_item_assignment",
)  # fmt: skip
OTHERS = ("jax_default_matmul_precision", "jax_numpy_dtype_promotion", "jax_numpy_rank_promotion")

_counter = itertools.count()
_numbers: dict[Hashable, int] = {}
_of_process: list[int] = [-1, -1]
"""The generation of the process's settings, and their number."""


def surroundings() -> int:
    """Return the number of the settings as this thread or task sees them: equal numbers are equal settings."""
    if not openings.blocks and not axes_in_scope():
        generation, number = _of_process
        if generation == openings.generation:
            return number
        generation = openings.generation
        number = _number()
        _of_process[:] = generation, number
        return number
    return _number()


def _number() -> int:
    values: Any = (*_values(), current_backend(), chosen_device(), tuple(axes_in_scope().items()))
    found = _numbers.get(values)
    return _numbers.setdefault(values, next(_counter)) if found is None else found


def _values() -> list[Any]:
    return [getattr(config, name) for name in (*NAMES, *OTHERS)]


def described(number: int) -> dict[str, Any]:
    """Return the settings of that number, by name."""
    for values, known in list(_numbers.items()):
        if known == number:
            return dict(zip((*NAMES, *OTHERS, "backend", "device", "process_axes"), values, strict=True))  # type: ignore[call-overload]
    raise KeyError(number)
