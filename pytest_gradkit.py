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
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gradkit.backend import Backend, Device
    from gradkit.testing.choosing import Selection
    from gradkit.testing.variants import Variant

OPTION = "gradkit_backend"
REQUIRED = "gradkit_require_backend"
SCOPE = "gradkit_fixture_scope"
REPORT = "gradkit_backend_report"
ENVIRONMENT_VARIABLE = "GRADKIT_TEST_BACKENDS"
FIXTURES = ("xp", "backend", "device", "dtype", "session_xp", "no_transfer")
SCOPES = ("function", "class", "module", "package", "session")
NAME = "_gradkit_backend"
"""The fixture that is parametrized. A test has it in its closure only if one of its fixtures is of this plugin."""
DTYPE = "_gradkit_dtype"
"""The fixture that is parametrized beside it, where a test takes `dtype`."""

NO_TRANSFER = "no_transfer"
MARKS = {
    "backends": "(*names, reason=None): run the test on these backends alone",
    "skip_backend": "(*names, reason): do not run the test on these backends",
    "xfail_backend": "(*names, reason, raises=None, strict=None): the test fails on these backends",
    "on_cpu": "(reason=None): run the test on backends on the CPU alone",
    "on_gpu": "(reason=None): run the test on backends on a GPU alone",
    NO_TRANSFER: ": let the test fail where data crosses between host and device unasked",
}
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
            f"between them, 'all', or 'available' (the default: those that can run on this machine; neither has "
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
    for mark, what in MARKS.items():
        config.addinivalue_line("markers", f"{mark}{what}")
    scope = config.getini(SCOPE)
    if scope not in SCOPES:
        raise pytest.UsageError(f"{SCOPE}: expected one of {', '.join(SCOPES)}, got {scope!r}")
    report = config.getoption(REPORT, None)
    if report is not None and not Path(report).absolute().parent.is_dir():
        raise pytest.UsageError(f"--backend-report={report}: the folder is not there. Make it first.")
    if asked_for(config) or required_of(config)[1]:
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


def required_of(config: pytest.Config) -> tuple[str, list[str]]:
    """Return where the backends that have to run are named, for messages, and their names."""
    words = words_of(config.getoption(REQUIRED, None))
    return ("--require-backend", words) if words else (REQUIRED, words_of(config.getini(REQUIRED)))


SELECTION: pytest.StashKey[Selection] = pytest.StashKey()


def selection_of(config: pytest.Config) -> Selection:
    """Return the backends of this run; they are found when a test first asks."""
    if SELECTION not in config.stash:
        from gradkit.testing.choosing import USABLE, select, with_required

        where, words = asked_for(config) or ("", [USABLE])
        config.stash[SELECTION] = with_required(select(words, where), *required_of(config))
    return config.stash[SELECTION]


def variant_of(name: str, where: str = "") -> Variant:
    """Return the backend of a name; an unknown one is a usage error."""
    from gradkit.testing.choosing import variant_of

    return variant_of(name, where)


def pytest_report_header(config: pytest.Config) -> str:
    """Say what the tests will run on."""
    if asked_for(config) is None and not required_of(config)[1]:
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
        from gradkit.testing.refusals import explain

        chosen(request, "dtype")
        raise pytest.UsageError(explain(request.config.stash[CURRENT], "dtype"))
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
        from gradkit.testing.refusals import explain

        pytest.fail(explain(item, fixture), pytrace=False)
    if found is None:
        from gradkit.backend import current_backend

        return variant_of(current_backend().name)
    return found


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes one of the fixtures once for each backend, unless the project says which it runs on."""
    if NAME not in metafunc.fixturenames or is_chosen_by_project(metafunc):
        return
    from gradkit.testing.choosing import cases

    with_dtype = DTYPE in metafunc.fixturenames
    values = cases(selection_of(metafunc.config), with_dtype)
    scope: Any = "session" if "session_xp" in metafunc.fixturenames else metafunc.config.getini(SCOPE)
    metafunc.parametrize((NAME, DTYPE) if with_dtype else NAME, values, indirect=True, scope=scope)


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
        return variant_of(value).name if isinstance(value, str) else None
    except pytest.UsageError:
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
        from gradkit.testing.marks import meanings

        try:
            for decorator in meanings(item, variant):
                item.add_marker(decorator)
        except pytest.UsageError as error:
            if not hasattr(config, "workerinput"):
                raise
            # A worker of pytest-xdist that stops here takes the message with it: the test tells it instead.
            item.stash[COMPLAINT] = str(error)


COMPLAINT = pytest.StashKey[str]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let a test whose marks are wrong, or that cannot have a backend, fail before it begins; skips go before."""
    if COMPLAINT in item.stash:
        pytest.fail(item.stash[COMPLAINT], pytrace=False)
    if NAME in names_of_fixtures(item) and not is_theirs(item) and backend_name(item) is None:
        from gradkit.testing.refusals import explain, is_of_unittest

        # A fixture keeps its error for the next test in its scope, whose reason may be another one.
        if is_of_unittest(item):
            name = next((name for name in names_of_fixtures(item) if name in FIXTURES), "backend")
            pytest.fail(explain(item, name), pytrace=False)


# The closing table


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
    for category, reports in terminalreporter.stats.items():
        for report in reports:
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
    from gradkit.testing.outcomes import table, write_report

    selection = selection_of(config)
    if path is not None:
        names = dict.fromkeys([*selection.names, *selection.reasons, *outcomes])
        write_report(Path(path), outcomes, {variant_of(name): selection.reasons.get(name) for name in names})
    if outcomes:
        terminalreporter.section("backends")
        for line in table(outcomes, selection.reasons):
            terminalreporter.line(line)
