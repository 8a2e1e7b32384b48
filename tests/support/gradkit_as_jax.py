"""Makes ``import jax`` import gradkit in this process, for libraries written for JAX that know no other name."""

from __future__ import annotations

import importlib
import sys
import types
from importlib.machinery import ModuleSpec
from typing import Any

import gradkit


class GradkitAsJax:
    """Answers for ``jax`` and its modules with those of gradkit: a finder and a loader.

    It has no base class: `importlib.abc` imports more than some programs do that are timed with this.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name.split(".")[0] == "jax" else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        original = importlib.import_module("gradkit" + spec.name.removeprefix("jax"))
        module = types.ModuleType(spec.name)
        module.__path__ = []  # it may have modules inside
        module.__getattr__ = lambda name: getattr(original, name)  # type: ignore[method-assign]
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def install() -> None:
    """Put gradkit in JAX's place; what is about several machines is there in name alone, for annotations."""
    assert "jax" not in sys.modules
    sys.meta_path.insert(0, GradkitAsJax())
    sharding = types.ModuleType("jax.sharding")
    for name in ("Mesh", "NamedSharding", "PartitionSpec", "Sharding"):
        setattr(sharding, name, type(name, (), {}))
    sys.modules["jax.sharding"] = sharding
    vars(gradkit).update(sharding=sharding, P=sharding.PartitionSpec)
