"""No array leaves a transform without its derivative: whatever takes one follows it, or raises and names the way out.

The attributes are found, not listed: every one of `Array`, with arguments of many kinds. Whatever numbers come out are
compared with central differences of the same call on plain values. So a new method is in the sweep by itself.
"""

from __future__ import annotations

import array
import copy
import io
import math
import operator
import pickle  # noqa: TID251 - what leaves by it is what is looked at
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from slopes import DIRECTION, OTHER, POINT, TRANSFORMS, along, slope_on_plain_values, swept

import gradkit
import gradkit.numpy as jnp
from gradkit import Array, Value, lax
from gradkit.backend import Backend
from gradkit.errors import ConcretizationTypeError, JAXTypeError, TracerArrayConversionError

Function = Callable[[Any], Any]


@pytest.fixture(autouse=True)
def in_float64(backend: Any) -> Iterator[None]:
    with gradkit.enable_x64(True):
        yield


CUT_OFF = {"detach", "__bool__"}
"""What cuts the derivative off on purpose."""

ARGUMENTS: list[tuple[Any, ...]] = [
    (),
    (0,),
    (1,),
    ("float64",),
    (2.5,),
    ([2, 0],),
    (np.asarray([0.5, 0.25, 0.125]),),
    (0, 1),
    (1, 0.5),
    ((-1,),),
    ([True, False, True],),
]


def member_calls(kind: type) -> dict[str, Function]:
    """Return a call of each attribute of a class with each of the arguments, from the class itself."""
    calls: dict[str, Function] = {}
    for name in dir(kind):
        if (
            name in CUT_OFF
            or re.match("_[^_]", name)
            or name in ("__class__", "__init__", "__init_subclass__", "__new__", "__subclasshook__")
        ):
            continue
        calls[name] = operator.attrgetter(name)
        if callable(getattr(kind, name, None)):
            for arguments in ARGUMENTS:
                shown = ", ".join(map(repr, arguments))
                calls[f"{name}({shown})"] = lambda x, name=name, arguments=arguments: getattr(x, name)(*arguments)
                calls[f"[0].{name}({shown})"] = lambda x, name=name, arguments=arguments: getattr(x[0], name)(
                    *arguments
                )
            calls[f"{name}(x)"] = lambda x, name=name: getattr(x, name)(x)
            calls[f"{name}(constant x)"] = lambda x, name=name: getattr(jnp.asarray(OTHER), name)(x)
    return calls


SHORT = ("grad", "vmap(grad)", "jvp around grad")


def test_every_attribute_of_array_is_followed_or_raises(xp: Any) -> None:
    tried, found = swept(member_calls(Array), SHORT)
    assert not found, "\n".join(found)
    assert tried > 300


@pytest.mark.long
def test_every_attribute_of_array_is_followed_or_raises_in_every_nesting(xp: Any) -> None:
    _, found = swept(member_calls(Array), set(TRANSFORMS) - set(SHORT))
    assert not found, "\n".join(found)


# What Python and NumPy do with an array

LEAVES: dict[str, Function] = {
    "float": lambda x: float(x[0]),
    "int": lambda x: int(x[0] * 10),
    "complex": lambda x: complex(x[0]),
    "math.sin": lambda x: math.sin(x[0]),
    "math.floor": lambda x: math.floor(x[0]),
    "math.fsum": math.fsum,
    "numpy.float64": lambda x: np.float64(x[0]),
    "item": lambda x: x[0].item(),
    "item(0)": lambda x: x.item(0),
    "tolist": lambda x: x.tolist(),
    "tobytes": lambda x: x.tobytes(),
    "data": lambda x: x.data,
    "Array": lambda x: Array(x),
    "Value": lambda x: Value(x[0]),
    "format": lambda x: f"{x[0]:.17g}",
    "percent": lambda x: f"{x[0]:.17g}",
    "numpy.asarray": np.asarray,
    "numpy.array of elements": lambda x: np.array([x[0], x[1]]),
    "numpy.from_dlpack": np.from_dlpack,
    "dlpack": lambda x: x.__dlpack__(),
    "pickle": pickle.dumps,
    "numpy.save": lambda x: np.save(io.BytesIO(), x),
    "numpy.savetxt": lambda x: np.savetxt(io.BytesIO(), x),
    "ufunc with out": lambda x: np.add(x, 1.0, out=np.zeros(3)),
    "array.array": lambda x: array.array("d", x),
    "jnp.array of a list": lambda x: jnp.array(x.tolist()),
}


INTO_THE_MEMORY_OF_NUMPY = {"numpy.from_dlpack", "ufunc with out"}
"""What a GPU's arrays refuse, plain ones too: NumPy does not read their memory, and they do not write into NumPy's."""


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("way", LEAVES)
def test_values_leave_a_transform_with_an_error_that_names_the_way_out(
    way: str, transform: str, xp: Any, backend: Backend
) -> None:
    plain = jnp.asarray(POINT)
    if way not in INTO_THE_MEMORY_OF_NUMPY or type(plain.data) is np.ndarray:
        LEAVES[way](plain)  # which works on plain values
    seen: list[Any] = []

    def g(t: Any) -> Any:
        x = jnp.asarray(POINT) + t * jnp.asarray(DIRECTION)
        with pytest.raises(JAXTypeError) as error:
            LEAVES[way](x)
        seen.append(error.value)
        return jnp.sum(x)

    TRANSFORMS[transform](g)
    assert seen
    for error in seen:
        assert isinstance(error, ConcretizationTypeError | TracerArrayConversionError)
        if "has no values" not in str(error):
            assert "x.detach()" in str(error)
            assert "lax.stop_gradient(x)" in str(error) or way == "Value"


def test_numpy_says_so_in_its_own_words_where_it_swallows_the_error(xp: Any) -> None:
    # It asks __float__ alone, and replaces what that raises by an error of its own for whatever can be indexed: in JAX
    # as here, the cause has the way out.
    def written(x: Any) -> Any:
        array_ = np.zeros(3)
        array_[0] = x[0]
        return jnp.sum(jnp.asarray(array_))

    for f in (lambda x: jnp.sum(jnp.asarray(np.fromiter(x, float))), written, lambda x: np.zeros(3).fill(x[0])):
        with pytest.raises(ValueError, match="sequence") as error:
            gradkit.grad(f)(jnp.asarray(POINT))
        assert isinstance(error.value.__cause__, ConcretizationTypeError)
        assert "x.detach()" in str(error.value.__cause__)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_what_carries_no_derivative_may_be_read(transform: str, xp: Any) -> None:
    seen: list[Any] = []

    def g(t: Any) -> Any:
        x = jnp.asarray(POINT) + t * jnp.asarray(DIRECTION)
        assert x.detach().shape == lax.stop_gradient(x).shape == x.shape
        if "vmap(grad)" not in transform:  # where there are no values
            assert bool(x[0] > 0)
            assert bool(x[0])
            assert (1 if x[1] < 0 else 2) == 2
            assert int(jnp.argmax(x)) == 2
            assert [0, 1, 2][jnp.argmax(x)] == 2
            seen.append([float(x[0].detach()), *x.detach().tolist(), *np.asarray(lax.stop_gradient(x)).tolist()])
        return jnp.sum(x)

    TRANSFORMS[transform](g)
    for values in seen:
        assert values == [POINT[0], *POINT, *POINT]


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize(
    "identity, slope",
    {
        "view": (lambda x: x.view(x.dtype), 1),
        "view by name": (lambda x: x.view("float64"), 1),
        "copy": (copy.copy, 1),
        "deepcopy": (copy.deepcopy, 1),
        "deepcopy of a tree": (lambda x: copy.deepcopy({"a": [x]})["a"][0], 1),
        "device_get": (gradkit.device_get, 1),
        "device_get of a tree": (lambda x: gradkit.device_get({"a": (x, 1)})["a"][0], 1),
        "device_put": (lambda x: gradkit.device_put([x])[0], 1),
        "bitcast_convert_type": (lambda x: lax.bitcast_convert_type(x, x.dtype), 0),
        "view as integers and back": (lambda x: x.view("int64").view("float64"), 0),
        "detach": (lambda x: x.detach(), 0),
        "stop_gradient": (lax.stop_gradient, 0),
    }.values(),
)
def test_an_identity_has_slope_1_and_bits_have_0(identity: Function, slope: int, transform: str, xp: Any) -> None:
    f = along(lambda x: identity(x) * 2.0, jnp.asarray(POINT), jnp.asarray(DIRECTION))
    right = slope * slope_on_plain_values(lambda x: x * 2.0)
    assert float(TRANSFORMS[transform](f)) == pytest.approx(right, abs=1e-9)


def test_detach_keeps_the_batch(xp: Any) -> None:
    rows = jnp.asarray(np.stack([POINT, OTHER]))
    found = gradkit.vmap(lambda x: x.detach() * 2)(rows)
    np.testing.assert_array_equal(np.asarray(found), 2 * np.stack([POINT, OTHER]))
    slopes = gradkit.vmap(gradkit.grad(lambda x: jnp.sum(x.detach() * x)))(rows)
    np.testing.assert_array_equal(np.asarray(slopes), np.stack([POINT, OTHER]))


def test_a_traced_array_prints_its_values_and_is_no_number(xp: Any) -> None:
    shown: list[str] = []
    leaked: list[Any] = []

    def f(x: Any) -> Any:
        shown.extend([repr(x), str(x), f"{x}"])
        leaked.append(x)
        return x

    gradkit.grad(f)(jnp.asarray(0.5))
    assert set(shown) == {"Traced<Array(0.5, dtype=float64)>"} == {repr(leaked[0])}


# The lecture's face stays as it is


def test_the_tape_gives_its_values_but_not_to_other_libraries(xp: Any) -> None:
    x = jnp.asarray(POINT)
    x.requires_grad = True
    y = x * 2
    for array_ in (x, y):
        assert array_.tolist() == list(np.asarray(array_))
        assert float(array_[0]) == array_[0].item() == float(f"{array_[0]:.17g}")
        with pytest.raises(ConcretizationTypeError, match=r"requires gradients.*x\.detach\(\)"):
            np.from_dlpack(array_)
    jnp.sum(copy.deepcopy(y) * y).backward()  # a copy of a result is that result still
    np.testing.assert_allclose(np.asarray(jnp.asarray(x.grad)), 8 * POINT)
    assert copy.deepcopy(x).requires_grad
    assert copy.deepcopy(x).grad is None
    assert pickle.loads(pickle.dumps(x)).requires_grad


def test_a_gradient_or_a_model_changed_in_place_keeps_what_a_transform_follows_or_raises(xp: Any) -> None:
    model = gradkit.nn.Linear(2, 1)
    before = model.weight.tolist()

    def step(rate: Any) -> Any:
        model.zero_grad()
        model(jnp.ones(2)).backward(gradient=jnp.full(1, rate))
        gradkit.optim.SGD(0.1).step(model)
        return jnp.sum(model.weight)

    with pytest.raises(ConcretizationTypeError, match="derivative would be lost"):
        gradkit.grad(step)(1.0)
    assert model.weight.tolist() == before

    def kept(rate: Any) -> Any:
        leaf = jnp.asarray([1.0, 2.0])
        leaf.requires_grad = True
        leaf.grad = rate * jnp.asarray([3.0, 4.0])
        return jnp.sum(leaf.grad)

    assert float(gradkit.grad(kept)(1.0)) == 7.0

    def assigned(rate: Any) -> Any:
        leaf = jnp.asarray([1.0, 2.0])
        leaf.data = rate * leaf
        return jnp.sum(leaf)

    with pytest.raises(ConcretizationTypeError, match="derivative would be lost"):
        gradkit.grad(assigned)(1.0)


def test_a_value_of_the_lecture_keeps_its_derivative_or_raises(backend: Any) -> None:
    for read in (float, lambda v: v.data, lambda v: f"{v:.17g}", lambda v: math.sin(v), pickle.dumps):
        with pytest.raises(ConcretizationTypeError, match="derivative would be lost"):
            gradkit.grad(lambda v, read=read: v * read(v))(Value(2.0))
    for same in (copy.copy, copy.deepcopy, gradkit.device_get):
        assert gradkit.grad(lambda v, same=same: same(v) * v)(Value(3.0)).data == 6.0
    assert gradkit.grad(lambda v: v * 2 if v > 1 else v)(Value(2.0)).data == 2.0
    assert gradkit.grad(lambda v: lax.stop_gradient(v).data * v)(Value(3.0)).data == 3.0
