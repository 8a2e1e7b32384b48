"""What fails to compile runs all the same, operation by operation, and says so once."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gradkit_numpy.native import printer
from gradkit_numpy.native.machine import why_unusable
from gradkit_numpy.native.program import NativePrinter

import gradkit
import gradkit.numpy as jnp
from gradkit import lax
from gradkit.compiler import compiling
from gradkit.compiler.executables import clear_executables
from gradkit.errors import MissingDependencyError

X = np.linspace(-1, 1, 12, dtype=np.float32)


@pytest.fixture(autouse=True)
def _numpy_alone() -> Iterator[None]:
    clear_executables()
    with gradkit.use_backend("numpy"):
        yield
    clear_executables()


def right(x: Any) -> Any:
    return lax.fori_loop(0, 3, lambda i, c: jnp.sin(c) * 2 + i, x), (x * 3).sum()


def calls_and_warnings(function: Any) -> list[str]:
    expected = right(jnp.asarray(X))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            for one, other in zip(function(jnp.asarray(X)), expected, strict=True):
                np.testing.assert_allclose(np.asarray(one), np.asarray(other), 1e-6)
    assert {warning.filename for warning in caught} <= {__file__}  # whoever reads it sees whose call it was
    return [str(warning.message) for warning in caught]


@pytest.mark.skipif(why_unusable() is not None, reason="needs the extra jit")
def test_a_text_that_llvm_refuses_is_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = printer.printed

    def spoilt(*args: Any) -> Any:
        found = printed(*args)
        return found._replace(text=re.sub(r"define internal i32", "define internal i32 nonsense", found.text, count=1))

    monkeypatch.setattr(printer, "printed", spoilt)
    (message,) = calls_and_warnings(gradkit.jit(lambda x: right(x)))
    assert "nonsense" in message or "expected" in message  # LLVM's own words
    assert "report this at https://" in message


@pytest.mark.parametrize("part", ["simplified", "planned", "plannable", "expanded"])
def test_an_error_of_the_compiler_is_named_and_the_function_is_interpreted(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise IndexError("a fault of the compiler")

    monkeypatch.setattr(compiling, part, broken)
    (message,) = calls_and_warnings(gradkit.jit(lambda x: right(x)))
    assert "IndexError: a fault of the compiler" in message
    assert "report this at https://" in message


def test_a_printer_that_is_not_known_or_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    x = jnp.asarray(X)
    monkeypatch.setenv("GRADKIT_COMPILER", "nativ")
    said = "GRADKIT_COMPILER=nativ: Unknown printer 'nativ'. Known: interpreter, native, numpy. Did you mean 'native'?"
    with pytest.raises(ValueError, match=re.escape(said)):
        gradkit.jit(lambda x: x * 3)(x)
    monkeypatch.setenv("GRADKIT_COMPILER", "native")
    monkeypatch.setattr(NativePrinter, "why_unusable", lambda self: "llvmlite is on holiday")
    with pytest.raises(MissingDependencyError, match="GRADKIT_COMPILER=native: llvmlite is on holiday"):
        gradkit.jit(lambda x: x * 5)(x)
    monkeypatch.delenv("GRADKIT_COMPILER")
    np.testing.assert_array_equal(np.asarray(gradkit.jit(lambda x: x * 7)(x)), X * 7)


def test_donated_arguments_of_what_is_interpreted_are_given_away_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise KeyError("a fault of the compiler")

    monkeypatch.setattr(compiling, "planned", broken)
    x = jnp.asarray(X) * 1
    with pytest.warns(RuntimeWarning, match="a fault of the compiler"):
        found = gradkit.jit(lambda x: x * 2 + 1, donate_argnums=0)(x)
    np.testing.assert_array_equal(np.asarray(found), X * 2 + 1)
    assert x.is_deleted()


def test_too_little_memory_is_said_with_the_sizes() -> None:
    result = gradkit.jit(lambda x: jnp.broadcast_to(x[:, None], (12, 2**45)) * 2)
    arena = gradkit.jit(lambda x: jnp.sort(jnp.broadcast_to(x[:, None], (12, 2**45)) * 2, axis=1)[0, 0])
    for function in (result, arena):
        with pytest.raises(MemoryError) as caught:
            function(jnp.asarray(X))
        if why_unusable() is None:
            assert f"{12 * 2**45 * 4:,} bytes" in str(caught.value) or "bytes for temporary" in str(caught.value)
    np.testing.assert_array_equal(np.asarray(gradkit.jit(lambda x: x * 2)(jnp.asarray(X))), X * 2)


@pytest.mark.parametrize("m, n, k", [(40, 50, 300), (300, 2, 400), (2, 300, 400), (257, 129, 65), (1, 1, 90_000)])
def test_products_of_matrices_whose_neighbours_lie_apart(m: int, n: int, k: int) -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, m, 2 * k)), generator.normal(size=(3 * k, n))
    f = gradkit.jit(
        lambda a, b: (a[:, :, ::2] @ b[::3], a[:, ::-1, 1::2] @ b[k : 2 * k, ::-1], (b[::-3].T @ a[0, :, ::2].T))
    )
    found = f(jnp.asarray(a), jnp.asarray(b))
    expected = a[:, :, ::2] @ b[::3], a[:, ::-1, 1::2] @ b[k : 2 * k, ::-1], b[::-3].T @ a[0, :, ::2].T
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(one), other, 1e-9, 1e-9)


@pytest.mark.skipif(why_unusable() is not None, reason="needs the extra jit")
def test_numbers_beyond_32_bits_are_not_given_to_blas() -> None:
    from gradkit_numpy.native.products import write_product
    from gradkit_numpy.native.text import Text

    from gradkit.backend.plan import Buffer, Layout, Product

    for m, n, k, down in ((2**31, 4, 4, 4), (4, 2**31 + 6, 4, 4), (4, 4, 2**33, 2**33), (100, 100, 100, 2**32)):
        out = Layout(Buffer((m, n), "float32"), (m, n), (n, 1))
        left = Layout(Buffer((m, down), "float32"), (m, k), (down, 1))
        right = Layout(Buffer((k, n), "float32"), (k, n), (n, 1))
        text = Text()
        write_product(text, Product(out, left, right), ("%c", "%a", "%b"), lambda kind, value: f"@{kind}_{value}")
        written = text.function("define void @f(ptr %c, ptr %a, ptr %b)")
        assert "sgemm" not in written
        assert "alloca [" not in written


def test_compiled_code_is_silent_about_numbers_as_its_calls_are() -> None:
    def function(x: Any) -> Any:
        half = x.astype("float16") * 60000
        many = jnp.log(x), 1 / (x * 0), jnp.exp(x * 1e5), jnp.sort(jnp.sqrt(x)), (x * 1e30).astype("int32"), half
        return *many, x.astype("int32") // 0, jnp.fft.fft(x * jnp.inf), jnp.cumsum(x * 3e38), jnp.cumprod(half)

    with np.errstate(all="raise"):
        for _ in range(2):
            gradkit.jit(function)(jnp.asarray(X))


ODD = {
    "Fortran's order": np.asfortranarray,
    "strided": lambda x: np.repeat(np.repeat(x, 2, 0), 2, 1)[::2, ::2],
    "negative strides": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
    "unaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape),
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "a subclass": lambda x: x.view(np.recarray),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("as_argument", [lambda x: x, jnp.asarray, gradkit.Array], ids=["raw", "asarray", "Array"])
def test_odd_arrays_are_read_right_and_left_alone(name: str, as_argument: Any) -> None:
    x = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)
    for donated in ((), (0,)):
        function = gradkit.jit(lambda x: (x * 2 + 1, x.sum(), x.T @ x), donate_argnums=donated)
        for _ in range(2):
            odd = ODD[name](x)
            found = function(as_argument(odd))
            for one, expected in zip(found, (x * 2 + 1, x.sum(), x.T @ x), strict=True):
                assert type(np.asarray(one)) is np.ndarray
                np.testing.assert_allclose(np.asarray(one), expected, 1e-5, 1e-6)
            np.testing.assert_array_equal(np.asarray(odd), x)
