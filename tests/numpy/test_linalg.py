"""numpy.linalg and scipy.linalg against JAX, for real and complex matrices; what JAX cannot tell, against the facts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as J
import jax.scipy.linalg
import numpy as np
import pytest
from pullbacks import Case, check, check_batches, close, numbers

import gradkit
import gradkit.numpy as jnp
import gradkit.scipy.linalg

INF = np.inf


def scipy(m: Any) -> Any:
    return jax.scipy.linalg if m is J else gradkit.scipy.linalg


def with_signs(m: Any, vectors: Any, *rows: Any) -> Any:
    """Return vectors, and the rows that belong to them, with a last component that is not negative.

    An eigenvector is one with either sign: which of them comes out is the library's.
    """
    signs = m.sign(vectors[..., -1:, :].real)
    return (vectors * signs, *(row * m.matrix_transpose(signs) for row in rows))


def eigh(m: Any, found: Any) -> Any:
    values, vectors = found
    return (values, *with_signs(m, vectors))


def svd(m: Any, a: Any, **options: Any) -> Any:
    u, s, vh = m.linalg.svd(a, **options)
    u, vh = with_signs(m, u, vh)
    return u, s, vh


def cases(c: bool) -> Iterator[Case]:
    a = numbers(0, (2, 4, 4), c) + 3 * np.eye(4)
    h = a @ a.conj().swapaxes(-1, -2)
    b, v = numbers(1, (2, 4, 2), c), numbers(2, (4,), c)
    tall, wide = numbers(3, (2, 4, 2), c), numbers(4, (2, 2, 4), c)
    yield Case("solve", lambda m, a, b: m.linalg.solve(a, b), a, b)
    yield Case("solve_vector", lambda m, a, b: m.linalg.solve(a, b), a, v)
    yield Case("solve_broadcast", lambda m, a, b: m.linalg.solve(a, b), a[0], b)
    yield Case("inv", lambda m, a: m.linalg.inv(a), a)
    for n in (1, 2, 3, 4):
        yield Case(f"det_{n}", lambda m, a: m.linalg.det(a), a[:, :n, :n])
    yield Case("slogdet", lambda m, a: tuple(m.linalg.slogdet(a)), -a)
    yield Case("cholesky", lambda m, a: m.linalg.cholesky(a), h)
    yield Case("cholesky_upper", lambda m, a: m.linalg.cholesky(a, upper=True), h, order=1)
    yield Case("cholesky_lower_triangle", lambda m, a: m.linalg.cholesky(a, symmetrize_input=False), h, order=1)
    yield Case("eigh", lambda m, a: eigh(m, m.linalg.eigh(a)), h)
    yield Case("eigvalsh", lambda m, a: m.linalg.eigvalsh(a), h)
    yield Case("eigvals", lambda m, a: m.linalg.eigvals(a), a, order=1)
    yield Case("svd_square", lambda m, a: svd(m, a), a)
    yield Case("svd_hermitian", lambda m, a: svd(m, a, hermitian=True), h, order=1)
    for shape, x in (("tall", tall), ("wide", wide), ("square", a)):
        yield Case(f"svd_{shape}", lambda m, a: svd(m, a, full_matrices=False), x)
        yield Case(f"svdvals_{shape}", lambda m, a: m.linalg.svdvals(a), x, order=1)
        yield Case(f"qr_{shape}", lambda m, a: tuple(m.linalg.qr(a)), x)
        yield Case(f"qr_r_{shape}", lambda m, a: m.linalg.qr(a, mode="r"), x, order=1)
        yield Case(f"qr_complete_{shape}", lambda m, a: tuple(m.linalg.qr(a, mode="complete")), x, order=1)
        yield Case(f"pinv_{shape}", lambda m, a: m.linalg.pinv(a), x)
        yield Case(f"lu_{shape}", lambda m, a: scipy(m).lu(a), x[0])
    yield Case("pinv_of_low_rank", lambda m, a: m.linalg.pinv(a @ m.matrix_transpose(a)), tall, order=1)
    yield Case("pinv_hermitian", lambda m, a: m.linalg.pinv(a, hermitian=True), h, order=1)
    yield Case("lstsq", lambda m, a, b: m.linalg.lstsq(a, b)[:2], tall[0], numbers(5, (4, 2), c))
    for n in (-2, 1, 5):
        yield Case(f"matrix_power_{n}", lambda m, a, n=n: m.linalg.matrix_power(a, n), a, order=1, tolerance=1e-8)
    for p in ("fro", "nuc", 1, -1, 2, -2, INF, -INF):
        yield Case(f"matrix_norm_{p}", lambda m, a, p=p: m.linalg.matrix_norm(a, ord=p), tall, order=1)
        yield Case(
            f"norm_of_axes_{p}",
            lambda m, a, p=p: m.linalg.norm(a, ord=p, axis=(2, 0), keepdims=True),
            tall,
            order=1,
        )
    for p in (None, 0, 1, 2, 3, -1, 0.5, INF, -INF):
        yield Case(f"norm_{p}", lambda m, a, p=p: m.linalg.norm(a, ord=p, axis=1), tall, order=1)
    for p in (None, -2, 1, "fro"):
        yield Case(f"cond_{p}", lambda m, a, p=p: m.linalg.cond(a, p), a, order=1)
    yield Case("multi_dot", lambda m, *xs: m.linalg.multi_dot(xs), tall[0], wide[0], v, order=1)
    yield Case("tensorinv", lambda m, a: m.linalg.tensorinv(a, ind=1), numbers(6, (4, 2, 2), c), order=1)
    yield Case(
        "tensorsolve",
        lambda m, a, b: m.linalg.tensorsolve(a, b, axes=(1,)),
        numbers(7, (2, 4, 2), c),
        numbers(8, (2, 2), c),
        order=1,
    )
    yield Case("cross", lambda m, a, b: m.linalg.cross(a, b), numbers(9, (2, 3), c), numbers(10, (2, 3), c), order=1)
    yield Case("trace", lambda m, a: m.linalg.trace(a, offset=1), wide, order=1)
    yield Case("diagonal", lambda m, a: m.linalg.diagonal(a, offset=-1), tall, order=1)
    yield Case("outer", lambda m, a, b: m.linalg.outer(a, b), v, v[:3], order=1)
    yield Case("vecdot", lambda m, a, b: m.linalg.vecdot(a, b), tall, tall * 2, order=1)
    yield Case("tensordot", lambda m, a, b: m.linalg.tensordot(a, b, axes=1), tall, wide[0], order=1)

    for trans in (0, 1, 2):
        for lower in (False, True):
            yield Case(
                f"solve_triangular_{trans}_{lower}",
                lambda m, a, b, t=trans, low=lower: scipy(m).solve_triangular(
                    a, b, trans=t, lower=low, unit_diagonal=t == 1
                ),
                a,
                b,
                order=2 if trans == 2 else 1,
            )
        yield Case(
            f"lu_solve_{trans}",
            lambda m, a, b, t=trans: scipy(m).lu_solve(scipy(m).lu_factor(a), b, trans=t),
            a[0],
            b[0],
            order=1,
        )
    for lower in (False, True):
        yield Case(f"scipy_cholesky_{lower}", lambda m, a, low=lower: scipy(m).cholesky(a, lower=low), h, order=1)
        yield Case(
            f"cho_solve_{lower}",
            lambda m, a, b, low=lower: scipy(m).cho_solve(scipy(m).cho_factor(a, lower=low), b),
            h[0],
            v,
            order=1,
        )
    yield Case("expm", lambda m, a: scipy(m).expm(a), a[:, :3, :3] * 0.3)
    yield Case("expm_squared", lambda m, a: scipy(m).expm(a), a[:, :3, :3] * 2, order=1, tolerance=1e-7)
    yield Case("expm_frechet", lambda m, a, b: scipy(m).expm_frechet(a, b), a[0] * 0.3, a[1], order=1)
    yield Case("block_diag", lambda m, a, b: scipy(m).block_diag(a, b, a * b[0]), tall[0], v, order=1)
    yield Case("toeplitz", lambda m, a, b: scipy(m).toeplitz(a, b), v, v[:3] * 2, order=1)
    yield Case("polar", lambda m, a: scipy(m).polar(a, method="svd"), tall[0], order=1)
    yield Case("scipy_qr", lambda m, a: scipy(m).qr(a, mode="economic"), tall, order=1)
    yield Case("scipy_eigh", lambda m, a: eigh(m, scipy(m).eigh(a)), h, order=1)


FLAT = [pytest.param(case, id=f"{case.name}-{kind}") for kind, c in (("real", 0), ("complex", 1)) for case in cases(c)]


@pytest.mark.parametrize("case", FLAT)
def test_values_and_derivatives_are_those_of_jax(case: Case, xp: Any) -> None:
    check(case, xp)


@pytest.mark.parametrize("case", FLAT)
def test_vmap_and_shapes(case: Case, xp: Any) -> None:
    check_batches(case, xp)


def gradient(f: Any, *arrays: Any) -> Any:
    value, pullback = gradkit.vjp(f, *arrays)
    return pullback(jnp.ones_like(value))[0]


def test_eigenvalues_have_a_derivative_where_they_are_equal(xp: Any) -> None:
    for f in (
        lambda x: jnp.linalg.eigh(x).eigenvalues.sum(),
        lambda x: jnp.linalg.eigvalsh(x).sum(),
        lambda x: jnp.linalg.svd(x).S.sum(),
        lambda x: jnp.linalg.svd(x, compute_uv=False).sum(),
        lambda x: jnp.linalg.norm(x, "nuc"),
    ):
        close(gradient(f, xp.asarray(np.eye(3))), np.eye(3), 1e-12)
        tangent = gradkit.jvp(f, (xp.asarray(np.eye(3)),), (xp.asarray(np.ones((3, 3))),))[1]
        close(tangent, np.asarray(3.0), 1e-12)


@pytest.mark.parametrize("c", [False, True])
def test_eigenvectors_have_the_derivative_that_jax_has_on_demand(c: bool, xp: Any) -> None:
    a = numbers(0, (3, 3), c)
    tangent = numbers(1, (3, 3), c)
    got = gradkit.jvp(lambda x: tuple(jnp.linalg.eig(x)), (xp.asarray(a),), (xp.asarray(tangent),))
    with jax.enable_x64(True):

        def theirs(x: Any) -> Any:
            return tuple(jax.lax.linalg.eig(x, compute_left_eigenvectors=False, enable_eigvec_derivs=True))

        wanted = jax.jvp(theirs, (J.asarray(a),), (J.asarray(tangent),))
    for ours, other in zip((*got[0], *got[1]), (*wanted[0], *wanted[1]), strict=True):
        close(ours, np.asarray(other), 1e-9)


def test_eigenvalues_of_general_matrices_have_second_derivatives(xp: Any) -> None:
    def f(x: Any) -> Any:
        return jnp.real(jnp.linalg.eigvals(x) ** 3).sum()  # the trace of x @ x @ x

    a = numbers(0, (3, 3), False)
    hessian = gradkit.hessian(f)(xp.asarray(a))
    with jax.enable_x64(True):
        wanted = jax.hessian(lambda x: J.trace(x @ x @ x))(J.asarray(a))
    close(hessian, np.asarray(wanted), 1e-8)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_determinants_of_singular_matrices_have_a_derivative(n: int, xp: Any) -> None:
    a = numbers(n, (n, n), True)
    a[-1] = a[0]
    cofactors = np.empty((n, n), complex)
    for i, j in np.ndindex(n, n):
        cofactors[i, j] = (-1) ** (i + j) * np.linalg.det(np.delete(np.delete(a, i, 0), j, 1))
    close(gradkit.grad(jnp.linalg.det, holomorphic=True)(xp.asarray(a)), cofactors, 1e-10)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_matrix_without_a_result_gives_nan_as_in_jax_and_leaves_the_others_of_its_batch_alone() -> None:
    batch = np.stack([np.full((2, 2), np.nan), np.eye(2)])
    with gradkit.backend.use_backend("numpy"), jax.enable_x64(True):
        for name in ("inv", "cholesky", "eigvalsh", "svdvals", "eigvals", "pinv", "eigh", "svd", "eig", "qr", "det"):
            ours = getattr(jnp.linalg, name)(jnp.asarray(batch))
            theirs = getattr(J.linalg, name)(J.asarray(batch))
            for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
                assert (np.isnan(gradkit.device_get(one)) == np.isnan(other)).all(), name
        close(jnp.linalg.cholesky(jnp.asarray(-np.eye(2))), np.asarray(J.linalg.cholesky(-J.eye(2))), 0)
        assert np.isnan(gradkit.device_get(jnp.linalg.inv(jnp.asarray(np.zeros((2, 2)))))).all()


def test_full_singular_vectors_of_rectangles_have_no_derivative(xp: Any) -> None:
    x = xp.asarray(numbers(0, (3, 2), False))
    with pytest.raises(NotImplementedError, match="full_matrices=False"):
        gradient(lambda x: jnp.linalg.svd(x).U.sum(), x)
    close(
        gradient(lambda x: jnp.linalg.svd(x).S.sum(), x),
        gradkit.device_get(gradient(lambda x: jnp.linalg.norm(x, "nuc"), x)),
        1e-12,
    )


def test_ranks_powers_of_zero_and_integers(xp: Any) -> None:
    low = numbers(0, (2, 4, 2), False) @ numbers(1, (2, 2, 4), False)
    assert jnp.linalg.matrix_rank(xp.asarray(low)).tolist() == [2, 2]
    assert jnp.linalg.matrix_rank(xp.asarray(low @ low.swapaxes(1, 2)), hermitian=True).tolist() == [2, 2]
    assert jnp.linalg.matrix_rank(xp.asarray(low), rtol=xp.asarray(np.asarray([0.0, 1e9]))).tolist()[1] == 0
    assert jnp.linalg.matrix_rank(xp.asarray(np.zeros(3))) == 0
    ints = xp.asarray(np.asarray([[2, 1], [1, 3]], dtype="int32"))
    assert jnp.linalg.matrix_power(ints, 0).tolist() == [[1, 0], [0, 1]]
    assert jnp.linalg.matrix_power(ints, 2).dtype == "int32"
    assert jnp.linalg.inv(ints).dtype == "float32"
    assert float(jnp.linalg.det(ints)) == pytest.approx(5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: jnp.linalg.solve(jnp.ones((2, 2)), jnp.ones(3)), r"\(2, 2\), \(3,\)"),
        (lambda: jnp.linalg.inv(jnp.ones((2, 3))), r"\(2, 3\)"),
        (lambda: jnp.linalg.qr(jnp.ones(2)), r"\(2,\)"),
        (lambda: jnp.linalg.qr(jnp.ones((2, 2)), mode="economic"), "economic"),
        (lambda: jnp.linalg.eigh(jnp.ones((2, 2)), UPLO="X"), "UPLO"),
        (lambda: jnp.linalg.norm(jnp.ones((2, 2)), ord="x"), "Invalid order 'x'"),
        (lambda: jnp.linalg.norm(jnp.ones((2, 2, 2)), ord=2), "Improper number of axes"),
        (lambda: jnp.linalg.multi_dot([jnp.ones((2, 3)), jnp.ones((2, 3))]), "must fit"),
        (lambda: jnp.linalg.cond(jnp.ones((2, 3)), 1), "square"),
        (lambda: gradkit.scipy.linalg.solve_triangular(jnp.ones((2, 2)), jnp.ones(2), trans="x"), "trans"),
        (lambda: gradkit.scipy.linalg.solve(jnp.ones((2, 2)), jnp.ones(2), assume_a="x"), "assume_a"),
    ],
)
def test_errors_say_what_came(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
