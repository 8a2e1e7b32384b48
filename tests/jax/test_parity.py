"""Parity with JAX, function by function: value, reverse mode, forward mode, second order and vmap, in float64.

`python tests/support/parity/table.py` writes the table of it, docs/parity.md.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

import jax
import jax.scipy.linalg
import jax.scipy.special
import jax.scipy.stats
import pytest
from parity.cases import CASES, DIFFERENT, WITHOUT_JAX, function_at
from parity.measure import MEASURES, difference
from parity.table import PAGE
from parity.underivable import MODULES, WITHOUT_DERIVATIVE

import gradkit

KINDS = "pdf logpdf pmf logpmf cdf logcdf sf logsf ppf isf entropy".split()

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_a_function_gives_what_jax_gives(case: Any, backend: Any) -> None:
    if backend.name != "numpy":
        pytest.skip("the comparison with JAX is of the rules; test_primitives.py and others run them on every backend")
    for measure in MEASURES:
        if (case.name, measure) in WITHOUT_JAX or (case.name, measure) in DIFFERENT:
            continue
        assert difference(case, measure) is None, measure


def public_functions(root: Any, module: str) -> set[str]:
    """Return the functions of a module; of `scipy.stats` those of its distributions."""
    of_module = function_at(module)(root)
    names = {name for name in dir(of_module) if not name.startswith("_")}
    if module == "scipy.stats":
        return {
            f"{name}.{kind}"
            for name in names
            for kind in KINDS
            if hasattr(function_at(module)(gradkit), name) and hasattr(getattr(of_module, name), kind)
        }
    found = {name: getattr(of_module, name) for name in names}
    return {
        name for name, it in found.items() if callable(it) and not isinstance(it, type) and not hasattr(it, "dtype")
    }


@pytest.mark.parametrize("module", MODULES)
def test_every_differentiable_function_has_a_case(module: str) -> None:
    cases = {case.name.partition(" ")[0].removeprefix(f"{module}.") for case in CASES if case.name.startswith(module)}
    common = public_functions(jax, module) & public_functions(gradkit, module)
    without = {name for names in WITHOUT_DERIVATIVE.get(module, {}).values() for name in names.split()}
    assert common - cases - without == set(), "these have neither a case nor a reason to have none"
    assert without - common == set(), "these are not there"
    assert without & cases == set(), "these have a case"


def test_the_page_lists_what_is_compared() -> None:
    """`python tests/support/parity/table.py` writes it."""
    page = PAGE.read_text()
    assert re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE) == [case.name for case in CASES]
    assert page.count("**different**") == len(DIFFERENT)


def test_at_least_99_percent_are_equal() -> None:
    total = len(CASES) * len(MEASURES) - len(WITHOUT_JAX)
    assert len(DIFFERENT) <= 0.01 * total
    names = {case.name for case in CASES}
    assert {name for name, _ in (*DIFFERENT, *WITHOUT_JAX)} <= names
    assert all(DIFFERENT.values())


def test_nothing_is_listed_that_is_equal() -> None:
    by_name = {case.name: case for case in CASES}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [key for key in DIFFERENT if difference(by_name[key[0]], key[1]) is None] == []
