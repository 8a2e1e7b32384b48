"""Which backends the plugin runs tests on: options, environment, ini file, variants."""

from __future__ import annotations

from typing import ClassVar

import pytest
from plugin_runs import REASON, RECORDS_BACKEND, Broken, run

import gradkit.backend


def test_default_is_every_backend_that_can_run(pytester: pytest.Pytester) -> None:
    result = run(pytester, RECORDS_BACKEND, "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_it?numpy? PASSED*", "*test_it?strict? PASSED*"])
    result.stdout.fnmatch_lines(["broken *not run:*the driver is on holiday*"])


def test_all_skips_what_cannot_run_with_its_own_reason(pytester: pytest.Pytester) -> None:
    result = run(pytester, RECORDS_BACKEND, "--backend=all", "-rs")
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED*{REASON}*"])


class Numbers(Broken):
    """A backend whose arrays have no axes."""

    name: ClassVar[str] = "numbers"
    has_axes: ClassVar[bool] = False

    def why_unusable(self) -> None:
        return None


@pytest.mark.parametrize(
    "options, passed", [((), 2), (("--backend=available",), 2), (("--backend=all",), 2), (("--backend=numbers",), 1)]
)
def test_a_backend_without_axes_runs_where_it_is_named(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], passed: int
) -> None:
    monkeypatch.setitem(gradkit.backend.registry._loaded, "numbers", Numbers())
    assert run(pytester, RECORDS_BACKEND, *options).parseoutcomes()["passed"] == passed


@pytest.mark.parametrize(
    "option, names",
    [("numpy", ["numpy"]), ("strict,numpy", ["strict", "numpy"]), (" numpy , numpy,", ["numpy"])],
)
def test_named_backends_run_once_each_in_their_order(pytester: pytest.Pytester, option: str, names: list[str]) -> None:
    result = run(pytester, RECORDS_BACKEND, f"--backend={option}", "-v")
    result.assert_outcomes(passed=len(names))
    result.stdout.fnmatch_lines([f"*test_it?{name}? PASSED*" for name in names])


def test_named_backend_that_cannot_run_is_skipped_with_its_own_reason(pytester: pytest.Pytester) -> None:
    result = run(pytester, RECORDS_BACKEND, "--backend=broken", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED*The backend 'broken' cannot run on this machine: {REASON}*"])


def test_unknown_backend_is_a_usage_error_with_the_nearest_name(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_without_arrays(): pass", "--backend=strct")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--backend: Unknown backend 'strct'. Known: *numpy*. Did you mean 'strict'?"])


def test_no_backend_is_a_usage_error(pytester: pytest.Pytester) -> None:
    result = run(pytester, RECORDS_BACKEND, "--backend=,")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--backend=,: no backend is named. Give names*"])


# Other ways to say it


def test_the_option_may_come_several_times(pytester: pytest.Pytester) -> None:
    result = run(pytester, RECORDS_BACKEND, "--backend=strict", "--backend=numpy,strict", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_it?strict? PASSED*", "*test_it?numpy? PASSED*"])


def test_command_line_then_environment_then_ini_file(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]\ngradkit_backend = numpy,\n    strict:1")
    run(pytester, RECORDS_BACKEND, "-v").stdout.fnmatch_lines(["*?numpy? PASSED*", "*?strict:1? PASSED*"])
    monkeypatch.setenv("GRADKIT_TEST_BACKENDS", "strict")
    run(pytester, RECORDS_BACKEND).assert_outcomes(passed=1)
    run(pytester, RECORDS_BACKEND, "--backend=numpy,strict").assert_outcomes(passed=2)


def test_a_project_whose_own_option_wins_can_choose(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makeconftest("def pytest_addoption(parser): parser.addoption('--backend', default='theirs')")
    monkeypatch.setenv("GRADKIT_TEST_BACKENDS", "strict")
    run(pytester, RECORDS_BACKEND, "--backend=x", "-v").stdout.fnmatch_lines(["*?strict? PASSED*"])


@pytest.mark.parametrize(
    "where, said", [("environment", "GRADKIT_TEST_BACKENDS: Unknown*"), ("ini", "gradkit_backend: Unknown*")]
)
def test_the_message_names_where_the_unknown_backend_was_named(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, where: str, said: str
) -> None:
    if where == "ini":
        pytester.makeini("[pytest]\ngradkit_backend = numppy")
    else:
        monkeypatch.setenv("GRADKIT_TEST_BACKENDS", "numppy")
    result = run(pytester, RECORDS_BACKEND)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{said} backend 'numppy'. Known: *available*numpy*. Did you mean 'numpy'?"])


# Variants

MADE = """
    import numpy as np

    def test_it(xp, backend, device, dtype, request):
        made = xp.ones(2)
        assert made.device == device == xp.asarray(np.ones(2)).device
        print("MADE", request.node.name, device, made.dtype, np.dtype(dtype), backend.variants)
        if "readonly" in request.node.name:
            for array in (made, xp.asarray([1.0]), xp.asarray(np.ones(2)), xp.arange(3)):
                assert not array.data.flags.writeable
            given = np.ones(2)
            xp.asarray(given)
            given[0] = 2.0
        assert (xp.ones(2) + made).device == device
"""


@pytest.mark.parametrize(
    "name, lines",
    [
        ("strict:1", ["strict:1-float32? strict:1 float32 float32", "strict:1-float64? strict:1 float32 float64"]),
        ("strict:1:float64", ["strict:1:float64? strict:1 float64 float64"]),
        ("numpy:float32", ["numpy:float32? numpy:0 float32 float32"]),
        ("numpy:float16", ["numpy:float16? numpy:0 float32 float16"]),
        ("numpy:readonly:float64", ["numpy:readonly:float64? numpy:0 float64 float64"]),
    ],
)
def test_variants(pytester: pytest.Pytester, name: str, lines: list[str]) -> None:
    result = run(pytester, MADE, f"--backend={name}", "-s")
    result.assert_outcomes(passed=len(lines))
    result.stdout.fnmatch_lines([f"*MADE test_it?{line}*" for line in lines])


def test_read_only_arrays_find_code_that_writes_into_its_argument(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        def halve(x):
            x.data[...] /= 2

        def test_it(xp):
            halve(xp.ones(3))
        """,
        "--backend=numpy,numpy:readonly",
        "-v",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*test_it?numpy? PASSED*", "*test_it?numpy:readonly? FAILED*"])


@pytest.mark.parametrize(
    "name, said",
    [
        ("strict:readonly", "--backend: Unknown variant of strict 'readonly'. Known: a device's number, *float32*"),
        ("numpy:1:2", "--backend: numpy:1:2: 1 and 2 exclude each other. Choose one of them."),
    ],
)
def test_an_unknown_variant_is_a_usage_error(pytester: pytest.Pytester, name: str, said: str) -> None:
    result = run(pytester, RECORDS_BACKEND, f"--backend={name}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{said}*"])


@pytest.mark.parametrize(
    "name, reason",
    [("strict:7", "*'strict' has no device 7 on this machine: it has 3*"), ("strict:float16", "*no dtype float16*")],
)
def test_a_variant_that_is_not_there_is_skipped_with_a_reason(
    pytester: pytest.Pytester, name: str, reason: str
) -> None:
    result = run(pytester, RECORDS_BACKEND, f"--backend={name}", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines([reason])


def test_groups_are_names(pytester: pytest.Pytester) -> None:
    run(pytester, RECORDS_BACKEND, "--backend=on_cpu").assert_outcomes(passed=2, skipped=1)
    result = run(pytester, RECORDS_BACKEND, "--backend=on_gpu")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--backend=on_gpu: there is no such backend (known: broken, numpy, strict)."])


# Backends that have to run


@pytest.mark.parametrize("where", ["option", "ini"])
def test_a_required_backend_that_cannot_run_fails_the_run(pytester: pytest.Pytester, where: str) -> None:
    pytester.makeini("[pytest]\n" + ("gradkit_require_backend = numpy, broken" if where == "ini" else ""))
    options = ["--require-backend=numpy,broken"] if where == "option" else []
    result = run(pytester, "def test_without_arrays(): pass", *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    named = "--require-backend" if where == "option" else "gradkit_require_backend"
    result.stderr.fnmatch_lines([f"ERROR: {named}=broken: The backend 'broken' cannot run*{REASON}*"])


def test_a_required_backend_runs_beside_those_that_are_chosen(pytester: pytest.Pytester) -> None:
    result = run(pytester, RECORDS_BACKEND, "--backend=numpy", "--require-backend=strict:1", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*?numpy? PASSED*", "*?strict:1? PASSED*"])


def test_a_scope_that_is_none_is_a_usage_error(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ngradkit_fixture_scope = galaxy")
    result = run(pytester, RECORDS_BACKEND)
    result.stderr.fnmatch_lines(["*gradkit_fixture_scope: expected one of function, class, module*, got 'galaxy'*"])
