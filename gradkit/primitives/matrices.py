"""Parts of matrices, and what the rules of linear algebra are written in.

Rules of solvers and decompositions are stated for *adjoints*, as the literature has them: with the inner product
``Re(tr(X^H Y))`` the transpose of ``X -> A X B`` is ``G -> A^H G B^H``. JAX's convention, in which transposes do not
conjugate, differs by a conjugate on both sides, which `adjoint` adds.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradkit.core import Array, Linear, MultipleResults, bind
from gradkit.core.batching import leading, same_shape
from gradkit.core.namespace import lift, publish
from gradkit.core.node import Node
from gradkit.core.operands import as_array
from gradkit.core.promotion import dtype_named, is_complex
from gradkit.core.stand_in import Abstract

__all__ = ["tril", "triu"]

Rule = Callable[..., Any]


class Decomposition(MultipleResults):
    """A primitive with several results, whose rules get None for the cotangent of a result that nothing depends on.

    So the eigenvalues of a matrix have a derivative where its eigenvectors have none. Its shape rule gives a pair of
    shape and dtype for each result.
    """

    def abstract(self, args: Sequence[Any], params: Mapping[str, Any]) -> tuple[Abstract, ...]:
        """Return the `Abstract` results."""
        backend, device = self.place(args, params)
        assert self.shape_rule is not None
        return tuple(
            Abstract(tuple(shape), dtype_named(dtype), backend, device)
            for shape, dtype in self.shape_rule(*args, **params)
        )

    def pull(self, cotangent: Any, node: Node, saved: Sequence[Any]) -> list[tuple[Node, Any]]:
        """Run the reverse rule on the cotangents that there are."""
        outs, args = saved[0], saved[1:]
        count, several = len(cotangent), len(outs)
        xp, _, values = lift(next(iter(cotangent.values())), [*cotangent.values(), *outs, *args])
        given = dict(zip(cotangent, values[:count], strict=True))
        results, args = tuple(values[count : count + several]), values[count + several :]
        cotangents = tuple(given.get(position) for position in range(several))
        return [
            (parent, self.rule(position)(xp, cotangents, results, *args, **node.params))
            for position, parent in enumerate(node.parents)
            if parent is not None
        ]


def adjoint(rule: Rule) -> Rule:
    """Make a reverse rule in JAX's convention of one that is stated for adjoints."""

    @functools.wraps(rule)
    def in_jax_convention(xp: Any, g: Any, *args: Any, **params: Any) -> Any:
        given = _conjugates(xp, g) if type(g) is tuple else conjugate(xp, g)
        return conjugate(xp, rule(xp, given, *args, **params))

    return in_jax_convention


def _conjugates(xp: Any, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(None if part is None else conjugate(xp, part) for part in parts)


def conjugate(xp: Any, x: Any) -> Any:
    """Return the conjugate; real arrays as they are."""
    return xp.conj(x) if is_complex(x.dtype) else x


def hermitian(xp: Any, x: Any) -> Any:
    """Return the conjugate transpose of matrices."""
    return conjugate(xp, xp.matrix_transpose(x))


def real_part(xp: Any, x: Any) -> Any:
    """Return the real part; real arrays as they are."""
    return xp.real(x) if is_complex(x.dtype) else x


def diagonal_of(xp: Any, x: Any) -> Any:
    """Return the diagonals of square matrices."""
    n = x.shape[-1]
    return xp.reshape(x, (*x.shape[:-2], n * n))[..., :: n + 1]


def diagonal_matrix(xp: Any, v: Any) -> Any:
    """Return matrices with given diagonals."""
    rows = xp.broadcast_to(v[..., None, :], (*v.shape, v.shape[-1]))
    return xp.tril(xp.triu(rows, k=0), k=0)


def eye_like(xp: Any, x: Any) -> Any:
    """Return identity matrices of the shape and dtype of square matrices."""
    return xp.tril(xp.triu(xp.ones_like(x), k=0), k=0)


def columns(xp: Any, x: Any) -> Any:
    """Return vectors as factors for the columns of matrices, ``x diag(v)``."""
    return x[..., None, :]


_tril = Linear(
    "tril",
    lambda xp, x, *, k: xp.library.tril(x, k=k),
    (lambda xp, g, _x, *, k: xp.tril(g, k=k),),
    hands_on=False,
    batch=leading,
    shape=same_shape,
    leaf=True,
)
_triu = Linear(
    "triu",
    lambda xp, x, *, k: xp.library.triu(x, k=k),
    (lambda xp, g, _x, *, k: xp.triu(g, k=k),),
    hands_on=False,
    batch=leading,
    shape=same_shape,
    leaf=True,
)


def tril(x: Any, /, *, k: int = 0) -> Array:
    """Return matrices with zeros above the k-th diagonal."""
    return bind(_tril, (as_array(x, "tril"),), {"k": operator.index(k)})


def triu(x: Any, /, *, k: int = 0) -> Array:
    """Return matrices with zeros below the k-th diagonal."""
    return bind(_triu, (as_array(x, "triu"),), {"k": operator.index(k)})


publish(globals(), __all__)
