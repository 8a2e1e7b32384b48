"""`gradkit.tree` and `gradkit.tree_util` against JAX: structures, paths, mismatches and registered classes."""

from __future__ import annotations

import collections
import copy
import dataclasses
import functools
import operator
from types import SimpleNamespace
from typing import Any

import jax
import jax.tree_util
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradkit
import gradkit.numpy as jnp
from gradkit import tree, tree_util
from gradkit.errors import TreeMismatchError

Point = collections.namedtuple("Point", "x y")


@jax.tree_util.register_pytree_node_class
@tree_util.register_pytree_node_class
class Scaled:
    def __init__(self, value: Any, unit: str) -> None:
        self.value, self.unit = value, unit

    def tree_flatten(self) -> Any:
        return (self.value,), self.unit

    @classmethod
    def tree_unflatten(cls, unit: str, children: Any) -> Scaled:
        return cls(*children, unit)


@jax.tree_util.register_dataclass
@tree_util.register_dataclass
@dataclasses.dataclass
class Layer:
    weight: Any
    bias: Any = None
    name: str = dataclasses.field(default="a", metadata={"static": True})


@functools.partial(jax.tree_util.register_dataclass, data_fields=["x"], meta_fields=["y"])
@functools.partial(tree_util.register_dataclass, data_fields=["x"], meta_fields=["y"])
@dataclasses.dataclass
class Half:
    x: Any
    y: Any


@jax.tree_util.register_static
@tree_util.register_static
class Word(str):
    __slots__ = ()


class Keyed:
    def __init__(self, *children: Any) -> None:
        self.children = children


for library in (jax.tree_util, tree_util):
    library.register_pytree_with_keys(  # type: ignore[attr-defined]
        Keyed,
        lambda node, library=library: (tuple((library.GetAttrKey(f"c{i}"), c) for i, c in enumerate(node.children)), 7),
        lambda _, children: Keyed(*children),
    )

TREES = [
    1,
    None,
    (),
    (1,),
    [],
    [1, (2,)],
    {},
    {"b": 1, "a": [None]},
    Point(1, (2, 3)),
    collections.OrderedDict(b=1, a=2),
    collections.defaultdict(list, {"b": 1, "a": 2}),
    Scaled([1, 2], "m"),
    Layer(1, [2, 3]),
    Half(1, 2),
    [Word("w"), 3],
    Keyed(1, {"a": 2}),
    {"layers": [Layer(1), Layer(2, 3, name="c")], "scale": (Scaled(1, "s"), None)},
]


@pytest.mark.parametrize("value", TREES, ids=[*map(str, range(len(TREES)))])
def test_structures_and_paths_print_as_in_jax(value: Any) -> None:
    assert repr(tree.structure(value)) == repr(jax.tree.structure(value))
    assert tree.leaves(value) == jax.tree.leaves(value)
    ours, theirs = tree.leaves_with_path(value), jax.tree.leaves_with_path(value)
    assert [(repr(path), leaf) for path, leaf in ours] == [(repr(path), leaf) for path, leaf in theirs]
    for options in ({}, {"simple": True, "separator": "/"}, {"separator": "|"}):
        found = [tree_util.keystr(path, **options) for path, _ in ours]  # type: ignore[arg-type]
        assert found == [jax.tree_util.keystr(path, **options) for path, _ in theirs]  # type: ignore[arg-type]


@pytest.mark.parametrize("value", TREES, ids=[*map(str, range(len(TREES)))])
def test_a_structure_counts_compares_and_rebuilds_as_in_jax(value: Any) -> None:
    ours, theirs = tree.structure(value), jax.tree.structure(value)
    assert (ours.num_leaves, ours.num_nodes) == (theirs.num_leaves, theirs.num_nodes)
    assert ours.node_data() == theirs.node_data()
    assert [repr(child) for child in tree_util.treedef_children(ours)] == [repr(c) for c in theirs.children()]
    assert tree_util.treedef_is_leaf(ours) == jax.tree_util.treedef_is_leaf(theirs)
    rebuilt = tree.unflatten(ours, tree.leaves(value))
    assert tree.structure(rebuilt) == ours
    assert hash(tree.structure(rebuilt)) == hash(ours)
    assert ours != tree.structure([value])
    assert repr(ours.compose(tree.structure((1, 2)))) == repr(theirs.compose(jax.tree.structure((1, 2))))
    assert ours != "something else"


def test_a_structure_can_be_copied() -> None:
    treedef = tree.structure({"a": [1, 2]})
    assert copy.deepcopy(treedef) == treedef


MISMATCHES = [
    ([1, 2], [1, 2, 3]),
    ([1, 2], (1, 2)),
    ((1, 2), (1,)),
    ((1, 2), 3),
    ({"a": 1}, {"b": 1}),
    ({"a": 1}, {"a": 1, "b": 2}),
    ({"a": 1}, [1]),
    (None, 1),
    ([None], [1]),
    (Point(1, 2), (1, 2)),
    (Scaled(1, "m"), Layer(1)),
    (Scaled(1, "m"), Scaled(1, "s")),
    (Layer(1), 3),
    ({"a": [1, {"c": 2}]}, {"a": [1, {"d": 2}]}),
    (Keyed(1, [2]), Keyed(1, [2, 3])),
    ([[1, Layer((1, 2))]], [[1, Layer((1,))]]),
]


@pytest.mark.parametrize("prefix, full", MISMATCHES)
@pytest.mark.parametrize("name", ["map", "map_with_path", "broadcast"])
def test_trees_that_do_not_fit_are_jaxs_error(name: str, prefix: Any, full: Any) -> None:
    messages = []
    for library in (jax.tree, tree):
        f = getattr(library, name)
        with pytest.raises(ValueError, match="pytree structure error") as error:
            f(prefix, full) if name == "broadcast" else f(lambda *args: 0, prefix, full)
        messages.append(str(error.value))
    assert messages[1] == messages[0]
    assert error.type is TreeMismatchError


def test_the_number_of_leaves_has_to_fit() -> None:
    treedef = tree.structure([1, 2])
    for unflatten in (treedef.unflatten, functools.partial(tree.unflatten, treedef)):
        with pytest.raises(ValueError, match=r"^Too few leaves for PyTreeDef; expected 2, got 1$"):
            unflatten([1])
        with pytest.raises(ValueError, match=r"^Too many leaves for PyTreeDef; expected 2.$"):
            unflatten([1, 2, 3])
    with pytest.raises(ValueError, match="different lengths of list"):
        treedef.flatten_up_to([1, 2, 3])
    assert treedef.flatten_up_to([1, (2, 3)]) == [1, (2, 3)]


def test_map_takes_prefixes_and_leaves() -> None:
    assert tree.map(lambda x, y: (x, y), {"a": 1}, {"a": [2, 3]}) == {"a": (1, [2, 3])}
    assert tree.map(lambda x: x is None, [None, 1], is_leaf=lambda x: x is None) == [True, False]
    named = tree.map_with_path(lambda path, x, y: (tree.keystr(path), x, y), {"a": [1]}, {"a": [2]})
    assert named == {"a": [("['a'][0]", 1, 2)]}


def test_is_leaf_can_take_the_path() -> None:
    value = {"a": [1, [2, 3]], "b": [4], "c": None}

    def is_leaf(path: Any, node: Any) -> bool:
        return len(path) == 2 or node is None

    ours = tree.leaves_with_path(value, is_leaf=is_leaf, is_leaf_takes_path=True)
    theirs = jax.tree.leaves_with_path(value, is_leaf=is_leaf, is_leaf_takes_path=True)
    assert [(repr(path), leaf) for path, leaf in ours] == [(repr(path), leaf) for path, leaf in theirs]


def test_reductions() -> None:
    value = {"a": [1, 2], "b": 3}
    assert tree.reduce(operator.add, value) == 6
    assert tree.reduce(operator.add, value, 10) == 16
    assert tree.reduce(lambda total, _: total + 1, [None, 1], 0, is_leaf=lambda x: x is None) == 2
    assert tree.reduce_associative(operator.add, ["a", ["b", "c"]]) == "abc"
    assert tree.reduce_associative(operator.add, [], identity=5) == 5
    with pytest.raises(TypeError, match=r"Must specify identity for parallel reduction of empty sequence."):
        tree.reduce_associative(operator.add, [])
    assert tree.all({"a": True, "b": [1]})
    assert not tree.all([True, 0])
    assert tree.all([None, 0], is_leaf=lambda x: False) is False


@pytest.mark.parametrize("inner", [tree.structure({"x": 0, "y": 0}), None])
def test_transpose_turns_trees_inside_out(inner: Any) -> None:
    rows = [{"x": 1, "y": 2}, {"x": 3, "y": 4}, {"x": 5, "y": 6}]
    assert tree.transpose(tree.structure([0, 0, 0]), inner, rows) == {"x": [1, 3, 5], "y": [2, 4, 6]}
    with pytest.raises(TypeError, match="Mismatch\nPyTreeDef"):
        tree.transpose(tree.structure([0, 0]), tree.structure((0, 0, 0)), [1, 2])


def test_small_functions() -> None:
    assert tree_util.treedef_tuple([tree.structure([1]), tree.structure(2)]) == tree.structure(([1], 2))
    assert tree_util.all_leaves([1, "a"])
    assert not tree_util.all_leaves([1, None])
    assert tree_util.all_leaves([1, [2]], is_leaf=lambda x: isinstance(x, list))
    assert tree_util.build_tree(tree.structure([0, 0]), [(1, 2), 3]) == [(1, 2), 3]
    assert tree.broadcast({"a": 1, "b": 2}, {"a": (0, [0]), "b": 0}) == {"a": (1, [1]), "b": 2}
    assert {name for name in tree_util.__all__ if name.startswith("tree")} <= {*dir(jax.tree_util), "tree_util"}


def test_partial_is_a_tree(xp: Any) -> None:
    scale = tree_util.Partial(lambda a, x, power: (a * x) ** power, xp.asarray([2.0, 3.0]), power=2.0)
    assert [float(leaf) for leaf in tree.leaves(tree.map(lambda a: a.sum() if hasattr(a, "sum") else a, scale))] == [
        5,
        2,
    ]
    gradient = gradkit.grad(lambda f: f(xp.asarray([1.0, 1.0])).sum())(scale)
    assert isinstance(gradient, tree_util.Partial)
    assert gradkit.device_get(gradient.args[0]).tolist() == [4.0, 6.0]
    outer = tree_util.Partial(tree_util.Partial(max, 1), 2)
    assert outer(0) == 2
    assert tree.leaves(outer) == [2]


def test_registered_classes_are_differentiated(xp: Any) -> None:
    layer = Layer(xp.asarray([1.0, 2.0]), xp.asarray(3.0), "n")
    gradient = gradkit.grad(lambda layer: (layer.weight**2).sum() * layer.bias)(layer)
    assert isinstance(gradient, Layer)
    assert gradkit.device_get(gradient.weight).tolist() == [6.0, 12.0]
    assert (float(gradient.bias), gradient.name) == (5.0, "n")


@dataclasses.dataclass
class Plain:
    a: int
    b: int


@pytest.mark.parametrize(
    "cls, options",
    [
        (int, {}),
        (Plain, {"data_fields": ["a"], "meta_fields": []}),
        (Plain, {"data_fields": ["a", "b", "c"], "meta_fields": []}),
        (Plain, {"data_fields": ["a", "b"], "meta_fields": ["b"]}),
        (Plain, {"data_fields": ["a"]}),
    ],
)
def test_wrong_fields_are_jaxs_error(cls: type, options: dict[str, Any]) -> None:
    errors = []
    for library in (jax.tree_util, tree_util):
        with pytest.raises((TypeError, ValueError)) as error:
            library.register_dataclass(cls, **options)  # type: ignore[attr-defined]
        errors.append((error.type, str(error.value)))
    assert errors[0] == errors[1]


def test_a_class_is_registered_once() -> None:
    with pytest.raises(ValueError, match="Duplicate custom PyTreeDef type registration for"):
        tree_util.register_pytree_node_class(Scaled)
    with pytest.raises(ValueError, match="Duplicate custom PyTreeDef type registration for"):
        tree_util.register_static(list)
    with pytest.raises(TypeError, match="flatten_func: expected a function, got None"):
        tree_util.register_pytree_node(Plain, None, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="nodetype: expected a class"):
        tree_util.register_pytree_node(3, repr, repr)  # type: ignore[arg-type]


def test_fields_can_be_declared_static() -> None:
    @tree_util.register_dataclass
    @dataclasses.dataclass
    class Power:
        base: Any
        exponent: int = tree.static(default=2)

    assert tree.leaves(Power(1)) == [1]
    assert tree.structure(Power(1)) != tree.structure(Power(1, 3))


TREE = st.recursive(
    st.integers() | st.none(),
    lambda child: (
        st.lists(child, max_size=3)
        | st.tuples(child, child)
        | st.dictionaries(st.text("abc", max_size=2), child, max_size=3)
        | st.builds(Point, child, child)
        | st.builds(Layer, child, child)
    ),
    max_leaves=12,
)


@given(TREE)
def test_any_tree_is_taken_apart_and_rebuilt_as_by_jax(value: Any) -> None:
    leaves, treedef = tree.flatten(value)
    assert leaves == jax.tree.leaves(value)
    assert repr(treedef) == repr(jax.tree.structure(value))
    assert tree.unflatten(treedef, leaves) == value
    steps = [tree.keystr(path) for path, _ in tree.leaves_with_path(value)]
    assert steps == [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(value)]
    for step, leaf in zip(steps, leaves, strict=True):
        assert eval(f"_.value{step}", {"_": SimpleNamespace(value=value)}) == leaf


@given(TREE, TREE)
def test_any_two_trees_fit_or_differ_as_in_jax(one: Any, two: Any) -> None:
    outcomes = []
    for library in (jax.tree, tree):
        try:
            outcomes.append(library.map(lambda x, y: (x, y), one, two))
        except ValueError as error:
            lines = str(error).partition("so the symmetric difference")[0].splitlines()  # in JAX in the order of a set
            outcomes.append([lines[0], *lines[2:]])  # in JAX the path leaves out children that are None
    assert outcomes[0] == outcomes[1]


def test_arrays_are_leaves(xp: Any) -> None:
    assert tree.leaves({"a": jnp.zeros(2)})[0].shape == (2,)
