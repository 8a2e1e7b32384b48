"""NumPy's ufuncs on Arrays: ``np.sin(x)`` is gradkit's `sin`, so it stays on the tape."""

from __future__ import annotations

from typing import Any

from gradkit.core import Array
from gradkit.core.array import raw

__all__ = ["call_ufunc"]

STANDARD_NAMES = {
    "absolute": "abs",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "invert": "bitwise_invert",
    "left_shift": "bitwise_left_shift",
    "power": "pow",
    "right_shift": "bitwise_right_shift",
    "rint": "round",
    "true_divide": "divide",
}


def call_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Answer `Array.__array_ufunc__`.

    With ``out=`` a raw array (``p.data += -0.05 * p.grad`` on NumPy) the raw values are written there, since nothing
    that is written in place can be on the tape.
    """
    out = options.pop("out", None)
    if out is not None:
        if any(type(array) is Array for array in out):
            raise TypeError(
                f"numpy.{ufunc.__name__}: out= is a gradkit Array, which is immutable. Use the returned value instead."
            )
        return getattr(ufunc, method)(*map(raw, inputs), out=out, **options)
    import gradkit.primitives

    name = STANDARD_NAMES.get(ufunc.__name__, ufunc.__name__)
    function = getattr(gradkit.primitives, name, None)
    if method != "__call__" or options or function is None:
        return NotImplemented
    return function(*inputs)
