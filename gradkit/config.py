"""Settings, under JAX's names: ``gradkit.config.update("jax_enable_x64", True)`` for the process, and ``with`` blocks.

A block belongs to the thread or task that opened it, so blocks of several threads may overlap as they like. A generator
that is suspended in one leaves it open for whoever continues it, until it ends.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from gradkit.backend import current_backend, first_on_gpu, openings, set_backend
from gradkit.callers import whose
from gradkit.errors import unknown_name
from gradkit.settings import Precision, Setting, checked_precision
from gradkit.transfers import DIRECTIONS, Direction, checked, guards

__all__ = [
    "LOADED", "WITHOUT_MEANING", "Config", "config", "debug_changes", "debug_nans", "default_matmul_precision",
    "enable_x64", "everywhere", "item_assignment", "items", "setting",
]  # fmt: skip

LOADED = time.time_ns()
"""When this process loaded its first modules of gradkit: files that have changed since may not be what it runs."""
TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
OWN = (
    "gradkit_debug_changes", "gradkit_item_assignment", "jax_debug_nans", "jax_disable_jit", "jax_enable_x64",
    "jax_log_compiles",
)  # fmt: skip
LIBRARIES = "gradkit_assigning_libraries"
TRANSFER_GUARDS: dict[str, tuple[Direction, ...]] = {
    "jax_transfer_guard": DIRECTIONS,
    **{f"jax_transfer_guard_{direction}": (direction,) for direction in DIRECTIONS},
}
"""Settings of `transfer_guard`, and the directions that each is about."""
PLATFORMS = ("jax_platform_name", "jax_platforms")
FIXED: dict[str, tuple[Any, str]] = {
    "jax_debug_infs": (False, "There is no check for infinities; jax_debug_nans finds NaNs."),
    "jax_default_prng_impl": ("threefry2x32", "There is no other generator."),
    "jax_numpy_dtype_promotion": ("standard", "Dtypes are promoted as the array API standard and JAX do."),
    "jax_numpy_rank_promotion": ("allow", "Operands of different ranks always broadcast."),
    "jax_threefry_partitionable": (True, "Random numbers have the partitionable layout."),
}
"""Settings of JAX of which gradkit has one value."""
WITHOUT_MEANING = frozenset(
    """
    jax_check_tracer_leaks jax_compilation_cache_dir jax_compiler_enable_remat_pass jax_cpu_enable_async_dispatch
    jax_debug_key_reuse jax_enable_checks jax_enable_compilation_cache
    jax_enable_custom_prng jax_explain_cache_misses jax_include_full_tracebacks_in_locations jax_logging_level
    jax_persistent_cache_enable_xla_caches jax_persistent_cache_min_compile_time_secs
    jax_persistent_cache_min_entry_size_bytes jax_pprint_use_color jax_softmax_custom_jvp jax_traceback_filtering
    jax_use_shardy_partitioner
    """.split()
)
"""Settings of JAX that say how it compiles, caches, logs or shows errors: accepted, and remembered."""


def _is_true(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in TRUE_WORDS


class Config:
    """The settings, as attributes; `update` changes one.

    Attributes
    ----------
    jax_enable_x64 : bool
        Whether new numbers are 64-bit (``float64``, ``int64``) rather than 32-bit. It starts from the environment
        variable ``GRADKIT_ENABLE_X64``.
    jax_debug_nans : bool
        Whether an operation that gives NaN, or whose derivative does, raises FloatingPointError.
    jax_default_matmul_precision : str or None
        How exactly products of float32 are computed where their `precision` is None; see `default_matmul_precision`.
    jax_disable_jit : bool
        Whether `jit` leaves functions as they are.
    jax_log_compiles : bool
        Whether `jit` says what it traces and compiles, and why. It starts from the environment variable
        ``GRADKIT_LOG_COMPILES``.
    gradkit_debug_changes : bool
        Whether a backward pass compares checksums of what it reads, to find what was changed in place since. It starts
        from the environment variable ``GRADKIT_DEBUG_CHANGES``; see `gradkit.debug_changes`.
    gradkit_item_assignment : bool
        Whether ``x[idx] = y`` works in all code. It starts from the environment variable
        ``GRADKIT_ITEM_ASSIGNMENT``; see `gradkit.item_assignment`.
    gradkit_assigning_libraries : frozenset of str
        The packages whose own code may assign to Arrays without ``with gradkit.item_assignment():``. An empty one lets
        nobody.
    """

    gradkit_debug_changes = Setting("gradkit_debug_changes", _is_true("GRADKIT_DEBUG_CHANGES"))
    __slots__ = ("_others",)  # a name that is misspelt is an error

    gradkit_item_assignment = Setting("gradkit_item_assignment", _is_true("GRADKIT_ITEM_ASSIGNMENT"))
    jax_debug_nans = Setting("jax_debug_nans")
    jax_default_matmul_precision = Precision()
    jax_disable_jit = Setting("jax_disable_jit")
    jax_enable_x64 = Setting("jax_enable_x64", _is_true("GRADKIT_ENABLE_X64"))
    jax_log_compiles = Setting("jax_log_compiles", _is_true("GRADKIT_LOG_COMPILES"))

    def __init__(self) -> None:
        self._others: dict[str, Any] = {name: value for name, (value, _) in FIXED.items()}

    def update(self, name: str, value: Any) -> None:
        """Change one setting for the process; blocks that are open keep theirs.

        Parameters
        ----------
        name : str
            The setting's name. JAX's settings of compilation, caches and logs are accepted and have no meaning here;
            ``jax_platform_name`` chooses the backend: ``"cpu"`` or ``"gpu"``.
        value : bool or str
            Its new value.

        Raises
        ------
        ValueError
            If there is no setting of that name, or it cannot have that value here.
        TypeError
            If `value` is of another type than the setting.
        """
        if name in OWN:
            if not isinstance(value, bool):
                raise TypeError(f"config.update({name!r}, value): expected value to be True or False, got {value!r}")
            setattr(self, name, value)
        elif name == "jax_default_matmul_precision":
            self.jax_default_matmul_precision = value
        elif name == LIBRARIES:
            whose.set(_checked_names(value))
            openings.generation += 1
        elif name in FIXED:
            only, reason = FIXED[name]
            if value != only:
                raise ValueError(f"config.update({name!r}, {value!r}): gradkit has {only!r} alone. {reason}")
        elif name in PLATFORMS:
            self._others[name] = value
            _use_platform(name, value)
        elif name in TRANSFER_GUARDS:
            guards.set(dict.fromkeys(TRANSFER_GUARDS[name], checked(value, f"config.update({name!r}, value)")))
        elif name in WITHOUT_MEANING:
            self._others[name] = value
            openings.generation += 1
        else:
            raise unknown_name("setting", name, self.values)

    def listen(self, name: str, listener: Callable[[bool], None]) -> None:
        """Call `listener` with whether a setting is on in any thread: now if it is, and whenever that changes."""
        setting = _setting_named(name)
        with setting.lock:
            setting.listeners.append(listener)
            if setting.on:
                listener(True)

    @property
    def gradkit_assigning_libraries(self) -> frozenset[str]:
        """The packages whose own code may assign to Arrays."""
        return whose.libraries

    @property
    def values(self) -> dict[str, Any]:
        """Every setting by name."""
        levels = {name: getattr(self, name) for name in TRANSFER_GUARDS}
        others = {name: self._others.get(name) for name in (*FIXED, *PLATFORMS, *WITHOUT_MEANING)}
        own = {name: getattr(self, name) for name in (*OWN, LIBRARIES, "jax_default_matmul_precision")}
        return own | levels | others

    def __getattr__(self, name: str) -> Any:
        # What has no slot: the settings that are JAX's alone, and those that are kept elsewhere.
        if name in TRANSFER_GUARDS:
            levels = {guards.level(direction) for direction in TRANSFER_GUARDS[name]}
            return levels.pop() if len(levels) == 1 else None
        if name in FIXED or name in PLATFORMS or name in WITHOUT_MEANING:
            return self._others.get(name)
        raise AttributeError(f"there is no setting {name!r}")


def _checked_names(value: Any) -> frozenset[str]:
    if isinstance(value, str) or not all(isinstance(name, str) and name.isidentifier() for name in value):
        raise TypeError(
            f"config.update({LIBRARIES!r}, value): expected the names of packages, such as ('scipy', 'sklearn'), got "
            f"{value!r}"
        )
    return frozenset(value)


def _use_platform(name: str, value: Any) -> None:
    if not value:
        return
    wanted = str(value).split(",")[0]
    platform = "gpu" if wanted in ("gpu", "cuda") else wanted
    if platform not in ("cpu", "gpu"):
        raise ValueError(f"config.update({name!r}, {value!r}): expected 'cpu' or 'gpu'")
    if current_backend().platform != platform:
        set_backend("numpy" if platform == "cpu" else first_on_gpu().name)


config = Config()


def _setting_named(name: str) -> Setting:
    setting: Setting = vars(Config)[name]
    return setting


items = _setting_named("gradkit_item_assignment")
"""Whether a thread may assign to Arrays (`items.on`), before it is asked which."""


def setting(name: str, value: bool) -> AbstractContextManager[None]:
    """Give one of the `OWN` settings a value inside a ``with`` block, in this thread or task alone."""
    return _setting_named(name).block(value)


@contextmanager
def everywhere(name: str, value: bool) -> Iterator[None]:
    """Give one of the `OWN` settings a value inside a ``with`` block, in all threads of the process."""
    before = _setting_named(name).everywhere
    setattr(config, name, value)
    try:
        yield
    finally:
        setattr(config, name, before)


def enable_x64(new_val: bool = True) -> AbstractContextManager[None]:
    """Let new numbers be 64-bit inside a ``with`` block, in this thread or task alone.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> with gradkit.enable_x64():
    ...     jnp.asarray(0.1).dtype
    dtype('float64')
    """
    return setting("jax_enable_x64", new_val)


def default_matmul_precision(new_val: str | None) -> AbstractContextManager[None]:
    """Say how exactly products of float32 are computed inside a ``with`` block, in this thread or task alone.

    Parameters
    ----------
    new_val : str or None
        One of JAX's names: ``"default"`` is as the library does of itself, ``"tensorfloat32"`` and ``"high"`` round the
        factors to 10 bits on GPUs that are faster so, and ``"float32"`` and ``"highest"`` keep all bits. What has fewer
        bits than tensorfloat32 (``"bfloat16"``, ``"BF16_BF16_F32"``) is computed as that, and what is put together from
        several products (``"BF16_BF16_F32_X3"``) in float32. On a CPU products always keep all bits. An argument
        `precision` of a product goes before. None: as outside of blocks it would be without a setting.

    Raises
    ------
    ValueError
        For another name.

    Notes
    -----
    The derivative of a product is computed as exactly as the product, wherever it is taken.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> with gradkit.default_matmul_precision("tensorfloat32"):
    ...     jnp.ones((2, 3)) @ jnp.ones((3, 1))
    Array([[3.],
           [3.]], dtype=float32)
    """
    return vars(Config)["jax_default_matmul_precision"].block(  # type: ignore[no-any-return]
        checked_precision(new_val, "default_matmul_precision")
    )


def item_assignment(new_val: bool = True) -> AbstractContextManager[None]:
    """Let all code assign to Arrays inside a ``with`` block: ``x[i] = y``, ``x += y``, ``x.flat[i] = y``, ``out=x``.

    Without it that of some libraries may (``gradkit.config.gradkit_assigning_libraries``: SciPy, scikit-learn, ...),
    which is written for arrays that change. A function of yours that they call may not.

    Nothing changes in memory: the object `x` stands for ``x.at[i].set(y)`` from then on, so derivatives are right,
    and arrays that were computed from `x` before keep their values. Whatever holds the object `x` sees it changed,
    and so does what shares its memory, as with NumPy's arrays: ``x[0]``, ``x.T`` and ``x.reshape(-1)``, where they were
    taken by code that may assign. A function that a transform or a loop runs cannot assign to its arguments, which
    others hold. (``array_api_extra.at(x)`` changes `x` where it can; ``copy=True`` lets it not.)

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> def with_ones(x):
    ...     y = jnp.asarray(x, copy=True)
    ...     y[0] = 1.0
    ...     return y
    >>> with gradkit.item_assignment():
    ...     gradkit.grad(lambda x: jnp.sum(with_ones(x) ** 2))(jnp.asarray([3.0, 4.0]))
    Array([0., 8.], dtype=float32)
    """
    return setting("gradkit_item_assignment", new_val)


def debug_nans(new_val: bool = True) -> AbstractContextManager[None]:
    """Raise FloatingPointError where an operation gives NaN, or its derivative does, inside a ``with`` block.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> with gradkit.debug_nans():
    ...     jnp.asarray(float("nan")) * 0.0
    Traceback (most recent call last):
    ...
    FloatingPointError: invalid value (nan) encountered in multiply
    """
    return setting("jax_debug_nans", new_val)


def debug_changes(new_val: bool = True) -> AbstractContextManager[None]:
    """Raise RuntimeError in a backward pass that reads what was changed since it was recorded, inside a ``with`` block.

    ``x.data += y`` between the operations and the pass is always found. This finds the changes too that no assignment
    shows, by checksums, which takes time: each array that an operation keeps is read once more, forward and backward.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> x = jnp.asarray([1.0, 2.0])
    >>> x.requires_grad = True
    >>> with gradkit.debug_changes():
    ...     loss = (1 / x).sum()
    ...     x.data[0] = 5.0
    ...     loss.backward()
    Traceback (most recent call last):
    ...
    RuntimeError: one of the variables needed for gradient computation has been modified by an inplace operation: ...
    """
    return setting("gradkit_debug_changes", new_val)


def _unlocked() -> None:
    """Let a child that was made while another thread changed settings change them: that thread is not in it."""
    for name in OWN:
        _setting_named(name).lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlocked)
