"""The operations: one file per family, each declared with its derivative.

The module itself is the namespace that rules run on when their values are Arrays.
"""

import sys

from gradkit.core.namespace import set_bound_namespace
from gradkit.primitives import (
    decompositions,
    fourier,
    gates,
    matrices,
    operators,
    pivoting,
    scipy_special,
    slopes,
    solvers,
)
from gradkit.primitives.along_axis import add_along_axis, take_along_axis
from gradkit.primitives.bit_patterns import reduce_precision
from gradkit.primitives.creation import ones_like, stop_gradient, zeros_like
from gradkit.primitives.cumulative import cumlogsumexp, cummax, cummin, cumprod, cumsum
from gradkit.primitives.decompositions import *  # noqa: F403
from gradkit.primitives.dynamic import slice_along as dynamic_slice
from gradkit.primitives.dynamic import update_along as dynamic_update_slice
from gradkit.primitives.elementwise import *  # noqa: F403
from gradkit.primitives.fourier import *  # noqa: F403
from gradkit.primitives.gates import *  # noqa: F403
from gradkit.primitives.indexing import getitem, pad_index, set_index, take
from gradkit.primitives.linalg import affine, dot, matmul
from gradkit.primitives.losses import (
    label_cross_entropy,
    log_softmax,
    mean_label_cross_entropy,
    mean_square,
    one_hot,
    plus_squares,
    softmax_error,
    softplus,
)
from gradkit.primitives.manipulation import (
    astype,
    broadcast_to,
    concat,
    expand_dims,
    matrix_transpose,
    permute_dims,
    reshape,
    squeeze,
    stack,
    to_device,
    transfer,
)
from gradkit.primitives.matrices import *  # noqa: F403
from gradkit.primitives.pivoting import *  # noqa: F403
from gradkit.primitives.reductions import (
    all,
    any,
    argmax,
    argmin,
    count_nonzero,
    logsumexp,
    max,
    mean,
    min,
    prod,
    sum,
)
from gradkit.primitives.scattering import (
    last_of_equal,
    scatter_add,
    scatter_max,
    scatter_min,
    scatter_multiply,
    scatter_set,
)
from gradkit.primitives.scipy_special import *  # noqa: F403
from gradkit.primitives.searching import argsort, searchsorted, sort, top_k
from gradkit.primitives.sliding import sliding_product
from gradkit.primitives.slopes import *  # noqa: F403
from gradkit.primitives.solvers import *  # noqa: F403
from gradkit.primitives.windows import overlap_add, sliding_windows

__all__ = [
    "abs",
    "acos",
    "acosh",
    "add",
    "add_along_axis",
    "affine",
    "all",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "asin",
    "asinh",
    "astype",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "broadcast_to",
    "ceil",
    "clip",
    "concat",
    "conj",
    "copysign",
    "cos",
    "cosh",
    "count_nonzero",
    "cumlogsumexp",
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "divide",
    "dot",
    "dynamic_slice",
    "dynamic_update_slice",
    "equal",
    "exp",
    "expand_dims",
    "expm1",
    "floor",
    "floor_divide",
    "getitem",
    "greater",
    "greater_equal",
    "hypot",
    "imag",
    "isfinite",
    "isinf",
    "isnan",
    "label_cross_entropy",
    "last_of_equal",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log2",
    "log10",
    "log_softmax",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "masked",
    "matmul",
    "matrix_transpose",
    "max",
    "maximum",
    "mean",
    "mean_label_cross_entropy",
    "mean_square",
    "min",
    "minimum",
    "multiply",
    "negative",
    "nextafter",
    "not_equal",
    "one_hot",
    "ones_like",
    "overlap_add",
    "pad_index",
    "permute_dims",
    "plus_squares",
    "positive",
    "pow",
    "prod",
    "real",
    "reciprocal",
    "reduce_precision",
    "relu",
    "remainder",
    "reshape",
    "round",
    "scatter_add",
    "scatter_max",
    "scatter_min",
    "scatter_multiply",
    "scatter_set",
    "searchsorted",
    "set_index",
    "sigmoid",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "sliding_product",
    "sliding_windows",
    "softmax_error",
    "softplus",
    "sort",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "stop_gradient",
    "subtract",
    "sum",
    "take",
    "take_along_axis",
    "tan",
    "tanh",
    "to_device",
    "top_k",
    "transfer",
    "trunc",
    "where",
    "zeros_like",
]
__all__ += decompositions.__all__
__all__ += fourier.__all__
__all__ += gates.__all__
__all__ += matrices.__all__
__all__ += pivoting.__all__
__all__ += scipy_special.__all__
__all__ += slopes.__all__
__all__ += solvers.__all__

operators.install()
set_bound_namespace(sys.modules[__name__])
