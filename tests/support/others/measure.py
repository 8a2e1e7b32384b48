"""Measure which functions of other libraries take gradkit's Arrays and are differentiated: ``docs/other-libraries.md``.

    python tests/support/others/measure.py            writes the page
    python tests/support/others/measure.py --page     prints it
    python tests/support/others/measure.py NAME ...   prints, as JSON, what became of the functions of these names

Each function of `functions.py` is differentiated by `grad` and by `jvp` along a direction, on NumPy's arrays and on
array-api-strict's. Right is what the same function gives on plain NumPy arrays a small step on either side.
"""

from __future__ import annotations

import os

os.environ["SCIPY_ARRAY_API"] = "1"  # read when SciPy is imported

import json
import math
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from functions import FUNCTIONS, X

import gradkit
import gradkit.numpy as jnp
from gradkit.errors import ConcretizationTypeError, DeviceMismatchError, TracerArrayConversionError

__all__ = ["BACKENDS", "PAGE", "measured", "page"]

PAGE = Path(__file__).resolve().parents[3] / "docs" / "other-libraries.md"
BACKENDS = ("numpy", "strict")
LIBRARIES = ("array-api-extra", "einops", "numpy", "scikit-learn", "scipy")
DIRECTION = np.cos(np.arange(X.size) * 1.7).reshape(X.shape)
STEP = 1e-4
RIGHT, NAN, WRONG = "right", "NaN", "wrong"
CONVERTS, NUMBER, MIXES, REFUSED = "converts", "a number", "mixes", "refused"
OTHER = "another error"


def _parts(result: Any) -> list[Any]:
    if isinstance(result, list | tuple):
        return [part for each in result for part in _parts(each)]
    return [result]


def _total(xp: Any, result: Any) -> Any:
    """Return one number that every number of a result moves."""
    total = xp.asarray(0.0)
    for part in map(xp.asarray, _parts(result)):
        weights = np.cos(np.arange(math.prod(part.shape)) + 1.0).reshape(part.shape)
        total = total + xp.sum(xp.real(part) * xp.asarray(weights))
        if part.dtype.kind == "c":
            total = total + xp.sum(xp.imag(part) * xp.asarray(np.sin(weights)))
    return total


def _slope(f: Callable[..., Any]) -> float:
    """Return the slope of a function on NumPy's arrays, from differences of the fourth order."""

    def difference(step: float) -> float:
        ahead, behind = (_total(np, f(X + move * DIRECTION, np.asarray)) for move in (step, -step))
        return float(ahead - behind) / (2 * step)

    return (4 * difference(STEP / 2) - difference(STEP)) / 3


def _found(f: Callable[..., Any]) -> tuple[float, float]:
    """Return the slopes that `grad` and `jvp` find."""

    def total(x: Any) -> Any:
        return _total(jnp, f(x, jnp.asarray))

    x, direction = jnp.asarray(X), jnp.asarray(DIRECTION)
    gradient = gradkit.device_get(gradkit.grad(total)(x))
    return float((gradient * DIRECTION).sum()), float(gradkit.jvp(total, (x,), (direction,))[1])


def _what_became_of(f: Callable[..., Any], right: float) -> str:
    try:
        found = _found(f)
    except TracerArrayConversionError:
        return CONVERTS
    except ConcretizationTypeError:
        return NUMBER
    except DeviceMismatchError:
        return MIXES
    except Exception as error:  # noqa: BLE001 - whatever a library raises is looked at
        last = traceback.extract_tb(error.__traceback__)[-1].filename
        ours = any(f"{os.sep}{folder}{os.sep}" in last for folder in ("gradkit", "backends"))
        return REFUSED if ours else f"{OTHER} ({type(error).__name__}: {error})"
    if not all(map(math.isfinite, found)):
        return NAN
    return RIGHT if all(math.isclose(one, right, rel_tol=1e-5, abs_tol=1e-7) for one in found) else WRONG


def measured(names: Any = FUNCTIONS) -> dict[str, dict[str, str]]:
    """Return what became of functions on each backend: of code that only libraries assign in, and in a block."""
    results: dict[str, dict[str, str]] = {}
    for name in names:
        with warnings.catch_warnings(), np.errstate(all="ignore"), gradkit.enable_x64():
            warnings.simplefilter("ignore")
            right = _slope(FUNCTIONS[name])
            if not abs(right) > 1e-6:
                raise ValueError(f"{name}: the derivative is {right}, which tells nothing")
            row = results[name] = {}
            for backend in BACKENDS:
                with gradkit.use_backend(backend):
                    row[backend] = _what_became_of(FUNCTIONS[name], right)
                    with gradkit.item_assignment():
                        in_block = _what_became_of(FUNCTIONS[name], right)
                if in_block != row[backend]:
                    row[backend] += f" ({in_block} in a block)"
    return results


HEADER = """# Other people's functions

Which functions of SciPy, scikit-learn, array-api-extra and einops take gradkit's Arrays and are differentiated, of
those that have a derivative. `tests/support/others/functions.py` calls each with some arguments; what `grad` and `jvp`
find is compared with finite differences of the same call on plain NumPy arrays, on the backends `numpy` and `strict`.
`python tests/support/others/measure.py` writes this page.

Measured with {versions}.

SciPy needs `SCIPY_ARRAY_API=1` in the environment before it is imported, scikit-learn
`sklearn.set_config(array_api_dispatch=True)`. These libraries may assign to items of their arrays, and in place: there
is no need for `with gradkit.item_assignment():`, and within it the results are the same. (A function of yours that they
call may not assign; [why](differences-from-jax.md).)

"""

MEANINGS = f"""
- **{RIGHT}**: the derivative is that of finite differences, to five digits.
- **{NAN}**: the derivative is NaN, as in JAX and PyTorch: the function computes an infinity or NaN in places that it
  then leaves out (`xp.where(mask, xp.nan, x)`), and 0 times NaN is NaN.
- **{CONVERTS}**: the function is compiled code, or converts its arguments by `numpy.asarray`, so it would leave the
  derivative behind. That is gradkit's `TracerArrayConversionError`. (It takes plain Arrays, outside of transforms.)
- **{NUMBER}**: it converts to a Python number (`float(x)`), likewise: `ConcretizationTypeError`.
- **{MIXES}**: it makes NumPy's arrays beside those that it is given. On NumPy that works; elsewhere it is a
  `DeviceMismatchError`.
- **{REFUSED}**: another error of gradkit's, which says what is missing.
- **{OTHER}**: an error of the library.

No function had a wrong derivative without an error.
"""


def _library(name: str) -> str:
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "scipy" else parts[0]


def _kind(result: str) -> str:
    return result.partition(" (")[0]


def page(results: dict[str, dict[str, str]]) -> str:
    """Return the page."""
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    kinds = [RIGHT, NAN, CONVERTS, NUMBER, MIXES, REFUSED, OTHER]
    wrong = [name for name, row in results.items() if WRONG in map(_kind, row.values())]
    if wrong:
        raise ValueError(f"wrong derivatives, silently: {wrong}")
    lines = [HEADER.format(versions=versions) + "| library | calls | " + " | ".join(kinds) + " |"]
    lines.append("| :-- |" + " --: |" * (len(kinds) + 1))
    libraries = list(dict.fromkeys(map(_library, results)))
    for library in (*libraries, "all"):
        rows = [row for name, row in results.items() if library in (_library(name), "all")]
        counts = [Counter(_kind(row[backend]) for row in rows) for backend in BACKENDS]
        cells = [f"{len(rows)}"]
        for kind in kinds:
            numbers = list(dict.fromkeys(count[kind] for count in counts))
            cells.append(" / ".join(map(str, numbers)) if any(numbers) else "")
        lines.append(f"| {library} | " + " | ".join(cells) + " |")
    lines += ["", "Where two numbers stand, the first is on NumPy and the second on array-api-strict.", MEANINGS]
    for library in libraries:
        lines += [f"## {library}", "", "| call | on NumPy | on array-api-strict |", "| :-- | :-- | :-- |"]
        for name, row in results.items():
            if _library(name) == library:
                shown = name.removeprefix(f"{library}.")
                lines.append(f"| `{shown}` | {row['numpy']} | {row['strict']} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:] == ["--page"]:
        print(page(measured()), end="")
    elif len(sys.argv) > 1:
        print(json.dumps(measured(sys.argv[1:])))
    else:
        PAGE.write_text(page(measured()), encoding="utf-8")
