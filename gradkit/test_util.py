"""`jax.test_util`'s name for the check of derivatives; see `gradkit.testing`."""

from gradkit.testing.gradients import check_grads

__all__ = ["check_grads"]
