"""What every test of this project has: settings of hypothesis, JAX and xdist, and pytest's own test tools."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import hypothesis
import pytest

pytest_plugins = ["pytester"]

# Doctests are collected by importing a module, and these import CuPy.
collect_ignore_glob = [] if find_spec("cupy") else ["backends/gradkit_cupy/[!_]*.py"]

# The machines of CI are shared: a deadline would measure the neighbours. There every run tries the same inputs, so
# that a failure is the change's; at home each run tries new ones.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


# JAX, which most tests compare with, compiles every operation for every shape, to run it once on a few numbers. Its
# optimizations are most of the suite's time and change nothing that is compared, but for the last bit (tests of that
# take `optimized_jax`). Set before JAX is imported, here and in the processes that tests start. XLA ends a process that
# gives it a flag that it does not know, hence the version.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if find_spec("jaxlib") and version("jaxlib").startswith("0.10."):
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")


@pytest.fixture(scope="module")
def optimized_jax() -> Iterator[None]:
    """JAX as users run it, for a module's tests that compare to the last bits."""
    import jax

    without = jax.config.values["jax_disable_most_optimizations"]
    for setting in (False, without):
        jax.clear_caches()
        jax.config.update("jax_disable_most_optimizations", setting)
        if setting is False:
            yield


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a file's tests to one worker: what JAX says is computed once and compared with every backend."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log) if config.getvalue("dist") == "load" else None
