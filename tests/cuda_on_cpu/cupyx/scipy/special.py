"""SciPy's functions behind the names and the loops of cupyx.scipy.special."""

import cupy
import scipy.special as _special
from cupy._table import table as _table
from cupy._ufunc import ufuncs as _ufuncs

globals().update(_ufuncs(_table()["loops"], "special.", _special))


def polygamma(n, x):
    # As CuPy's: it broadcasts arrays alone, so a Python number for n stays one, and `n == 0` has no astype.
    if isinstance(n, cupy.ndarray) and isinstance(x, cupy.ndarray):
        n, x = cupy.broadcast_arrays(n, x)
    general = (-1.0) ** (n + 1) * gamma(n + 1.0) * zeta(n + 1.0, x)  # noqa: F821
    return cupy.where(n == 0, digamma(x), general)  # noqa: F821
