"""Functions take the parameters that JAX's take, by name and by place; what is missing is in the docs."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp

DISTRIBUTIONS = (
    "bernoulli beta betabinom binom cauchy chi2 dirichlet expon gamma geom gumbel_l gumbel_r laplace logistic "
    "multinomial multivariate_normal nbinom norm pareto poisson t truncnorm uniform vonmises wrapcauchy"
).split()
MODULES = [
    *("", "numpy", "numpy.linalg", "numpy.fft", "lax", "lax.linalg", "nn", "nn.initializers", "random"),
    *("scipy.linalg", "scipy.special", "scipy.stats", *(f"scipy.stats.{name}" for name in DISTRIBUTIONS)),
    *("tree", "tree_util", "flatten_util", "debug"),
]
PLACED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
DOCS = Path(__file__).resolve().parents[2] / "docs" / "differences-from-jax.md"


def module(root: str, name: str) -> ModuleType:
    return importlib.import_module(f"{root}.{name}" if name else root)


def parameters(function: Any) -> Any:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None


def pairs() -> Iterator[tuple[str, Any, Any]]:
    """Give the functions that both have, and their parameters."""
    for name in MODULES:
        theirs, ours = module("jax", name), module("gradkit", name)
        for function in dir(theirs):
            f, g = getattr(theirs, function), getattr(ours, function, None)
            if function.startswith("_") or isinstance(f, type) or not callable(f) or g is None:
                continue
            one, other = parameters(f), parameters(g)
            if one is not None and other is not None:
                yield f"{name}.{function}".removeprefix("."), one, other


def missing(theirs: Any, ours: Any) -> list[str]:
    """Return the parameters of JAX's function that cannot be given as they can there."""
    found = []
    kinds = {p.kind for p in ours.values()}
    places = [name for name, p in ours.items() if p.kind in PLACED]
    for i, (name, p) in enumerate(theirs.items()):
        if p.kind in VARIABLE or name.startswith("_"):
            continue
        by_name = (name in ours and ours[name].kind != inspect.Parameter.POSITIONAL_ONLY) or VARIABLE[1] in kinds
        by_place = VARIABLE[0] in kinds or (
            i < len(places) and (places[i] == name or p.kind == inspect.Parameter.POSITIONAL_ONLY)
        )
        if not (by_name or p.kind == inspect.Parameter.POSITIONAL_ONLY) or not (by_place or p.kind not in PLACED):
            found.append(name)
    return found


def listed() -> set[tuple[str, str]]:
    """Return what the docs say is missing: (parameter, function)."""
    (text,) = re.findall(r"^- Parameters of functions that are there: (.*?)^(?:- |\n|#)", DOCS.read_text(), re.M | re.S)
    found = set()
    for part in re.sub(r"\s+", " ", text).rstrip(". ").split(";"):
        names, functions = part.split(" of ")
        found |= {(name, f) for name in re.findall(r"`(\w+)`", names) for f in re.findall(r"`([\w.]+)`", functions)}
    return found


def test_the_parameters_that_are_missing_are_those_in_the_docs() -> None:
    found = {(name, function) for function, theirs, ours in pairs() for name in missing(theirs, ours)}
    assert sum(1 for _ in pairs()) > 850
    assert found == listed()


@pytest.mark.parametrize("parameter, function", sorted(listed()))
def test_one_that_is_missing_is_an_error_that_names_it(parameter: str, function: str) -> None:
    *modules, name = function.split(".")
    ours = getattr(module("gradkit", ".".join(modules)), name)
    count = sum(p.default is p.empty and p.kind in PLACED for p in inspect.signature(ours).parameters.values())
    with pytest.raises(TypeError, match=parameter):
        ours(*[jnp.ones(2)] * count, **{parameter: jnp.ones(2)})


SHARDED = {
    f"{name}.{function}": getattr(module("gradkit", name), function)
    for name in ("numpy", "random", "nn.initializers")
    for function in dir(module("gradkit", name))
    if function[:1] != "_"
    and function != "refuse_sharding"
    and "out_sharding" in (parameters(getattr(module("gradkit", name), function)) or {})
}
ARGUMENTS: dict[str, Any] = {
    "key": lambda: gradkit.random.key(0),
    "shape": lambda: (2, 3),
    "a": lambda: jnp.ones((2, 3)),
    "x": lambda: jnp.asarray([1, 0, 2]),
    "array": lambda: jnp.ones(3),
    "object": lambda: [1.0],
    "fill_value": lambda: 2.0,
    "repeats": lambda: 2,
    "start": lambda: 3,
    "q": lambda: 50.0,
    "logits": lambda: jnp.ones(3),
    "p": lambda: 0.5,
    "mean": lambda: jnp.ones(2),
    "cov": lambda: jnp.eye(2),
    "b": lambda: jnp.ones((2, 3)),
    "n": lambda: 2,
    "scale": lambda: jnp.ones((2, 3)),
    "left": lambda: 0.0,
    "mode": lambda: 0.5,
    "right": lambda: 1.0,
    "lower": lambda: 0.0,
    "upper": lambda: 1.0,
    "minval": lambda: 0,
    "maxval": lambda: 5,
    "subscripts": lambda: "i,i->",
}
REQUIRED = {"broadcast_to": {"shape": (2, 3)}, "reshape": {"shape": (3, 2)}, "einsum": {}}


@pytest.mark.parametrize("name", [name for name in SHARDED if not re.search("einsum|dot|mul|inner|outer|vec", name)])
def test_out_sharding_may_be_none(name: str, xp: Any) -> None:
    given = {
        n: ARGUMENTS[n]()
        for n, p in parameters(SHARDED[name]).items()
        if p.default is p.empty and p.kind not in VARIABLE
    } | REQUIRED.get(name.rpartition(".")[2], {})
    plain, other = SHARDED[name](**given), SHARDED[name](**given, out_sharding=None)
    np.testing.assert_array_equal(gradkit.device_get(plain), gradkit.device_get(other))
    with pytest.raises(NotImplementedError, match="out_sharding is not supported: an array is on one device"):
        SHARDED[name](**given, out_sharding="x")


def test_many_functions_take_out_sharding() -> None:
    assert len(SHARDED) > 40


CALLS: dict[str, Any] = {
    "sum": lambda n: n.sum(a=X, axis=0),
    "max": lambda n: n.max(a=X, axis=0),
    "all": lambda n: n.all(a=X > 1),
    "argmax": lambda n: n.argmax(a=X, axis=1),
    "reshape": lambda n: n.reshape(a=X, shape=(3, 2)),
    "transpose": lambda n: n.transpose(a=X, axes=(1, 0)),
    "take": lambda n: n.take(a=X, indices=np.asarray([1]), axis=0),
    "tile": lambda n: n.tile(A=X, reps=2),
    "flip": lambda n: n.flip(m=X, axis=0),
    "searchsorted": lambda n: n.searchsorted(a=X[0], v=X[1]),
    "take_along_axis": lambda n: n.take_along_axis(arr=X, indices=np.asarray([[0], [1]]), axis=1),
    "broadcast_to": lambda n: n.broadcast_to(array=X, shape=(2, 2, 3)),
    "full_like": lambda n: n.full_like(a=X, fill_value=2),
    "empty_like": lambda n: 0 * n.empty_like(prototype=X),
    "array": lambda n: n.array(object=[1.0, 2.0]),
    "moveaxis": lambda n: n.moveaxis(a=X, source=0, destination=1),
    "std": lambda n: n.std(a=X, axis=1),
    "cumsum": lambda n: n.cumsum(a=X, axis=1),
    "can_cast": lambda n: np.asarray(n.can_cast(from_="int32", to="float32")),
}
X = np.asarray([[1.0, 2.0, 4.0], [0.5, 3.0, 5.0]], np.float32)


@pytest.mark.parametrize("name", CALLS)
def test_first_arguments_have_jax_s_names(name: str, xp: Any) -> None:
    class Ours:
        def __getattr__(self, function: str) -> Any:
            return lambda **given: getattr(jnp, function)(
                **{k: jnp.asarray(v) if isinstance(v, np.ndarray) else v for k, v in given.items()}
            )

    np.testing.assert_allclose(gradkit.device_get(CALLS[name](Ours())), np.asarray(CALLS[name](jax.numpy)), rtol=1e-6)


SPECIAL = {
    "beta": {"a": 1.5, "b": 2.0}, "betainc": {"a": 1.5, "b": 2.0, "x": 0.3}, "betaln": {"a": 1.5, "b": 2.0},
    "expn": {"n": 2, "x": 0.3}, "gammainc": {"a": 1.5, "x": 0.3}, "gammaincc": {"a": 1.5, "x": 0.3},
    "hyp1f1": {"a": 1.5, "b": 2.0, "x": 0.3}, "poch": {"z": 1.5, "m": 2.0}, "xlog1py": {"x": 1.5, "y": 2.0},
    "xlogy": {"x": 1.5, "y": 2.0}, "erf": {"x": 0.3}, "logsumexp": {"a": X},
}  # fmt: skip


@pytest.mark.parametrize("name", SPECIAL)
def test_special_functions_have_jax_s_names(name: str, xp: Any) -> None:
    ours = getattr(gradkit.scipy.special, name)(**{k: jnp.asarray(v) for k, v in SPECIAL[name].items()})
    theirs = getattr(importlib.import_module("jax.scipy.special"), name)(**SPECIAL[name])
    np.testing.assert_allclose(gradkit.device_get(ours), np.asarray(theirs), rtol=1e-5)
