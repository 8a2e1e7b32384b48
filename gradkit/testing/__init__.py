"""Tools for testing code that uses gradkit: gradients against finite differences.

The pytest plugin that runs tests on every backend is the module `pytest_gradkit`; it loads by itself.
"""

from gradkit.testing.gradients import check_grads

__all__ = ["check_grads"]
