"""CuPy's linear algebra: no broadcasting in `solve`, no float16, and no errors for what cannot be computed."""

import numpy as np
from numpy.linalg import LinAlgError

import cupy
from cupy._core import is_array, launched, of_numpy, quietly, raw, wrap, wrapped


def common_type(*arrays):
    """Return the dtype of results, as CuPy's function of the like name does."""
    return np.result_type(*(a.dtype if a.dtype.kind in "fc" else np.float64 for a in arrays))


def matrices(name, *arrays, square=False, takes_float16=False):
    """Return arrays as NumPy's, after what CuPy checks."""
    for a in arrays:
        if not is_array(a):
            raise LinAlgError("cupy.linalg only supports cupy.ndarray")
        if a.ndim < 2:
            raise LinAlgError(f"{a.ndim}-dimensional array given. Array must be at least two-dimensional")
        if square and a.shape[-1] != a.shape[-2]:
            raise LinAlgError("Last 2 dimensions of the array must be square")
        if a.dtype == np.float16 and not takes_float16:
            raise TypeError("float16 is unsupported in linalg")
    launched(f"linalg.{name}", arrays[0].size)
    return [raw(a, f"linalg.{name}") for a in arrays]


@quietly
def each(function, a, *others):
    """Call for a stack of matrices; where NumPy gives up the result is NaN, as cuSOLVER's infinities become."""
    try:
        return function(a, *others)
    except LinAlgError:
        if a.ndim > 2:
            return np.stack([each(function, part, *(o[i] for o in others)) for i, part in enumerate(a)])
        return np.full((others or (a,))[0].shape, np.nan, a.dtype)


def solve(a, b):
    (left,) = matrices("solve", a, square=True)
    if not is_array(b):
        raise LinAlgError("cupy.linalg only supports cupy.ndarray")
    right = raw(b, "linalg.solve")
    if b.ndim == 0:
        raise ValueError("b must have at least one dimension")
    if b.ndim == 1:
        if a.shape[-1] != b.size:
            raise ValueError("a must have (..., M, M) shape and b must have (M,) for one-dimensional b")
        right = np.broadcast_to(right, a.shape[:-1])
        result = each(lambda m, v: np.linalg.solve(m, v[..., None])[..., 0], left, right)
    elif a.shape[:-1] != b.shape[:-1]:
        raise ValueError("a must have (..., M, M) shape and b must have (..., M, K) for multidimensional b")
    else:
        matrices("solve", b)
        result = each(np.linalg.solve, left, right)
    return wrap(result.astype(common_type(a, b), copy=False))


def inv(a):
    return wrap(each(np.linalg.inv, *matrices("inv", a, square=True)))


def cholesky(a):
    (values,) = matrices("cholesky", a, square=True)
    values = values.astype(common_type(a), copy=False)
    garbage = np.tril(values)  # where cuSOLVER finds that a matrix is not positive definite, it stops and says nothing

    def one(matrix):
        try:
            return np.linalg.cholesky(matrix)
        except LinAlgError:
            return np.tril(matrix)

    flat = values.reshape(-1, *values.shape[-2:])
    return wrap(np.stack([one(m) for m in flat]).reshape(values.shape) if values.size else garbage)


def slogdet(a):
    sign, logarithm = quietly(np.linalg.slogdet)(*matrices("slogdet", a, square=True))
    return wrap(sign), wrap(logarithm)


def det(a):
    sign, logarithm = slogdet(a)
    return sign * cupy.exp(logarithm)


def eigh(a, UPLO="L"):
    (values,) = matrices("eigh", a, square=True, takes_float16=True)
    kind = common_type(a)
    w, v = np.linalg.eigh(values.astype(np.result_type(kind, np.float32)), UPLO)
    return wrap(w.astype(kind.char.lower())), wrap(v.astype(kind))


def eigvalsh(a, UPLO="L"):
    return eigh(a, UPLO)[0]


def eig(a):
    (values,) = matrices("eig", a, square=True)
    kind = common_type(a)
    if not values.size:
        return cupy.empty(a.shape[:-1], kind), cupy.empty(a.shape, kind)  # real ones for a real matrix
    kind = np.result_type(kind, np.complex64)
    w, v = np.linalg.eig(values)
    return wrap(w.astype(kind)), wrap(v.astype(kind))


def eigvals(a):
    return eig(a)[0]


def svd(a, full_matrices=True, compute_uv=True):
    return wrapped(np.linalg.svd(*matrices("svd", a), full_matrices, compute_uv))


def qr(a, mode="reduced"):
    return wrapped(np.linalg.qr(*matrices("qr", a), mode))


def pinv(a, rcond=1e-15):
    return wrapped(np.linalg.pinv(*matrices("pinv", a), rcond))


def lstsq(a, b, rcond=None):
    return wrapped(np.linalg.lstsq(raw(a, "lstsq"), raw(b, "lstsq"), rcond))


def matmul(x1, x2, /):
    return cupy.matmul(x1, x2)


def matrix_transpose(x, /):
    return x.mT


def cross(x1, x2, /, *, axis=-1):
    return cupy.cross(x1, x2, axis=axis)


cond, matrix_power, matrix_rank, norm = (
    of_numpy(name, getattr(np.linalg, name), prefix="linalg.") for name in "cond matrix_power matrix_rank norm".split()
)
