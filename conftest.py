"""What every test of this project has: settings of hypothesis, JAX and xdist, and pytest's own test tools."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Generator, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# As many workers of xdist run as there are processors: threads of BLAS would wait, by computing, for the other workers.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Tests change the compiler: what it makes then must not be what another process finds.
os.environ.setdefault("GRADKIT_CACHE", "code")

import hypothesis
import numpy.fft  # noqa: F401 - its library is loaded once a process, and pytester forgets what a run inside imported
import pytest
from _pytest.doctest import DoctestModule
from quick_strict import quicken_strict

from gradkit.core.namespace import PRIMITIVES
from gradkit.testing.choosing import variant_of
from pytest_gradkit import asked_for, selection_of

pytest_plugins = ["pytester"]

# Doctests are collected by importing a module, and these import their libraries.
collect_ignore_glob = [
    f"backends/gradkit_{library}/[!_]*.py" for library in ("cupy", "jax", "torch") if not find_spec(library)
]
# A `cupy`, to be found by PYTHONPATH alone, and a project of its own, which a test runs.
collect_ignore = ["tests/cuda_on_cpu", "tests/foreign"]


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Look for no doctests in the tests: some of their files are programs, which importing would run."""
    collectors = yield
    if file_path.is_relative_to(TESTS):
        return [collector for collector in collectors if not isinstance(collector, DoctestModule)]
    return collectors


TESTS = Path(__file__).parent / "tests"

# Tests start processes in folders of their own, and these are to find the same modules.
if "PYTHONPATH" in os.environ:
    os.environ["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, os.environ["PYTHONPATH"].split(os.pathsep)))

# The machines of CI are shared: a deadline would measure the neighbours. There every run tries the same inputs, so
# that a failure is the change's; at home each run tries new ones. Hypothesis' own number of inputs is for --long.
SHORT, LONG = 20, 100
for name, kind in {"default": {}, "ci": {"derandomize": True, "print_blob": True}}.items():
    hypothesis.settings.register_profile(name, deadline=None, max_examples=SHORT, **kind)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


# JAX, which most tests compare with, compiles every operation for every shape, to run it once on a few numbers. Its
# optimizations are most of the suite's time and change nothing that is compared, but for the last bit (tests of that
# take `optimized_jax`). Set before JAX is imported, here and in the processes that tests start. XLA ends a process that
# gives it a flag that it does not know, hence the version.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
IS_KNOWN_JAX = bool(find_spec("jaxlib")) and version("jaxlib").startswith("0.10.")
if IS_KNOWN_JAX:
    flags = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    os.environ.setdefault("XLA_FLAGS", flags)


quicken_strict()

PRIMITIVES.load_all()  # for the tests that sweep over them


@pytest.fixture(scope="session", autouse=True)
def answered_ctrl_c() -> Iterator[None]:
    """Answer Ctrl-C as in a terminal: a shell has its background jobs ignore it, and so do the processes they start."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# For each program JAX makes a context of MLIR, which takes half as long as compiling the program, and keeps it with the
# program, whose size is a fifth of it. One context does for all.


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Let JAX, once a test has imported it, take one context for all programs; no other version of it is known to."""
    mlir = sys.modules.get("jax._src.interpreters.mlir")
    if mlir is None or not IS_KNOWN_JAX or hasattr(mlir.make_ir_context, "contexts"):
        return
    contexts: list[Any] = []
    make = mlir.make_ir_context

    def context_in_use() -> Any:
        if mlir.ir.Context.current is not None:
            return make()  # for a program that is needed to make another one, or it would be written into that
        if not contexts:
            contexts.append(make())
        return contexts[-1]

    context_in_use.contexts = contexts  # type: ignore[attr-defined]
    mlir.make_ir_context = context_in_use


# Memory. What JAX has compiled it keeps, a quarter of a megabyte a program, and a worker of xdist runs thousands.

SPARE = 400 * 2**20


def resident() -> int:
    """Return the bytes of memory that this process has, or 0 where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def forget_programs(config: pytest.Config) -> None:
    """Let JAX drop what it has compiled, and give the memory back to the system: glibc keeps it otherwise."""
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
        mlir = sys.modules.get("jax._src.interpreters.mlir")
        getattr(getattr(mlir, "make_ir_context", None), "contexts", []).clear()
        gc.unfreeze()
        gc.collect()
        if sys.platform == "linux":
            getattr(ctypes.CDLL(None), "malloc_trim", int)(0)
    config.stash[KEPT] = resident()


KEPT = pytest.StashKey[int]()


class _Asked:
    """After how many tests and when the memory was last asked for: asking takes as long as some tests."""

    number, time = 0, 0.0


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Let JAX drop its programs where a file ends that made many, and within one that makes very many."""
    ends = nextitem is None or nextitem.path != item.path
    if ends and nextitem is not None:  # what a file leaves stays, and is no garbage to look through in the next one
        gc.collect()
        gc.freeze()
    _Asked.number += 1
    if not ends and _Asked.number % 8 and time.monotonic() < _Asked.time + 1:
        return
    _Asked.time = time.monotonic()
    used = (now := resident()) - item.config.stash.setdefault(KEPT, now)
    if used > (SPARE // 2 if ends else SPARE):
        forget_programs(item.config)


def peak() -> float:
    """Return the most gigabytes of memory that this process has had, or 0 where the system does not tell."""
    if not find_spec("resource"):
        return 0.0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


# Long tests: the comparisons of everything with everything, and the kills at random moments.

LEFT_OUT = pytest.StashKey[int]()
PEAKS = pytest.StashKey[dict[str, float]]()
MISSING = pytest.StashKey[dict[str, int]]()
IN_PART = pytest.StashKey[set[str]]()  # the test files of which some tests do not run


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--long``."""
    parser.getgroup("gradkit").addoption(
        "--long",
        action="store_true",
        help="run the tests that are marked long as well (-m long: those alone; without the option, such a test runs "
        "where it is named by its id), try five times as many random inputs, and compute what JAX gives anew",
    )
    parser.getgroup("gradkit").addoption(
        "--keep-references",
        action="store_true",
        help="write what JAX computes in these test files to tests/references/, where the next runs find it",
    )


DEFAULT = ("numpy", "strict", "cupy")
"""The backends of a run that names none, of those that can run here. On the others it takes much longer."""


def pytest_configure(config: pytest.Config) -> None:
    """Do as the options say in every process of xdist, and tell `references` what to do with what is kept."""
    if asked_for(config) is None:
        usable = [name for name in DEFAULT if variant_of(name).why_not() is None]
        config.option.gradkit_backend = usable
    if config.getoption("--long"):
        hypothesis.settings.register_profile("long", hypothesis.settings.default, max_examples=LONG)
        hypothesis.settings.load_profile("long")
    modes = {"write": config.getoption("--keep-references"), "check": config.getoption("--long"), "read": True}
    os.environ["GRADKIT_REFERENCES"] = next(mode for mode, chosen in modes.items() if chosen)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Note of which files not all tests run."""
    for item in items:
        item.config.stash.setdefault(IN_PART, set()).add(item.path.stem)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the references, and let a worker of xdist say how much memory it took and what it computed anew."""
    getattr(session.config, "workeroutput", {})["peak"] = peak()
    if "references" not in sys.modules:
        return
    references = sys.modules["references"]
    if os.environ["GRADKIT_REFERENCES"] == "write":
        named = any("::" in word for word in session.config.args)
        in_part = session.config.stash.get(IN_PART, set())
        references.write(lambda stem: exitstatus == 0 and not named and stem not in in_part)
    session.config.stash[MISSING] = references.missing()
    getattr(session.config, "workeroutput", {})["missing"] = references.missing()


def dealt_to_others(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield the cases of tests marked ``dealt`` that are dealt to another backend than theirs.

    Values have numbers, and the sums of a case's numbers are even or odd: so each value of each of two parameters comes
    on every backend; without parameters the test is that of the first. float16, which not every backend has, is not
    dealt. Of a test that takes no backend every other case is yielded.
    """
    numbers: dict[Any, dict[Any, int]] = {}
    for item in items:
        mark = item.get_closest_marker("dealt")
        if mark is None:
            continue
        params, total = item.callspec.params, 0  # type: ignore[attr-defined]
        on_backends = [name for name in ("_gradkit_backend",) if name in params]
        if on_backends and len(selection_of(item.config).names) < 2:
            continue
        for name in (*on_backends, *mark.args):
            values = numbers.setdefault((item.path, item.originalname, name), {})  # type: ignore[attr-defined]
            total += values.setdefault(params[name], len(values))
        if total % 2 and "float16" not in params.values():
            yield item


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests out, unless they are asked for."""
    for item in dealt_to_others(items):
        item.add_marker("long")
    if config.getoption("--long") or all("::" in word for word in config.args):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    items[:] = [item for item in items if not item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    config.stash[LEFT_OUT] = len(long)
    getattr(config, "workeroutput", {})["left out"] = len(long)  # a worker of xdist, where the terminal is not


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let a worker of xdist tell of a test once, not also of its set-up and of its teardown where both just passed."""
    options = session.config.option
    if not hasattr(session.config, "workerinput") or options.durations is not None or options.xmlpath:
        return
    (worker,) = [each for each in session.config.pluginmanager.get_plugins() if hasattr(each, "sendevent")]
    send = worker.sendevent

    def send_what_tells(name: str, data: dict[str, Any] | None = None, **rest: Any) -> None:
        if data is None:
            send(name, **rest)
        elif data.get("when", "call") == "call" or data["outcome"] != "passed" or data["sections"]:
            send(name, data=data, **rest)

    worker.sendevent = send_what_tells


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the number from a worker of xdist (all have collected the same tests), its memory, and what was not kept."""
    output = getattr(node, "workeroutput", {})
    node.config.stash[LEFT_OUT] = output.get("left out", 0)
    node.config.stash.setdefault(PEAKS, {})[node.gateway.id] = output.get("peak", 0.0)
    node.config.stash.setdefault(MISSING, {}).update(output.get("missing", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how many tests have not run, and how they do."""
    if number := config.stash.get(LEFT_OUT, 0):
        terminalreporter.line(f"{number} long tests were left out: --long runs them as well")
    if missing := config.stash.get(MISSING, {}):
        files = " ".join(sorted(missing))
        terminalreporter.line(f"{sum(missing.values())} results were not kept: pytest --keep-references {files}")
    if any((peaks := config.stash.get(PEAKS, {"this process": peak()})).values()):
        said = ", ".join(f"{name} {size:.2f} GB" for name, size in sorted(peaks.items()))
        terminalreporter.line(f"most memory taken: {said}")


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


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without the garbage collector, which would look again and again through what stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Let the garbage collector pass over the tests and libraries: they stay, and are a million objects."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a file's tests to one worker: what JAX says is computed once and compared with every backend."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        """The same, without looking through all tests for each: the workers would wait for it."""

        def add_node_collection(self, node: Any, collection: Any) -> None:
            super().add_node_collection(node, collection)
            self.registered_collections[node] = Places(collection)

        def _pending_of(self, workload: dict[str, dict[str, bool]]) -> int:
            pending = 0
            for file in reversed(workload.values()):  # which are run one after another, as the tests in them are
                for done in reversed(file.values()):
                    if done or pending > 2:  # nobody asks how many more
                        return pending
                    pending += 1
            return pending

    class Places(list):  # type: ignore[type-arg]
        """A list that knows where each of its items is."""

        def __init__(self, items: Any) -> None:
            super().__init__(items)
            self.place = {item: place for place, item in reversed(list(enumerate(items)))}

        def index(self, item: Any, *_: Any) -> int:
            return self.place[item]

    return Scheduling(config, log) if config.getvalue("dist") == "load" else None
