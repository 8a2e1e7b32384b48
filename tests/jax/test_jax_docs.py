"""What the pages of JAX's documentation teach, section by section, in programs that gradkit and JAX both run."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax.ad_checkpoint
import jax.scipy.stats  # noqa: F401 - which `import jax` leaves out
import numpy as np
import pytest
from side_by_side import check_same

X = np.asarray([0.3, -1.2, 2.5])
A = np.asarray([[1.5, -0.5, 0.25], [2.0, 0.75, -1.0]])
Z = np.asarray([0.5 + 1.5j, -2.0 + 0.25j])


# Automatic differentiation, the cookbook, Jacobian-vector products, higher orders


def logistic_regression(m: Any, n: Any) -> Any:
    def loss(params: Any, inputs: Any, targets: Any) -> Any:
        p = 1 / (1 + n.exp(-(inputs @ params["w"] + params["b"])))
        return -n.sum(n.log(n.where(targets, p, 1 - p)))

    def program(inputs: Any) -> Any:
        params = {"w": n.ones(3) / 4, "b": n.asarray(0.5)}
        targets = n.asarray([True, False])
        value, gradient = m.value_and_grad(loss)(params, inputs, targets)
        direction = m.tree.map(n.ones_like, params)
        return value, gradient, m.jvp(lambda p: loss(p, inputs, targets), (params,), (direction,))

    return program


def jacobians(m: Any, n: Any) -> Any:
    def f(x: Any) -> Any:
        return n.stack([n.sin(x[0]) * x[1], x[2] ** 2, n.exp(x[0] * x[2])])

    return lambda x: (m.jacfwd(f)(x), m.jacrev(f)(x), m.hessian(lambda x: n.sum(f(x)))(x))


def hessian_vector_products(m: Any, n: Any) -> Any:
    def f(x: Any) -> Any:
        return n.sum(n.tanh(x) ** 2) * n.prod(x)

    def program(x: Any) -> Any:
        forward_over_reverse = m.jvp(m.grad(f), (x,), (n.ones_like(x),))[1]
        reverse_over_reverse = m.grad(lambda x: n.vdot(m.grad(f)(x), n.ones_like(x)))(x)
        reverse_over_forward = m.grad(lambda x: m.jvp(f, (x,), (n.ones_like(x),))[1])(x)
        _, linear = m.linearize(m.grad(f), x)
        return forward_over_reverse, reverse_over_reverse, reverse_over_forward, linear(n.ones_like(x))

    return program


def complex_numbers(m: Any, n: Any) -> Any:
    def program(z: Any) -> Any:
        squared_length = m.grad(lambda z: n.real(z) ** 2 + n.imag(z) ** 2)
        holomorphic = m.grad(n.sin, holomorphic=True)
        not_holomorphic = m.grad(n.conj, holomorphic=True)
        return squared_length(z[0]), holomorphic(z[0]), not_holomorphic(z[0]), m.vjp(n.exp, z)[1](z)

    return program


def gradient_of_complex_cholesky(m: Any, n: Any) -> Any:
    def f(a: Any) -> Any:
        lower = n.linalg.cholesky(a)
        return n.sum((lower - n.sin(lower)) ** 2)

    def program(z: Any) -> Any:
        hermitian = n.asarray([[4.0, 0.0], [0.0, 5.0]]) + n.outer(z, n.conj(z))
        return m.grad(f, holomorphic=True)(hermitian)

    return program


def stopped_gradients(m: Any, n: Any) -> Any:
    def temporal_difference(theta: Any, before: Any, after: Any) -> Any:
        return (m.lax.stop_gradient(1 + theta @ after) - theta @ before) ** 2

    def straight_through(x: Any) -> Any:
        return x - m.lax.stop_gradient(x) + m.lax.stop_gradient(n.round(x))

    def program(x: Any) -> Any:
        per_example = m.vmap(m.grad(temporal_difference), in_axes=(None, 0, 0))
        return per_example(x, n.eye(3), n.ones((3, 3))), m.grad(straight_through)(x[0]), m.grad(n.round)(x[0])

    return program


def third_derivatives_and_meta_learning(m: Any, n: Any) -> Any:
    def step(x: Any) -> Any:
        return x - 0.1 * m.grad(lambda x: n.sum(n.cos(x) ** 3))(x)

    return lambda x: (m.grad(m.grad(m.grad(n.tanh)))(x[0]), m.grad(lambda x: n.sum(step(step(x)) ** 2))(x))


# Rules of one's own


def custom_forward_rule(m: Any, n: Any) -> Any:
    @m.custom_jvp
    def softplus(x: Any) -> Any:
        return n.log(1 + n.exp(x))

    softplus.defjvps(lambda t, y, x: (1 - 1 / (1 + n.exp(x))) * t)
    return lambda x: (m.vmap(m.grad(softplus))(x), m.grad(softplus)(100.0 + x[0]), m.vmap(m.grad(m.grad(softplus)))(x))


def custom_reverse_rule(m: Any, n: Any) -> Any:
    @partial(m.custom_vjp, nondiff_argnums=(0,))
    def clipped(limit: Any, x: Any) -> Any:
        return x

    clipped.defvjp(lambda limit, x: (x, None), lambda limit, _, g: (n.clip(g, -limit, limit),))
    return lambda x: (clipped(0.5, x), m.grad(lambda x: n.sum(clipped(0.5, x) ** 2))(x))


def implicit_fixed_point(m: Any, n: Any) -> Any:
    def iterate(f: Any, a: Any, start: Any) -> Any:
        def moving(state: Any) -> Any:
            return n.abs(state[0] - state[1]) > 1e-12

        return m.lax.while_loop(moving, lambda state: (state[1], f(a, state[1])), (start, f(a, start)))[1]

    @partial(m.custom_vjp, nondiff_argnums=(0,))
    def fixed_point(f: Any, a: Any, start: Any) -> Any:
        return iterate(f, a, start)

    def forward(f: Any, a: Any, start: Any) -> Any:
        x = fixed_point(f, a, start)
        return x, (a, x)

    def backward(f: Any, kept: Any, g: Any) -> Any:
        a, x = kept
        _, pullback_a = m.vjp(lambda a: f(a, x), a)
        _, pullback_x = m.vjp(lambda x: f(a, x), x)
        return (*pullback_a(iterate(lambda g, u: g + pullback_x(u)[0], g, g)), n.zeros_like(x))

    fixed_point.defvjp(forward, backward)

    def root(a: Any) -> Any:
        return fixed_point(lambda a, x: (x + a / x) / 2, a, a)

    return lambda x: (root(x[2]), m.grad(root)(x[2]))


# Vectorization


def convolution_of_batches(m: Any, n: Any) -> Any:
    def convolve(x: Any, w: Any) -> Any:
        return n.stack([n.dot(x[i : i + 2], w) for i in range(len(x) - 1)])

    def program(x: Any) -> Any:
        xs, ws = n.stack([x, 2 * x]), n.stack([x[:2], x[1:]])
        columns = m.vmap(convolve, in_axes=1, out_axes=1)(xs.T, ws.T)
        return m.vmap(convolve)(xs, ws), columns, m.vmap(convolve, in_axes=[0, None])(xs, ws[0])

    return program


# Random numbers


def random_numbers(m: Any, n: Any) -> Any:
    def program() -> Any:
        key, *keys = m.random.split(m.random.key(43), 4)
        at_once = m.vmap(lambda key: m.random.normal(key, dtype="float32"))(m.random.split(key, 3))
        return (
            m.random.key_data(key),
            m.random.normal(keys[0], (3,), "float32"),
            m.random.randint(keys[1], (4,), 0, 10, "int32"),
            m.random.permutation(m.random.fold_in(key, 7), n.arange(6)),
            at_once,
        )

    return program


# Pytrees and state


def trees(m: Any, n: Any) -> Any:
    def program(x: Any) -> Any:
        tree = {"b": [x, 2 * x], "a": (x[0], None)}
        doubled = m.tree.map(lambda leaf: 2 * leaf, tree)
        summed = m.tree.reduce(lambda total, leaf: total + n.sum(leaf), tree, 0.0)
        turned = m.tree.transpose(m.tree.structure([0, 0]), m.tree.structure({"u": 0}), [{"u": x}, {"u": -x}])
        return doubled, summed, turned, m.grad(lambda t: n.sum(t["b"][1] ** 2) * t["a"][0])(tree)

    return program


def training_with_state(m: Any, n: Any) -> Any:
    def update(state: Any, xy: Any) -> Any:
        w, count = state
        loss, g = m.value_and_grad(lambda w: (w * xy[0] - xy[1]) ** 2)(w)
        return (w - 0.05 * g, count + 1), loss

    return lambda x: m.lax.scan(update, (n.asarray(0.0), n.asarray(0)), (x, 3 * x + 1))


# Control flow


def control_flow(m: Any, n: Any) -> Any:
    def program(x: Any) -> Any:
        branch = m.lax.cond(x[0] > 0, n.sin, n.cos, x[0])
        switched = m.vmap(lambda i: m.lax.switch(i, [n.sin, n.cos, n.exp], x[1]))(n.arange(3))
        counted = m.lax.while_loop(lambda s: s[0] < 20, lambda s: (s[0] * 2, s[1] + 1), (n.asarray(1.0), 0))
        power = m.grad(lambda v: m.lax.fori_loop(0, 4, lambda i, total: total * v, 1.0))(x[2])
        return branch, switched, counted, power, m.lax.map(n.square, x), m.lax.associative_scan(n.add, x)

    return program


# Key concepts, thinking in JAX, the sharp bits


def updates_by_index(m: Any, n: Any) -> Any:
    def program(a: Any) -> Any:
        rows = a.at[0].set(1.0).at[1, ::2].add(7.0)
        return rows, a.at[:, 1].multiply(3.0), a.at[9].get(mode="fill", fill_value=-1.0), a.at[9].set(5.0)

    return program


def normalized_rows(m: Any, n: Any) -> Any:
    @m.jit
    def normalize(a: Any) -> Any:
        a = a - a.mean(0)
        return a / (n.abs(a).max(0) + 1)

    return lambda a: (normalize(a), m.vmap(normalize)(n.stack([a, 2 * a])), m.jacobian(normalize)(a))


def masks_without_nan(m: Any, n: Any) -> Any:
    def root(x: Any) -> Any:
        return n.sum(n.where(x > 0, n.sqrt(n.where(x > 0, x, 1.0)), 0.0))

    return lambda x: (root(x), m.grad(root)(x), n.sum(n.where(x > 0, x, 0.0)))


# Checkpointing


def rematerialization(m: Any, n: Any) -> Any:
    def layer(w: Any, x: Any) -> Any:
        return m.ad_checkpoint.checkpoint_name(n.sin(w @ x), "layer")

    def program(a: Any, x: Any) -> Any:
        names = m.checkpoint_policies.save_only_these_names("layer")
        kept = m.grad(lambda a: n.sum(m.checkpoint(layer, policy=names)(a, x)))(a)
        return kept, m.hessian(lambda x: n.sum(m.remat(layer)(a, x)))(x)

    return program


def log_densities(m: Any, n: Any) -> Any:
    def log_joint(beta: Any) -> Any:
        return n.sum(m.scipy.stats.norm.logpdf(beta, loc=0.0, scale=1.0)) - n.sum(n.logaddexp(0.0, -beta))

    return lambda x: (m.vmap(m.grad(log_joint))(n.stack([x, -x])), m.vmap(log_joint)(n.stack([x, -x])))


PROGRAMS: dict[Any, tuple[np.ndarray, ...]] = {
    logistic_regression: (A,),
    jacobians: (X,),
    hessian_vector_products: (X,),
    complex_numbers: (Z,),
    gradient_of_complex_cholesky: (Z,),
    stopped_gradients: (X,),
    third_derivatives_and_meta_learning: (X,),
    custom_forward_rule: (X,),
    custom_reverse_rule: (X,),
    implicit_fixed_point: (X,),
    convolution_of_batches: (X,),
    random_numbers: (),
    trees: (X,),
    training_with_state: (X,),
    control_flow: (X,),
    updates_by_index: (A,),
    normalized_rows: (A,),
    masks_without_nan: (X,),
    rematerialization: (A, X),
    log_densities: (X,),
}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_programs_as_in_the_documentation_give_the_numbers_of_jax(program: Any, xp: Any) -> None:
    tolerance = 1e-6 if program is random_numbers else 1e-9
    check_same(program, *PROGRAMS[program], tolerance=tolerance)
