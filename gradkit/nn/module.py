"""`Module`: what a layer or a model is. A frozen dataclass whose arrays are its parameters, and a pytree of them.

So `grad(loss)(model)` has the model's shape, tree functions work on models, and a model's parameters can be listed,
reset and printed. A parameter is an Array that the tape follows (``requires_grad``) and that says it is one: the
transforms see it as a plain value.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self, dataclass_transform

import optree

from gradkit import tree
from gradkit.backend import INEXACT, backend_of
from gradkit.core import Array
from gradkit.core.array import is_followed, raw, wrap
from gradkit.core.node import Leaf
from gradkit.core.printing import describe
from gradkit.core.promotion import dtype_named, is_inexact
from gradkit.core.reverse import TAPE
from gradkit.core.stand_in import STAND_INS

__all__ = ["Module", "as_parameter", "field", "plain_leaves", "setting_name", "static"]


def as_parameter(value: Array) -> Array:
    """Return an Array of the same elements that the tape follows as a module's parameter."""
    raw = value.data
    leaf = Leaf(TAPE, raw.shape, raw.dtype)
    leaf.is_parameter = True
    return wrap(raw, leaf)


def plain_leaves(leaves: Sequence[Any]) -> Sequence[Any]:
    """Return leaves as a module may hold them: what the tape computed is kept as values, without its history.

    So ``tree.map(lambda p, g: p - lr * g, model, grads)`` gives a model that holds no graph of the steps before.
    """
    for leaf in leaves:
        # Most have no node, or are inputs of a transform, and then nothing is to be done.
        if type(leaf) is Array and (node := leaf._node) is not None and node.primitive is not None:
            return list(map(_plain, leaves))
    return leaves


def _plain_children(children: Sequence[Any]) -> list[Any]:
    """Return a module's fields by `plain_leaves`; those that are lists and other containers, leaf by leaf."""
    return [_plain(child) if type(child) is Array else _plain_tree(child) for child in children]


def _plain(leaf: Any) -> Any:
    if type(leaf) is not Array or (node := leaf._node) is None or node.primitive is None:
        return leaf
    return leaf if node.trace.level else wrap(leaf._value)  # a transform in progress needs it


def _plain_tree(child: Any) -> Any:
    if child is None or isinstance(child, Module):  # which has seen to its own
        return child
    return tree.map(_plain, child, is_leaf=lambda x: isinstance(x, Module))


def static(**options: Any) -> Any:
    """Declare a field that is no parameter: a setting, which is hashable and part of the tree's structure."""
    return dataclasses.field(metadata={"static": True}, **options)


def field(**options: Any) -> Any:
    """Declare a field that holds arrays, modules, or containers of them; see `dataclasses.field`."""
    return dataclasses.field(**options)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static, field))
class Module:
    """The base of layers and models.

    A subclass becomes a frozen dataclass and a pytree: its fields are the children, but for those declared with
    `static`, which are settings. A subclass may write its own ``__init__``, and then sets its fields with
    ``self._set(...)``.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> class Scale(gradkit.nn.Module):
    ...     factor: gradkit.Array
    ...     power: int = gradkit.nn.static(default=1)
    ...
    ...     def __call__(self, x):
    ...         return self.factor * x ** self.power
    >>> scale = Scale(jnp.asarray([2.0, 3.0]))
    >>> gradkit.grad(lambda scale: scale(5.0).sum())(scale).factor
    Array([5., 5.], dtype=float32)
    """

    _children: ClassVar[tuple[str, ...]] = ()
    _settings: ClassVar[tuple[str, ...]] = ()
    _writes_init: ClassVar[bool] = False
    _path_entry: ClassVar[type[optree.PyTreeEntry]] = optree.GetAttrEntry

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # An __init__ that a class wrote itself is inherited by its subclasses, as any method is.
        cls._writes_init = cls._writes_init or "__init__" in cls.__dict__
        dataclasses.dataclass(frozen=True, eq=False, repr=False, init=not cls._writes_init)(cls)
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        cls._children = tuple(f.name for f in fields if not f.metadata.get("static"))
        cls._settings = tuple(f.name for f in fields if f.metadata.get("static"))
        tree.register(cls, *cls._tree_functions(), path_entry_type=cls._path_entry)

    @classmethod
    def _tree_functions(cls) -> tuple[Callable[..., Any], ...]:
        """Return how a module comes apart, how it is rebuilt, and maybe a shortcut, as `tree.register` wants them."""
        children, settings = _getter(cls._children), _getter(cls._settings)
        names, setting_names = cls._children, cls._settings

        def flatten(module: Any) -> Any:
            return children(module), settings(module), names

        def unflatten(metadata: Any, values: Any) -> Any:
            module = object.__new__(cls)
            module.__dict__.update(zip(names, _plain_children(values), strict=True))
            module.__dict__.update(zip(setting_names, metadata, strict=True))
            return module

        return flatten, unflatten

    def _set(self, **values: Any) -> None:
        """Set fields, in a subclass's own ``__init__``."""
        self.__dict__.update(values)

    def _leaves(self) -> Sequence[Any]:
        return tree.leaves(self)

    def parameters(self) -> list[Array]:
        """Return the arrays of floating or complex dtype, in the order of the tree's leaves, each once."""
        found = [leaf for leaf in self._leaves() if type(leaf) is Array and _is_inexact(leaf._value)]
        if len(set(map(id, found))) == len(found):
            return found
        return list({id(parameter): parameter for parameter in found}.values())

    def zero_grad(self) -> None:
        """Forget the gradients that `backward` has accumulated in the parameters."""
        for leaf in self._leaves():
            if type(leaf) is Array and type(node := leaf._node) is Leaf:
                node.grad = None

    def requires_grad_(self, flag: bool = True) -> Self:
        """Let the tape follow the parameters (or no longer), in place, and return this module.

        A model that comes from a pure update holds plain arrays; this makes ``loss.backward()`` work with it again.
        """
        for parameter in self.parameters():
            if is_followed(parameter):
                raise ValueError(
                    "requires_grad_: this model is being differentiated by a transform. Call it outside the function."
                )
            parameter._node = as_parameter(parameter.detach())._node if flag else None
        return self

    def __call__(self, *inputs: Any) -> Any:
        """Apply the module; a subclass says how."""
        raise TypeError(f"{type(self).__name__} cannot be called: it defines no __call__(self, x)")

    # How it prints

    def _rows(self, path: str = "") -> list[tuple[str, str, str, int]]:
        """Return a row (name, parameters' shapes, settings, number of parameters) for each layer, names from `path`."""
        return _rows_of(path, self)

    def __repr__(self) -> str:
        rows = self._rows()
        parameters = [leaf for leaf in self._leaves() if type(leaf) is Array]
        total = sum(parameter.size for parameter in parameters)
        kinds = sorted({describe(p).partition("[")[0] + " on " + str(p.device) for p in parameters})
        table = [("layer", "shapes", "settings", "parameters")]
        table += [(name, shapes, settings, f"{count:,}") for name, shapes, settings, count in rows]
        table.append(("total", "", "", f"{total:,}"))
        widths = [max(len(row[i]) for row in table) for i in range(3)]
        widest = max(len(row[3]) for row in table)
        lines = [
            "  ".join([*(row[i].ljust(widths[i]) for i in range(3)), row[3].rjust(widest)]).rstrip() for row in table
        ]
        heading = f"{type(self).__name__} ({', '.join(kinds)})" if kinds else type(self).__name__
        return "\n".join([heading, *("  " + line for line in lines)])


def _is_inexact(value: Any) -> bool:
    if type(value) is Array:
        value = raw(value)
    if type(value) in STAND_INS:
        return is_inexact(dtype_named(value.dtype).name)
    if type(value) in INEXACT and value.dtype in INEXACT[type(value)]:
        return True
    backend = backend_of(value)
    assert backend is not None
    return is_inexact(backend.dtype_name(value))


def _getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what reads the attributes of those names as a tuple."""
    if not names:
        return lambda module: ()
    getter = operator.attrgetter(*names)
    return getter if len(names) > 1 else lambda module: (getter(module),)


def _rows_of(path: str, module: Module) -> list[tuple[str, str, str, int]]:
    rows: list[tuple[str, str, str, int]] = []
    own: list[tuple[str, Any]] = []
    for name in module._children:
        where = f"{path}.{name}" if path else name
        value = getattr(module, name)
        inner = [
            (where + tree.keystr(steps), leaf)
            for steps, leaf in tree.leaves_with_path(value, is_leaf=lambda x: isinstance(x, Module))
        ]
        for position, leaf in inner:
            if isinstance(leaf, Module):
                rows.extend(leaf._rows(position))
            else:
                own.append((position.removeprefix(f"{path}."), leaf))
    if own or not rows:
        shapes = ", ".join(f"{name} {_shape(leaf)}" for name, leaf in own)
        settings = ", ".join(setting_name(getattr(module, name)) for name in module._settings)
        count = sum(leaf.size for _, leaf in own if type(leaf) is Array)
        rows.insert(0, (path or type(module).__name__, shapes, settings, count))
    return rows


def _shape(leaf: Any) -> str:
    return str(tuple(leaf.shape)) if hasattr(leaf, "shape") else repr(leaf)


def setting_name(value: Any) -> str:
    """Return what a setting is called in the table: a function by its name."""
    name = getattr(value, "__name__", None)
    return str(value) if name is None else str(name)
