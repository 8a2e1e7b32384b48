"""The public functions of the package, found by walking it, and calls of them, found by trying what each takes."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import itertools
from collections.abc import Callable
from typing import Any

from slopes import OTHER

import gradkit
import gradkit.numpy as jnp

__all__ = ["FORMS", "NAMESPACES", "NOT_SWEPT", "OUTSIDE", "Function", "calls", "functions", "namespace"]

Function = Callable[[Any], Any]

NAMESPACES = """numpy numpy.linalg numpy.fft lax lax.linalg nn nn.initializers random scipy.special scipy.linalg
    scipy.stats ops data optim tree tree_util flatten_util ad_checkpoint testing debug io distributed .""".split()
NOT_SWEPT = """__main__ backend blocks callbacks callers cli compiler config core devices dtypes einops_backend errors
    experimental primitives processes pytrees scalar settings
    sklearn test_util train transfers transforms typing viz""".split()
"""Modules that are inside, whose functions the root has, or that take numbers from whoever trains and draws."""
NOT_CALLED = {
    "reads or writes files": "fromfile frombuffer load load_csv load_idx load_mnist load_npy load_npz save load_digits",
    "changes settings, or waits for a person": """breakpoint config debug_changes debug_nans default_device disable_jit
        enable_grad enable_x64 ensure_compile_time_eval fit item_assignment named_scope no_grad printoptions register
        register_dataclass register_pytree_node register_pytree_node_class register_pytree_with_keys
        register_pytree_with_keys_class register_static set_backend set_printoptions use_backend""",
    "cuts the derivative off on purpose": "stop_gradient bitcast_convert_type",
    "gives other numbers at every call": "rng_uniform",
}
"""What is not tried, by the reason."""
OUTSIDE: dict[str, Function] = {
    "scipy.special.expn": lambda x: gradkit.scipy.special.expn(2, x),  # the order is a whole number
    "random.truncated_normal": lambda x: gradkit.random.truncated_normal(gradkit.random.key(0), x - 2, x + 1, (3,)),
    "lax.clamp": lambda x: gradkit.lax.clamp(x[0], 0.5 * x + 0.3, x[2]),
}
"""What has no slope where its arguments are the same or not in order."""
THINGS: dict[str, Callable[[], Any]] = {
    "x": lambda: jnp.asarray(OTHER),
    "m": lambda: jnp.asarray([[2.0, 0.3, 0.1], [0.3, 1.5, 0.2], [0.1, 0.2, 1.2]]),
    "s": lambda: 0.2,
    "i": lambda: 1,
    "t": lambda: (3,),
    "l": lambda: [jnp.asarray([0.1, 0.2, 0.7]), jnp.asarray([0.3, 0.5, 0.4])],
    "k": lambda: gradkit.random.key(0),
    "f": lambda: lambda *args, **_: sum(jnp.sum(jnp.asarray(arg)) for arg in args),
    "n": lambda: jnp.asarray([0, 2, 1]),
    "b": lambda: jnp.asarray([True, False, True]),
}
"""What arguments may be, by a letter: made anew for each call, which may write to them."""


FORMS: dict[str, Function] = {
    "x": lambda x: x,
    "x[0]": lambda x: x[0],
    "list(x)": list,
    "matrix": lambda x: jnp.outer(x, x) + jnp.diag(jnp.asarray([1.0, 2.0, 4.0])),  # no two eigenvalues are equal
    "pair": lambda x: (x[0], x[1]),
    "tree": lambda x: {"a": x, "b": [x[0]]},
}


def namespace(name: str) -> Any:
    return functools.reduce(getattr, filter(None, name.split(".")), gradkit)


def functions(name: str) -> dict[str, Callable[..., Any]]:
    """Return the functions of a namespace, and of the distributions in it."""
    left_out = " ".join(NOT_CALLED.values()).split()
    where = namespace(name)
    found: dict[str, Callable[..., Any]] = {}
    for word in getattr(where, "__all__", None) or dir(where):
        member = getattr(where, word)
        path = f"{name}.{word}".lstrip(".")
        if word.startswith("_") or word in left_out or path in OUTSIDE:
            continue
        if name == "scipy.stats" and not callable(member):
            parts = {f"{path}.{part}": getattr(member, part) for part in dir(member) if not part.startswith("_")}
            found |= {part: method for part, method in parts.items() if callable(method)}
        elif callable(member) and not (isinstance(member, type) and issubclass(member, BaseException)):
            found[path] = member
    return found


def accepts(function: Callable[..., Any], combination: tuple[str, ...]) -> bool:
    with contextlib.suppress(Exception, SystemExit), contextlib.redirect_stdout(io.StringIO()):
        function(*(THINGS[letter]() for letter in combination))
        return True
    return False


def searched(function: Callable[..., Any], parameters: list[inspect.Parameter], most: int, tries: int) -> list[Any]:
    """Try combinations of things as a function's required arguments."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = sum(p.default is p.empty and p.kind in kinds for p in parameters)
    varies = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    found: list[Any] = []
    for number in (required, required + 1, required + 2) if varies else (required,):
        for combination in itertools.islice(itertools.product(THINGS, repeat=number), tries):
            if len(found) == most:
                return found
            if accepts(function, combination):
                found.append(combination)
    return found


FOUND: dict[Any, list[Any]] = {}


def accepted(
    path: str, function: Callable[..., Any], parameters: list[inspect.Parameter], most: int, tries: int
) -> list[Any]:
    """Return combinations of things that a function takes: those found before, where this backend takes them too."""
    known = FOUND.get((path, most, tries))
    if known is None or not all(accepts(function, combination) for combination in known):
        known = FOUND[path, most, tries] = searched(function, parameters, most, tries)
    return known


def calls(path: str, function: Callable[..., Any], forms: Any, most: int, tries: int) -> dict[str, Function]:
    """Return the calls of a function with an array in the place of each of its arguments, the optional ones too."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):
        return {}
    options = [p.name for p in parameters if p.default is not p.empty]
    found: dict[str, Function] = {}
    for combination in accepted(path, function, parameters, most, tries):
        for place in [*range(len(combination)), *options]:
            usual = ["x[0]" if isinstance(place, str) else "x"]  # options are numbers mostly
            for form in forms or usual:
                formed = FORMS[form]

                def call(x: Any, combination: Any = combination, place: Any = place, formed: Any = formed) -> Any:
                    arguments = [THINGS[letter]() for letter in combination]
                    given = {}
                    if isinstance(place, int):
                        arguments[place] = formed(x)
                    else:
                        given[place] = formed(x)
                    gradkit.random.seed(0)
                    with contextlib.redirect_stdout(io.StringIO()):
                        return function(*arguments, **given)

                found[f"{path}({', '.join(combination)}; {place}={form})"] = call
    return found
