"""A tree is taken apart by a function written for its structure as by the registry, and no other tree is."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

import gradkit
from gradkit.pytrees.apart import taker

Pair = namedtuple("Pair", "x y")


@gradkit.tree_util.register_pytree_node_class
class Scaled:
    """A container with metadata that compares by value."""

    def __init__(self, values: Any, unit: Any) -> None:
        self.values, self.unit = values, unit

    def tree_flatten(self) -> Any:
        return tuple(self.values), self.unit

    @classmethod
    def tree_unflatten(cls, unit: Any, values: Any) -> Scaled:
        return cls(values, unit)


class Leaf:
    """What is no container."""


def leaf() -> Any:
    return st.builds(Leaf)


def containers(inside: Any) -> Any:
    parts = st.lists(inside, max_size=3)
    named = st.dictionaries(st.sampled_from(["a", "b", "c"]), inside, max_size=3)
    return st.one_of(
        parts,
        parts.map(tuple),
        named,
        st.builds(Pair, inside, inside),
        st.builds(Scaled, parts, st.sampled_from(["m", "s"])),
        parts.map(deque),
        named.map(OrderedDict),
        named.map(lambda found: defaultdict(list, found)),
    )


TREES = st.recursive(st.none() | leaf(), containers, max_leaves=6)


def same(ours: Any, theirs: Any) -> bool:
    return len(ours) == len(theirs) and all(x is y for x, y in zip(ours, theirs, strict=True))


@hypothesis.given(TREES, TREES)
def test_leaves_are_the_registrys(tree: Any, other: Any) -> None:
    leaves, structure = gradkit.tree.flatten(tree)
    take = taker(structure.spec)
    found = take(tree)
    assert found is not None
    assert same(found, leaves)
    taken, (known, theirs) = take(other), gradkit.tree.flatten(other)
    if theirs == structure:
        assert taken is not None
        assert same(taken, known)
    else:  # a container where a leaf should be is seen by whoever has asked
        assert taken is None or any(type(x) is not Leaf for x in taken)


@pytest.mark.parametrize("other", [Scaled([1], "s"), Scaled([1, 2], "m"), [1], Pair(1, 2), {"m": 1}, None, 1])
def test_another_container_is_not_taken(other: Any) -> None:
    spec = gradkit.tree.structure(Scaled([1], "m")).spec
    assert taker(spec)(Scaled((1,), "m")) == [1]
    assert taker(spec)(other) is None


def test_a_model_is_taken_apart() -> None:
    model = gradkit.nn.MLP(3, [4, 1], key=gradkit.random.key(0))
    other = gradkit.nn.MLP(3, [4, 1], activation="relu", key=gradkit.random.key(0))
    take = taker(gradkit.tree.structure({"model": model, "rate": 1}).spec)
    found = take({"rate": 2, "model": model})
    assert found is not None
    assert same(found, [*gradkit.tree.leaves(model), 2])
    assert take({"rate": 2, "model": other}) is None
