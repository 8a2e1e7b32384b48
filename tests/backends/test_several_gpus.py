"""What gradkit_cupy does on a machine with several GPUs, with pretended GPUs: no CuPy takes part."""

from __future__ import annotations

import types
from typing import Any, ClassVar

import pytest
from gradkit_cupy.several import NamespaceOfSeveral


class Gpu:
    """A GPU of which one is current, as CuPy's devices are."""

    current: ClassVar[list[int]] = [0]

    def __init__(self, number: int) -> None:
        self.id = number

    def __enter__(self) -> Gpu:
        self.current.append(self.id)
        return self

    def __exit__(self, *error: object) -> None:
        self.current.pop()


class ArrayOn:
    """An array on a pretended GPU."""

    def __init__(self, device: Gpu) -> None:
        self.device = device


def made(*args: Any, **kwargs: Any) -> ArrayOn:
    """Return a result where CuPy makes it: on the current GPU."""
    return ArrayOn(Gpu(Gpu.current[-1]))


XP = NamespaceOfSeveral(types.SimpleNamespace(add=made, concat=made, zeros=made, clip=made, float32=float), ArrayOn)
ON_0, ON_1 = ArrayOn(Gpu(0)), ArrayOn(Gpu(1))


def test_functions_run_where_their_arguments_are() -> None:
    assert XP.add(ON_1, 2.0).device.id == 1
    assert XP.add(2.0, ON_1).device.id == 1
    assert XP.concat([ON_1, ON_1], axis=0).device.id == 1
    assert XP.clip(2.0, min=ON_1).device.id == 1
    assert XP.add(ON_0, ON_0).device.id == 0
    assert Gpu.current == [0]


def test_new_arrays_are_made_where_the_device_says_else_on_the_current_one() -> None:
    assert XP.zeros(3, device=Gpu(1)).device.id == 1
    assert XP.zeros(3, device=None).device.id == 0
    with Gpu(1):
        assert XP.zeros(3).device.id == 1


def test_arrays_of_two_gpus_in_one_call_are_an_error() -> None:
    with pytest.raises(ValueError, match="arrays of the devices 0 and 1 in one operation"):
        XP.add(ON_1, ON_0)


def test_what_is_no_function_is_passed_on() -> None:
    assert XP.float32 is float
    with pytest.raises(AttributeError, match="no_such_name"):
        XP.no_such_name  # noqa: B018
