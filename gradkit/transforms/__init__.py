"""The transforms: functions that take a function and give its derivative."""

from gradkit.transforms.abstract import ClosedJaxpr, ShapeDtypeStruct, eval_shape, make_jaxpr
from gradkit.transforms.checkpoint import checkpoint, checkpoint_name, checkpoint_policies, remat
from gradkit.transforms.compile import disable_jit, jit
from gradkit.transforms.custom import custom_gradient, custom_jvp, custom_vjp
from gradkit.transforms.forward import jvp, linearize
from gradkit.transforms.jacobians import hessian, jacfwd, jacobian, jacrev
from gradkit.transforms.reverse import grad, value_and_grad, vjp
from gradkit.transforms.vectorize import vmap

__all__ = [
    "ClosedJaxpr",
    "ShapeDtypeStruct",
    "checkpoint",
    "checkpoint_name",
    "checkpoint_policies",
    "custom_gradient",
    "custom_jvp",
    "custom_vjp",
    "disable_jit",
    "eval_shape",
    "grad",
    "hessian",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "linearize",
    "make_jaxpr",
    "remat",
    "value_and_grad",
    "vjp",
    "vmap",
]
