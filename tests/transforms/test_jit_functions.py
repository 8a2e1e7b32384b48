"""Every public function of the package under jit, found by walking it: what a call gives as it is, or JAX's error."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from function_calls import NAMESPACES, calls, functions
from slopes import POINT, numbers

import gradkit
import gradkit.numpy as jnp
from gradkit.errors import JAXIndexError, JAXTypeError


@pytest.fixture(autouse=True)
def in_float64(backend: Any, monkeypatch: Any) -> Iterator[None]:
    monkeypatch.setenv("GRADKIT_COMPILER", "interpreter")
    with gradkit.enable_x64(True):
        yield


def same(found: Any, expected: Any) -> bool:
    return len(found) == len(expected) and all(
        a.shape == b.shape
        and a.dtype == b.dtype
        and np.allclose(gradkit.device_get(a), gradkit.device_get(b), rtol=1e-12, atol=1e-14, equal_nan=True)
        for a, b in zip(found, expected, strict=True)
    )


def compare(namespace: str, most: int, tries: int) -> list[str]:
    wrong = []
    x = jnp.asarray(POINT)
    for path, function in functions(namespace).items():
        for text, call in calls(path, function, None, most, tries).items():
            try:
                expected = numbers(call(x))
            except Exception:  # noqa: BLE001 - what a call of this form takes is found by trying
                continue
            try:
                found = gradkit.jit(lambda x, call=call: numbers(call(x)))(x)
            except (JAXTypeError, JAXIndexError):
                continue
            except Exception as error:  # noqa: BLE001
                if "traced array" not in str(error) and "fromiter" not in text:
                    wrong.append(f"{text}: {type(error).__name__}: {error}")
                continue
            if not same(found, expected):
                wrong.append(f"{text}: {found}, but {expected}")
    return wrong


@pytest.mark.parametrize(
    "namespace", [pytest.param(name, marks=pytest.mark.long if name == "scipy.stats" else ()) for name in NAMESPACES]
)
def test_every_function_gives_under_jit_what_it_gives_without(namespace: str, xp: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert not compare(namespace, 1, 120)


@pytest.mark.long
@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_function_gives_under_jit_what_it_gives_without_compiled(
    namespace: str, xp: Any, monkeypatch: Any
) -> None:
    monkeypatch.delenv("GRADKIT_COMPILER")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert not compare(namespace, 2, 200)
