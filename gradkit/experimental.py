"""`jax.experimental`, of which there is `io_callback`."""

from gradkit.callbacks import io_callback

__all__ = ["io_callback"]
