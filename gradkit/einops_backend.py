"""einops works on Arrays: a class that says how, which einops finds once it is imported.

einops asks the subclasses of its `AbstractBackend`. Ours can be one only where einops is imported, before or after
gradkit, so an import of it is waited for. gradkit itself never imports it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from gradkit.core import Array
from gradkit.devices import device_get

__all__ = ["register_with_einops"]

MODULE = "einops._backends"


def register_with_einops() -> None:
    """Make einops know Arrays: now if it is imported, else when it is."""
    module = sys.modules.get(MODULE)
    if module is not None:
        _define(module)
    else:
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds one module as the other finders do, and no other; then it is gone.

    It and its loader derive from no class of `importlib.abc`, whose import takes as long as a tenth of gradkit's.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != MODULE:
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        import importlib.util  # late: nobody else needs it, and einops is imported in few processes

        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec


class _Loader:
    """Loads a module as another loader does, and defines the backend when that is done."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self.loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        _define(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


def _define(module: Any) -> None:
    # late: einops has been imported, and importing gradkit does not take the namespace
    import gradkit.numpy as jnp

    class GradkitBackend(module.AbstractBackend):  # type: ignore[misc]
        """What einops asks of Arrays. What is not here, methods of Arrays answer."""

        framework_name = "gradkit"

        def is_appropriate_type(self, tensor: Any) -> bool:
            return type(tensor) is Array

        def is_float_type(self, x: Any) -> bool:
            return bool(jnp.issubdtype(x.dtype, jnp.floating))

        def to_numpy(self, x: Any) -> Any:
            return device_get(x)

        def add_axis(self, x: Any, new_position: int) -> Any:
            return jnp.expand_dims(x, axis=new_position)

        from_numpy = staticmethod(jnp.asarray)
        arange = staticmethod(jnp.arange)
        stack_on_zeroth_dimension = staticmethod(jnp.stack)
        tile = staticmethod(jnp.tile)
        concat = staticmethod(jnp.concat)
        einsum = staticmethod(jnp.einsum)

    module._gradkit_backend = GradkitBackend  # kept alive: subclasses are held weakly
