"""Which backends are found, and which are imported and when."""

from __future__ import annotations

import numpy as np
import pytest
from test_backends import MADE_ON, Pretended, output

from gradkit.backend import registry

LIBRARIES = "{'array_api_strict', 'cupy', 'jax', 'torch', *(f'gradkit_{name}' for name in NAMES)}"
IMPORTED = f"import sys; NAMES = {registry.backend_names()}; print(*sorted({LIBRARIES} & sys.modules.keys()))"


def test_importing_gradkit_imports_no_backend() -> None:
    assert output(f"import gradkit, gradkit.numpy; {IMPORTED}") == ""


def test_the_backend_in_use_is_the_only_one_imported() -> None:
    use = "import gradkit.numpy as jnp; jnp.sum(jnp.ones(3) * 2); "
    assert output(use + IMPORTED) == "gradkit_numpy"
    imported = output(use + IMPORTED, GRADKIT_BACKEND="strict").split()
    assert {"array_api_strict", "gradkit_strict"} <= set(imported)
    assert not {"cupy", "jax", "torch"} & set(imported)


FIRST_RESULT = """
import gradkit, gradkit.numpy as jnp
from gradkit import lax

def step(x):
    x = lax.fori_loop(0, 3, lambda i, x: x.at[i].set(jnp.sin(x) @ x), x)
    return lax.cond(x[0] > 0, lambda x: x * 2, lambda x: x, x)

gradkit.jit(gradkit.grad(lambda x: step(x).sum()))(jnp.ones(3))
"""


@pytest.mark.parametrize("compiler", ["numpy", "native"])
def test_a_first_result_takes_no_metadata_no_process_and_no_other_backend(compiler: str) -> None:
    # Each of these takes as long as capturing and planning a small program.
    slow = "{'importlib.metadata', 'email', 'subprocess', 'logging'}"
    imported = output(
        f"{FIRST_RESULT}{IMPORTED}; print(*sorted({slow} & sys.modules.keys()))", GRADKIT_COMPILER=compiler
    )
    assert imported.split() == ["gradkit_numpy"]


def test_the_backends_that_are_found_without_metadata_are_those_that_gradkit_publishes() -> None:
    published = {name: entry.value for name, entry in registry._entry_points().items() if entry.dist.name == "gradkit"}
    assert published == registry.INCLUDED


def test_gradkits_own_backends_are_listed_where_the_metadata_is_older_than_its_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entries = {name: entry for name, entry in registry._entry_points().items() if name == "numpy"}
    monkeypatch.setattr(registry, "_entry_points", lambda: entries)
    assert set(registry.backend_names()) >= registry.INCLUDED.keys()
    assert registry.backend_packages() >= {value.partition(":")[0] for value in registry.INCLUDED.values()}


def test_what_is_no_array_of_any_backend_is_asked_about_once_until_there_is_another_backend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    monkeypatch.setattr(registry, "_loaded", dict(registry._loaded))
    monkeypatch.setattr(registry, "_find_owner", lambda kind: asked.append(kind))
    registry._foreign.clear()
    for _ in range(3):
        assert registry.backend_of(np.dtype("float32")) is None
    registry.register_backend(Pretended())
    assert registry.backend_of(np.dtype("float32")) is None
    assert asked == 2 * [type(np.dtype("float32"))]


def test_asking_for_auto_without_cupy_installed_gives_numpy() -> None:
    assert output(f"import sys; sys.modules['cupy'] = None; {MADE_ON}", GRADKIT_BACKEND="auto") == "numpy"
