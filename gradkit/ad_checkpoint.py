"""`jax.ad_checkpoint`'s names: what is kept for the backward pass.

`print_saved_residuals` is missing: what is kept here are the operands that a derivative reads, not JAX's residuals.
"""

from gradkit.transforms.checkpoint import checkpoint, checkpoint_name, checkpoint_policies, remat

__all__ = ["checkpoint", "checkpoint_name", "checkpoint_policies", "remat"]
