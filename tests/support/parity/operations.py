"""Functions that take more than arrays of floating numbers: of lax, of lax.linalg and of SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["OPERATIONS"]

M = (3, 3)
INDEX = np.asarray([[2], [0]])


def _definite(m: Any, x: Any) -> Any:
    return x @ m.numpy.swapaxes(x, -1, -2) + 2.0 * m.numpy.eye(3) + m.numpy.diag(m.numpy.arange(3.0))


def _scatter(name: str) -> Any:
    def of_root(m: Any) -> Any:
        numbers = m.lax.ScatterDimensionNumbers(
            update_window_dims=(1,), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0,)
        )
        return lambda x, u: getattr(m.lax, name)(x, m.numpy.asarray(INDEX), u, numbers, unique_indices=True)

    return of_root


def _gather(m: Any) -> Any:
    numbers = m.lax.GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0,))
    return lambda x: m.lax.gather(x, m.numpy.asarray(INDEX), numbers, (1, 3))


def _collective(name: str, *options: Any) -> Any:
    return lambda m: m.vmap(lambda r: getattr(m.lax, name)(m.numpy.sin(r), "i", *options), axis_name="i")


def _squares(m: Any, x: Any, parts: Any) -> Any:
    """Return the squares of vectors, which have no sign to differ in."""
    return [abs(part) ** 2 for part in parts]


def _lax(name: str, *options: Any, **more: Any) -> Any:
    return lambda m: lambda *args: getattr(m.lax, name)(*args, *options, **more)


LAX: list[tuple[str, Any, tuple[Any, ...]]] = [
    ("broadcast_to_rank", _lax("broadcast_to_rank", rank=3), (M,)),
    ("conv_with_general_padding", _lax("conv_with_general_padding", (1, 1), [(1, 0), (0, 1)], (1, 1), (1, 1)), ((1, 2, 4, 4), (3, 2, 2, 2))),
    ("conv_general_dilated_local", _lax("conv_general_dilated_local", (1,), "VALID", (2,)), ((1, 2, 4), (3, 4, 3))),
    ("conv_general_dilated_patches", _lax("conv_general_dilated_patches", (2, 2), (1, 1), "VALID"), ((1, 2, 4, 4),)),
    ("dynamic_update_index_in_dim", _lax("dynamic_update_index_in_dim", 1, 0), (M, (3,))),
    ("dynamic_update_slice_in_dim", _lax("dynamic_update_slice_in_dim", 1, 0), (M, (2, 3))),
    ("fft", lambda m: lambda x: m.lax.fft(m.lax.complex(x, x * x), "FFT", (3,)), (M,)),
    ("full_like", lambda m: lambda x, y: m.lax.full_like(x, y), (M, ())),
    ("full", lambda m: lambda y: m.lax.full((2, 2), y), ((),)),
    ("gather", _gather, (M,)),
    ("index_take", lambda m: lambda x: m.lax.index_take(x, (m.numpy.asarray([2, 0]),), (0,)), (M,)),
    ("optimization_barrier", _lax("optimization_barrier"), (M,)),
    ("polygamma", lambda m: lambda x: m.lax.polygamma(m.numpy.full_like(x, 2.0), x), (M,)),
    ("real", lambda m: lambda x: m.lax.real(m.lax.complex(x, x * x)), (M,)),
    ("reduce", lambda m: lambda x: m.lax.reduce(x, 0.0, m.lax.add, (0,)), (M,)),
    ("reduce_min", _lax("reduce_min", axes=(0,)), (M,)),
    ("reduce_precision", _lax("reduce_precision", 11, 52), (M,)),
    *((name, _scatter(name), (M, (2, 3))) for name in ("scatter", "scatter_add", "scatter_sub", "scatter_mul", "scatter_min", "scatter_max")),
    ("split", _lax("split", (1, 2), axis=0), (M,)),
    ("stack", lambda m: lambda x, y: m.lax.stack([x, y], 1), (M, M)),
    ("switch", lambda m: lambda x: m.lax.switch(1, [m.numpy.sin, m.numpy.cos], x), (M,)),
    ("tile", _lax("tile", (2, 1)), (M,)),
    ("unstack", _lax("unstack"), (M,)),
    ("approx_max_k", lambda m: lambda x: m.lax.approx_max_k(x, 2)[0], (M,)),
    ("approx_min_k", lambda m: lambda x: m.lax.approx_min_k(x, 2)[0], (M,)),
    ("zeta", lambda m: lambda q: m.lax.zeta(m.numpy.full_like(q, 3.0), q), (M,)),
    ("while_loop", lambda m: lambda x: m.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, m.numpy.sin(s[1])), (0, x))[1], (M,)),
    ("psum", _collective("psum"), (M,)),
    ("pmean", _collective("pmean"), (M,)),
    ("pmax", _collective("pmax"), (M,)),
    ("pmin", _collective("pmin"), (M,)),
    ("all_gather", _collective("all_gather"), (M,)),
    ("ppermute", _collective("ppermute", [(0, 1), (1, 2), (2, 0)]), (M,)),
]  # fmt: skip

LINEAR_ALGEBRA: list[tuple[str, Any, tuple[Any, ...]]] = [
    ("lax.linalg.cholesky", lambda m: lambda x: m.lax.linalg.cholesky(_definite(m, x)), (M,)),
    ("lax.linalg.eigh", lambda m: lambda x: _squares(m, x, m.lax.linalg.eigh(_definite(m, x))), (M,)),
    ("lax.linalg.lu", lambda m: lambda x: m.lax.linalg.lu(x)[0], (M,)),
    ("lax.linalg.qr", lambda m: lambda x: m.lax.linalg.qr(x, full_matrices=False), (M,)),
    ("lax.linalg.svd", lambda m: lambda x: _squares(m, x, m.lax.linalg.svd(x, full_matrices=False)), (M,)),
    ("lax.linalg.symmetric_product", lambda m: lambda x, c: m.lax.linalg.symmetric_product(x, c + c.T, alpha=2.0, beta=0.5), (M, M)),
    ("lax.linalg.triangular_solve", lambda m: lambda a, b: m.lax.linalg.triangular_solve(a, b, left_side=True, lower=True), (M, M)),
    ("lax.linalg.tridiagonal_solve", lambda m: lambda a, b, c, d: m.lax.linalg.tridiagonal_solve(a, b + 3.0, c, d), ((4,), (4,), (4,), (4, 2))),
    ("numpy.linalg.eigvals", lambda m: lambda x: m.numpy.sort_complex(m.numpy.linalg.eigvals(x + m.numpy.diag(m.numpy.arange(0.0, 6.0, 2.0)))), (M,)),
    ("scipy.linalg.cho_factor", lambda m: lambda x: m.numpy.tril(m.scipy.linalg.cho_factor(_definite(m, x), lower=True)[0]), (M,)),
    ("scipy.linalg.lu_factor", lambda m: lambda x: m.scipy.linalg.lu_factor(x)[0], (M,)),
    ("scipy.linalg.lu_solve", lambda m: lambda x, y: m.scipy.linalg.lu_solve(m.scipy.linalg.lu_factor(x), y), (M, (3,))),
    ("scipy.linalg.expm_frechet", lambda m: lambda x, e: m.scipy.linalg.expm_frechet(x, e), (M, M)),
    ("scipy.linalg.polar", lambda m: lambda x: m.scipy.linalg.polar(x), (M,)),
    ("scipy.linalg.toeplitz", lambda m: lambda c, r: m.scipy.linalg.toeplitz(c, r), ((3,), (4,))),
]  # fmt: skip

SCIPY_SPECIAL: list[tuple[str, Any, tuple[Any, ...]]] = [
    ("boxcox", lambda m: m.scipy.special.boxcox, (M, M)),
    ("boxcox1p", lambda m: m.scipy.special.boxcox1p, (M, M)),
    ("comb", lambda m: lambda n, k: m.scipy.special.comb(n + 4.0, k + 1.0), (M, M)),
    ("dawsn", lambda m: m.scipy.special.dawsn, (M,)),
    ("erfcx", lambda m: m.scipy.special.erfcx, (M,)),
    ("fresnel", lambda m: m.scipy.special.fresnel, (M,)),
    ("gammasgn", lambda m: m.scipy.special.gammasgn, (M,)),
    ("hyp1f1", lambda m: lambda x: m.scipy.special.hyp1f1(0.7, 1.9, x), (M,)),
    ("hyp2f1", lambda m: lambda x: m.scipy.special.hyp2f1(0.7, 1.2, 2.3, x), (M,)),
    ("loggamma", lambda m: m.scipy.special.loggamma, (M,)),
    ("owens_t", lambda m: m.scipy.special.owens_t, (M, M)),
    ("sici", lambda m: m.scipy.special.sici, (M,)),
]

NUMPY: list[tuple[str, Any, tuple[Any, ...]]] = [
    ("broadcast_arrays", lambda m: lambda x, y: list(m.numpy.broadcast_arrays(x, y)), (M, (3,))),
    ("concat", lambda m: lambda x, y: m.numpy.concat([x, y * y], axis=1), (M, M)),
    ("divmod", lambda m: m.numpy.divmod, (M, M)),
    ("floor_divide", lambda m: m.numpy.floor_divide, (M, M)),
    ("modf", lambda m: lambda x: m.numpy.modf(3 * x), (M,)),
    ("frexp", lambda m: lambda x: m.numpy.frexp(x)[0], (M,)),
    ("extract", lambda m: lambda x: m.numpy.extract(np.asarray([True, False, True]), x[0]), (M,)),
    ("fromfunction", lambda m: lambda x: m.numpy.fromfunction(lambda i, j: x * m.numpy.cos(i + j), (3, 3), dtype="float64"), (M,)),
    ("histogram2d", lambda m: lambda w: m.numpy.histogram2d(m.numpy.asarray([0.1, 0.5, 0.7]), m.numpy.asarray([0.3, 0.2, 0.9]), 2, weights=w)[0], ((3,),)),
    ("histogramdd", lambda m: lambda w: m.numpy.histogramdd(m.numpy.asarray([[0.1, 0.3], [0.5, 0.2], [0.7, 0.9]]), 2, weights=w)[0], ((3,),)),
    ("place", lambda m: lambda x, v: m.numpy.place(x, np.eye(3, dtype=bool), v, inplace=False), (M, (3,))),
    ("put", lambda m: lambda x, v: m.numpy.put(x, m.numpy.asarray([4, 0]), v, inplace=False), (M, (2,))),
    ("poly", lambda m: m.numpy.poly, ((3,),)),
    ("roots", lambda m: lambda p: m.numpy.sort_complex(m.numpy.roots(p + m.numpy.asarray([0.0, 0.0, -4.0, 0.0]), strip_zeros=False)), ((4,),)),
    ("sort_complex", lambda m: m.numpy.sort_complex, ((4,),)),
    ("trim_zeros", lambda m: lambda x: m.numpy.trim_zeros(m.numpy.concatenate([m.numpy.zeros(1), x])), ((3,),)),
    ("unique", lambda m: m.numpy.unique, ((4,),)),
    ("unique_values", lambda m: m.numpy.unique_values, ((4,),)),
    ("union1d", lambda m: m.numpy.union1d, ((3,), (2,))),
    ("setdiff1d", lambda m: lambda x: m.numpy.setdiff1d(x, m.numpy.asarray([0.0])), ((3,),)),
    ("intersect1d", lambda m: lambda x: m.numpy.intersect1d(x, x), ((3,),)),
    ("setxor1d", lambda m: m.numpy.setxor1d, ((3,), (2,))),
    ("nn log1mexp", lambda m: lambda x: m.nn.log1mexp(x), (M,)),
    ("nn logmeanexp", lambda m: lambda x: m.nn.logmeanexp(x, axis=0), (M,)),
]  # fmt: skip

OPERATIONS: list[tuple[str, Any, tuple[Any, ...]]] = [
    *((f"lax.{name}", call, shapes) for name, call, shapes in LAX),
    *LINEAR_ALGEBRA,
    *((f"scipy.special.{name}", call, shapes) for name, call, shapes in SCIPY_SPECIAL),
    *((f"numpy.{name}" if not name.startswith("nn ") else name.replace(" ", "."), call, shapes) for name, call, shapes in NUMPY),
]  # fmt: skip
