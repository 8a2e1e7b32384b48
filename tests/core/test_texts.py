"""Texts: each that is no leaf traces, its graph computes what its kernel does, and so does `vmap` of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from text_cases import OF_A_RESULT, TEXTS, assert_same, dtypes, of_dtype, reals, samples

import gradkit
import gradkit.numpy as jnp
from gradkit.backend import Backend
from gradkit.core import Array, Elementwise, General, Linear, bind
from gradkit.core.batching import one_by_one, same_shape
from gradkit.core.capture import GraphTrace
from gradkit.core.graph import Graph, abstract_like
from gradkit.core.namespace import ARRAYS, PRIMITIVES
from gradkit.core.primitive import Primitive


def two_of(arg: Array) -> Array:
    return jnp.stack([arg, arg[::-1] if arg.ndim else -arg], axis=-1)


def graph_of(primitive: Primitive, args: Sequence[Array], params: Mapping[str, Any]) -> Graph:
    forward = primitive.forward
    assert forward is not None
    return GraphTrace().run(lambda *xs: [forward(ARRAYS, *xs, **params)], [abstract_like(arg) for arg in args])


@pytest.mark.parametrize("name", TEXTS)
def test_the_graph_of_a_text_computes_what_its_kernel_does(name: str, xp: Any, backend: Backend) -> None:
    primitive = PRIMITIVES[name]
    with gradkit.enable_x64(), np.errstate(all="ignore"):
        for values, params in samples(primitive):
            for dtype in dtypes(primitive, values, backend):
                args = of_dtype(values, dtype)
                graph = graph_of(primitive, args, params)
                assert primitive not in [equation.primitive for equation in graph.equations], "the text calls itself"
                (found,) = graph.run(args)
                assert_same(name, found, bind(primitive, args, params), f"{name}, {dtype}, {params}")


WITHOUT_INFINITIES = {
    "cofactor": "LAPACK's singular values of an infinite matrix may not end",
    "pinv": "LAPACK's singular values of an infinite matrix may not end",
    "softmax_error": "of an infinite logit the kernel's shares are 0 and NaN, the text's are NaN, as JAX's",
}


@pytest.mark.parametrize(
    "name", [name for name in TEXTS if name not in WITHOUT_INFINITIES and not isinstance(PRIMITIVES[name], Elementwise)]
)
@pytest.mark.filterwarnings("ignore:All-NaN axis")
def test_a_text_lets_no_infinity_into_elements_that_the_kernel_keeps_it_from(name: str) -> None:
    """Zeros and ones as factors would: 0 times infinity is NaN. (Elementwise texts are tried at such points above.)"""
    primitive = PRIMITIVES[name]
    with gradkit.use_backend("numpy"), gradkit.enable_x64(), np.errstate(all="ignore"):
        for values, params in samples(primitive):
            for position, value in enumerate(values):
                if np.asarray(value).dtype.kind != "f" or not np.size(value):
                    continue
                for bad in (np.inf, np.nan):
                    changed = [np.array(v) for v in values]
                    changed[position].flat[changed[position].size // 2] = bad
                    args = of_dtype(changed, "float64")
                    (found,) = graph_of(primitive, args, params).run(args)
                    assert_same(name, found, bind(primitive, args, params), f"{name}, {bad} in {position}, {params}")


@pytest.mark.parametrize("name", TEXTS)
def test_a_batch_gives_what_each_element_gives(name: str, xp: Any, backend: Backend) -> None:
    primitive = PRIMITIVES[name]
    with gradkit.enable_x64(), np.errstate(all="ignore"):
        for values, params in samples(primitive):
            args = of_dtype(values, "float64")
            everywhere = set(range(len(args)))
            for chosen in [everywhere] if name in OF_A_RESULT else [everywhere, *({i} for i in everywhere)]:
                batch = [two_of(arg) if i in chosen else arg for i, arg in enumerate(args)]
                axes = [arg.ndim if i in chosen else None for i, arg in enumerate(args)]
                found, axis = primitive.batch(batch, axes, 2, params)
                expected, _ = one_by_one(primitive, batch, axes, 2, params)
                found = jnp.stack([found, found]) if axis is None else jnp.moveaxis(found, axis, 0)
                assert_same(name, found, expected, f"{name}, arguments {chosen}, {params}")


LEAVES = sorted(
    name
    for name, primitive in PRIMITIVES.items()
    if primitive.leaf and primitive.forward is not None and isinstance(primitive, Elementwise)
)


@pytest.mark.parametrize("name", LEAVES)
def test_an_elementwise_text_is_marked_a_leaf_only_where_it_does_not_trace(name: str) -> None:
    values = [np.asarray([3, 1])] * 2 if name == "gcd" else [reals(3)] * len(PRIMITIVES[name].rules)
    with pytest.raises((AttributeError, gradkit.errors.TracerBoolConversionError)):
        graph_of(PRIMITIVES[name], of_dtype(values, "float32"), {})


# Bad declarations


def double(xp: Any, x: Any) -> Any:
    return x + x


@pytest.mark.parametrize(
    "declare, message",
    [
        (lambda: Linear("bad", double, (double,)), r"Linear\('bad'\): shape= is missing"),
        (
            lambda: Linear("bad", double, (double,), shape=same_shape, leaf=True),
            r"Linear\('bad'\): batch= is missing. A leaf has no text",
        ),
        (lambda: Linear("bad", None, (double,), shape=same_shape), r"Linear\('bad'\): batch= is missing"),
        (lambda: Linear("bad", double, (), shape=same_shape), r"Linear\('bad'\): no rules"),
        (lambda: Elementwise("bad", double, (lambda xp, y, a, b: a,)), r"Elementwise\('bad'\): .* of 1 and of 2 arg"),
        (lambda: Elementwise("bad", double, (None, None)), r"Elementwise\('bad'\): .* of 1 and of 2 arguments"),
        (
            lambda: General(
                "bad", None, (lambda xp, g, y, a: a, lambda xp, g, y, a, b: a), batch=same_shape, shape=same_shape
            ),
            r"General\('bad'\): .* of 1 and of 2 arguments",
        ),
        (lambda: Elementwise("bad", double, (None,), dtype="flot32"), r"Elementwise\('bad'\): dtype= .* got 'flot32'"),
        (
            lambda: Linear("bad", double, (double,), shape=(2,)),
            r"Linear\('bad'\): shape= must be a function, got \(2,\)",
        ),
        (
            lambda: Linear("bad", double, (None,), shape=same_shape, batch=0),
            r"Linear\('bad'\): batch= must be a function",
        ),
        (
            lambda: Linear("bad", lambda xp, x, *, axis: x, (lambda xp, g, x, *, axes: g,), shape=same_shape),
            r"Linear\('bad'\): .* one of them lacks ax[ei]s",
        ),
        (
            lambda: General("bad", lambda xp, x, *, axis: x, (None,), shape=lambda x: x.shape),
            r"General\('bad'\): .* one of them lacks axis",
        ),
        (lambda: Elementwise("exp", None, (None,)), r"Elementwise\('exp'\): a primitive of that name is declared"),
    ],
)
def test_a_declaration_that_is_incomplete_or_contradicts_itself_is_an_error_that_names_it(
    declare: Any, message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        declare()
    assert "bad" not in PRIMITIVES


def test_a_text_that_asks_for_the_library_is_told_to_be_a_leaf(xp: Any) -> None:
    text = Elementwise("test_text_with_library", lambda xp, x: xp.library.sin(x), (None,))
    try:
        with pytest.raises(AttributeError, match=r"texts on Arrays have no 'library'.*leaf=True"):
            graph_of(text, [jnp.asarray([1.0])], {})
        with pytest.raises(AttributeError, match="library"):
            bind(text, (jnp.asarray([1.0]),), {})
    finally:
        del PRIMITIVES["test_text_with_library"]
