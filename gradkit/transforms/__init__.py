"""The transforms: functions that take a function and give its derivative."""

from gradkit.transforms.forward import jvp, linearize
from gradkit.transforms.jacobians import hessian, jacfwd, jacobian, jacrev
from gradkit.transforms.reverse import grad, value_and_grad, vjp
from gradkit.transforms.vectorize import vmap

__all__ = ["grad", "hessian", "jacfwd", "jacobian", "jacrev", "jvp", "linearize", "value_and_grad", "vjp", "vmap"]
