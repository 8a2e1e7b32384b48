"""The special functions of `scipy.special`: tables of them, with their local derivatives.

Each is computed by the backend's own implementation (`Backend.special`): SciPy's on the CPU, CuPy's on a GPU. The
derivatives are those of the NIST Digital Library of Mathematical Functions (dlmf.nist.gov).
"""

from gradkit.primitives.scipy_special import (
    bessel,
    elliptic,
    gammas,
    integrals,
    inverses,
    logarithms,
    normal,
    oscillating,
)
from gradkit.primitives.scipy_special.bessel import *  # noqa: F403
from gradkit.primitives.scipy_special.elliptic import *  # noqa: F403
from gradkit.primitives.scipy_special.gammas import *  # noqa: F403
from gradkit.primitives.scipy_special.integrals import *  # noqa: F403
from gradkit.primitives.scipy_special.inverses import *  # noqa: F403
from gradkit.primitives.scipy_special.logarithms import *  # noqa: F403
from gradkit.primitives.scipy_special.normal import *  # noqa: F403
from gradkit.primitives.scipy_special.oscillating import *  # noqa: F403

__all__ = []
__all__ += bessel.__all__
__all__ += elliptic.__all__
__all__ += gammas.__all__
__all__ += integrals.__all__
__all__ += inverses.__all__
__all__ += logarithms.__all__
__all__ += normal.__all__
__all__ += oscillating.__all__
