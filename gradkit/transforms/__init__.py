"""The transforms: functions that take a function and give its derivative."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradkit.transforms.abstract import ClosedJaxpr, ShapeDtypeStruct, eval_shape, make_jaxpr, typeof
from gradkit.transforms.checkpoint import checkpoint, checkpoint_name, remat
from gradkit.transforms.custom import custom_gradient, custom_jvp, custom_vjp
from gradkit.transforms.forward import jvp, linearize
from gradkit.transforms.jacobians import hessian, jacfwd, jacobian, jacrev
from gradkit.transforms.linear import closure_convert, linear_transpose
from gradkit.transforms.names import ensure_compile_time_eval, named_call, named_scope
from gradkit.transforms.policies import checkpoint_policies
from gradkit.transforms.reverse import grad, value_and_grad, vjp
from gradkit.transforms.vectorize import vmap

if TYPE_CHECKING:
    from gradkit.transforms.compile import clear_caches, disable_jit, jit

__all__ = [
    "ClosedJaxpr", "ShapeDtypeStruct", "checkpoint", "checkpoint_name", "checkpoint_policies", "clear_caches",
    "closure_convert", "custom_gradient", "custom_jvp", "custom_vjp", "disable_jit", "ensure_compile_time_eval",
    "eval_shape", "grad", "hessian", "jacfwd", "jacobian", "jacrev", "jit", "jvp", "linear_transpose", "linearize",
    "make_jaxpr", "named_call", "named_scope", "remat", "typeof", "value_and_grad", "vjp", "vmap",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load what compiles when it is asked for."""
    if name in ("clear_caches", "disable_jit", "jit"):
        from gradkit.transforms import compile as compiling  # late: it brings the compiler

        return getattr(compiling, name)
    raise AttributeError(f"module 'gradkit.transforms' has no attribute {name!r}")
