"""The operations: one file per family, each declared with its derivative."""

from gradkit.primitives import axes, new_arrays, operators  # noqa: F401 - texts call what they publish
from gradkit.primitives.along_axis import *  # noqa: F403
from gradkit.primitives.beta_slopes import *  # noqa: F403
from gradkit.primitives.bit_patterns import *  # noqa: F403
from gradkit.primitives.creation import *  # noqa: F403
from gradkit.primitives.cumulative import *  # noqa: F403
from gradkit.primitives.decompositions import *  # noqa: F403
from gradkit.primitives.elementwise import *  # noqa: F403
from gradkit.primitives.fourier import *  # noqa: F403
from gradkit.primitives.gamma_differences import *  # noqa: F403
from gradkit.primitives.gates import *  # noqa: F403
from gradkit.primitives.indexing import *  # noqa: F403
from gradkit.primitives.linalg import *  # noqa: F403
from gradkit.primitives.log_sums import *  # noqa: F403
from gradkit.primitives.losses import *  # noqa: F403
from gradkit.primitives.manipulation import *  # noqa: F403
from gradkit.primitives.matrices import *  # noqa: F403
from gradkit.primitives.pivoting import *  # noqa: F403
from gradkit.primitives.power_transforms import *  # noqa: F403
from gradkit.primitives.reductions import *  # noqa: F403
from gradkit.primitives.relative_entropies import *  # noqa: F403
from gradkit.primitives.roots import *  # noqa: F403
from gradkit.primitives.saddle_points import *  # noqa: F403
from gradkit.primitives.scattering import *  # noqa: F403
from gradkit.primitives.scipy_special.bessel import *  # noqa: F403
from gradkit.primitives.scipy_special.gammas import *  # noqa: F403
from gradkit.primitives.scipy_special.integrals import *  # noqa: F403
from gradkit.primitives.scipy_special.logarithms import *  # noqa: F403
from gradkit.primitives.scipy_special.normal import *  # noqa: F403
from gradkit.primitives.searching import *  # noqa: F403
from gradkit.primitives.slicing import *  # noqa: F403
from gradkit.primitives.sliding import *  # noqa: F403
from gradkit.primitives.slopes import *  # noqa: F403
from gradkit.primitives.solvers import *  # noqa: F403
from gradkit.primitives.taking import *  # noqa: F403
from gradkit.primitives.windows import *  # noqa: F403

operators.install()
