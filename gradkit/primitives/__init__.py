"""The operations: one file per family, each declared with its derivative.

What arrays are made with and what their operators and methods call is loaded with the package. The other files are
loaded when a name of theirs is asked for, here or by a text: most programs need few of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gradkit.core.namespace import PRIMITIVES
from gradkit.primitives import axes, new_arrays, operators  # noqa: F401 - texts call what they publish
from gradkit.primitives.bit_patterns import *  # noqa: F403
from gradkit.primitives.creation import *  # noqa: F403
from gradkit.primitives.elementwise import *  # noqa: F403
from gradkit.primitives.indexing import *  # noqa: F403
from gradkit.primitives.linalg import *  # noqa: F403
from gradkit.primitives.manipulation import *  # noqa: F403
from gradkit.primitives.reductions import *  # noqa: F403
from gradkit.primitives.roots import *  # noqa: F403
from gradkit.primitives.scattering import *  # noqa: F403
from gradkit.primitives.slicing import *  # noqa: F403
from gradkit.primitives.taking import *  # noqa: F403

if TYPE_CHECKING:
    from gradkit.primitives.along_axis import *  # noqa: F403
    from gradkit.primitives.beta_slopes import *  # noqa: F403
    from gradkit.primitives.cumulative import *  # noqa: F403
    from gradkit.primitives.decompositions import *  # noqa: F403
    from gradkit.primitives.fourier import *  # noqa: F403
    from gradkit.primitives.gamma_differences import *  # noqa: F403
    from gradkit.primitives.gates import *  # noqa: F403
    from gradkit.primitives.log_sums import *  # noqa: F403
    from gradkit.primitives.losses import *  # noqa: F403
    from gradkit.primitives.matrices import *  # noqa: F403
    from gradkit.primitives.pivoting import *  # noqa: F403
    from gradkit.primitives.power_transforms import *  # noqa: F403
    from gradkit.primitives.relative_entropies import *  # noqa: F403
    from gradkit.primitives.saddle_points import *  # noqa: F403
    from gradkit.primitives.scipy_special import *  # noqa: F403
    from gradkit.primitives.searching import *  # noqa: F403
    from gradkit.primitives.sliding import *  # noqa: F403
    from gradkit.primitives.slopes import *  # noqa: F403
    from gradkit.primitives.solvers import *  # noqa: F403
    from gradkit.primitives.special import *  # noqa: F403
    from gradkit.primitives.windows import *  # noqa: F403

_LATE = {
    "along_axis": "add_along_axis take_along_axis",
    "beta_slopes": "beta_mixed beta_slope",
    "cumulative": "cumlogsumexp cummax cummin cumprod cumsum sheltered_product",
    "decompositions": "cholesky eig eigh eigvals eigvalsh qr svd svdvals",
    "fourier": "fftn ifftn irfft rfft",
    "gamma_differences": "digamma_difference log_choices tetragamma_difference trigamma_difference",
    "gates": "gated limited normal_cdf soft_sign",
    "log_sums": "logsumexp",
    "losses": """
        label_cross_entropy log_softmax mean_label_cross_entropy mean_square one_hot plus_squares
        softmax_error softplus
    """,
    "matrices": "tril triu",
    "pivoting": "lu",
    "power_transforms": """
        power_transform power_transform_1p power_transform_1p_slope power_transform_1p_slope_slope
        power_transform_slope power_transform_slope_slope
    """,
    "relative_entropies": "divergence log_quotient relative_entropy",
    "saddle_points": """
        binomial_in_first binomial_in_second binomial_score log_binomial log_poisson log_share
        poisson_in_count poisson_score
    """,
    "scipy_special": """
        bessel_i0 bessel_i0e bessel_i1 bessel_i1e bessel_j0 bessel_j1 bessel_k0 bessel_k0e bessel_k1 bessel_k1e
        bessel_y0 bessel_y1 bessel_yn beta beta_density betainc betaincc betaincinv betaln binom cos_of_degrees
        cosine_integral cot_of_degrees dawsn digamma elliptic_d_of_complement elliptic_k elliptic_k_of_complement
        erfc erfcx erfcx_ratio erfcx_ratio_2 exp1 expi expi_slope expn exprel fresnel_cosine fresnel_sine gamma
        gamma_density gammainc gammainc_slope gammaincc gammainccinv gammaincinv gammaln gammasgn hyp1f1 hyp2f1
        legendre log_ndtr logit ndtr ndtri normal_density owens_t poch polygamma rgamma sin_of_degrees
        sine_integral spence tan_of_degrees xlog1py xlogx xlogy zeta
    """,
    "searching": "argsort running_sum searchsorted sort top_k",
    "sliding": "sliding_product",
    "slopes": """
        acosh_slope asin_slope asinh_slope atan2_slope atan_slope atanh_slope hypot_slope power_log
        power_slope sigmoid_slope tanh_slope
    """,
    "solvers": "cofactor det expm inv pinv slogdet solve triangular_solve",
    "special": "erf erf_inv fused_multiply_add",
    "windows": "overlap_add sliding_windows windows_shape",
}
"""By file: the names that it has."""


def __getattr__(name: str) -> Any:
    """Load the file that has a name."""
    module = PRIMITIVES.late.get(name)
    if module is None:
        raise AttributeError(f"module 'gradkit.primitives' has no attribute {name!r}")
    return getattr(importlib.import_module(module), name)


for _module, _names in _LATE.items():
    PRIMITIVES.late.update(dict.fromkeys(_names.split(), f"gradkit.primitives.{_module}"))
operators.install()
OWN = frozenset(PRIMITIVES)
"""The names of those that are declared by now: of gradkit's own, all but those of other files."""
