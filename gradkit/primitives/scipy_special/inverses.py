"""The inverses of the incomplete gamma and beta functions: their derivatives are those of what they invert."""

from __future__ import annotations

from typing import Any

from gradkit.core.namespace import publish
from gradkit.primitives.scipy_special.declaring import declare, refuse
from gradkit.primitives.scipy_special.gammas import _beta_density, _gamma_density

__all__ = ["betaincinv", "gammainccinv", "gammaincinv"]


def _slope_in_shape(xp: Any, x: Any, a: Any) -> Any:
    return -xp.gammainc_slope(a, x) / _gamma_density(xp, a, x)


gammaincinv = declare(
    "gammaincinv",
    lambda xp, x, a, _p: _slope_in_shape(xp, x, a),
    lambda xp, x, a, _p: 1 / _gamma_density(xp, a, x),
)
gammainccinv = declare(
    "gammainccinv",
    lambda xp, x, a, _p: _slope_in_shape(xp, x, a),
    lambda xp, x, a, _p: -1 / _gamma_density(xp, a, x),
)
_no_shapes = refuse("betaincinv gradient with respect to a and b")
betaincinv = declare(
    "betaincinv",
    _no_shapes,
    _no_shapes,
    lambda xp, x, a, b, _p: 1 / _beta_density(xp, a, b, x),
)

publish(globals(), __all__)
