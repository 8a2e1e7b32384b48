"""The same mistake under JAX and under gradkit: an error that JAX's `except` catches, in the same words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from references import usual_widths

import gradkit

Program = Callable[[Any, Any], Any]


def leaked(m: Any, n: Any) -> Any:
    kept = []

    def f(x: Any) -> Any:
        kept.append(n.sin(x))
        return n.sum(kept[0])

    m.vmap(f)(n.ones((2, 3)))
    return kept[0] + 1


def leaked_from_make_jaxpr(m: Any, n: Any) -> Any:
    kept = []
    m.make_jaxpr(lambda x: kept.append(x * 2))(n.ones(3))
    return n.sin(kept[0])


def closed_over(kind: str, argnums: Any = (0, 1)) -> Program:
    def program(m: Any, n: Any) -> Any:
        def outer(x: Any, a: Any) -> Any:
            f = getattr(m, kind)(lambda x: x * a)
            if kind == "custom_jvp":
                f.defjvp(lambda primals, tangents: (primals[0] * a, tangents[0] * a))
            else:
                f.defvjp(lambda x: (x * a, a), lambda a, g: (g * a,))
            return f(x)

        return m.grad(outer, argnums)(1.0, 2.0)

    return program


def vjp_rule(forward: Any, backward: Any) -> Program:
    def program(m: Any, n: Any) -> Any:
        f = m.custom_vjp(lambda x, y: x * y)
        f.defvjp(lambda x, y: forward(n, x, y), lambda residuals, g: backward(n, residuals, g))
        return m.grad(f)(1.0, 2.0)

    return program


def jvp_rule(rule: Any) -> Program:
    def program(m: Any, n: Any) -> Any:
        f = m.custom_jvp(lambda x: x * 1.0)
        f.defjvp(lambda primals, tangents: rule(n, primals[0], tangents[0]))
        return m.jvp(f, (1.0,), (1.0,))

    return program


def pair(x: Any) -> tuple[Any, Any]:
    return x, x


# What is wrong: (program, words of JAX's message)
MISTAKES: dict[str, tuple[Program, str]] = {
    # A transform of something that is no function
    **{
        f"{name} of a number": (lambda m, n, name=name: getattr(m, name)(3.0), "callable")
        for name in ("grad", "value_and_grad", "jacfwd", "jacrev", "hessian", "vmap", "jit", )
    },
    "jvp of a number": (lambda m, n: m.jvp(3.0, (1.0,), (1.0,)), "callable"),
    "vjp of a number": (lambda m, n: m.vjp(3.0, 1.0), "callable"),
    "linearize of a number": (lambda m, n: m.linearize(3.0, 1.0), "callable"),
    "make_jaxpr of a number": (lambda m, n: m.make_jaxpr(3.0), "callable"),
    "scan of a number": (lambda m, n: m.lax.scan(3.0, 0.0, n.ones(2)), "callable"),
    "cond of numbers": (lambda m, n: m.lax.cond(True, 3.0, 4.0, 1.0), "callable"),
    # argnums
    "argnums beyond the arguments": (lambda m, n: m.grad(lambda x: x, argnums=1)(1.0), "argnums"),
    "static_argnums beyond": (lambda m, n: m.jit(lambda x: x, static_argnums=3), "static_argnums"),
    # What is differentiated
    "grad of integers": (lambda m, n: m.grad(lambda x: x)(1), "grad requires real- or complex-valued inputs"),
    "grad of an array": (lambda m, n: m.grad(lambda x: x)(n.ones(2)), "Gradient only defined for scalar-output functions."),
    "grad of a pair": (lambda m, n: m.grad(pair)(1.0), "Gradient only defined for scalar-output functions."),
    "grad of an integer result": (lambda m, n: m.grad(lambda x: n.argmax(x))(n.ones(2)), "grad requires real-valued outputs"),
    "grad of a complex result": (lambda m, n: m.grad(lambda x: x * 1j)(1.0), "holomorphic"),
    "grad of text": (lambda m, n: m.grad(lambda x: 1.0)("text"), "is not a valid"),
    "has_aux without a pair": (lambda m, n: m.value_and_grad(lambda x: x, has_aux=True)(1.0), "aux"),
    "jacfwd of integers": (lambda m, n: m.jacfwd(lambda x: x)(n.ones(2, dtype="int32")), "jacfwd requires real-valued inputs"),
    "jacrev of integers": (lambda m, n: m.jacrev(lambda x: x)(n.ones(2, dtype="int32")), "jacrev requires real- or complex-valued inputs"),
    # Tangents and cotangents
    "tangents of another structure": (lambda m, n: m.jvp(pair, ((1.0, 2.0),), ((1.0,),)), "same tree structure"),
    "tangents of another dtype": (lambda m, n: m.jvp(n.sin, (n.ones(2),), (n.ones(2, dtype="int32"),)), "dtypes"),
    "tangents of another shape": (lambda m, n: m.jvp(n.sin, (n.ones(2),), (n.ones(3),)), "shapes"),
    "tangents that are no tuple": (lambda m, n: m.jvp(n.sin, n.ones(2), n.ones(2)), "must be tuples or lists"),
    "a cotangent of another structure": (lambda m, n: m.vjp(pair, 1.0)[1](1.0), "structure"),
    "a cotangent of another shape": (lambda m, n: m.vjp(n.sin, n.ones(2))[1](n.ones(3)), "shape"),
    "a tangent of linearize of another shape": (lambda m, n: m.linearize(n.sin, n.ones(2))[1](n.ones(3)), "linearized function called on tangent values inconsistent"),
    # vmap
    "sizes that differ": (lambda m, n: m.vmap(n.add)(n.ones(2), n.ones(3)), "vmap got inconsistent sizes for array axes to be mapped"),
    "a number without an axis": (lambda m, n: m.vmap(n.sin)(1.0), "vmap was requested to map its argument along axis 0"),
    "an axis beyond": (lambda m, n: m.vmap(n.sin, in_axes=2)(n.ones((2, 2))), "vmap was requested to map its argument along axis 2"),
    "in_axes without an axis": (lambda m, n: m.vmap(n.sin, in_axes=None)(n.ones(2)), "vmap must have at least one non-None value in in_axes"),
    "in_axes of another length": (lambda m, n: m.vmap(n.add, in_axes=(0,))(n.ones(2), n.ones(2)), "vmap in_axes must be an int, None, or a tuple"),
    "in_axes of text": (lambda m, n: m.vmap(n.sin, in_axes="0")(n.ones(2)), "in_axes"),
    "vmap without arguments": (lambda m, n: m.vmap(lambda: 1.0)(), "vmap wrapped function must be passed at least one argument"),
    "out_axes of another structure": (lambda m, n: m.vmap(pair, out_axes=(0, 0, 0))(n.ones(2)), "vmap out_axes specification must be a tree prefix"),
    "out_axes None of a batch": (lambda m, n: m.vmap(n.sin, out_axes=None)(n.ones(2)), "out_axes"),
    "axis_size that is wrong": (lambda m, n: m.vmap(n.sin, axis_size=3)(n.ones(2)), "3"),
    "a name of an axis that is not there": (lambda m, n: m.vmap(lambda x: m.lax.psum(x, "i"))(n.ones(2)), "unbound axis name: i"),
    # Rules of one's own
    "a forward rule without a pair": (vjp_rule(lambda n, x, y: x * y, lambda n, r, g: (g, g)), "must produce a pair"),
    "too few cotangents": (vjp_rule(lambda n, x, y: (x * y, None), lambda n, r, g: (g,)), "must produce an output with the same container (pytree) structure"),
    "cotangents of another shape": (vjp_rule(lambda n, x, y: (x * y, None), lambda n, r, g: (n.ones(3), g)), "must produce an output with the same type as the args tuple of the primal function"),
    "a jvp rule without a pair": (jvp_rule(lambda n, x, t: x), "must produce a pair"),
    "a jvp rule of another structure": (jvp_rule(lambda n, x, t: (x, (t,))), "container (pytree) structures"),
    "a tangent of another shape from a jvp rule": (jvp_rule(lambda n, x, t: (x, n.ones(2))), "must produce primal and tangent outputs with"),
    "custom_jvp without a rule": (lambda m, n: m.custom_jvp(n.sin)(1.0), "No JVP defined for custom_jvp function"),
    "custom_vjp without a rule": (lambda m, n: m.grad(m.custom_vjp(n.sin))(1.0), "No VJP defined for custom_vjp function"),
    "forward mode of custom_vjp": (lambda m, n: _forward_of_vjp(m), "can't apply forward-mode autodiff (jvp) to a custom_vjp function."),
    "a custom_jvp that closes over a variable": (closed_over("custom_jvp"), "Encountered an unexpected tracer"),
    "a custom_vjp that closes over a variable": (closed_over("custom_vjp"), "Encountered an unexpected tracer"),
    "a custom_jvp of a constant that closes over a variable": (closed_over("custom_jvp", 1), "Encountered an unexpected tracer"),
    "a custom_vjp of a constant that closes over a variable": (closed_over("custom_vjp", 1), "Encountered an unexpected tracer"),
    # Values that are not there
    "if of a value under vmap": (lambda m, n: m.vmap(lambda x: 1.0 if x > 0 else 2.0)(n.ones(2)), "Attempted boolean conversion of traced array with shape bool[]"),
    "if of a value in a graph": (lambda m, n: m.make_jaxpr(lambda x: 1.0 if x > 0 else 2.0)(1.0), "Attempted boolean conversion of traced array with shape bool[]"),
    "a number of a value under vmap": (lambda m, n: m.vmap(float)(n.ones(2)), "Abstract tracer value encountered where concrete value is expected"),
    "an index from a value": (lambda m, n: m.vmap(lambda i: [1, 2][i])(n.arange(2)), "The __index__() method was called on traced array with shape int32[]"),
    "NumPy on a value": (lambda m, n: m.vmap(np.asarray)(n.ones(2)), "The numpy.ndarray conversion method __array__() was called on traced array with shape float32[]"),
    "a mask under vmap": (lambda m, n: m.vmap(lambda x: x[x > 0])(n.ones((2, 3))), "Array boolean indices must be concrete"),
    "a shape from a value": (lambda m, n: m.vmap(lambda k: n.zeros(k))(n.arange(2)), "Shapes must be 1D sequences of concrete values of integer type"),
    # Loops
    "a carry that changes dtype": (lambda m, n: m.lax.scan(lambda c, x: (c.astype("int32"), x), n.ones(()), n.ones(2)), "scan body function carry input and carry output must have equal types"),
    "a carry that changes shape": (lambda m, n: m.lax.scan(lambda c, x: (n.stack([c, c]), x), n.ones(()), n.ones(2)), "scan body function carry input and carry output must have equal types"),
    "a carry that changes structure": (lambda m, n: m.lax.scan(lambda c, x: ((c, c), x), n.ones(()), n.ones(2)), "scan body function carry input and carry output must have the same pytree structure"),
    "a scan body without a pair": (lambda m, n: m.lax.scan(lambda c, x: c, 0.0, n.ones(2)), "scan body output must be a pair"),
    "a scan over sizes that differ": (lambda m, n: m.lax.scan(lambda c, x: (c, x), 0.0, (n.ones(2), n.ones(3))), "scan got values with different leading axis sizes"),
    "a scan over nothing": (lambda m, n: m.lax.scan(lambda c, x: (c, x), 0.0), "length"),
    "a loop whose value changes shape": (lambda m, n: m.lax.while_loop(lambda v: n.sum(v) < 3, lambda v: n.stack([v, v]), n.ones(2)), "must have equal types"),
    "a condition that is no scalar": (lambda m, n: m.lax.while_loop(lambda v: v > 0, lambda v: v, n.ones(2)), "cond_fun must return a boolean scalar"),
    "a pred that is no scalar": (lambda m, n: m.lax.cond(n.ones(2) > 0, lambda: 1, lambda: 2), "Pred must be a scalar"),
    "branches of other structure": (lambda m, n: m.make_jaxpr(lambda x: m.lax.cond(x > 0, pair, lambda x: x, x))(1.0), "structure"),
    "branches of other dtypes": (lambda m, n: m.make_jaxpr(lambda x: m.lax.cond(x > 0, lambda: 1.0, lambda: 1))(1.0), "cond branches must have equal output types but they differ"),
    "a switch without branches": (lambda m, n: m.lax.switch(0, [], 1.0), "Empty branch sequence"),
    # In place
    "x[0] = 1": (lambda m, n: n.ones(2).__setitem__(0, 1.0), "x = x.at[idx].set(y)"),
    # After the end of a transform
    "a value that left vmap": (leaked, "Encountered an unexpected tracer"),
    "a value that left make_jaxpr": (leaked_from_make_jaxpr, "Encountered an unexpected tracer"),
    # Shapes and axes
    "shapes that do not broadcast": (lambda m, n: n.ones(2) + n.ones(3), "ncompatible shapes for broadcasting"),
    "matmul of sizes that differ": (lambda m, n: n.ones((2, 3)) @ n.ones((2, 3)), "contracting dimension"),
    "an axis that is not there": (lambda m, n: n.sum(n.ones(2), axis=3), "out of bounds"),
    "a reshape to another size": (lambda m, n: n.reshape(n.ones(6), (4,)), "cannot reshape array of shape (6,)"),
}  # fmt: skip


def _forward_of_vjp(m: Any) -> Any:
    f = m.custom_vjp(lambda x: x * 1.0)
    f.defvjp(lambda x: (x, None), lambda residuals, g: (g,))
    return m.jvp(f, (1.0,), (1.0,))


def error_of(program: Program, m: Any) -> Exception:
    with pytest.raises(Exception) as info:  # noqa: PT011 - the type is what is compared
        program(m, m.numpy)
    return info.value


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_jax_error_in_jax_words(mistake: str, xp: Any) -> None:
    program, words = MISTAKES[mistake]
    with usual_widths():
        theirs = error_of(program, jax)
    ours = error_of(program, gradkit)
    assert words in str(theirs), "JAX does not say so"
    assert words in str(ours)
    assert type(theirs).__name__ in [kind.__name__ for kind in type(ours).__mro__]


def test_the_error_of_an_assignment_shows_what_to_write(xp: Any) -> None:
    with pytest.raises(TypeError, match=r"x = x\.at\[0\]\.set\(1\)"):
        xp.ones(2)[0] = 1
