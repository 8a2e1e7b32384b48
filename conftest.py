"""What every test of this project has: settings of hypothesis, JAX and xdist, and pytest's own test tools."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import hypothesis
import pytest

pytest_plugins = ["pytester"]

# Doctests are collected by importing a module, and these import CuPy.
collect_ignore_glob = [] if find_spec("cupy") else ["backends/gradkit_cupy/[!_]*.py"]
collect_ignore = ["tests/cuda_on_cpu"]  # a `cupy`, to be found by PYTHONPATH alone

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


@pytest.fixture(scope="session", autouse=True)
def answered_ctrl_c() -> Iterator[None]:
    """Answer Ctrl-C as in a terminal: a shell has its background jobs ignore it, and so do the processes they start."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# Long tests: the comparisons of everything with everything, and the kills at random moments.

LEFT_OUT = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--long``."""
    parser.getgroup("gradkit").addoption(
        "--long",
        action="store_true",
        help="run the tests that are marked long as well (-m long: those alone); without it they run where a test is "
        "named by its id",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests out, unless they are asked for."""
    if config.getoption("--long") or all("::" in word for word in config.args):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    items[:] = [item for item in items if not item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    config.stash[LEFT_OUT] = len(long)
    getattr(config, "workeroutput", {})["left out"] = len(long)  # a worker of xdist, where the terminal is not


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the number from a worker of xdist: all have collected the same tests."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left out", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how many tests have not run, and how they do."""
    if number := config.stash.get(LEFT_OUT, 0):
        terminalreporter.line(f"{number} long tests were left out: --long runs them as well")


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
