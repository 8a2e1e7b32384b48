"""Products of vectors and matrices, and einsum, against JAX and against numpy.einsum on expressions nobody chose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pullbacks import Case, check, check_batches, numbers

import gradkit
import gradkit.numpy as jnp

EXPRESSIONS = {
    "bij,bjk->bik": ((2, 3, 4), (2, 4, 5)),
    "bij,bjk->b": ((2, 3, 4), (2, 4, 5)),
    "bij,bjk": ((2, 3, 4), (2, 4, 5)),
    "ba": ((2, 3),),
    "ii": ((3, 3),),
    "ii->i": ((3, 3),),
    "iij->j": ((3, 3, 2),),
    "...ii->...i": ((2, 3, 3),),
    "ij->": ((2, 3),),
    "...j,j": ((2, 3, 4), (4,)),
    "...ij,...jk->...ik": ((2, 3, 4), (4, 2)),
    "i...,...i->...": ((3, 2), (1, 2, 3)),
    "i,j->ij": ((3,), (2,)),
    "ij,jk->ik": ((3, 1), (4, 5)),
    "ij,ij->ij": ((2, 3), (2, 3)),
    "a,ab,abc->abc": ((2,), (2, 3), (2, 3, 4)),
    "ij,jk,kl->il": ((3, 3), (3, 2), (2, 4)),
    "bij,bjk,j,ii->ki": ((2, 3, 4), (2, 4, 5), (4,), (3, 3)),
}


def cases(c: bool) -> Iterator[Case]:
    for text, shapes in EXPRESSIONS.items():
        arrays = [numbers(i, shape, c) for i, shape in enumerate(shapes)]
        for optimize in ("auto", False, True) if len(shapes) > 2 else ("auto",):
            yield Case(
                f"einsum-{text}-{optimize}",
                lambda m, *xs, t=text, o=optimize: m.einsum(t, *xs, optimize=o),
                *arrays,
                order=2 if optimize == "auto" and len(shapes) < 3 else 1,
            )
    a, b, s, v = (numbers(i, shape, c) for i, shape in enumerate([(2, 3, 4), (2, 4, 5), (3, 3), (4,)]))
    yield Case("einsum-integers", lambda m, x, y: m.einsum(x, [0, 1, 2], y, [0, 2, 3], [3, 0]), a, b, order=1)
    yield Case("einsum-integers-implicit", lambda m, x, y: m.einsum(x, [0, 1, 2], y, [0, 2, 3]), a, b, order=1)
    yield Case(
        "einsum-integers-ellipsis", lambda m, x, y: m.einsum(x, [..., 2], y, [0, 2, 3], [..., 3]), a[0], b, order=1
    )
    yield Case("dot", lambda m, x, y: m.dot(x, y), a, b, order=1)
    yield Case("inner", lambda m, x, y: m.inner(x, y), a, numbers(5, (5, 4), c), order=1)
    yield Case("inner_of_number", lambda m, x, y: m.inner(x, y), a, numbers(5, (), c), order=1)
    yield Case("outer", lambda m, x, y: m.outer(x, y), s, v, order=1)
    yield Case("vdot", lambda m, x, y: m.vdot(x, y), s, s + 1, order=2)
    yield Case("vecdot", lambda m, x, y: m.vecdot(x, y, axis=-2), a, a * 2, order=1)
    yield Case("matvec", lambda m, x, y: m.matvec(x, y), a, v, order=1)
    yield Case("vecmat", lambda m, x, y: m.vecmat(x, y), v, b, order=1)
    yield Case("kron", lambda m, x, y: m.kron(x, y), s, v, order=2)
    yield Case("kron_of_other_ranks", lambda m, x, y: m.kron(x, y), a, s, order=1)
    yield Case("tensordot", lambda m, x, y: m.tensordot(x, y, axes=((0, 2), (0, 1))), a, b, order=1)
    for n, k in ((3, 3), (2, 3), (3, 2), (2, 2)):
        vectors = numbers(6, (4, n), c), numbers(7, (4, k), c)
        yield Case(f"cross_{n}_{k}", lambda m, x, y: m.cross(x, y), *vectors, order=1)
    yield Case("cross_axes", lambda m, x, y: m.cross(x, y, axisa=0, axisc=0), a[0, :, :2], a[0, :, 0], order=1)
    for k in (-4, -1, 0, 2, 5):
        yield Case(f"diagonal_{k}", lambda m, x, k=k: m.diagonal(x, k, 2, 0), a, order=1)
        yield Case(f"trace_{k}", lambda m, x, k=k: m.trace(x, k, axis1=1, axis2=-1), a, order=1)


FLAT = [pytest.param(case, id=f"{case.name}-{kind}") for kind, c in (("real", 0), ("complex", 1)) for case in cases(c)]


@pytest.mark.parametrize("case", FLAT)
def test_values_and_derivatives_are_those_of_jax(case: Case, xp: Any) -> None:
    check(case, xp)


@pytest.mark.parametrize("case", FLAT[: len(FLAT) // 2])
def test_vmap_and_shapes(case: Case, xp: Any) -> None:
    check_batches(case, xp)


@st.composite
def expressions(draw: Any) -> tuple[str, list[tuple[int, ...]]]:
    """Return subscripts with repeated, shared, summed and broadcast axes, and shapes that fit them."""
    sizes = {letter: draw(st.integers(1, 3)) for letter in "abcde"}
    terms = draw(st.lists(st.text("abcde", max_size=3), min_size=1, max_size=4))
    used = sorted(set("".join(terms)))
    result = "".join(draw(st.permutations(draw(st.lists(st.sampled_from(used), unique=True)) if used else [])))
    lead = draw(st.booleans())
    shapes = []
    for i, term in enumerate(terms):
        batch = draw(st.sampled_from([(), (2,), (1,), (3, 2), (3, 1)])) if lead else ()
        shapes.append((*batch, *(sizes[letter] for letter in term)))
        terms[i] = "..." * lead + term
    arrow = draw(st.booleans())
    return ",".join(terms) + ("->" + "..." * lead + result if arrow else ""), shapes


@given(expression=expressions(), optimize=st.sampled_from(["auto", True, False, "greedy", "optimal"]))
def test_einsum_is_that_of_numpy(expression: tuple[str, list[tuple[int, ...]]], optimize: Any) -> None:
    text, shapes = expression
    arrays = [numbers(i, shape, False) for i, shape in enumerate(shapes)]
    try:
        expected = np.einsum(text, *arrays)
    except ValueError:  # NumPy's letters are exhausted, or a size of 1 repeats within a term
        return
    got = gradkit.device_get(jnp.einsum(text, *map(jnp.asarray, arrays), optimize=optimize))
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


def test_a_path_can_be_given_and_is_that_of_numpy(xp: Any) -> None:
    arrays = [numbers(i, shape, False) for i, shape in enumerate([(2, 3), (3, 4), (4, 5)])]
    path, description = jnp.einsum_path("ij,jk,kl", *arrays, optimize="optimal")
    assert path == np.einsum_path("ij,jk,kl->il", *arrays, optimize="optimal")[0][1:]
    assert "ij,jk,kl->il" in description
    for order in (path, [(1, 2), (0, 1)], [(0, 2), (0, 1)]):
        got = jnp.einsum("ij,jk,kl", *map(xp.asarray, arrays), optimize=order)
        np.testing.assert_allclose(gradkit.device_get(got), arrays[0] @ arrays[1] @ arrays[2])


def test_integers_and_truth_values_keep_their_kind(xp: Any) -> None:
    x = np.arange(12).reshape(3, 4)
    for text, arrays in (("ij,kj->ik", (x, x)), ("ij->j", (x,)), ("ij->", (x > 3,)), ("ij,kj->ik", (x > 3, x > 4))):
        got = jnp.einsum(text, *map(xp.asarray, arrays))
        expected = np.einsum(text, *arrays)
        assert got.dtype == expected.dtype
        assert gradkit.device_get(got).tolist() == expected.tolist()
    assert jnp.einsum("i,i", xp.asarray(x[0]), xp.asarray(x[1]), preferred_element_type="float64").dtype == "float64"


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: jnp.einsum("ij,jk", x), "names 2 operands, got 1"),
        (lambda x: jnp.einsum("ijk", x), "does not name the axes"),
        (lambda x: jnp.einsum("i", x), "does not name the axes"),
        (lambda x: jnp.einsum("ij,ik->jk", x, jnp.ones((4, 2))), "'i' have sizes 2 and 4"),
        (lambda x: jnp.einsum("ij->ik", x), "must each be one of the operands"),
        (lambda x: jnp.einsum("ij->ii", x), "must each be one of the operands"),
        (lambda x: jnp.einsum("i?->i", x), "letters and ellipses"),
        (lambda x: jnp.inner(x, jnp.ones(2)), r"\(2, 3\) and \(2,\)"),
        (lambda x: jnp.matvec(x, jnp.ones(2)), r"\(2, 3\) and \(2,\)"),
        (lambda x: jnp.vecmat(x, jnp.ones(2)), r"\(2, 3\) and \(2,\)"),
        (lambda x: jnp.cross(jnp.ones(4), jnp.ones(4)), "2 or 3 elements"),
        (lambda x: jnp.diagonal(x, 0, 1, 1), "cannot be the same"),
    ],
)
def test_errors_say_what_came(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(jnp.ones((2, 3)))


PRODUCTS: dict[str, Callable[..., Any]] = {
    **{
        name: lambda m, name=name, **options: getattr(m.numpy, name)(m.numpy.ones(2), m.numpy.ones(2), **options)
        for name in "convolve correlate dot inner matmul vdot vecdot".split()
    },
    "tensordot": lambda m, **options: m.numpy.tensordot(m.numpy.ones(2), m.numpy.ones(2), 1, **options),
    "einsum": lambda m, **options: m.numpy.einsum("i,i->", m.numpy.ones(2), m.numpy.ones(2), **options),
    "multi_dot": lambda m, **options: m.numpy.linalg.multi_dot([m.numpy.ones((2, 2))] * 3, **options),
    "lax.dot": lambda m, **options: m.lax.dot(m.numpy.ones(2), m.numpy.ones(2), **options),
    "lax.batch_matmul": lambda m, **options: m.lax.batch_matmul(*[m.numpy.ones((1, 2, 2))] * 2, **options),
    "lax.conv": lambda m, **options: m.lax.conv(*[m.numpy.ones((1, 1, 2))] * 2, (1,), "VALID", **options),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_precision_is_one_of_jax_or_an_error(name: str, xp: Any) -> None:
    right = [
        None,
        "default",
        "high",
        "highest",
        "bfloat16",
        "F32_F32_F32",
        ("high", "highest"),
        ("bfloat16", "float32"),
    ]
    for precision in [*right, gradkit.lax.Precision.HIGHEST]:
        PRODUCTS[name](gradkit, precision=precision)
    for precision in right:
        PRODUCTS[name](jax, precision=precision)
    for precision in ["bla", "HIGHEST", 3, 2.5, ("high",), ("bla", "high"), (None, "high"), object()]:
        for module in (jax, gradkit):
            with pytest.raises((ValueError, TypeError), match="recision"):
                PRODUCTS[name](module, precision=precision)
