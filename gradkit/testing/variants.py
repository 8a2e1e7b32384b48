"""What a test run is asked for by name: a backend, or a variant of one.

``strict`` is a backend; ``strict:1`` is it on its device 1, ``numpy:readonly`` is it with arrays that cannot be changed
in place, and ``numpy:float64`` is it with 64-bit new numbers. A name may have several of these: ``cupy:1:float64``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache

from gradkit.backend import Backend, Device, backend_names, load_backend, use_everywhere, why_not
from gradkit.config import everywhere
from gradkit.errors import unknown_name

__all__ = ["FLOATING", "GROUPS", "Variant", "floating_dtypes", "in_group", "variant_named"]

FLOATING = ("float16", "bfloat16", "float32", "float64")
GROUPS = {"on_cpu": "cpu", "on_gpu": "gpu"}
"""Names for all backends of a platform."""


@dataclass(frozen=True)
class Variant:
    """A backend, and how it is to be used.

    Attributes
    ----------
    name : str
        The name, as it was given.
    base : str
        The backend's own name.
    index : int or None
        The device that makes new arrays; None for the library's own default.
    dtype : str or None
        The dtype of new floating numbers, and the only one of the fixture `dtype`; None for no choice.
    form : str or None
        One of the backend's `variants`.
    """

    name: str
    base: str
    index: int | None = None
    dtype: str | None = None
    form: str | None = None

    @property
    def backend(self) -> Backend:
        """The backend that makes the arrays."""
        backend = load_backend(self.base)
        return backend if self.form is None else _form(self.base, self.form)

    @property
    def device(self) -> Device:
        """The device that new arrays are made on."""
        return self.backend.devices[self.index or 0]

    def is_one_of(self, other: Variant) -> bool:
        """Return whether it is another one, or a narrower choice: ``strict:1`` is one of ``strict``."""
        return self.base == other.base and all(
            getattr(other, kind) in (None, getattr(self, kind)) for kind in ("index", "dtype", "form")
        )

    def why_not(self) -> str | None:
        """Return why it cannot run on this machine, or None where it can."""
        backend = load_backend(self.base)
        error = why_not(backend)
        if error is not None:
            return str(error)
        if self.index is not None and self.index >= (number := len(backend.devices)):
            reason = backend.why_no_device()
            return (
                f"The backend {self.base!r} has no device {self.index} on this machine: it has {number}, with numbers "
                f"from 0{f' ({reason})' if reason else ''}. `python -m gradkit info` lists them."
            )
        if self.dtype is not None and self.dtype not in floating_dtypes(backend):
            return (
                f"The backend {self.base!r} has no dtype {self.dtype} (it has {', '.join(floating_dtypes(backend))})."
            )
        return None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let it make the new arrays inside a ``with`` block, in the whole process: a test may start threads."""
        with ExitStack() as stack:
            device = None if self.index is None else self.device
            if self.dtype != "float32":
                stack.enter_context(self.backend.with_every_dtype())
            stack.enter_context(use_everywhere(self.backend, device))
            if self.dtype in ("float32", "float64"):
                stack.enter_context(everywhere("jax_enable_x64", self.dtype == "float64"))
            yield


@cache
def _form(base: str, form: str) -> Backend:
    return load_backend(base).variants[form]()


def floating_dtypes(backend: Backend) -> list[str]:
    """List the names of a backend's real floating dtypes, narrow ones first."""
    with backend.with_every_dtype():
        return [name for name in FLOATING if backend.has_dtype(name)]


def variant_named(name: str, others: Sequence[str] = ()) -> Variant:
    """Return what a name means.

    Parameters
    ----------
    name : str
        A backend's name, and what is chosen of it, with colons between them.
    others : sequence of str
        What else may stand there, for the message.

    Raises
    ------
    ValueError
        If there is no such backend, or it has no variant of that name.

    Examples
    --------
    >>> variant_named("strict:1")
    Variant(name='strict:1', base='strict', index=1, dtype=None, form=None)
    """
    base, *words = name.split(":")
    if base not in backend_names():
        raise unknown_name("backend", base, [*backend_names(), *others])
    forms = sorted(load_backend(base).variants)
    chosen: dict[str, str | int] = {}
    for word in words:
        if word.isdecimal():
            kind, value = "index", int(word)
        elif word in FLOATING:
            kind, value = "dtype", word  # type: ignore[assignment]
        elif word in forms:
            kind, value = "form", word  # type: ignore[assignment]
        else:
            raise unknown_name(f"variant of {base}", word, [*forms, *FLOATING, "a device's number"])
        if kind in chosen:
            raise ValueError(f"{name}: {chosen[kind]} and {value} exclude each other. Choose one of them.")
        chosen[kind] = value
    return Variant(name, base, **chosen)  # type: ignore[arg-type]


def in_group(base: str, group: str) -> bool:
    """Return whether a backend is one of a group's."""
    return load_backend(base).platform == GROUPS[group]
