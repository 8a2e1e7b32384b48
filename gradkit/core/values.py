"""The one door through which values leave an Array: it refuses what has none, and what a transform follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradkit.core.array import Array, carries_derivative, owner_of, raw
from gradkit.core.printing import describe, shaped
from gradkit.core.stand_in import STAND_INS
from gradkit.errors import ConcretizationTypeError
from gradkit.transfers import crossing, guards

if TYPE_CHECKING:
    import numpy as np

__all__ = ["host", "values_of"]


def values_of(array: Array, asked: str, keeps_derivative: bool = True) -> Any:
    """Return the raw array inside an Array, for what leaves gradkit with the values.

    Every way out goes through here: Python's conversions, the methods that give numbers, files, other libraries.

    Parameters
    ----------
    array : Array
        The array, through every level.
    asked : str
        What asks for the values, for the message.
    keeps_derivative : bool
        False where the answer has no derivative that could be lost, as that of a condition, or is for people to read.

    Raises
    ------
    ConcretizationTypeError
        If there are no values (under `vmap`, in a graph), or a transform follows the array, whose derivative would end
        here unnoticed.
    """
    value = raw(array)
    if type(value) in STAND_INS:
        raise ConcretizationTypeError(
            f"Abstract tracer value encountered where concrete value is expected: traced array with shape "
            f"{shaped(array)}. It has no values: the function runs under vmap, or its graph is being captured "
            f"(make_jaxpr, eval_shape), so what it computes may not depend on the values in Python."
        )
    if keeps_derivative and carries_derivative(array):
        raise ConcretizationTypeError(
            f"Abstract tracer value encountered where concrete value is expected: traced array with shape "
            f"{shaped(array)}. The problem arose with {asked}: a transform (grad, jvp, ...) follows the array, and its "
            f"derivative would be lost here without a word. Compute with gradkit.numpy's functions instead of numbers; "
            f"for the values alone, on purpose, take x.detach() or gradkit.lax.stop_gradient(x) first."
        )
    return owner_of(value).asarray(value)


def host(
    value: Array, asked: str = "a function that reads the values", keeps_derivative: bool = True
) -> np.ndarray[Any, Any]:
    """Return the elements as a NumPy array, or raise as `values_of` does."""
    array = values_of(value, asked, keeps_derivative)
    backend = owner_of(array)
    if guards.is_on and not backend.is_on_host(backend.device_of(array)):
        crossing("device_to_host", describe(array), asked)
    return backend.to_host(array)
