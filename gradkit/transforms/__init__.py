"""The transforms: functions that take a function and give its derivative."""

from gradkit.transforms.reverse import grad, value_and_grad, vjp

__all__ = ["grad", "value_and_grad", "vjp"]
