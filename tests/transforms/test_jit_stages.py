"""What is seen of a jitted function: its options and attributes, its stages, its graph in print, its log."""

from __future__ import annotations

import copy
import functools
import logging
import operator
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from counting import Counting
from references import usual_widths

import gradkit
import gradkit.numpy as jnp
from gradkit.errors import TracerBoolConversionError


def array(x: Any) -> Any:
    return gradkit.device_get(x)


def test_options_methods_partials_and_objects(xp: Any) -> None:
    @functools.partial(gradkit.jit, static_argnames="n")
    def repeated(x: Any, n: int = 2) -> Any:
        return jnp.stack([x] * n)

    assert repeated(1.0, n=3).shape == (3,)
    assert repeated(1.0).shape == (2,)
    assert repeated.__name__ == "repeated"
    assert repr(repeated).startswith("<PjitFunction of <function")

    class Scale:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        @functools.partial(gradkit.jit, static_argnums=0)
        def __call__(self, x: Any) -> Any:
            return x * self.factor

        @functools.partial(gradkit.jit, static_argnums=0)
        def twice(self, x: Any) -> Any:
            return 2 * x * self.factor

    assert float(Scale(3.0)(2.0)) == 6.0
    assert float(Scale(3.0).twice(2.0)) == 12.0
    assert float(gradkit.jit(Scale(4.0))(2.0)) == 8.0
    assert float(gradkit.jit(functools.partial(lambda a, b: a * b, 3.0))(2.0)) == 6.0
    assert gradkit.jit(lambda: None)() is None
    assert gradkit.jit(lambda x: {})(1) == {}
    assert weakref.ref(repeated)() is repeated


@gradkit.jit
def of_module(x: Any) -> Any:
    return x + 1


def test_a_jitted_function_is_pickled_and_copied(xp: Any) -> None:
    assert of_module.__reduce__() == "of_module"  # pickled by its name, as a function is
    assert copy.deepcopy(of_module) is of_module
    assert float(copy.copy(gradkit.jit(operator.neg))(2.0)) == -2.0


def test_stages_have_jax_s_names(xp: Any) -> None:
    def make(m: Any, n: Any) -> Any:
        return m.jit(lambda x, n, *, k=1.0: {"a": x * n * k}, static_argnums=1).trace(n.ones(3), 2, k=3.0)

    ours = make(gradkit, jnp)
    with usual_widths():
        theirs = make(jax, jax.numpy)
    assert str(ours.in_tree) == str(theirs.in_tree)
    assert str(ours.out_tree) == str(theirs.out_tree)
    assert ours.fun_name == theirs.fun_name
    lowered = ours.lower()
    assert "mul" in lowered.as_text()
    assert lowered.cost_analysis()["flops"] == 6.0
    compiled = lowered.compile()
    with usual_widths():
        expected = theirs.lower().compile().memory_analysis().argument_size_in_bytes
    assert compiled.memory_analysis().argument_size_in_bytes == expected
    assert ours.fun_name == lowered.fun_name == compiled.fun_name == "<lambda>"
    assert compiled.argument_names == ["x", "k"]
    assert array(compiled(jnp.ones(3), k=2.0)["a"]).tolist() == [4.0] * 3
    for call, words in (
        (lambda: compiled(jnp.ones(3), 2, k=2.0), "does not match"),
        (lambda: compiled(jnp.ones(3), k=jnp.ones(2)), "Argument 'k' compiled with"),
        (
            lambda: gradkit.grad(lambda x: compiled(x, k=1.0)["a"].sum())(jnp.ones(3)),
            "Cannot apply JAX transformations",
        ),
    ):
        with pytest.raises(TypeError, match=words):
            call()


def test_memory_has_all_fields_of_jax_s() -> None:
    jitted = {name: m.jit(lambda x, y: x * y + 1, donate_argnums=0) for name, m in (("ours", gradkit), ("theirs", jax))}
    ours = jitted["ours"].lower(jnp.ones(4), jnp.ones(4)).compile().memory_analysis()
    theirs = jitted["theirs"].lower(np.ones(4, "float32"), np.ones(4, "float32")).compile().memory_analysis()
    fields = {name for name in dir(theirs) if name.endswith("_in_bytes")}
    assert fields == {name for name in dir(ours) if name.endswith("_in_bytes")}
    for name in fields - {"generated_code_size_in_bytes", "peak_memory_in_bytes"}:
        assert getattr(ours, name) == getattr(theirs, name), name


def test_the_size_of_code_is_known_from_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llvmlite")
    from gradkit_numpy.native import object_code

    monkeypatch.setattr(object_code, "folder", lambda: tmp_path)
    monkeypatch.setenv("GRADKIT_COMPILER", "native")
    sizes = []
    for _ in range(2):
        gradkit.clear_caches()
        with gradkit.use_backend("numpy"):
            compiled = gradkit.jit(lambda x: jnp.sin(x) + 1).lower(jnp.ones(4)).compile()
        sizes.append(compiled.memory_analysis().generated_code_size_in_bytes)
    (file,) = tmp_path.iterdir()
    assert sizes[0] == sizes[1]
    assert 0 < file.stat().st_size - sizes[0] < 100  # a checksum and its like


def test_shapes_are_enough_to_lower(xp: Any) -> None:
    f = gradkit.jit(lambda x: (x @ x.T, jnp.sin(x)))
    shape = gradkit.ShapeDtypeStruct((3, 4), "float32")
    assert f.eval_shape(shape)[0].shape == (3, 3) == gradkit.eval_shape(f, shape)[0].shape
    cost = f.lower(shape).cost_analysis()
    assert cost["flops"] == 2 * 3 * 4 * 3
    assert cost["transcendentals"] == 12
    assert array(f.lower(shape).compile()(jnp.ones((3, 4)))[0]).tolist() == [[4.0] * 3] * 3


PRINTED: dict[str, Callable[[Any, Any], Any]] = {
    "a call": lambda m, n: m.jit(lambda x, y: (n.sin(x) * y, {"a": x})),
    "a call among others": lambda m, n: lambda x, y: m.jit(lambda z: n.cos(z))(n.sin(x)) * y,
    "arguments twice": lambda m, n: lambda x, y: m.jit(lambda a, b: a * b)(x, x),
    "inline": lambda m, n: lambda x, y: m.jit(lambda z: n.cos(z) * z, inline=True)(n.sin(x)),
    "vmap": lambda m, n: m.vmap(m.jit(lambda x, y: n.sin(x) * y)),
    "jit of grad": lambda m, n: m.jit(m.grad(lambda x, y: n.sum(x * y))),
}


@pytest.mark.parametrize("name", PRINTED)
def test_a_call_in_a_graph_prints_as_in_jax(name: str) -> None:
    ours = str(gradkit.make_jaxpr(PRINTED[name](gradkit, jnp))(jnp.ones(3), jnp.ones(3)))
    theirs = str(jax.make_jaxpr(PRINTED[name](jax, jax.numpy))(jax.numpy.ones(3), jax.numpy.ones(3)))
    if name == "jit of grad":  # the equations of the derivative are gradkit's own
        ours, theirs = ours[:60], theirs[:60]
    assert ours == theirs


def test_disable_jit_runs_the_function(xp: Any) -> None:
    f = Counting(lambda x: x if x > 0 else -x)
    g = gradkit.jit(f)
    with gradkit.disable_jit():
        assert float(g(jnp.asarray(-2.0))) == 2.0
        g(jnp.asarray(-2.0))
    assert f.count == 2
    with pytest.raises(TracerBoolConversionError):
        g(jnp.asarray(-2.0))


def test_the_log_says_what_is_compiled_and_what_is_new() -> None:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("gradkit.jit").addHandler(handler)
    f = gradkit.jit(lambda x, n=1: x * n, static_argnames="n")
    f(jnp.ones(2))
    assert not lines
    gradkit.config.update("jax_log_compiles", True)
    try:
        f(jnp.ones(3)), f(jnp.ones(3)), f(jnp.ones(3), n=2)
        with gradkit.enable_x64():
            f(jnp.ones(3, "float32"))
    finally:
        gradkit.config.update("jax_log_compiles", False)
        logging.getLogger("gradkit.jit").removeHandler(handler)
    text = "\n".join(lines)
    assert "at x, now f32[3] and before f32[2]" in text
    assert "static arguments are now n: 2 and before none" in text
    assert "jax_enable_x64 is now True and before False" in text
    assert text.count("Finished tracing") == 3 == text.count("Finished compilation")
