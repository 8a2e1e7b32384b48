"""How compiling grows with the number of operations: linearly, by what is printed and by time."""

from __future__ import annotations

import math
import re
import time
from typing import Any

import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit.compiler.boxes import box_of_arrays

native = pytest.importorskip("gradkit_numpy.native.printer")
pytest.importorskip("llvmlite")


def chain(operations: int) -> Any:
    """Return a function of about so many operations that no pass can shorten; every tenth cannot be fused."""

    def function(x: Any) -> Any:
        total = x
        for i in range(operations // 5):
            x = jnp.tanh(x) * total + (1.0 + i)
            total = jnp.roll(total, 1) if i % 10 == 9 else total * x
        return total

    return function


def results(number: int) -> Any:
    """Return a function of so many results."""
    return lambda x: [jnp.sin(x * (1.0 + i)) + i for i in range(number)]


def text_of(function: Any) -> str:
    """Return the native text of a function of one vector."""
    with gradkit.use_backend("numpy"):
        plan = gradkit.jit(function).lower(jnp.ones(8)).compile().runtime_executable().plan
    text: str = native.printed(plan, box_of_arrays()).text
    return text


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADKIT_CACHE", "off")


@pytest.mark.parametrize("function", [chain, results])
def test_no_function_of_a_program_has_more_parameters_than_a_nest_has_arrays(function: Any) -> None:
    heads = re.findall(r"^define .*", text_of(function(150)), re.MULTILINE)
    assert max(head.count("%") for head in heads) < 130


def test_functions_of_a_large_program_alone_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    function = chain(20)
    assert "attributes #0 = { nounwind }" in text_of(function)
    monkeypatch.setattr("gradkit_numpy.native.module.APART", 1000)
    assert "attributes #0 = { nounwind noinline }" in text_of(function)


@pytest.mark.long("compiles 10,000 operations")
@pytest.mark.parametrize("function, most", [(chain, 10_000), (results, 1_000)])
def test_compile_time_grows_linearly(function: Any, most: int, no_cache: None) -> None:
    seconds = []
    for number in (most // 10, most):
        jitted = gradkit.jit(function(number))
        begin = time.process_time()
        with gradkit.use_backend("numpy"):
            jitted(jnp.ones(8))
        seconds.append(time.process_time() - begin)
    assert math.log10(seconds[1] / seconds[0]) < 1.25, seconds
