"""What the plugin gives tests: backend, xp, device, dtype."""

from __future__ import annotations

from textwrap import dedent

import numpy as np
import pytest
from plugin_runs import run

from gradkit.backend import Backend


def test_xp_is_gradkit_numpy_on_each_backend(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import gradkit.numpy

        def test_it(xp, backend):
            assert xp is gradkit.numpy
            assert xp.ones(2).device.backend == backend.name
        """,
    )
    result.assert_outcomes(passed=2)


def test_backend_is_current_in_fixtures_of_module_scope_and_not_after_the_test(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest
        from gradkit.backend import current_backend

        @pytest.fixture(scope="module")
        def made_with(backend):
            return current_backend()

        def test_with(backend, made_with):
            assert made_with is backend

        def test_without():
            assert current_backend().name == "numpy"
        """,
        "--backend=strict",
    )
    result.assert_outcomes(passed=2)


def test_hypothesis_accepts_the_fixtures(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        from hypothesis import given, strategies as st

        @given(n=st.integers())
        def test_it(n, backend):
            assert isinstance(n, int)
        """,
        "-p",
        "no:hypothesispytest.statistics",
    )
    result.assert_outcomes(passed=2)


def test_a_projects_own_fixture_wins(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.fixture
        def backend():
            return "theirs"

        def test_fixture(backend):
            assert backend == "theirs"

        @pytest.mark.parametrize("xp", ["theirs"])
        def test_parameter(xp):
            assert xp == "theirs"
        """,
        "-v",
    )
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("=* backends =*")


def test_a_projects_own_option_wins(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_addoption(parser): parser.addoption('--backend', default='theirs')")
    result = run(
        pytester,
        """
        def test_it(request, backend):
            assert request.config.getoption("--backend") == "their own"
        """,
        "--backend=their own",
    )
    result.assert_outcomes(passed=2)


def test_a_projects_own_option_in_a_group_wins(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_addoption(parser): parser.getgroup('theirs').addoption('--backend')")
    run(
        pytester, "def test_it(request): assert request.config.getoption('--backend') == 'x'", "--backend=x"
    ).assert_outcomes(passed=1)


def test_projects_without_the_fixtures_do_not_import_an_array_library(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it():
            assert not {"numpy", "cupy", "array_api_compat", "optree", "gradkit.backend"} & sys.modules.keys()
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_numpy_arrays_of_the_host_reach_each_backend(backend: Backend) -> None:
    host = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(backend.to_host(backend.from_host(host)), host)


# Scopes


def test_the_ini_file_gives_the_fixtures_a_scope(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ngradkit_fixture_scope = session")
    result = run(
        pytester,
        """
        import pytest

        @pytest.fixture(scope="session")
        def table(xp, dtype):
            return xp.ones(2, dtype=dtype)

        def test_one(table, backend):
            assert table.device.backend == backend.name

        def test_other(table, backend):
            assert table.device.backend == backend.name
        """,
        "--backend=numpy:float32,strict:float32",
    )
    result.assert_outcomes(passed=4)


def test_fixtures_of_a_session_take_session_xp(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        made = []

        @pytest.fixture(scope="session")
        def table(session_xp):
            made.append(session_xp.ones(2))
            return made[-1]

        @pytest.mark.parametrize("n", range(3))
        def test_one(table, xp, n):
            assert (table + xp.ones(2)).device == xp.ones(2).device

        def test_made(table):
            assert len(made) <= 2
        """,
    )
    result.assert_outcomes(passed=8)


# Where pytest cannot run a test several times


def test_getfixturevalue_in_a_test_that_has_the_fixture(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.usefixtures("xp")
        def test_it(request):
            assert request.getfixturevalue("xp").ones(2).device.backend == request.getfixturevalue("backend").name
        """,
    )
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("fixture", ["xp", "backend", "device", "dtype"])
def test_getfixturevalue_in_another_test_says_what_to_do(pytester: pytest.Pytester, fixture: str) -> None:
    result = run(pytester, f"def test_it(request): request.getfixturevalue({fixture!r})")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{fixture}: *how often it runs is decided before*usefixtures('{fixture}')."])


UNITTEST = """
    import unittest

    import pytest

    class TestIt(unittest.TestCase):
        @pytest.fixture(autouse=True)
        def take(self, xp):
            self.xp = xp

        def test_it(self):
            assert self.xp.ones(2).device.backend == "strict"
"""


def test_a_unittest_class_runs_on_the_one_backend_or_says_why_not(pytester: pytest.Pytester) -> None:
    run(pytester, UNITTEST, "--backend=strict").assert_outcomes(passed=1)
    result = run(pytester, UNITTEST)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*xp: pytest runs the methods of unittest.TestCase once*--backend=numpy*self.subTest*"]
    )


def test_what_another_test_of_the_module_was_told_is_not_told_again(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_first(request): request.getfixturevalue('xp')\n" + dedent(UNITTEST))
    result.assert_outcomes(failed=1, errors=1)
    result.stdout.fnmatch_lines(["*how often it runs is decided before*"])
    result.stdout.fnmatch_lines(["*pytest runs the methods of unittest.TestCase once*"])


def test_a_method_that_is_skipped_is_not_asked_for_its_backend(pytester: pytest.Pytester) -> None:
    marked = dedent(UNITTEST).replace("class TestIt", "@pytest.mark.skip(reason='not today')\nclass TestIt")
    run(pytester, marked).assert_outcomes(skipped=1)


def test_a_doctest_says_why_not(pytester: pytest.Pytester) -> None:
    result = run(pytester, '"""\n>>> getfixture("xp").ones(2)\n"""', "--doctest-modules")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*xp: pytest runs a doctest once*use_backend('numpy')*"])


# What the project says itself

CONSISTENT = """
    def test_it(xp, backend, request):
        said = backend if isinstance(backend, str) else backend.name
        assert said in request.node.name
        assert xp.ones(2).device.backend == said
"""


@pytest.mark.parametrize(
    "how",
    [
        '@pytest.mark.parametrize("backend", ["strict", "numpy"])',
        '@pytest.mark.parametrize("backend", ["strict", "numpy"], indirect=True)',
        '@pytest.mark.parametrize("backend", ["strict", "numpy"], scope="session")',
        '@pytest.mark.parametrize("backend", ["strict", "numpy"], indirect=True, scope="session")',
    ],
)
def test_a_mark_of_the_project_chooses(pytester: pytest.Pytester, how: str) -> None:
    result = run(pytester, f"    import pytest\n\n    {how}{CONSISTENT}", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_it?strict? PASSED*", "*test_it?numpy? PASSED*"])


@pytest.mark.parametrize(
    "conftest",
    [
        "def pytest_generate_tests(metafunc): metafunc.parametrize('backend', ['strict', 'numpy'])",
        "def pytest_generate_tests(metafunc): metafunc.parametrize('backend', ['strict', 'numpy'], indirect=True)",
        "import pytest\n@pytest.fixture(params=['strict', 'numpy'])\ndef backend(request): return request.param",
        "import pytest\n@pytest.fixture(params=['strict', 'numpy'], scope='session')\n"
        "def backend(request): return request.param",
    ],
)
def test_a_conftest_of_the_project_chooses(pytester: pytest.Pytester, conftest: str) -> None:
    pytester.makeconftest(conftest)
    result = run(pytester, CONSISTENT, "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_it?strict? PASSED*", "*test_it?numpy? PASSED*"])


def test_a_fixture_of_the_project_without_parameters_chooses(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import pytest\n@pytest.fixture\ndef backend(): return 'strict'")
    run(pytester, "def test_it(xp, backend): assert xp.ones(2).device.backend == backend").assert_outcomes(passed=1)


def test_a_project_whose_backends_are_of_another_kind_has_ours_beside_them(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.parametrize("backend", ["duckdb", "sqlite"])
        def test_it(xp, backend, request):
            assert request.node.name == f"test_it[{backend}-{xp.ones(2).device.backend}]"
        """,
    )
    result.assert_outcomes(passed=4)


# Threads


def test_threads_of_a_test_make_arrays_on_its_backend(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        import numpy as np

        def test_threads(xp, device, dtype):
            def made(_):
                return [a.device for a in (xp.ones(2), xp.asarray([1.0]), xp.asarray(np.ones(2)), xp.arange(3))]

            async def task():
                return await asyncio.to_thread(made, 0)

            with ThreadPoolExecutor(3) as pool:
                for devices in [*pool.map(made, range(6)), asyncio.run(task())]:
                    assert set(devices) == {device}

        def test_own_choice(xp, backend):
            import gradkit
            gradkit.set_backend("numpy")
            assert xp.ones(2).device.backend == "numpy"

        def test_after_it(xp, backend):
            assert xp.ones(2).device.backend == backend.name
        """,
        "--backend=strict:1,numpy",
    )
    result.assert_outcomes(passed=10)
