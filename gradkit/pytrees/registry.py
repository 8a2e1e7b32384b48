"""How classes become containers of pytrees, with JAX's functions for it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeVar, overload

import optree

from gradkit.pytrees.containers import NAMESPACE
from gradkit.pytrees.keys import KeyEntry, OwnKey
from gradkit.pytrees.structure import PyTreeDef

__all__ = [
    "SHORTCUTS", "Partial", "register", "register_dataclass", "register_pytree_node", "register_pytree_node_class",
    "register_pytree_with_keys", "register_pytree_with_keys_class", "register_static", "static",
]  # fmt: skip

Class = TypeVar("Class", bound=type)
Flatten = Callable[[Any], tuple[Iterable[Any], Hashable]]
FlattenWithKeys = Callable[[Any], tuple[Iterable[tuple[KeyEntry, Any]], Hashable]]
Unflatten = Callable[[Any, Any], Any]
Shortcut = Callable[[Any], tuple[list[Any], PyTreeDef] | None]

SHORTCUTS: dict[type, Shortcut] = {}
"""By class: what gives the leaves and the structure of an instance that knows them, and None for any other."""


def register(
    kind: type,
    flatten_function: Callable[[Any], Any],
    unflatten_function: Unflatten,
    shortcut: Shortcut | None = None,
    **options: Any,
) -> None:
    """Make a class a container as optree does: `flatten_function` gives children, metadata and, if it likes, names.

    A class whose instances keep their structure may bring a `shortcut`, which `gradkit.tree.flatten` asks first.
    """
    try:
        optree.register_pytree_node(kind, flatten_function, unflatten_function, namespace=NAMESPACE, **options)
    except ValueError as error:
        if "register" not in str(error):
            raise
        raise ValueError(f"Duplicate custom PyTreeDef type registration for {kind}.") from None
    if shortcut is not None:
        SHORTCUTS[kind] = shortcut


def register_pytree_node(
    nodetype: type,
    flatten_func: Flatten,
    unflatten_func: Unflatten,
    flatten_with_keys_func: FlattenWithKeys | None = None,
) -> None:
    """Make a class a container.

    Parameters
    ----------
    nodetype : type
        The class. Its subclasses are not affected.
    flatten_func : callable
        Takes an instance and gives its children and its metadata, which is hashable and compares with ``==``.
    unflatten_func : callable
        Takes metadata and children and gives an instance.
    flatten_with_keys_func : callable, optional
        Like `flatten_func`, with a (key, child) pair for each child: the keys are the steps of paths.

    Raises
    ------
    ValueError
        If the class is a container already.

    Examples
    --------
    >>> import gradkit
    >>> class Pair:
    ...     def __init__(self, x, y):
    ...         self.x, self.y = x, y
    >>> register_pytree_node(Pair, lambda pair: ((pair.x, pair.y), None), lambda _, children: Pair(*children))
    >>> gradkit.tree.leaves([Pair(1, 2), 3])
    [1, 2, 3]
    """
    _check(nodetype, flatten_func=flatten_func, unflatten_func=unflatten_func)
    if flatten_with_keys_func is not None:
        _register_with_keys(nodetype, flatten_with_keys_func, unflatten_func)
    else:
        register(nodetype, flatten_func, unflatten_func)


def register_pytree_node_class(cls: Class) -> Class:
    """Make a class a container by its methods ``tree_flatten(self)`` and ``tree_unflatten(cls, metadata, children)``.

    Examples
    --------
    >>> import gradkit
    >>> @register_pytree_node_class
    ... class Scaled:
    ...     def __init__(self, value, unit):
    ...         self.value, self.unit = value, unit
    ...     def tree_flatten(self):
    ...         return (self.value,), self.unit
    ...     @classmethod
    ...     def tree_unflatten(cls, unit, children):
    ...         return cls(*children, unit)
    >>> gradkit.tree.structure(Scaled(3.0, "m"))
    PyTreeDef(CustomNode(Scaled[m], [*]))
    """
    register_pytree_node(cls, cls.tree_flatten, cls.tree_unflatten)  # type: ignore[attr-defined]
    return cls


def register_pytree_with_keys(
    nodetype: type, flatten_with_keys: FlattenWithKeys, unflatten_func: Unflatten, flatten_func: Flatten | None = None
) -> None:
    """Make a class a container whose children have keys; `flatten_func` is accepted as in JAX and not needed."""
    _check(nodetype, flatten_with_keys=flatten_with_keys, unflatten_func=unflatten_func)
    _register_with_keys(nodetype, flatten_with_keys, unflatten_func)


def register_pytree_with_keys_class(cls: Class) -> Class:
    """Make a class a container by its methods ``tree_flatten_with_keys`` and ``tree_unflatten``."""
    register_pytree_with_keys(cls, cls.tree_flatten_with_keys, cls.tree_unflatten)  # type: ignore[attr-defined]
    return cls


def _register_with_keys(nodetype: type, flatten_with_keys: FlattenWithKeys, unflatten: Unflatten) -> None:
    def flatten(node: Any) -> tuple[tuple[Any, ...], Any, tuple[Any, ...]]:
        pairs, metadata = flatten_with_keys(node)
        pairs = tuple(pairs)
        return tuple(child for _, child in pairs), metadata, tuple(key for key, _ in pairs)

    register(nodetype, flatten, unflatten, path_entry_type=OwnKey)


def _check(nodetype: Any, **functions: Any) -> None:
    if not isinstance(nodetype, type):
        raise TypeError(f"nodetype: expected a class, got {nodetype!r}")
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(f"{name}: expected a function, got {function!r}")


@overload
def register_dataclass(
    nodetype: Class,
    data_fields: Sequence[str] | None = None,
    meta_fields: Sequence[str] | None = None,
    drop_fields: Sequence[str] = (),
) -> Class: ...
@overload
def register_dataclass(
    *,
    data_fields: Sequence[str] | None = None,
    meta_fields: Sequence[str] | None = None,
    drop_fields: Sequence[str] = (),
) -> Callable[[Class], Class]: ...
def register_dataclass(
    nodetype: Any = None,
    data_fields: Sequence[str] | None = None,
    meta_fields: Sequence[str] | None = None,
    drop_fields: Sequence[str] = (),
) -> Any:
    """Make a dataclass a container, as a decorator or by a call.

    Parameters
    ----------
    nodetype : type
        The class: a dataclass, or one whose constructor takes all fields by keyword.
    data_fields, meta_fields : sequence of str, optional
        The fields that are children, and those that are metadata. By default all fields are children but those of
        ``dataclasses.field(metadata=dict(static=True))``.
    drop_fields : sequence of str
        Fields that are neither.

    Raises
    ------
    TypeError
        If one of `data_fields` and `meta_fields` is given alone, or none for a class that is no dataclass.
    ValueError
        If they leave out a field, name one that there is not, or name one twice.

    Examples
    --------
    >>> import dataclasses, gradkit
    >>> @register_dataclass
    ... @dataclasses.dataclass
    ... class Point:
    ...     x: float
    ...     name: str = dataclasses.field(metadata=dict(static=True))
    >>> gradkit.tree.structure(Point(1.0, "a"))
    PyTreeDef(CustomNode(Point[('a',)], [*]))
    """
    if nodetype is None:
        return functools.partial(
            register_dataclass, data_fields=data_fields, meta_fields=meta_fields, drop_fields=drop_fields
        )
    data, meta = _fields(nodetype, data_fields, meta_fields, drop_fields)

    def flatten(node: Any) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[str, ...]]:
        return tuple(getattr(node, name) for name in data), tuple(getattr(node, name) for name in meta), data

    def unflatten(metadata: Any, children: Any) -> Any:
        return nodetype(**dict(zip(meta, metadata, strict=True)), **dict(zip(data, children, strict=True)))

    register(nodetype, flatten, unflatten, path_entry_type=optree.GetAttrEntry)
    return nodetype


def _fields(
    nodetype: Any, data: Sequence[str] | None, meta: Sequence[str] | None, dropped: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if (data is None) != (meta is None):
        raise TypeError(
            f"register_dataclass: data_fields and meta_fields must both be specified when either is specified. Got "
            f"data_fields={data!r} meta_fields={meta!r}."
        )
    is_dataclass = dataclasses.is_dataclass(nodetype)
    if data is None or meta is None:
        if not is_dataclass:
            raise TypeError(
                f"register_dataclass: data_fields and meta_fields are required when nodetype is not a dataclass. Got "
                f"nodetype={nodetype!r}."
            )
        fields = [field for field in dataclasses.fields(nodetype) if field.name not in dropped]
        data = [field.name for field in fields if not field.metadata.get("static", False)]
        meta = [field.name for field in fields if field.metadata.get("static", False)]
    if is_dataclass:
        expected = {field.name for field in dataclasses.fields(nodetype) if field.init} - set(dropped)
        message = "data_fields and meta_fields must include all dataclass fields with ``init=True`` and only them."
        if missing := expected - {*data, *meta}:
            raise ValueError(f"{message} Missing fields: {missing}. Add them to drop_fields to suppress this error.")
        if unexpected := {*data, *meta} - expected:
            raise ValueError(f"{message} Unexpected fields: {unexpected}.")
    if overlap := set(data) & set(meta):
        raise ValueError(f"data_fields and meta_fields must not overlap. Overlapping fields: {overlap}.")
    return tuple(data), tuple(meta)


def register_static(cls: Class) -> Class:
    """Make a class a container without children: its instances are structure. They have to be hashable."""
    register(cls, lambda node: ((), node), lambda node, _: node)
    return cls


def static(**options: Any) -> Any:
    """Declare a dataclass's field to be metadata: `dataclasses.field` with ``metadata=dict(static=True)``."""
    metadata = {**(options.pop("metadata", None) or {}), "static": True}
    return dataclasses.field(metadata=metadata, **options)


class Boxed:
    """A function in a box: `functools.partial` takes apart a partial that it is given, and not this."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __hash__(self) -> int:
        return hash(self.function)

    def __eq__(self, other: object) -> bool:
        return bool(self.function == (other.function if isinstance(other, Boxed) else other))

    def __repr__(self) -> str:
        return repr(self.function)


class Partial(functools.partial[Any]):
    """`functools.partial` that is a pytree: its arguments are children, its function is metadata.

    Examples
    --------
    >>> import gradkit, operator
    >>> gradkit.tree.leaves(Partial(operator.add, 1.0))
    [1.0]
    """

    def __new__(cls, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Partial:
        """Keep a function that is itself a partial as it is."""
        return super().__new__(cls, Boxed(func) if isinstance(func, functools.partial) else func, *args, **kwargs)


register_pytree_node(
    Partial,
    lambda partial: ((partial.args, partial.keywords), partial.func),
    lambda function, children: Partial(function, *children[0], **children[1]),
)
