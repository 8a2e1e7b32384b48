"""How many Python functions a call runs through on NumPy's arrays: counted, since times depend on the machine."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import lax, random


@pytest.fixture(autouse=True)
def numpy_alone(backend: Any) -> Iterator[None]:
    if backend.name != "numpy":
        pytest.skip("the calls of another library are its own")
    with gradkit.use_backend("numpy"):
        yield


def frames(function: Callable[[], Any]) -> Counter[str]:
    function()  # what is remembered from the first call is there in the second
    found: Counter[str] = Counter()

    def count(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            found[frame.f_code.co_name] += 1

    gc.disable()  # others' functions may run when it collects
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
        gc.enable()
    found[function.__name__] -= 1
    return found


def arrays() -> dict[str, Any]:
    x = jnp.asarray(np.arange(12.0, dtype=np.float32).reshape(3, 4))
    n = jnp.asarray(np.arange(12, dtype=np.int32).reshape(3, 4))
    i = jnp.asarray(np.asarray([2, 0], np.int32))
    return {"x": x, "y": x + 1.5, "n": n, "b": n > 3, "v": x[0], "i": i, "k": i[0], "two": np.int64(2)}


LIMITS = {
    "x[1] x[-1] x[1:3] x[::-1] x[...,0] x[None] x[:,None] x[1,2] x[:,1:] x[two] x[k] x[i] x[:,i] x[...,i]": 30,
    """
    x[n>5] x[b] x[b[:,0]] x[i,i] x[i,1] x[1,i] x[1:,i] x[i,1:] x[None,i] x[i,None] x.at[1].set(v) x.at[1].set(2.0)
    x.at[1,2].add(1.0) x.at[1:].add(1.0) x.at[:,1].set(0.0) jnp.zeros_like(x) jnp.ones_like(x) jnp.full_like(x,2.0)
    jnp.dot(v,v) jnp.stack([x,y])
    """: 50,
    """
    x.at[i].set(1.0) x.at[i].add(1.0) x.at[:,i].add(y[:,i]) x.at[i].max(y[i]) x.at[b].set(0.0) x[np.asarray([0,1])]
    """: 65,
    "x[[0,1]] x.at[i,i].set(0.0) x.at[i,i].add(1.0) jnp.einsum('ij,jk->ik',x,y.T)": 135,
    """
    jnp.take(v,i) jnp.take(x,i) jnp.take(x,i,axis=0) jnp.take(x,i,axis=1) jnp.take(x,i,axis=-1) x.take(i,axis=0)
    jnp.take(x,1,axis=0) jnp.take(x,i,axis=0,mode='fill')
    """: 20,
    """
    lax.add(x,y) lax.sub(x,y) lax.mul(x,y) lax.max(x,y) lax.min(x,y) lax.lt(x,y) lax.eq(x,y) lax.add(n,n)
    lax.neg(x) lax.abs(x) lax.exp(x) lax.log(y) lax.sin(x) lax.cos(x) lax.tanh(x) lax.sqrt(y)
    lax.floor(x) lax.square(x) lax.pow(y,y) lax.add(x,2.0) lax.mul(2.0,x)
    lax.bitwise_and(n,n) lax.bitwise_or(b,b)
    """: 3,
    """
    jnp.sin(n) jnp.exp(n) jnp.cos(n) jnp.sqrt(n) jnp.tanh(b) jnp.log1p(n) jnp.arctan(n) jnp.add(n,x) jnp.multiply(x,b)
    lax.bitwise_not(n) n+1
    """: 12,
    "n*2.5 x>n": 13,
    "lax.atan2(x,y)": 5,
    "jnp.take(x,i,axis=0,mode='clip')": 32,
    """
    jnp.sum(x) jnp.sum(x,axis=0) jnp.sum(x,axis=-1,keepdims=True) jnp.sum(x,axis=(0,1)) x.sum(0) jnp.mean(x,axis=0)
    jnp.max(x,axis=0) jnp.min(x,axis=1) x.max() jnp.prod(x,axis=0) jnp.any(b,axis=0) jnp.all(b,axis=1)
    jnp.reshape(x,(4,3)) jnp.reshape(x,-1) x.reshape(4,3) x.reshape(-1) jnp.ravel(x) jnp.transpose(x)
    x.T jnp.broadcast_to(x,(2,3,4)) jnp.transpose(x,(1,0))
    """: 8,
    "jnp.sin(x) jnp.add(x,y) jnp.maximum(x,0) -x x+y x*2.0 x@y.T x.transpose(1,0)": 9,
    "x+y x*y x-2.0 x/y x<y -x abs(x)": 1,
    "2.0*x 1-x x**2": 3,
    "x**y": 4,
}


def test_a_product_runs_through_as_few_functions_once_a_precision_was_set() -> None:
    x = arrays()["x"]
    with gradkit.default_matmul_precision("highest"):
        x @ x.T
    assert frames(lambda: x @ x.T).total() <= 9


@pytest.mark.parametrize("text, limit", [(t, limit) for texts, limit in LIMITS.items() for t in texts.split()])
def test_a_call_runs_through_few_functions(text: str, limit: int) -> None:
    function = eval(f"lambda: {text}", {"jnp": jnp, "lax": lax, "np": np, **arrays()})
    found = frames(function)
    assert found.total() <= limit, dict(found)


DRAWS = {
    "bits": lambda key: random.bits(key, (3,)),
    "uniform": random.uniform,
    "normal": lambda key: random.normal(key, (3,)),
    "split": random.split,
    "fold_in": lambda key: random.fold_in(key, 7),
    "permutation": lambda key: random.permutation(key, 5),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_batch_of_2000_keys_runs_through_as_many_functions_as_one_of_2(name: str) -> None:
    draw = gradkit.vmap(DRAWS[name])
    many, few = (random.split(random.key(0), count) for count in (2000, 2))
    assert frames(lambda: draw(many)) == frames(lambda: draw(few))
