"""Every differentiable function of JAX's namespaces, with arguments at which it has a derivative.

`n` is the numpy namespace and `m` the root, gradkit's or JAX's, so that one text serves both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from parity.distributions import DISTRIBUTIONS
from parity.operations import OPERATIONS

__all__ = ["CASES", "DIFFERENT", "WITHOUT_JAX", "Case"]

rng = np.random.default_rng(42)
M = (3, 3)


@dataclass(frozen=True, eq=False)
class Case:
    """A function as text over a module, and its arguments: shapes of random numbers, or arrays."""

    name: str
    call: Callable[[Any], Callable[..., Any]]
    shapes: tuple[Any, ...] = (M,)
    interval: tuple[float, float] = (0.2, 0.9)

    def arguments(self) -> list[np.ndarray]:
        """Return the arguments: the same at every call."""
        source = np.random.default_rng(sum(map(ord, self.name)))
        return [
            source.uniform(*self.interval, size=shape) if isinstance(shape, tuple) else np.asarray(shape)
            for shape in self.shapes
        ]


def function_at(path: str) -> Callable[[Any], Callable[..., Any]]:
    """Return what finds the function of a dotted name under the root."""

    def find(m: Any) -> Any:
        for part in path.split("."):
            m = getattr(m, part)
        return m

    return find


UNARY = {
    "numpy": """abs absolute acos acosh amax amin angle arccos arccosh arcsin arcsinh arctan arctanh around array asarray asin
        asinh atan atanh atleast_1d atleast_2d atleast_3d average cbrt ceil clip conj conjugate copy corrcoef cos cosh
        cov cumprod cumsum deg2rad degrees diag diagflat diagonal diff ediff1d exp exp2 expm1 fabs flip fliplr flipud
        floor i0 imag log log10 log1p log2 matrix_transpose max mean median min nan_to_num nancumprod
        nancumsum nanmax nanmean nanmedian nanmin nanprod nanstd nansum nanvar negative positive prod ptp rad2deg radians
        ravel real reciprocal rint rot90 round sign sin sinc sinh sort sqrt square squeeze std sum tan tanh trace
        transpose trapezoid tril triu trunc unwrap var gradient hstack vstack stack concatenate column_stack block
        dstack""",
    "numpy.linalg": "cholesky cond det diagonal eigh eigvalsh inv matrix_norm matrix_transpose norm pinv qr slogdet svd "
    "svdvals trace vector_norm",
    "numpy.fft": "fft fft2 fftn fftshift hfft ifft ifft2 ifftn ifftshift ihfft irfft irfft2 irfftn rfft rfft2 rfftn",
    "nn": """celu elu gelu hard_sigmoid hard_silu hard_swish hard_tanh identity leaky_relu log_sigmoid log_softmax
        logsumexp mish relu relu6 selu sigmoid silu soft_sign softmax softplus sparse_plus sparse_sigmoid squareplus
        standardize swish tanh glu""",
    "scipy.special": """digamma entr erf erfc erfinv exp1 expi expit factorial gamma gammaln i0 i0e i1 i1e log_ndtr
        log_softmax logit logsumexp ndtr ndtri softmax spence""",
    "scipy.linalg": "block_diag cholesky det eigh expm inv lu qr svd",
    "lax": """abs acos acosh asin asinh atan atanh bessel_i0e bessel_i1e cbrt ceil conj cos cosh cumlogsumexp cummax
        cummin cumprod cumsum digamma erf erf_inv erfc exp exp2 expm1 floor lgamma log log1p logistic neg
        reciprocal round rsqrt sign sin sinh sort sqrt square stop_gradient tan tanh""",
}
BINARY = {
    "numpy": """add append arctan2 atan2 copysign cross divide dot float_power fmax fmin fmod heaviside hypot inner
        kron linspace logaddexp logaddexp2 logspace geomspace matmul maximum minimum mod multiply outer polyadd polysub
        polyval pow power remainder subtract tensordot true_divide vdot vecdot""",
    "numpy.linalg": "cross matmul solve tensordot vecdot",
    "scipy.special": "beta betaln gammainc gammaincc rel_entr xlog1py xlogy kl_div",
    "scipy.linalg": "solve",
    "lax": "add atan2 batch_matmul complex div dot igamma igammac max min mul pow rem sub",
}
ABOVE_ONE = {"acosh", "arccosh"}
LAST_AXIS_EVEN = {"glu"}
SYMMETRIC = {
    "numpy.linalg.cholesky",
    "numpy.linalg.eigh",
    "numpy.linalg.eigvalsh",
    "scipy.linalg.cholesky",
    "scipy.linalg.eigh",
}
VECTORS = {"numpy.polyval": ((4,), (3,)), "numpy.polyadd": ((4,), (3,)), "numpy.polysub": ((4,), (3,))}
LISTS = {"hstack", "vstack", "stack", "concatenate", "column_stack", "dstack", "gradient"}


def _positive_definite(find: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def of_root(m: Any) -> Any:
        n = m.numpy
        return lambda x: find(m)(x @ n.swapaxes(x, -1, -2) + 2.0 * n.eye(3) + n.diag(n.arange(3.0)))

    return of_root


def _vectors_of(find: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function of the eigenvalues and of the vectors' squares, which have no sign to differ in."""

    def of_root(m: Any) -> Any:
        def function(x: Any) -> Any:
            w, v = find(m)(x)
            return w, abs(v) ** 2

        return function

    return of_root


def _svd(find: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def of_root(m: Any) -> Any:
        def function(x: Any) -> Any:
            u, s, vh = find(m)(x, full_matrices=False)
            return abs(u) ** 2, s, abs(vh) ** 2

        return function

    return of_root


def _listed(find: Callable[[Any], Any], name: str) -> Callable[[Any], Any]:
    if name == "gradient":
        return find
    return lambda m: lambda x: find(m)([x, x * x])


def _simple() -> list[Case]:
    cases = []
    for arity, table in ((1, UNARY), (2, BINARY)):
        for module, names in table.items():
            for name in names.split():
                path = f"{module}.{name}"
                find = function_at(path)
                interval = (1.1, 2.0) if name in ABOVE_ONE else (0.2, 0.9)
                shapes: tuple[Any, ...] = VECTORS.get(path, (M,) * arity)
                if name in LAST_AXIS_EVEN:
                    shapes = ((3, 4),)
                if name in LISTS:
                    find = _listed(find, name)
                if name == "eigh":
                    find = _vectors_of(find)
                if path in ("numpy.linalg.svd", "scipy.linalg.svd"):
                    find = _svd(find)
                if path in SYMMETRIC:
                    find = _positive_definite(find)
                cases.append(Case(path, find, shapes, interval))
    return cases


INDEX = np.asarray([2, 0, 2])
# (name, text over the root, shapes)
SPECIAL: list[tuple[str, Callable[[Any], Callable[..., Any]], tuple[Any, ...]]] = [
    ("numpy.apply_along_axis", lambda m: lambda x: m.numpy.apply_along_axis(lambda v: v * v.sum(), 0, x), (M,)),
    ("numpy.apply_over_axes", lambda m: lambda x: m.numpy.apply_over_axes(m.numpy.sum, x, [0]), (M,)),
    ("numpy.array_split", lambda m: lambda x: m.numpy.array_split(x, 2), (M,)),
    ("numpy.astype", lambda m: lambda x: m.numpy.astype(x * x, "float64"), (M,)),
    ("numpy.bincount", lambda m: lambda w: m.numpy.bincount(m.numpy.asarray(INDEX), w, length=4), ((3,),)),
    ("numpy.broadcast_to", lambda m: lambda x: m.numpy.broadcast_to(x, (2, 3, 3)), (M,)),
    ("numpy.choose", lambda m: lambda x: m.numpy.choose(m.numpy.asarray([0, 1, 0]), [x[0], x[1]]), (M,)),
    ("numpy.compress", lambda m: lambda x: m.numpy.compress(np.asarray([True, False, True]), x, axis=0), (M,)),
    ("numpy.convolve", lambda m: m.numpy.convolve, ((5,), (3,))),
    ("numpy.convolve same", lambda m: lambda x, y: m.numpy.convolve(x, y, mode="same"), ((5,), (3,))),
    ("numpy.correlate", lambda m: lambda x, y: m.numpy.correlate(x, y, mode="full"), ((5,), (3,))),
    ("numpy.cumulative_prod", lambda m: lambda x: m.numpy.cumulative_prod(x, axis=1), (M,)),
    ("numpy.cumulative_sum", lambda m: lambda x: m.numpy.cumulative_sum(x, axis=1, include_initial=True), (M,)),
    ("numpy.delete", lambda m: lambda x: m.numpy.delete(x, 1, axis=0), (M,)),
    ("numpy.dsplit", lambda m: lambda x: m.numpy.dsplit(x, 2), ((2, 2, 4),)),
    ("numpy.einsum", lambda m: lambda x, y: m.numpy.einsum("ij,kj->ik", x, y), (M, M)),
    ("numpy.einsum trace", lambda m: lambda x, y: m.numpy.einsum("ii,jk,kj->j", x, x, y), (M, M)),
    ("numpy.einsum ellipsis", lambda m: lambda x, y: m.numpy.einsum("...i,...i", x, y), (M, M)),
    ("numpy.expand_dims", lambda m: lambda x: m.numpy.expand_dims(x, 1), (M,)),
    ("numpy.fill_diagonal", lambda m: lambda x: m.numpy.fill_diagonal(x, 0.5, inplace=False), (M,)),
    ("numpy.full", lambda m: lambda x: m.numpy.full((2,), x), ((),)),
    ("numpy.full_like", lambda m: lambda x, y: m.numpy.full_like(x, y), (M, ())),
    ("numpy.hsplit", lambda m: lambda x: m.numpy.hsplit(x, 3), (M,)),
    ("numpy.vsplit", lambda m: lambda x: m.numpy.vsplit(x, 3), (M,)),
    ("numpy.split", lambda m: lambda x: m.numpy.split(x, [1]), (M,)),
    ("numpy.insert", lambda m: lambda x, y: m.numpy.insert(x, 1, y, axis=0), (M, (3,))),
    ("numpy.interp", lambda m: lambda x, y: m.numpy.interp(x, np.asarray([0.0, 0.5, 1.0]), y), ((4,), (3,))),
    ("numpy.ldexp", lambda m: lambda x: m.numpy.ldexp(x, m.numpy.asarray(3)), (M,)),
    ("numpy.matvec", lambda m: m.numpy.matvec, (M, (3,))),
    ("numpy.vecmat", lambda m: m.numpy.vecmat, ((3,), M)),
    ("numpy.meshgrid", lambda m: m.numpy.meshgrid, ((3,), (2,))),
    ("numpy.moveaxis", lambda m: lambda x: m.numpy.moveaxis(x, 0, 1), (M,)),
    ("numpy.rollaxis", lambda m: lambda x: m.numpy.rollaxis(x, 1), (M,)),
    ("numpy.swapaxes", lambda m: lambda x: m.numpy.swapaxes(x, 0, 1), (M,)),
    ("numpy.permute_dims", lambda m: lambda x: m.numpy.permute_dims(x, (1, 0)), (M,)),
    ("numpy.nanpercentile", lambda m: lambda x: m.numpy.nanpercentile(x, 30.0), (M,)),
    ("numpy.nanquantile", lambda m: lambda x: m.numpy.nanquantile(x, 0.3), (M,)),
    ("numpy.percentile", lambda m: lambda x: m.numpy.percentile(x, 30.0, axis=0), (M,)),
    ("numpy.quantile", lambda m: lambda x: m.numpy.quantile(x, 0.3, axis=1), (M,)),
    *(
        (
            f"numpy.pad {mode}",
            lambda m, mode=mode, options=options: lambda x: m.numpy.pad(x, ((1, 2), (0, 1)), mode=mode, **options),
            (M,),
        )
        for mode, options in {
            "constant": {"constant_values": 2.0},
            "edge": {},
            "reflect": {},
            "symmetric": {},
            "wrap": {},
            "linear_ramp": {},
            "mean": {},
            "maximum": {},
            "minimum": {},
        }.items()
    ),
    ("numpy.partition", lambda m: lambda x: m.numpy.sort(m.numpy.partition(x, 1)[..., :1]), (M,)),
    ("numpy.piecewise", lambda m: lambda x: m.numpy.piecewise(x, [x < 0.5, x >= 0.5], [m.numpy.sin, m.numpy.cos]), (M,)),
    ("numpy.polyder", lambda m: m.numpy.polyder, ((4,),)),
    ("numpy.polyint", lambda m: m.numpy.polyint, ((4,),)),
    ("numpy.polymul", lambda m: m.numpy.polymul, ((4,), (3,))),
    ("numpy.polydiv", lambda m: m.numpy.polydiv, ((4,), (3,))),
    ("numpy.polyfit", lambda m: lambda y: m.numpy.polyfit(m.numpy.arange(5.0), y, 2), ((5,),)),
    ("numpy.put_along_axis", lambda m: lambda x, v: m.numpy.put_along_axis(x, m.numpy.asarray([[0], [2], [1]]), v, 1, inplace=False), (M, (3, 1))),
    ("numpy.repeat", lambda m: lambda x: m.numpy.repeat(x, 2, axis=1), (M,)),
    ("numpy.reshape", lambda m: lambda x: m.numpy.reshape(x, (9, 1)), (M,)),
    ("numpy.resize", lambda m: lambda x: m.numpy.resize(x, (4, 3)), (M,)),
    ("numpy.roll", lambda m: lambda x: m.numpy.roll(x, 2, axis=0), (M,)),
    ("numpy.select", lambda m: lambda x, y: m.numpy.select([x < y, x > 2 * y], [x * x, y], 0.5), (M, M)),
    ("numpy.take", lambda m: lambda x: m.numpy.take(x, m.numpy.asarray(INDEX), axis=1), (M,)),
    ("numpy.take_along_axis", lambda m: lambda x: m.numpy.take_along_axis(x, m.numpy.asarray([[0, 2], [1, 1], [2, 0]]), 1), (M,)),
    ("numpy.tile", lambda m: lambda x: m.numpy.tile(x, (2, 1)), (M,)),
    ("numpy.unstack", lambda m: lambda x: m.numpy.unstack(x), (M,)),
    ("numpy.vander", lambda m: lambda x: m.numpy.vander(x, 4), ((3,),)),
    ("numpy.vectorize", lambda m: m.numpy.vectorize(lambda v, w: v @ w, signature="(k),(k)->()"), (M, M)),
    ("numpy.where", lambda m: lambda x, y: m.numpy.where(x > 0.5, x * y, y), (M, M)),
    ("numpy.histogram weights", lambda m: lambda w: m.numpy.histogram(m.numpy.asarray([0.1, 0.5, 0.7]), 4, weights=w)[0], ((3,),)),
    ("numpy.nansum of NaN", lambda m: lambda x: m.numpy.nansum(m.numpy.where(x > 0.5, m.numpy.nan, x), axis=0), (M,)),
    ("numpy.std ddof", lambda m: lambda x: m.numpy.std(x, axis=0, ddof=1), (M,)),
    ("numpy.var where", lambda m: lambda x: m.numpy.var(x, axis=1, keepdims=True), (M,)),
    ("numpy.sum where", lambda m: lambda x: m.numpy.sum(x, axis=0, where=x > 0.4, initial=2.0), (M,)),
    ("numpy.max initial", lambda m: lambda x: m.numpy.max(x, axis=0, initial=0.5), (M,)),
    ("numpy.cross 2d", lambda m: lambda x, y: m.numpy.cross(x, y), ((3,), (3,))),
    ("numpy.trapezoid x", lambda m: lambda y, x: m.numpy.trapezoid(y, x), ((3,), (3,))),
    *(
        (
            f"numpy.ndarray.at.{method}",
            lambda m, method=method: lambda x, v: getattr(x.at[m.numpy.asarray([2, 0])], method)(v, unique_indices=True),
            (M, (2, 3)),
        )
        for method in ("set", "add", "multiply", "divide", "power", "min", "max")
    ),
    ("numpy.ndarray.at.get", lambda m: lambda x: x.at[m.numpy.asarray([2, 0]), 1].get(), (M,)),
    ("numpy.ndarray.__getitem__", lambda m: lambda x: x[::-2, m.numpy.asarray([0, 2])], (M,)),
    ("numpy.linalg.matrix_power", lambda m: lambda x: m.numpy.linalg.matrix_power(x, 3), (M,)),
    ("numpy.linalg.matrix_power inverse", lambda m: lambda x: m.numpy.linalg.matrix_power(x, -2), (M,)),
    ("numpy.linalg.multi_dot", lambda m: lambda x, y: m.numpy.linalg.multi_dot([x, y, x]), (M, M)),
    ("numpy.linalg.outer", lambda m: m.numpy.linalg.outer, ((3,), (2,))),
    ("numpy.linalg.tensorinv", lambda m: lambda x: m.numpy.linalg.tensorinv(x, ind=1), ((4, 2, 2),)),
    ("numpy.linalg.tensorsolve", lambda m: m.numpy.linalg.tensorsolve, ((4, 2, 2), (4,))),
    ("numpy.linalg.lstsq", lambda m: lambda x, y: m.numpy.linalg.lstsq(x, y)[0], ((4, 3), (4,))),
    *((f"numpy.linalg.norm ord={o}", lambda m, o=o: lambda x: m.numpy.linalg.norm(x, ord=o), (M,)) for o in (1, 2, -2, "fro", "nuc", np.inf)),
    *((f"numpy.linalg.vector_norm ord={o}", lambda m, o=o: lambda x: m.numpy.linalg.vector_norm(x, ord=o), ((4,),)) for o in (1, 2, 3, np.inf)),
    ("numpy.linalg.qr wide", lambda m: lambda x: m.numpy.linalg.qr(x, mode="r"), ((4, 3),)),
    ("numpy.linalg.svdvals tall", lambda m: lambda x: m.numpy.linalg.svdvals(x), ((4, 2),)),
    ("numpy.linalg.pinv tall", lambda m: m.numpy.linalg.pinv, ((4, 2),)),
    ("nn.one_hot x", lambda m: lambda x: m.nn.one_hot(m.numpy.asarray([1, 0, 2]), 3) @ x, (M,)),
    ("nn.dot_product_attention", lambda m: m.nn.dot_product_attention, ((1, 4, 2, 3), (1, 4, 2, 3), (1, 4, 2, 3))),
    ("nn.gelu exact", lambda m: lambda x: m.nn.gelu(x, approximate=False), (M,)),
    ("nn.softmax axis", lambda m: lambda x: m.nn.softmax(x, axis=0), (M,)),
    ("scipy.special.betainc", lambda m: lambda x: m.scipy.special.betainc(2.0, 3.0, x), (M,)),
    ("scipy.special.polygamma", lambda m: lambda x: m.scipy.special.polygamma(2, x), (M,)),
    ("scipy.special.zeta", lambda m: lambda q: m.scipy.special.zeta(3.0, q), (M,)),
    ("scipy.special.multigammaln", lambda m: lambda x: m.scipy.special.multigammaln(x + 3.0, 2), (M,)),
    ("scipy.special.expn", lambda m: lambda x: m.scipy.special.expn(2, x), (M,)),
    ("scipy.special.poch", lambda m: lambda x: m.scipy.special.poch(x, 2.5), (M,)),
    ("scipy.linalg.solve_triangular", lambda m: lambda x, y: m.scipy.linalg.solve_triangular(x, y, lower=True), (M, M)),
    ("scipy.linalg.cho_solve", lambda m: lambda x, y: m.scipy.linalg.cho_solve(m.scipy.linalg.cho_factor(x @ x.T + 2 * m.numpy.eye(3)), y), (M, (3,))),
    ("lax.betainc", lambda m: lambda x: m.lax.betainc(m.numpy.full_like(x, 2.0), m.numpy.full_like(x, 3.0), x), (M,)),
    ("lax.broadcast", lambda m: lambda x: m.lax.broadcast(x, (2,)), (M,)),
    ("lax.broadcast_in_dim", lambda m: lambda x: m.lax.broadcast_in_dim(x, (3, 2, 3), (0, 2)), (M,)),
    ("lax.clamp", lambda m: lambda x: m.lax.clamp(0.3, x, 0.7), (M,)),
    ("lax.collapse", lambda m: lambda x: m.lax.collapse(x, 0, 2), (M,)),
    ("lax.concatenate", lambda m: lambda x, y: m.lax.concatenate([x, y], 1), (M, M)),
    ("lax.conv", lambda m: lambda x, w: m.lax.conv(x, w, (1, 1), "SAME"), ((1, 2, 4, 4), (3, 2, 3, 3))),
    ("lax.conv_general_dilated", lambda m: lambda x, w: m.lax.conv_general_dilated(x, w, (2, 1), [(1, 0), (2, 1)], lhs_dilation=(1, 2), rhs_dilation=(2, 1), dimension_numbers=("NHWC", "HWIO", "NHWC")), ((1, 5, 4, 2), (2, 3, 2, 3))),
    ("lax.conv groups", lambda m: lambda x, w: m.lax.conv_general_dilated(x, w, (1,), "VALID", feature_group_count=2), ((1, 4, 5), (4, 2, 3))),
    ("lax.conv_transpose", lambda m: lambda x, w: m.lax.conv_transpose(x, w, (2, 2), "SAME"), ((1, 3, 3, 2), (2, 2, 2, 3))),
    ("lax.convert_element_type", lambda m: lambda x: m.lax.convert_element_type(x * 2, np.float64), (M,)),
    ("lax.dot_general", lambda m: lambda x, y: m.lax.dot_general(x, y, (((1,), (2,)), ((0,), (0,)))), ((2, 3, 4), (2, 5, 3))),
    ("lax.dynamic_slice", lambda m: lambda x: m.lax.dynamic_slice(x, (1, 2), (2, 2)), ((4, 4),)),
    ("lax.dynamic_slice_in_dim", lambda m: lambda x: m.lax.dynamic_slice_in_dim(x, 1, 2), ((4, 4),)),
    ("lax.dynamic_index_in_dim", lambda m: lambda x: m.lax.dynamic_index_in_dim(x, 1), ((4, 4),)),
    ("lax.dynamic_update_slice", lambda m: lambda x, u: m.lax.dynamic_update_slice(x, u, (1, 2)), ((4, 4), (2, 2))),
    ("lax.expand_dims", lambda m: lambda x: m.lax.expand_dims(x, (1,)), (M,)),
    ("lax.imag real", lambda m: lambda x: m.lax.real(m.lax.complex(x, x * x)) + m.lax.imag(m.lax.complex(x, x * x)), (M,)),
    ("lax.index_in_dim", lambda m: lambda x: m.lax.index_in_dim(x, 1), (M,)),
    ("lax.integer_pow", lambda m: lambda x: m.lax.integer_pow(x, 3), (M,)),
    ("lax.pad", lambda m: lambda x, v: m.lax.pad(x, v, [(1, 2, 1), (-1, 1, 0)]), (M, ())),
    ("lax.reduce_sum", lambda m: lambda x: m.lax.reduce_sum(x, axes=(0,)), (M,)),
    ("lax.reduce_max", lambda m: lambda x: m.lax.reduce_max(x, axes=(0,)), (M,)),
    ("lax.reduce_prod", lambda m: lambda x: m.lax.reduce_prod(x, axes=(0,)), (M,)),
    ("lax.reduce_window max", lambda m: lambda x: m.lax.reduce_window(x, -np.inf, m.lax.max, (2, 2), (1, 1), "VALID"), (M,)),
    ("lax.reduce_window sum", lambda m: lambda x: m.lax.reduce_window(x, 0.0, m.lax.add, (2, 2), (2, 1), "SAME"), (M,)),
    ("lax.reshape", lambda m: lambda x: m.lax.reshape(x, (9,)), (M,)),
    ("lax.rev", lambda m: lambda x: m.lax.rev(x, (0,)), (M,)),
    ("lax.select", lambda m: lambda x, y: m.lax.select(x > y, x * y, y), (M, M)),
    ("lax.select_n", lambda m: lambda x, y: m.lax.select_n(x > y, x * y, y), (M, M)),
    ("lax.slice", lambda m: lambda x: m.lax.slice(x, (0, 1), (3, 3), (2, 1)), (M,)),
    ("lax.slice_in_dim", lambda m: lambda x: m.lax.slice_in_dim(x, 0, 3, 2, axis=1), (M,)),
    ("lax.sort_key_val", lambda m: lambda k, v: m.lax.sort_key_val(k, v), ((4,), (4,))),
    ("lax.squeeze", lambda m: lambda x: m.lax.squeeze(x, (1,)), ((3, 1, 2),)),
    ("lax.top_k", lambda m: lambda x: m.lax.top_k(x, 2)[0], (M,)),
    ("lax.transpose", lambda m: lambda x: m.lax.transpose(x, (1, 0)), (M,)),
    ("lax.associative_scan", lambda m: lambda x: m.lax.associative_scan(m.numpy.multiply, x), ((5, 2),)),
    ("lax.cond", lambda m: lambda x: m.lax.cond(True, m.numpy.sin, m.numpy.cos, x), (M,)),
    ("lax.map", lambda m: lambda x: m.lax.map(m.numpy.sin, x), (M,)),
    ("lax.scan", lambda m: lambda x: m.lax.scan(lambda c, r: (c * r, c), x[0], x), (M,)),
    ("lax.fori_loop", lambda m: lambda x: m.lax.scan(lambda v, i: (m.numpy.sin(v) * i, None), x, m.numpy.arange(1.0, 3.0))[0], (M,)),
]  # fmt: skip

CASES: list[Case] = [*_simple(), *(Case(*special) for special in (*SPECIAL, *OPERATIONS, *DISTRIBUTIONS))]
DIFFERENT: dict[tuple[str, str], str] = {
    (f"numpy.{name}", measure): "JAX computes with the values alone and gives a derivative of 0"
    for name in ("unique", "unique_values", "union1d", "setdiff1d", "intersect1d", "setxor1d")
    for measure in ("reverse", "forward")
}
"""Results that are not JAX's, by the name of the case and what is compared; with the reason."""
NO_RULE = "JAX has no rule for it"
LOOP = "JAX has no reverse mode of loops whose length is not known"
VALUES = "JAX's vmap needs the size of the result beforehand"
FLOAT0 = "an error inside JAX 0.10.2: a float0 is multiplied"
DERIVATIVES = ("reverse", "forward", "second order")
WITHOUT_JAX: dict[tuple[str, str], str] = {
    **{
        (name, "second order"): "igamma_grad_a has no derivative in JAX"
        for name in ("scipy.special.gammainc", "scipy.special.gammaincc", "lax.igamma", "lax.igammac")
    },
    ("scipy.stats.gennorm.cdf", "second order"): "igamma_grad_a has no derivative in JAX",
    **{(name, "second order"): "an error inside JAX 0.10.2" for name in ("scipy.special.exp1", "scipy.special.expn")},
    **{(f"lax.{name}", m): NO_RULE for name in ("zeta", "pmax", "pmin", "linalg.symmetric_product") for m in DERIVATIVES},
    **{
        (name, m): LOOP
        for name in ("lax.while_loop", "scipy.linalg.polar")
        for m in ("reverse", "second order")
    },
    **{(f"numpy.{name}", "second order"): "JAX differentiates eigenvectors on demand alone" for name in ("linalg.eigvals", "roots")},
    **{
        (f"numpy.{name}", "vmap"): VALUES
        for name in ("trim_zeros", "unique", "unique_values", "union1d", "setdiff1d", "intersect1d", "setxor1d")
    },
    **{(f"scipy.stats.{name}", m): FLOAT0 for name in ("gumbel_l.pdf", "gumbel_l.logpdf", "gumbel_l.ppf", "gumbel_r.pdf", "gumbel_r.logpdf", "gumbel_r.ppf") for m in DERIVATIVES},
    ("scipy.stats.expon.logcdf", "forward"): "NaN in JAX left of the support",
    ("scipy.stats.poisson.entropy", "forward"): "NaN in JAX, from the branch that is not taken",
}  # fmt: skip
"""Results that JAX itself does not give; with its reason."""
