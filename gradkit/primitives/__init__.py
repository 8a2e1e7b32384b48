"""The operations: one file per family, each declared with its derivative.

The module itself is the namespace that rules run on when their values are Arrays.
"""

import sys

from gradkit.core.primitive import set_bound_namespace
from gradkit.primitives import operators
from gradkit.primitives.creation import ones_like, zeros_like
from gradkit.primitives.elementwise import *  # noqa: F403
from gradkit.primitives.elementwise import __all__ as _elementwise
from gradkit.primitives.indexing import getitem, pad_index, scatter_add, take
from gradkit.primitives.linalg import affine, matmul
from gradkit.primitives.losses import label_cross_entropy, mean_square, one_hot, softplus
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
)
from gradkit.primitives.reductions import argmax, argmin, logsumexp, max, mean, min, sum

__all__ = [
    *_elementwise,
    "affine",
    "argmax",
    "argmin",
    "astype",
    "broadcast_to",
    "concat",
    "expand_dims",
    "getitem",
    "logsumexp",
    "matmul",
    "matrix_transpose",
    "max",
    "mean",
    "min",
    "ones_like",
    "pad_index",
    "permute_dims",
    "reshape",
    "scatter_add",
    "squeeze",
    "stack",
    "sum",
    "take",
    "to_device",
    "zeros_like",
]

operators.install()
set_bound_namespace(sys.modules[__name__])
