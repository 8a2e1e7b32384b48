"""JAX's `lax`: operations without promotion, control flow, and operations across the axes of `vmap`.

>>> from gradkit import lax
>>> lax.fori_loop(0, 5, lambda i, x: x * 2, 1.0)
Array(32., dtype=float32)
"""

from gradkit.lax import (
    associative,
    bits,
    choices,
    collectives,
    convolution,
    convolution_numbers,
    creation,
    elementwise,
    fourier,
    gathering,
    implicit,
    linalg,
    loops,
    padding,
    products,
    reductions,
    shaping,
    sorting,
    staging,
    windows,
)
from gradkit.lax.associative import *  # noqa: F403
from gradkit.lax.bits import *  # noqa: F403
from gradkit.lax.choices import *  # noqa: F403
from gradkit.lax.collectives import *  # noqa: F403
from gradkit.lax.convolution import *  # noqa: F403
from gradkit.lax.convolution_numbers import *  # noqa: F403
from gradkit.lax.creation import *  # noqa: F403
from gradkit.lax.elementwise import *  # noqa: F403
from gradkit.lax.fourier import *  # noqa: F403
from gradkit.lax.gathering import *  # noqa: F403
from gradkit.lax.implicit import *  # noqa: F403
from gradkit.lax.loops import *  # noqa: F403
from gradkit.lax.padding import *  # noqa: F403
from gradkit.lax.products import *  # noqa: F403
from gradkit.lax.reductions import *  # noqa: F403
from gradkit.lax.shaping import *  # noqa: F403
from gradkit.lax.sorting import *  # noqa: F403
from gradkit.lax.staging import *  # noqa: F403
from gradkit.lax.windows import *  # noqa: F403
from gradkit.primitives import dynamic
from gradkit.primitives.dynamic import *  # noqa: F403

__all__ = ["linalg"]
__all__ += associative.__all__
__all__ += bits.__all__
__all__ += choices.__all__
__all__ += collectives.__all__
__all__ += convolution.__all__
__all__ += convolution_numbers.__all__
__all__ += creation.__all__
__all__ += dynamic.__all__
__all__ += elementwise.__all__
__all__ += fourier.__all__
__all__ += gathering.__all__
__all__ += implicit.__all__
__all__ += loops.__all__
__all__ += padding.__all__
__all__ += products.__all__
__all__ += reductions.__all__
__all__ += shaping.__all__
__all__ += sorting.__all__
__all__ += staging.__all__
__all__ += windows.__all__
