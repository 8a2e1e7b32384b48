"""The pytest plugin: a test that takes `backend` or `xp` runs once on every backend.

It belongs to `gradkit.testing` and stands outside the package, as Hypothesis' plugin does outside its own: pytest
imports it in every project on a machine that has gradkit, and a module inside would bring all of gradkit with it.
Nothing is imported until a test asks for one of the fixtures. A project's own fixtures `backend` and `xp`, and its
own option ``--backend``, win over the ones here.
"""

from __future__ import annotations

from argparse import ArgumentError
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gradkit.backend import Backend

OPTION = "gradkit_backend"
EVERY, USABLE = "all", "available"
NAME = "_gradkit_backend"
"""The fixture that is parametrized. A test has it in its closure only if its `backend` is the one of this plugin."""

SKIP, EXPECTED_FAILURE = "skip_backend", "xfail_backend"
MARKS = {
    SKIP: f"{SKIP}(name, *, reason): do not run the test on this backend",
    EXPECTED_FAILURE: f"{EXPECTED_FAILURE}(name, *, reason, raises=None, strict=None): the test fails on this backend",
}


# The option


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(parser: pytest.Parser) -> Generator[None]:
    """Add ``--backend``, after the conftest files, so that a project's own option of that name wins."""
    yield
    try:
        parser.getgroup("gradkit").addoption(
            "--backend",
            dest=OPTION,
            default=USABLE,
            metavar="NAMES",
            help=f"backends for tests that take the fixtures backend or xp: names with commas between them, {EVERY!r}, "
            f"or {USABLE!r} (the default: those that can run on this machine; neither has those whose arrays have no "
            f"axes). One that is named and cannot run is "
            f"skipped, with its library's reason.",
        )
    except (ArgumentError, ValueError):  # the project has the option itself, in another group or in this one
        return


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks, and check the option where it was given."""
    for line in MARKS.values():
        config.addinivalue_line("markers", line)
    if config.getoption(OPTION, USABLE) != USABLE:
        selection_of(config)


@dataclass(frozen=True)
class Selection:
    """The backends of one run.

    Attributes
    ----------
    names : tuple of str
        Those that tests are parametrized over.
    reasons : dict
        Why each backend that cannot run on this machine cannot.
    """

    names: tuple[str, ...]
    reasons: dict[str, str]


SELECTION = pytest.StashKey[Selection]()


def selection_of(config: pytest.Config) -> Selection:
    """Return the backends of this run; they are found when a test first asks."""
    if SELECTION not in config.stash:
        config.stash[SELECTION] = select(config.getoption(OPTION, USABLE))
    return config.stash[SELECTION]


def select(words: str) -> Selection:
    """Return the backends that ``--backend=words`` means.

    Raises
    ------
    pytest.UsageError
        If no backend is named, or one that no package publishes.
    """
    from gradkit.backend import backend_names, load_backend

    known = backend_names()
    if words in (EVERY, USABLE):
        of_arrays = [name for name in known if load_backend(name).has_axes]
        reasons = find_reasons(of_arrays)
        return Selection(tuple(name for name in of_arrays if words == EVERY or name not in reasons), reasons)
    names = tuple(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))
    if not names:
        raise pytest.UsageError(
            f"--backend={words}: no backend is named. Give names with commas between them "
            f"(known: {', '.join(known)}), {EVERY!r} or {USABLE!r}."
        )
    for name in names:
        require_known(name, [*known, EVERY, USABLE], "--backend")
    return Selection(names, find_reasons(names))


def find_reasons(names: tuple[str, ...] | list[str]) -> dict[str, str]:
    """Return why each of these backends cannot run here, leaving out those that can."""
    from gradkit.backend import load_backend, why_not

    reasons = {name: why_not(load_backend(name)) for name in names}
    return {name: str(reason) for name, reason in reasons.items() if reason is not None}


def require_known(name: str, known: list[str], where: str) -> None:
    """Raise a usage error that suggests the nearest name unless `name` is known."""
    if name not in known:
        from gradkit.errors import unknown_name

        raise pytest.UsageError(f"{where}: {unknown_name('backend', name, known)}")


# The fixtures. Their scope is a module, so a module's fixtures can build on them, and hypothesis, which warns of
# fixtures that are not set up again for each example, has nothing to warn of.


@pytest.fixture(scope="module")
def _gradkit_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def backend(_gradkit_backend: str) -> Backend:
    """Each backend in turn, as the object; it makes the new arrays while the test runs."""
    from gradkit.backend import get_backend

    return get_backend(_gradkit_backend)


@pytest.fixture(scope="module")
def xp(backend: Backend) -> Any:
    """`gradkit.numpy`, with each backend in turn making the new arrays."""
    import gradkit.numpy

    return gradkit.numpy


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `backend` or `xp` once for each backend."""
    if NAME not in metafunc.fixturenames:
        return
    selection = selection_of(metafunc.config)
    values = [
        pytest.param(
            name, id=name, marks=[pytest.mark.skip(reason=selection.reasons[name])] if name in selection.reasons else []
        )
        for name in selection.names
    ]
    metafunc.parametrize(NAME, values, indirect=True, scope="module")


def backend_name(item: pytest.Item) -> str | None:
    """Return the name of the backend that this test runs on, or None if it is not one of ours."""
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get(NAME)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool | None, bool | None]:
    """Let the test's backend make the new arrays, from the set-up of its first fixture to its end."""
    name = backend_name(item)
    if name is None or name in selection_of(item.config).reasons:
        return (yield)
    from gradkit.backend import use_backend

    with use_backend(name):
        return (yield)


# The marks


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Turn the marks for a test's backend into pytest's own."""
    for item in items:
        name = backend_name(item)
        for mark in marks_of(item):
            try:
                check(mark, item)
            except pytest.UsageError as error:
                if not hasattr(config, "workerinput"):
                    raise
                # A worker of pytest-xdist that stops here takes the message with it: the test tells it instead.
                item.stash[COMPLAINT] = str(error)
                break
            if mark.args[0] == name:
                item.add_marker(pytest.mark.skip(**mark.kwargs) if mark.name == SKIP else expected_failure(mark))


COMPLAINT = pytest.StashKey[str]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let a test whose marks are wrong fail before it begins."""
    if COMPLAINT in item.stash:
        pytest.fail(item.stash[COMPLAINT], pytrace=False)


def marks_of(item: pytest.Item) -> Iterator[pytest.Mark]:
    """Yield the marks of this plugin on a test, its class and its module."""
    for kind in MARKS:
        yield from item.iter_markers(kind)


def expected_failure(mark: pytest.Mark) -> pytest.MarkDecorator:
    """Return pytest's own mark; what is left out has pytest's default (``strict`` is a setting there)."""
    decorator: pytest.MarkDecorator = pytest.mark.xfail(
        **{word: value for word, value in mark.kwargs.items() if value is not None}
    )
    return decorator


def check(mark: pytest.Mark, item: pytest.Item) -> None:
    """Raise a usage error unless the mark names one known backend and gives a reason."""
    from gradkit.backend import backend_names

    where = f"{item.nodeid}: mark {mark.name}"
    words = {"reason"} if mark.name == SKIP else {"reason", "raises", "strict"}
    if len(mark.args) != 1 or not isinstance(mark.args[0], str):
        raise pytest.UsageError(
            f"{where}: expected the name of one backend, got {mark.args!r}. "
            f'Write @pytest.mark.{mark.name}("cupy", reason="..."), once for each backend.'
        )
    name = mark.args[0]
    require_known(name, backend_names(), where)
    reason = mark.kwargs.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise pytest.UsageError(
            f"{where}: expected a reason, got {reason!r}. "
            f'Say why: @pytest.mark.{mark.name}({name!r}, reason="CuPy has no float16 kernel for this").'
        )
    if unknown := mark.kwargs.keys() - words:
        raise pytest.UsageError(
            f"{where}: unknown argument {', '.join(sorted(unknown))}. Known: {', '.join(sorted(words))}."
        )


# The closing table

COLUMNS = {
    "passed": "passed",
    "failed": "failed",
    "error": "errors",
    "skipped": "skipped",
    "xfailed": "xfailed",
    "xpassed": "xpassed",
}
"""The categories of pytest's terminal reporter, and their headings here."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write the backend's name into the report: it travels to where the table is made, under pytest-xdist too."""
    report = yield
    name = backend_name(item)
    if name is not None:
        setattr(report, OPTION, name)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Close with a table of what came of the tests on each backend."""
    counts: dict[str, Counter[str]] = {}
    for category in COLUMNS:
        for report in terminalreporter.stats.get(category, []):
            name = getattr(report, OPTION, None)
            if name is not None:
                counts.setdefault(name, Counter())[category] += 1
    if not counts:
        return
    selection = selection_of(config)
    width = max(map(len, ["backend", *selection.reasons, *counts]))
    terminalreporter.section("backends")
    terminalreporter.line("  ".join(["backend".ljust(width), *COLUMNS.values()]))
    for name in sorted(counts):
        cells = (str(counts[name][category]).rjust(len(heading)) for category, heading in COLUMNS.items())
        terminalreporter.line("  ".join([name.ljust(width), *cells]))
    for name, reason in sorted(selection.reasons.items()):
        terminalreporter.line(f"{name.ljust(width)}  {'skipped' if name in counts else 'not run'}: {reason}")
