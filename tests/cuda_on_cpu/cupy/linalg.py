"""CuPy's linear algebra: no broadcasting in `solve`, no float16, and no errors for what cannot be computed."""

import cupyx
import numpy as np
from numpy.linalg import LinAlgError

import cupy
from cupy._core import is_array, launched, of_numpy, quietly, raw, wrap, wrapped
from cupy._ledger import TO_HOST, note


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


def one_by_one(function, a, *others, failed):
    """Call for one matrix after another; where NumPy gives up, cuSOLVER's number says so, and a result there is."""
    batch = a.shape[:-2]
    stacks = [x.reshape(-1, *x.shape[len(batch) :]) for x in (a, *others)]
    results = [attempt(function, *parts, failed=failed) for parts in zip(*stacks, strict=True)]
    joined = [np.stack(parts).reshape(batch + parts[0].shape) for parts in zip(*results, strict=True)]
    if cupyx.linalg_is_checked():
        note(TO_HOST, "cuSOLVER's info")
    return joined


@quietly
def attempt(function, *matrices, failed):
    try:
        result = function(*matrices)
    except LinAlgError:
        if cupyx.linalg_is_checked():
            raise
        result = failed(*matrices)
    return result if isinstance(result, tuple) else (result,)


def infinite(a, b):
    """Return what back substitution does with a zero on the diagonal."""
    return np.full(b.shape, np.inf, np.result_type(a, b))


def solve(a, b):
    (left,) = matrices("solve", a, square=True)
    if not is_array(b):
        raise LinAlgError("cupy.linalg only supports cupy.ndarray")
    right = raw(b, "linalg.solve")
    if b.dtype == np.float16:
        raise TypeError("float16 is unsupported in linalg")
    if b.ndim == 0:
        raise ValueError("b must have at least one dimension")
    if b.ndim == 1:
        if a.shape[-1] != b.size:
            raise ValueError("a must have (..., M, M) shape and b must have (M,) for one-dimensional b")
        right = np.broadcast_to(right, a.shape[:-1])
    elif a.shape[:-1] != b.shape[:-1]:
        raise ValueError("a must have (..., M, M) shape and b must have (..., M, K) for multidimensional b")
    kind = common_type(a, b)
    if not left.size or not right.size:
        return cupy.empty(right.shape, kind)
    columns = right[..., None] if b.ndim == 1 else right
    (result,) = one_by_one(np.linalg.solve, left, columns, failed=infinite)
    return wrap(result.reshape(right.shape).astype(kind, copy=False))


def inv(a):
    (values,) = matrices("inv", a, square=True)
    if not values.size:
        return cupy.empty(a.shape, common_type(a))
    return wrap(one_by_one(np.linalg.inv, values, failed=lambda m: infinite(m, m))[0])


def cholesky(a):
    (values,) = matrices("cholesky", a, square=True)
    values = values.astype(common_type(a), copy=False)
    # Where cuSOLVER finds that a matrix is not positive definite it stops, and leaves what it has until then.
    return wrap(one_by_one(np.linalg.cholesky, values, failed=np.tril)[0]) if values.size else wrap(values.copy())


def slogdet(a):
    sign, logarithm = quietly(np.linalg.slogdet)(*matrices("slogdet", a, square=True))
    return wrap(sign), wrap(logarithm)


def det(a):
    sign, logarithm = slogdet(a)
    return sign * cupy.exp(logarithm)


def eigh(a, UPLO="L"):
    (values,) = matrices("eigh", a, square=True, takes_float16=True)
    kind = common_type(a)
    real = kind.char.lower()
    if not values.size:
        return cupy.empty(a.shape[:-1], real), cupy.empty(a.shape, kind)
    computed = values.astype(np.result_type(kind, np.float32))
    w, v = one_by_one(lambda m: tuple(np.linalg.eigh(m, UPLO)), computed, failed=lambda m: (m[0].real, m))
    return wrap(w.astype(real)), wrap(v.astype(kind))


def eigvalsh(a, UPLO="L"):
    return eigh(a, UPLO)[0]


def eig(a):
    (values,) = matrices("eig", a, square=True)
    kind = common_type(a)
    if not values.size:
        return cupy.empty(a.shape[:-1], kind), cupy.empty(a.shape, kind)  # real ones for a real matrix
    kind = np.result_type(kind, np.complex64)
    w, v = one_by_one(lambda m: tuple(np.linalg.eig(m)), values, failed=lambda m: (m[0], m))
    return wrap(w.astype(kind)), wrap(v.astype(kind))


def eigvals(a):
    return eig(a)[0]


def svd(a, full_matrices=True, compute_uv=True):
    (values,) = matrices("svd", a)
    if not values.size:
        return wrapped(np.linalg.svd(values, full_matrices, compute_uv))
    results = one_by_one(
        lambda m: tuple(np.linalg.svd(m, full_matrices)) if compute_uv else np.linalg.svd(m, compute_uv=False),
        values,
        failed=lambda m: tuple(np.linalg.svd(np.ones_like(m), full_matrices)) if compute_uv else np.ones(min(m.shape)),
    )
    return tuple(map(wrap, results)) if compute_uv else wrap(results[0])


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
