"""Process-wide settings, under JAX's names: ``gradkit.config.update("jax_enable_x64", True)``."""

from __future__ import annotations

import os

from gradkit.errors import unknown_name

__all__ = ["Config", "config"]

TRUE_WORDS = frozenset({"1", "true", "yes", "on"})


class Config:
    """The settings, as attributes; `update` changes one.

    Attributes
    ----------
    jax_enable_x64 : bool
        Whether new numbers are 64-bit (``float64``, ``int64``) rather than 32-bit. It starts from the environment
        variable ``GRADKIT_ENABLE_X64``.
    jax_disable_jit : bool
        Whether `jit` leaves functions as they are.
    """

    __slots__ = ("jax_disable_jit", "jax_enable_x64")

    def __init__(self) -> None:
        self.jax_disable_jit = False
        self.jax_enable_x64 = os.environ.get("GRADKIT_ENABLE_X64", "").lower() in TRUE_WORDS

    def update(self, name: str, value: bool) -> None:
        """Change one setting.

        Parameters
        ----------
        name : str
            The setting's name.
        value : bool
            Its new value.

        Raises
        ------
        ValueError
            If there is no setting of that name.
        TypeError
            If `value` is no bool.
        """
        if name not in self.__slots__:
            raise unknown_name("setting", name, self.__slots__)
        if not isinstance(value, bool):
            raise TypeError(f"config.update({name!r}, value): expected value to be True or False, got {value!r}")
        setattr(self, name, value)


config = Config()
