"""gradkit: array autograd for Python, on NumPy and CuPy, with JAX's interface.

>>> import gradkit, gradkit.numpy as jnp
>>> gradkit.grad(lambda x: jnp.sum(x ** 2))(jnp.asarray([1.0, 2.0]))
Array([2., 4.], dtype=float32)
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as _numpy  # noqa: F401 - first: from inside gradkit it takes 900 page faults more

from gradkit import primitives as _operators  # noqa: F401 - what an Array's operators are is declared there
from gradkit.backend import Device, current_backend, default_device, set_backend, use_backend
from gradkit.config import config, debug_changes, debug_nans, default_matmul_precision, enable_x64, item_assignment
from gradkit.core import Array, enable_grad, no_grad
from gradkit.core.above import above as _above
from gradkit.devices import (
    block_until_ready,
    default_backend,
    device_count,
    device_get,
    device_put,
    devices,
    local_device_count,
    local_devices,
)
from gradkit.einops_backend import register_with_einops as _register_with_einops

if TYPE_CHECKING:
    from gradkit import (
        data,
        debug,
        errors,
        lax,
        nn,
        numpy,
        ops,
        optim,
        random,
        scalar,
        scipy,
        train,
        tree,
        tree_util,
        viz,
    )
    from gradkit.callbacks import pure_callback
    from gradkit.io import load, save
    from gradkit.scalar import Value
    from gradkit.train import fit
    from gradkit.transfers import (
        transfer_guard,
        transfer_guard_device_to_device,
        transfer_guard_device_to_host,
        transfer_guard_host_to_device,
    )
    from gradkit.transforms import (
        ShapeDtypeStruct,
        checkpoint_policies,
        clear_caches,
        closure_convert,
        custom_gradient,
        custom_jvp,
        custom_vjp,
        disable_jit,
        ensure_compile_time_eval,
        eval_shape,
        grad,
        hessian,
        jacfwd,
        jacobian,
        jacrev,
        jit,
        jvp,
        linear_transpose,
        linearize,
        make_jaxpr,
        named_call,
        named_scope,
        typeof,
        value_and_grad,
        vjp,
        vmap,
    )
    from gradkit.transforms.checkpoint import checkpoint, remat


__version__ = "0.1.0"

__all__ = [
    "Array", "Device", "ShapeDtypeStruct", "Value", "block_until_ready", "checkpoint", "checkpoint_policies",
    "clear_caches", "closure_convert", "config", "current_backend", "custom_gradient", "custom_jvp", "custom_vjp",
    "data", "debug", "debug_changes", "debug_nans", "default_backend", "default_device",
    "default_matmul_precision", "device_count", "device_get",
    "device_put", "devices", "disable_jit", "distributed", "enable_grad", "enable_x64", "ensure_compile_time_eval",
    "errors", "eval_shape", "fit", "grad", "hessian", "item_assignment", "jacfwd", "jacobian", "jacrev", "jit", "jvp",
    "lax", "linear_transpose", "linearize", "load", "local_device_count", "local_devices", "make_jaxpr", "named_call",
    "named_scope", "nn", "no_grad", "numpy", "ops", "optim", "pure_callback", "random", "remat", "save", "scalar",
    "scipy", "set_backend", "train", "transfer_guard", "transfer_guard_device_to_device",
    "transfer_guard_device_to_host", "transfer_guard_host_to_device", "tree", "tree_util", "typeof", "use_backend",
    "value_and_grad", "viz", "vjp", "vmap",
]  # fmt: skip

_MODULES = frozenset(
    """
    ad_checkpoint data debug distributed dtypes errors experimental flatten_util io lax nn numpy ops optim random
    scalar scipy sklearn test_util testing train transforms tree tree_util typing viz
    """.split()
)
_TRANSFORMS = """
    ShapeDtypeStruct checkpoint checkpoint_policies clear_caches closure_convert custom_gradient custom_jvp
    custom_vjp disable_jit ensure_compile_time_eval eval_shape grad hessian jacfwd jacobian jacrev jit
    jvp linear_transpose linearize make_jaxpr named_call named_scope remat typeof value_and_grad vjp
    vmap
"""
_GUARDS = """
    transfer_guard transfer_guard_device_to_device transfer_guard_device_to_host transfer_guard_host_to_device
"""
_ELSEWHERE = {
    **dict.fromkeys(_TRANSFORMS.split(), "transforms"),
    "Value": "scalar",
    "fit": "train",
    "load": "io",
    "pure_callback": "callbacks",
    "save": "io",
    **dict.fromkeys(_GUARDS.split(), "transfers"),
}
"""Names of the package that are found in one of its modules, which is imported when one of them is first used."""


def __getattr__(name: str) -> Any:
    """Import a module of the package when it is first used."""
    if name in _MODULES:
        return importlib.import_module(f"gradkit.{name}")
    if name in _ELSEWHERE:
        found = globals()[name] = getattr(importlib.import_module(f"gradkit.{_ELSEWHERE[name]}"), name)
        return found
    raise AttributeError(f"module 'gradkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


# late: the namespaces are large, and importing gradkit takes none
_above.numpy = cache(lambda: importlib.import_module("gradkit.numpy"))
_above.special = cache(lambda: importlib.import_module("gradkit.scipy.beyond_jax"))
_register_with_einops()
