"""Tools for testing code that uses gradkit: assertions on arrays, gradients against finite differences.

The pytest plugin that runs tests on every backend is the module `pytest_gradkit`; it loads by itself.
"""

from gradkit.testing.asserting import assert_close, assert_equal, assert_less
from gradkit.testing.everywhere import assert_same_on_every_backend, check_jit, check_vmap
from gradkit.testing.gradients import check_grads

__all__ = [
    "assert_close", "assert_equal", "assert_less", "assert_same_on_every_backend", "check_grads", "check_jit",
    "check_vmap",
]  # fmt: skip
