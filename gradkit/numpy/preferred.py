"""The options that JAX's products have in common: `precision`, `preferred_element_type` and `out_sharding`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradkit.core import Array
from gradkit.core.operands import dtype_name
from gradkit.core.precision import products_with
from gradkit.core.promotion import dtype_named, summed_in
from gradkit.core.sharding import refuse_sharding
from gradkit.numpy.arguments import promote_args
from gradkit.primitives.manipulation import astype

__all__ = ["in_preferred", "refuse_sharding"]


def in_preferred(
    caller: str,
    product: Callable[..., Array],
    factors: Sequence[Any],
    preferred: Any,
    precision: Any,
    out_sharding: Any = None,
) -> Array:
    """Return a product of factors in the preferred dtype, summed in it where it holds what the factors hold."""
    refuse_sharding(out_sharding, caller)
    if precision is not None:
        with products_with(precision, caller):
            return in_preferred(caller, product, factors, preferred, None)
    if preferred is None:
        return product(*factors)
    arrays = promote_args(caller, *factors)
    result = dtype_named(preferred).name
    dtype = summed_in(dtype_name(arrays[0]), result)
    return astype(product(*(astype(array, dtype) for array in arrays)), result)
