"""The pytest plugin: a test that takes `backend`, `xp`, `device` or `dtype` runs once on every backend.

It belongs to `gradkit.testing` and stands outside the package, as Hypothesis' plugin does outside its own: pytest
imports it in every project on a machine that has gradkit, and a module inside would bring all of gradkit with it.
Nothing is imported until a test asks for one of the fixtures, or backends are named. A project's own fixtures, options,
marks and parametrizations win over the ones here: where the project says which backend a test runs on, by a parameter
`backend` whose values are names of backends, arrays are made on that one.
"""

from __future__ import annotations

import os
from argparse import ArgumentError
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gradkit.backend import Backend, Device
    from gradkit.testing.variants import Variant

OPTION = "gradkit_backend"
REQUIRED = "gradkit_require_backend"
SCOPE = "gradkit_fixture_scope"
REPORT = "gradkit_backend_report"
ENVIRONMENT_VARIABLE = "GRADKIT_TEST_BACKENDS"
EVERY, USABLE = "all", "available"
SCOPES = ("function", "class", "module", "package", "session")
NAME = "_gradkit_backend"
"""The fixture that is parametrized. A test has it in its closure only if one of its fixtures is of this plugin."""
DTYPE = "_gradkit_dtype"
"""The fixture that is parametrized beside it, where a test takes `dtype`."""

ONLY, SKIP, EXPECTED_FAILURE = "backends", "skip_backend", "xfail_backend"
NO_TRANSFER = "no_transfer"
GROUPS = ("on_cpu", "on_gpu")
MARKS = {
    ONLY: f"{ONLY}(*names, reason=None): run the test on these backends alone",
    SKIP: f"{SKIP}(*names, reason): do not run the test on these backends",
    EXPECTED_FAILURE: f"{EXPECTED_FAILURE}(*names, reason, raises=None, strict=None): the test fails on these backends",
    "on_cpu": "on_cpu(reason=None): run the test on backends on the CPU alone",
    "on_gpu": "on_gpu(reason=None): run the test on backends on a GPU alone",
    NO_TRANSFER: f"{NO_TRANSFER}: let the test fail where data crosses between host and device unasked",
}
WORDS = {
    ONLY: {"reason"},
    SKIP: {"reason"},
    EXPECTED_FAILURE: {"reason", "raises", "strict"},
    "on_cpu": {"reason"},
    "on_gpu": {"reason"},
}
"""The arguments by name of each mark that says where a test runs."""


# The options


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the settings of a project's ini file."""
    parser.addini(OPTION, "backends that tests run on: as --backend, which wins", default="")
    parser.addini(REQUIRED, "backends that have to run: as --require-backend", default="")
    parser.addini(SCOPE, f"scope of the fixtures backend, xp, device and dtype: {', '.join(SCOPES)}", default="module")


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(parser: pytest.Parser) -> Generator[None]:
    """Add the options, after the conftest files, so that a project's own options of these names win."""
    yield
    group = parser.getgroup("gradkit")
    for name, settings in {
        "--backend": {
            "dest": OPTION,
            "action": "append",
            "metavar": "NAMES",
            "help": f"backends for tests that take the fixtures backend, xp, device or dtype: names with commas "
            f"between them, {EVERY!r}, or {USABLE!r} (the default: those that can run on this machine; neither has "
            f"those whose arrays have no axes), on_cpu or on_gpu. A name may say more: strict:1 (its device 1), "
            f"numpy:float64, numpy:readonly. One that is named and cannot run is skipped, with its library's reason. "
            f"It may come several times. Else {ENVIRONMENT_VARIABLE} or the ini file's {OPTION} have the names.",
        },
        "--require-backend": {
            "dest": REQUIRED,
            "action": "append",
            "metavar": "NAMES",
            "help": "backends to run on as well, without which the run fails",
        },
        "--backend-report": {"dest": REPORT, "metavar": "FILE", "help": "write what came of the tests, as JSON"},
    }.items():
        try:
            group.addoption(name, **settings)
        except (ArgumentError, ValueError):  # the project has the option itself, in another group or in this one
            continue


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks, and check the options where they were given."""
    for line in MARKS.values():
        config.addinivalue_line("markers", line)
    scope = config.getini(SCOPE)
    if scope not in SCOPES:
        raise pytest.UsageError(f"{SCOPE}: expected one of {', '.join(SCOPES)}, got {scope!r}")
    report = config.getoption(REPORT, None)
    if report is not None and not Path(report).absolute().parent.is_dir():
        raise pytest.UsageError(f"--backend-report={report}: the folder is not there. Make it first.")
    if asked_for(config) or required_of(config):
        selection_of(config)


def words_of(text: str | Iterable[str] | None) -> list[str]:
    """Return the names in an option's values."""
    texts = [text] if isinstance(text, str) else text or []
    return [word.strip() for each in texts for word in each.replace("\n", ",").split(",") if word.strip()]


def asked_for(config: pytest.Config) -> tuple[str, list[str]] | None:
    """Return where this run's backends are named, for messages, and the names; None where nobody names any.

    The command line comes first, then the environment, then the ini file.
    """
    options = config.getoption(OPTION, None)
    if options:
        where = f"--backend={','.join(options)}"
    elif options := os.environ.get(ENVIRONMENT_VARIABLE):
        where = f"{ENVIRONMENT_VARIABLE}={options}"
    elif options := config.getini(OPTION):
        where = f"{OPTION} = {options}"
    else:
        return None
    return where, words_of(options)


def required_of(config: pytest.Config) -> list[str]:
    """Return the names of the backends that have to run."""
    return words_of(config.getoption(REQUIRED, None)) or words_of(config.getini(REQUIRED))


@dataclass(frozen=True)
class Selection:
    """The backends of one run.

    Attributes
    ----------
    names : tuple of str
        Those that tests are parametrized over, with their variants.
    reasons : dict
        Why each backend that cannot run on this machine cannot.
    """

    names: tuple[str, ...]
    reasons: dict[str, str]


SELECTION = pytest.StashKey[Selection]()


def selection_of(config: pytest.Config) -> Selection:
    """Return the backends of this run; they are found when a test first asks."""
    if SELECTION not in config.stash:
        asked = asked_for(config)
        chosen = select([USABLE], "") if asked is None else select(asked[1], asked[0])
        config.stash[SELECTION] = with_required(chosen, required_of(config))
    return config.stash[SELECTION]


def select(words: list[str], where: str) -> Selection:
    """Return the backends that names mean.

    Raises
    ------
    pytest.UsageError
        If no backend is named, or one that no package publishes.
    """
    from gradkit.backend import backend_names, load_backend
    from gradkit.testing.variants import in_group

    known = backend_names()
    if not words:
        raise pytest.UsageError(
            f"{where}: no backend is named. Give names with commas between them (known: {', '.join(known)}), {EVERY!r} "
            f"or {USABLE!r}."
        )
    of_arrays = [name for name in known if load_backend(name).has_axes]
    chosen: list[str] = []
    reasons: dict[str, str] = {}
    for word in words:
        if word in (EVERY, USABLE):
            names = of_arrays
        elif word in GROUPS:
            names = [name for name in of_arrays if in_group(name, word)]
        else:
            names = [variant_of(word, where.partition("=")[0].strip(), (EVERY, USABLE, *GROUPS)).name]
        reasons |= reasons_of(names)
        chosen += [name for name in names if word != USABLE or name not in reasons]
    if not chosen:
        raise pytest.UsageError(f"{where}: there is no such backend (known: {', '.join(known)}).")
    return Selection(tuple(dict.fromkeys(chosen)), reasons)


def with_required(selection: Selection, required: list[str]) -> Selection:
    """Return a selection with the backends that have to run.

    Raises
    ------
    pytest.UsageError
        If one cannot.
    """
    if not required:
        return selection
    more = select(required, "--require-backend")
    if more.reasons:
        said = "\n".join(f"--require-backend={name}: {reason}" for name, reason in more.reasons.items())
        raise pytest.UsageError(said)
    return Selection(tuple(dict.fromkeys([*selection.names, *more.names])), selection.reasons)


def reasons_of(names: list[str]) -> dict[str, str]:
    """Return why each of these backends cannot run here, leaving out those that can."""
    reasons = {name: variant_of(name).why_not() for name in names}
    return {name: reason for name, reason in reasons.items() if reason is not None}


@cache
def _variant_named(name: str, others: tuple[str, ...] = ()) -> Variant:
    from gradkit.testing.variants import variant_named

    return variant_named(name, others)


def variant_of(name: str, where: str = "", others: tuple[str, ...] = ()) -> Variant:
    """Return the backend of a name; an unknown one is a usage error that suggests the nearest, also of `others`."""
    try:
        return _variant_named(name, others)
    except ValueError as error:
        raise pytest.UsageError(f"{where}: {error}") from None


def pytest_report_header(config: pytest.Config) -> str:
    """Say what the tests will run on."""
    if asked_for(config) is None and not required_of(config):
        return "gradkit: backends that can run here (--backend names others)"
    selection = selection_of(config)
    running = [name for name in selection.names if name not in selection.reasons]
    said = [", ".join(f"{name} ({versions(name)})" for name in running) or "no backend can run"]
    said += [f"{name} cannot run" for name in selection.names if name in selection.reasons]
    return f"gradkit: {'; '.join(said)}"


def versions(name: str) -> str:
    """Return the versions of a backend's libraries, to read."""
    return ", ".join(f"{library} {version}" for library, version in variant_of(name).backend.versions().items())


# The fixtures. Their scope is a module unless the ini file says otherwise, so a module's fixtures can build on them,
# and hypothesis, which warns of fixtures that are not set up again for each example, has nothing to warn of.


def fixture_scope(fixture_name: str, config: pytest.Config) -> Any:
    """Return the scope of the fixtures in this project."""
    return config.getini(SCOPE)


@pytest.fixture(scope="session")
def _gradkit_backend(request: pytest.FixtureRequest) -> str | None:
    name: str | None = getattr(request, "param", None)
    return name


@pytest.fixture(scope="session")
def _gradkit_dtype(request: pytest.FixtureRequest) -> str | None:
    name: str | None = getattr(request, "param", None)
    return name


@pytest.fixture(scope=fixture_scope)
def backend(request: pytest.FixtureRequest, _gradkit_backend: str | None) -> Backend:
    """Each backend in turn, as the object; it makes the new arrays while the test runs."""
    name = getattr(request, "param", _gradkit_backend)  # a project may give the parameter, indirectly
    return (chosen(request, "backend") if name is None else variant_of(name, "backend")).backend


@pytest.fixture(scope=fixture_scope)
def xp(request: pytest.FixtureRequest, _gradkit_backend: str | None) -> Any:
    """`gradkit.numpy`, with each backend in turn making the new arrays."""
    if _gradkit_backend is None:
        chosen(request, "xp")
    import gradkit.numpy

    return gradkit.numpy


@pytest.fixture(scope="session")
def session_xp(request: pytest.FixtureRequest, _gradkit_backend: str | None) -> Any:
    """`gradkit.numpy` for fixtures of a session; all tests on one backend run before those on the next."""
    if _gradkit_backend is None:
        chosen(request, "session_xp")
    import gradkit.numpy

    return gradkit.numpy


@pytest.fixture(scope=fixture_scope)
def device(request: pytest.FixtureRequest, _gradkit_backend: str | None) -> Device:
    """Where new arrays are made: on each backend's default device, or a variant's."""
    return (chosen(request, "device") if _gradkit_backend is None else variant_of(_gradkit_backend)).device


@pytest.fixture(scope=fixture_scope)
def dtype(request: pytest.FixtureRequest, _gradkit_backend: str | None, _gradkit_dtype: str | None) -> Any:
    """Each of a backend's floating dtypes in turn, as `gradkit.numpy` has it."""
    if _gradkit_dtype is None:
        chosen(request, "dtype")
        raise pytest.UsageError(explain(request, "dtype"))
    import gradkit.numpy

    return getattr(gradkit.numpy, _gradkit_dtype)


@pytest.fixture
def no_transfer(_gradkit_backend: str | None) -> None:
    """Let the test fail where data crosses between host and device unasked: as the mark of this name."""


def chosen(request: pytest.FixtureRequest, fixture: str) -> Variant:
    """Return the backend of a test that is not parametrized by this plugin, or say why it has none."""
    item = request.config.stash[CURRENT]
    found = variant_of_item(item)
    if found is None and not (NAME in names_of_fixtures(item) and is_theirs(item)):
        pytest.fail(explain(request, fixture), pytrace=False)
    if found is None:
        from gradkit.backend import current_backend

        return variant_of(current_backend().name)
    return found


def explain(request: pytest.FixtureRequest, fixture: str) -> str:
    """Say why a test cannot run once on every backend, and what to do instead."""
    item = request.config.stash[CURRENT]
    if hasattr(item, "dtest"):
        return (
            f"{fixture}: pytest runs a doctest once, so it cannot run on every backend. Write a test function that "
            f"takes {fixture}, or choose the backend inside: with gradkit.use_backend('numpy'): ..."
        )
    if type(item).__name__ == "TestCaseFunction":
        return (
            f"{fixture}: pytest runs the methods of unittest.TestCase once, so they cannot run on every backend. Take "
            f"{fixture} in a class that is no TestCase, name one backend alone (--backend=numpy), or loop inside: "
            f"with self.subTest(name), gradkit.use_backend(name): ..."
        )
    return (
        f"{fixture}: request.getfixturevalue({fixture!r}) comes when the test runs already, and how often it runs is "
        f"decided before. Let the test have it from the beginning: @pytest.mark.usefixtures({fixture!r})."
    )


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes one of the fixtures once for each backend, unless the project says which it runs on."""
    if NAME not in metafunc.fixturenames or is_chosen_by_project(metafunc):
        return
    selection = selection_of(metafunc.config)
    with_dtype = DTYPE in metafunc.fixturenames
    values = []
    for name in selection.names:
        reason = selection.reasons.get(name)
        marks = [] if reason is None else [pytest.mark.skip(reason=reason)]
        if not with_dtype:
            values.append(pytest.param(name, id=name, marks=marks))
            continue
        dtypes = [None] if reason is not None else dtypes_of(variant_of(name))
        for dtype in dtypes:
            plain = dtype is None or dtype in name.split(":")
            values.append(pytest.param(name, dtype, id=name if plain else f"{name}-{dtype}", marks=marks))
    scope: Any = "session" if "session_xp" in metafunc.fixturenames else metafunc.config.getini(SCOPE)
    metafunc.parametrize((NAME, DTYPE) if with_dtype else NAME, values, indirect=True, scope=scope)


def dtypes_of(variant: Variant) -> list[str]:
    """Return the floating dtypes that tests on a backend run with."""
    from gradkit.testing.variants import floating_dtypes

    return floating_dtypes(variant.backend) if variant.dtype is None else [variant.dtype]


def is_chosen_by_project(metafunc: pytest.Metafunc) -> bool:
    """Return whether the project itself says what a test runs on: by a parameter or fixture `backend` of its own."""
    values = [call.params["backend"] for call in metafunc._calls if "backend" in call.params]
    if values:
        return all(name_of(value) is not None for value in values)
    return is_of_project(metafunc._arg2fixturedefs.get("backend"))


def is_of_project(definitions: Any) -> bool:
    """Return whether the last of a fixture's definitions is not this plugin's."""
    return bool(definitions) and definitions[-1].func.__module__ != __name__


def name_of(value: Any) -> str | None:
    """Return the name of the backend that a project's value means, or None if it means none."""
    from gradkit.backend import Backend

    if isinstance(value, Backend):
        return value.name
    try:
        return _variant_named(value).name if isinstance(value, str) else None
    except ValueError:
        return None


# Where tests run

CURRENT = pytest.StashKey[pytest.Item]()


def names_of_fixtures(item: pytest.Item) -> list[str]:
    """Return the fixtures of a test, with those that these take."""
    return getattr(item, "fixturenames", [])


def is_theirs(item: pytest.Item) -> bool:
    """Return whether a test has a `backend` of the project's."""
    info = getattr(item, "_fixtureinfo", None)
    return "backend" in parameters_of(item) or (
        info is not None and is_of_project(info.name2fixturedefs.get("backend"))
    )


def parameters_of(item: pytest.Item) -> dict[str, Any]:
    """Return the parameters of a test by name."""
    return getattr(getattr(item, "callspec", None), "params", {})


def backend_name(item: pytest.Item) -> str | None:
    """Return the name of the backend that this test runs on, or None if it takes none of our fixtures."""
    parameters = parameters_of(item)
    name: str | None = parameters.get(NAME)
    if name is not None or NAME not in names_of_fixtures(item):
        return name
    if "backend" in parameters:
        return name_of(parameters["backend"])
    # A method of unittest.TestCase, which pytest cannot parametrize, runs where there is no choice.
    usable = [name for name in selection_of(item.config).names if name not in selection_of(item.config).reasons]
    return usable[0] if len(usable) == 1 and not is_theirs(item) else None


def variant_of_item(item: pytest.Item) -> Variant | None:
    """Return the backend that a test runs on, as it is to be used."""
    name = backend_name(item)
    return None if name is None else variant_of(name)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool | None, bool | None]:
    """Let the test's backend make the new arrays, from the set-up of its first fixture to its end, in all threads."""
    item.config.stash[CURRENT] = item
    variant = variant_of_item(item)
    if variant is None or variant.name in selection_of(item.config).reasons:
        return (yield)
    with variant.running():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Where a fixture `backend` of the project's gives a backend, let that one make the arrays of the test."""
    value = getattr(item, "funcargs", {}).get("backend")
    theirs = value is not None and NAME in names_of_fixtures(item) and backend_name(item) is None
    name = name_of(value) if theirs else None
    with nullcontext() if name is None else variant_of(name).running(), transfers_of(item):
        return (yield)


def transfers_of(item: pytest.Item) -> AbstractContextManager[None]:
    """Return what guards the transfers of a test, if it asks for that; those of its fixtures are not."""
    fixtures = names_of_fixtures(item)
    if NAME not in fixtures or not (NO_TRANSFER in fixtures or item.get_closest_marker(NO_TRANSFER)):
        return nullcontext()
    from gradkit.transfers import guarding_everywhere

    return guarding_everywhere("disallow")


# The marks


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Turn the marks for a test's backend into pytest's own; a test that takes none of our fixtures is not ours."""
    for item in items:
        variant = variant_of_item(item)
        if variant is None:
            continue
        for mark in marks_of(item):
            try:
                check(mark, item)
            except pytest.UsageError as error:
                if not hasattr(config, "workerinput"):
                    raise
                # A worker of pytest-xdist that stops here takes the message with it: the test tells it instead.
                item.stash[COMPLAINT] = str(error)
                break
            if (decorator := meaning(mark, variant)) is not None:
                item.add_marker(decorator)


COMPLAINT = pytest.StashKey[str]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let a test whose marks are wrong fail before it begins."""
    if COMPLAINT in item.stash:
        pytest.fail(item.stash[COMPLAINT], pytrace=False)


def marks_of(item: pytest.Item) -> Iterator[pytest.Mark]:
    """Yield the marks on a test, its class and its module that say where it runs."""
    for kind in WORDS:
        yield from item.iter_markers(kind)


def backends_of(mark: pytest.Mark) -> tuple[Any, ...]:
    """Return the names in a mark."""
    return (mark.name, *mark.args) if mark.name in GROUPS else mark.args


def meaning(mark: pytest.Mark, variant: Variant) -> pytest.MarkDecorator | None:
    """Return the mark of pytest's that one of ours is on a backend; what is left out has pytest's default."""
    from gradkit.testing.variants import in_group

    names = backends_of(mark)
    is_meant = any(
        in_group(variant.base, name) if name in GROUPS else variant.is_one_of(variant_of(name)) for name in names
    )
    given = {word: value for word, value in mark.kwargs.items() if value is not None}
    if mark.name == EXPECTED_FAILURE:
        return pytest.mark.xfail(**given) if is_meant else None
    if mark.name == SKIP:
        return pytest.mark.skip(**given) if is_meant else None
    reason = f"runs on {', '.join(names)} alone{': ' if 'reason' in given else ''}{given.get('reason', '')}"
    return None if is_meant else pytest.mark.skip(reason=reason)


def check(mark: pytest.Mark, item: pytest.Item) -> None:
    """Raise a usage error unless the mark names known backends, and gives a reason where it has to."""
    where = f"{item.nodeid}: mark {mark.name}"
    example = f'@pytest.mark.{mark.name}("cupy"' + (")" if mark.name == ONLY else ', reason="...")')
    names = backends_of(mark)
    if mark.name in GROUPS and mark.args:
        raise pytest.UsageError(f"{where}: expected no names, got {mark.args!r}. Write @pytest.mark.{mark.name}.")
    if not names or not all(isinstance(name, str) for name in names):
        raise pytest.UsageError(f"{where}: expected the names of backends, got {mark.args!r}. Write {example}.")
    for name in names:
        if name not in GROUPS:
            variant_of(name, where)
    reason = mark.kwargs.get("reason")
    may_be_left_out = reason is None and mark.name not in (SKIP, EXPECTED_FAILURE)
    if not may_be_left_out and (not isinstance(reason, str) or not reason.strip()):
        raise pytest.UsageError(
            f"{where}: expected a reason, got {reason!r}. "
            f'Say why: @pytest.mark.{mark.name}({names[0]!r}, reason="CuPy has no float16 kernel for this").'
        )
    if unknown := mark.kwargs.keys() - WORDS[mark.name]:
        raise pytest.UsageError(
            f"{where}: unknown argument {', '.join(sorted(unknown))}. Known: {', '.join(sorted(WORDS[mark.name]))}."
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


def outcomes_of(terminalreporter: pytest.TerminalReporter) -> dict[str, dict[str, list[Any]]]:
    """Return the reports of the tests that ran on a backend, by backend and category."""
    found: dict[str, dict[str, list[Any]]] = {}
    for category in COLUMNS:
        for report in terminalreporter.stats.get(category, []):
            name = getattr(report, OPTION, None)
            if name is not None:
                found.setdefault(name, {}).setdefault(category, []).append(report)
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Close with a table of what came of the tests on each backend, and why what did not run did not."""
    outcomes = outcomes_of(terminalreporter)
    path = config.getoption(REPORT, None)
    if path is None and not outcomes:
        return
    from gradkit.testing.outcomes import told, write_report

    selection = selection_of(config)
    if path is not None:
        names = dict.fromkeys([*selection.names, *selection.reasons, *outcomes])
        write_report(Path(path), outcomes, COLUMNS, {variant_of(name): selection.reasons.get(name) for name in names})
    if not outcomes:
        return
    width = max(map(len, ["backend", *selection.reasons, *outcomes]))
    terminalreporter.section("backends")
    terminalreporter.line("  ".join(["backend".ljust(width), *COLUMNS.values()]))
    for name in sorted(outcomes):
        cells = (
            str(len(outcomes[name].get(category, ()))).rjust(len(heading)) for category, heading in COLUMNS.items()
        )
        terminalreporter.line("  ".join([name.ljust(width), *cells]))
    for name, reason in sorted(selection.reasons.items()):
        terminalreporter.line(f"{name.ljust(width)}  {'skipped' if name in outcomes else 'not run'}: {reason}")
    for name in sorted(outcomes):
        if name not in selection.reasons:
            for line in told(outcomes[name]):
                terminalreporter.line(f"{name.ljust(width)}  {line}")
