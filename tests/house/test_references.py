"""What JAX computed and is kept as data: found where the program is the same, and nowhere else."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import compiled
import jax.numpy as jnp
import numpy as np
import pytest
import references
from fingerprints import NoFingerprint, fingerprint

FACTOR = 2.0


def scaled(x: Any) -> Any:
    return x * FACTOR


def closing_over(value: Any) -> Callable[..., Any]:
    return lambda x: x + value


class Named:
    def __init__(self, name: str, function: Any = None) -> None:
        self.name, self.function = name, function

    def call(self) -> str:
        return self.name


SAME = [
    (closing_over(1), closing_over(1)),
    (closing_over(np.arange(3)), closing_over(np.arange(3))),
    (functools.partial(scaled, x=1), functools.partial(scaled, x=1)),
    (Named("a", closing_over(2)), Named("a", closing_over(2))),
    (Named("a").call, Named("a").call),
    ({"x": [1.0, (None, slice(2))]}, {"x": [1.0, (None, slice(2))]}),
]
LAMBDAS = [lambda x: x, lambda x: -x, lambda x: lambda x: x]
DIFFERENT = [
    1,
    1.0,
    True,
    "1",
    (1,),
    [1],
    np.float32(1),
    np.ones(1),
    np.ones((1, 1)),
    *LAMBDAS,
    closing_over(1),
    closing_over(2),
    closing_over(np.arange(3)),
    scaled,
    functools.partial(scaled, 1),
    functools.partial(scaled, x=1),
    np.sin,
    np.cos,
    np,
    Named,
    Named("a"),
    Named("b"),
    Named("a").call,
    Named("a", scaled),
]


@pytest.mark.parametrize("one, other", SAME)
def test_the_same_program_has_the_same_fingerprint(one: Any, other: Any) -> None:
    assert fingerprint(one) == fingerprint(other)


def test_every_difference_is_in_the_fingerprint() -> None:
    assert len({fingerprint(value) for value in DIFFERENT}) == len(DIFFERENT)


def test_a_value_that_a_function_names_is_in_its_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(scaled), fingerprint(lambda x: scaled(x))
    assert fingerprint(scaled) == before[0]
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert fingerprint(scaled) != before[0]
    assert fingerprint(Named("a", scaled)) != before[1]


def test_a_value_of_another_kind_has_none_and_is_computed() -> None:
    with pytest.raises(NoFingerprint, match="has no text"):
        fingerprint(object())
    assert references.kept(lambda it: [1], object()) == [1]


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Let `references` be as in a new process of the mode that is given, in a folder of its own."""
    monkeypatch.setattr(references, "FOLDER", tmp_path)
    monkeypatch.setattr(references, "fingerprint", lambda compute, args: str(args))

    def begin(mode: str) -> None:
        monkeypatch.setattr(references, "MODE", mode)
        monkeypatch.setattr(references, "_asked", {})
        monkeypatch.setattr(references, "_missing", {})
        references.stored.cache_clear()

    yield begin
    references.stored.cache_clear()


RESULT = {
    "a": [
        np.arange(3, dtype="float32"),
        None,
        (np.ones((2, 0)), np.int8(3)),
        np.asarray(["int32", "b"]),
        np.asarray(True),
    ],
    "b": np.asarray([1j, np.nan]),
}


def result(seed: int) -> Any:
    return RESULT


def never(seed: int) -> Any:
    raise AssertionError("it was computed")


def test_what_is_kept_comes_back_and_is_not_computed(process: Callable[[str], None]) -> None:
    process("write")
    references.kept(result, 0)
    references.write(lambda stem: True)
    process("read")
    again = references.kept(never, 0)
    assert not references.missing()
    assert again.keys() == RESULT.keys()
    assert again["a"][1] is None
    for got, right in zip(references.leaves(again), references.leaves(RESULT), strict=True):
        assert got.dtype == right.dtype
        np.testing.assert_array_equal(got, right)
    with pytest.raises(AssertionError, match="it was computed"):
        references.kept(never, 1)


def test_what_is_not_kept_is_computed_once_and_told(process: Callable[[str], None]) -> None:
    process("read")
    assert references.kept(result, 0) is references.kept(never, 0)
    references.kept(result, 1)
    assert references.missing() == {"tests/house/test_references.py": 2}


@pytest.mark.parametrize("whole, kept", [(True, ["(1,)", "(2,)"]), (False, ["(0,)", "(1,)", "(2,)"])])
def test_what_is_written_is_what_a_whole_file_asked_for_and_what_this_jax_has_kept_stays(
    whole: bool, kept: list[str], process: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    process("write")
    for seed in (0, 1):
        references.kept(result, seed)
    references.write(lambda stem: True)
    process("write")
    references.kept(never, 1)
    references.kept(result, 2)
    references.write(lambda stem: whole)
    process("read")
    assert sorted(references.stored("test_references")) == kept
    monkeypatch.setattr(references, "version", lambda name: "another")
    process("write")
    with pytest.raises(AssertionError, match="it was computed"):
        references.kept(never, 1)


def test_a_result_that_is_no_longer_jaxs_fails(process: Callable[[str], None]) -> None:
    process("write")
    references.kept(result, 0)
    references.write(lambda stem: True)
    process("check")
    references.kept(result, 0)
    process("check")
    with pytest.raises(AssertionError, match="no longer JAX's"):
        references.kept(lambda seed: {**RESULT, "b": np.asarray([1j, 0])}, 0)


@pytest.mark.parametrize("apart, is_jaxs", [(1e-13, True), (1e-9, False), (3e-7, False)])
@pytest.mark.parametrize("narrower", [False, True])
def test_what_is_computed_in_float32_on_the_way_is_kept_as_accurately_as_that(
    narrower: bool, apart: float, is_jaxs: bool, process: Callable[[str], None]
) -> None:
    def sine(x: Any) -> Any:
        return jnp.sin(x.astype("float32") if narrower else x).astype("float64")

    x = np.asarray([0.5, 1.0])
    process("write")
    references.kept(compiled.by_jax, sine, x)
    references.write(lambda stem: True)
    process("check")
    known = references.stored("test_references")
    known.update({key: old * (1 + apart) for key, old in known.items()})
    if narrower or is_jaxs:
        references.kept(compiled.by_jax, sine, x)
    else:
        with pytest.raises(AssertionError, match="no longer JAX's"):
            references.kept(compiled.by_jax, sine, x)


def test_the_version_of_jax_that_computed_a_file_is_in_it() -> None:
    for path in references.FOLDER.glob("*.npz"):
        with np.load(path) as file:
            assert json.loads(file["table"].tobytes())["jax"]
        assert len([*references.FOLDER.parent.glob(f"*/{path.stem}.py")]) == 1, f"no test asks for {path.name}"
