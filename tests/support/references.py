"""What JAX computes, kept as data: a run of the tests need not compile it again.

``references/*.npz``, one file for a test file, hold results by the fingerprint of the program that gave them (see
fingerprints.py). A program that is not there is run by JAX, once in a process: one that was changed is compared with
nothing old, and only takes longer; so do one whose text is not known, and one that hypothesis has drawn. ``pytest
--long`` runs all of them by JAX, and fails where a result is not what is kept. ``pytest --keep-references FILES``
writes the files of the tests that it runs: it computes what this JAX has not computed yet, and drops what nobody asked
for where all of a file's tests have run (with ``--long``).
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
from fingerprints import NoFingerprint, fingerprint

import gradkit
from gradkit.backend import current_backend

__all__ = ["by_jax", "jaxs", "kept", "missing", "usual_widths", "write"]

FOLDER = Path(__file__).parents[1] / "references"
MODE = os.environ.get("GRADKIT_REFERENCES", "read")
"""What conftest.py makes of the options: "read", "check" or "write"."""

ACCURACY = {
    "float64": 1e-11,
    "complex128": 1e-11,
    "float32": 1e-5,
    "complex64": 1e-5,
    "float16": 1e-2,
    "bfloat16": 1e-1,
}
"""How far the same program's results may be apart on two processors, relative to the largest element."""

_asked: dict[str, dict[str, Any]] = {}
"""The results that this process has asked for, by test file and fingerprint."""
_missing: dict[str, int] = {}
"""How many of them were not there, by test file."""


def kept(compute: Callable[..., Any], *args: Any) -> Any:
    """Return ``compute(*args)``: lists, tuples and dicts of NumPy arrays, from the file or computed now."""
    with usual_widths():
        return _kept(compute, *args)


@contextmanager
def usual_widths() -> Iterator[None]:
    """Let JAX have 64 bits where the test says so, by `jax.enable_x64` or gradkit's, as it is on another backend.

    On the backend `jax` they are switched on for the backend's own arrays, which may have any dtype.
    """
    if current_backend().library != "jax":
        yield
        return
    import jax
    from jax._src import config  # nothing public tells a block from the setting of the process

    block = config.enable_x64.get_local()
    with jax.enable_x64(block if isinstance(block, bool) else gradkit.config.jax_enable_x64):
        yield


def _kept(compute: Callable[..., Any], *args: Any) -> Any:
    test = os.environ.get("PYTEST_CURRENT_TEST")
    if test is None or hypothesis.currently_in_test_context():  # no test, or a program that nobody will see again
        return compute(*args)
    place = test.partition("::")[0]
    stem = Path(place).stem
    try:
        key = fingerprint(compute, args)
    except NoFingerprint:
        return compute(*args)
    asked = _asked.setdefault(stem, {})
    if key not in asked:
        known = stored(stem)
        if key not in known:
            _missing[place] = _missing.get(place, 0) + 1
        elif MODE != "check":
            return asked.setdefault(key, known[key])
        found = compute(*args)
        if MODE == "check" and key in known:
            check(found, known[key], f"{stem}.npz, {key}", functools.partial(_coarsest, compute, args))
        asked[key] = found
    return asked[key]


def missing() -> dict[str, int]:
    """Return how many results had to be computed because they are not kept, by test file."""
    return _missing if MODE == "read" else {}


def by_jax(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let the function's results be kept, and each be had once in a run: its arguments can be hashed."""

    @functools.cache
    @functools.wraps(function)
    def result(*args: Any) -> Any:
        return kept(function, *args)

    return result


def jaxs(program: Callable[..., Any], *args: Any) -> Any:
    """Return ``program(*args)``, which computes with JAX and whose arrays come as NumPy's; from the file, or now.

    In JAX's 64-bit mode, or in the other, it is as where this is called.
    """
    import jax

    with usual_widths():
        return kept(_run_by_jax, program, bool(jax.config.jax_enable_x64), *args)


def _run_by_jax(program: Callable[..., Any], wide: bool, *args: Any) -> Any:
    import jax

    with jax.enable_x64(wide):
        return jax.tree.map(np.asarray, program(*args))


def _coarsest(compute: Callable[..., Any], args: Any) -> float:
    """Return the accuracy of the narrowest dtype that a program computes in, if it tells in what by its `dtypes`.

    JAX's attention has its logits in float32, though it is given float64 and returns it.
    """
    names = compute.dtypes(*args) if hasattr(compute, "dtypes") else ()
    return max((ACCURACY.get(name, 0.0) for name in names), default=0.0)


def check(found: Any, old: Any, where: str, coarsest: Callable[[], float] = float) -> None:
    """Fail where a result of JAX is not the one that is kept.

    `coarsest` is asked, where a result is not as accurate as its dtype, whether something on the way to it is less so.
    """
    try:
        _check(found, old, where, 0.0)
    except AssertionError:
        accuracy = coarsest()
        if not accuracy:
            raise
        _check(found, old, where, accuracy)


def _check(found: Any, old: Any, where: str, accuracy: float) -> None:
    ours, theirs = leaves(found), leaves(old)
    assert len(ours) == len(theirs), where
    for new, before in zip(ours, theirs, strict=True):
        assert (new.dtype, new.shape) == (before.dtype, before.shape), where
        if new.dtype.name not in ACCURACY:
            np.testing.assert_array_equal(new, before, err_msg=where)
            continue
        wide = "complex128" if new.dtype.kind == "c" else "float64"
        limit = max(ACCURACY[new.dtype.name], accuracy)
        scale = max(1.0, float(np.max(np.abs(before), initial=0.0, where=np.isfinite(before))))
        np.testing.assert_allclose(
            new.astype(wide), before.astype(wide), rtol=limit, atol=limit * scale, err_msg=f"no longer JAX's: {where}"
        )


def leaves(tree: Any) -> list[np.ndarray]:
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        return [leaf for item in tree for leaf in leaves(item)]
    return [] if tree is None else [np.asarray(tree)]


# The files: the arrays' bytes one after another, and as JSON where each begins.


@functools.cache
def stored(stem: str) -> dict[str, Any]:
    """Return the results that a file has, by fingerprint; none of another JAX's where they are to be written."""
    path = FOLDER / f"{stem}.npz"
    if not path.exists():
        return {}
    with np.load(path) as file:
        data = file["data"].tobytes()
        table = json.loads(file["table"].tobytes())
    if MODE == "write" and table["jax"] != version("jax"):
        return {}
    return {key: _unpacked(tree, data) for key, tree in table["results"].items()}


def _unpacked(tree: Any, data: bytes) -> Any:
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {name: _unpacked(item, data) for name, item in tree.items()}
    kind, *rest = tree
    if kind in ("list", "tuple"):
        return (list if kind == "list" else tuple)(_unpacked(item, data) for item in rest)
    shape, begin = rest
    return np.frombuffer(data, kind, int(np.prod(shape)), begin).reshape(shape)


def _packed(tree: Any, data: bytearray) -> Any:
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {name: _packed(item, data) for name, item in tree.items()}
    if isinstance(tree, list | tuple):
        return [type(tree).__name__, *(_packed(item, data) for item in tree)]
    array = np.asarray(tree)
    data += bytes(-len(data) % 16)
    begin = len(data)
    data += array.tobytes()
    dtype = array.dtype.str if array.dtype.kind in "US" else array.dtype.name  # a name does not say a text's length
    return [dtype, list(array.shape), begin]


def write(whole: Callable[[str], bool]) -> None:
    """Write a file for each test file that has asked for results; what it had stays where not all its tests ran."""
    FOLDER.mkdir(exist_ok=True)
    for stem, asked in _asked.items():
        results = asked if whole(stem) else {**stored(stem), **asked}
        data = bytearray()
        packed = {key: _packed(tree, data) for key, tree in sorted(results.items())}
        table = json.dumps({"jax": version("jax"), "results": packed}, separators=(",", ":")).encode()
        np.savez_compressed(
            FOLDER / f"{stem}.npz",
            table=np.frombuffer(table, np.uint8),
            data=np.frombuffer(bytes(data), np.uint8),
        )
