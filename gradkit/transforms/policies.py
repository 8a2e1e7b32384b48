"""JAX's policies of `checkpoint`: which values are kept for the backward pass.

A policy is ``policy(primitive, *operands, **params)``, with a `Primitive` and what stands for its operands in the
graph. It answers whether the results are kept: with a bool, or with `Offloadable` for the memory of the host.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradkit.core.primitive import Primitive
from gradkit.primitives.naming import NAME
from gradkit.transforms.rematerialization import Offloadable

__all__ = ["CheckpointPolicies", "everything_saveable", "nothing_saveable"]

Policy = Callable[..., Any]

DOTS = frozenset({"affine", "matmul", "sliding_product"})
"""Products of matrices, and convolutions."""


def everything_saveable(*_: Any, **__: Any) -> bool:
    """Keep every value: the function does not run again."""
    return True


def nothing_saveable(*_: Any, **__: Any) -> bool:
    """Keep no value: what `checkpoint` does without a policy."""
    return False


def dots_saveable(primitive: Primitive, *_: Any, **__: Any) -> bool:
    """Keep products of matrices, and convolutions."""
    return primitive.name in DOTS


def dots_with_no_batch_dims_saveable(primitive: Primitive, *operands: Any, **_: Any) -> bool:
    """Keep products of matrices that are not products of batches of matrices."""
    return primitive.name in ("affine", "matmul") and not all(len(x.shape) > 2 for x in operands[:2])


def save_only_these_names(*names_which_can_be_saved: str) -> Policy:
    """Keep the values of these names (`checkpoint_name`)."""
    names = frozenset(names_which_can_be_saved)
    return lambda primitive, *_, **params: primitive is NAME and params["name"] in names


def save_any_names_but_these(*names_not_to_save: str) -> Policy:
    """Keep the values that have names, but not these."""
    names = frozenset(names_not_to_save)
    return lambda primitive, *_, **params: primitive is NAME and params["name"] not in names


def save_anything_except_these_names(*names_not_to_save: str) -> Policy:
    """Keep every value but those of these names."""
    names = frozenset(names_not_to_save)
    return lambda primitive, *_, **params: primitive is not NAME or params["name"] not in names


def save_from_both_policies(policy_1: Policy, policy_2: Policy) -> Policy:
    """Keep what either policy keeps."""

    def policy(*args: Any, **params: Any) -> bool:
        answers = [policy_1(*args, **params), policy_2(*args, **params)]
        if any(isinstance(answer, Offloadable) for answer in answers):
            raise ValueError("save_from_both_policies: policies that offload cannot be combined")
        return any(answers)

    return policy


def offload_dot_with_no_batch_dims(offload_src: str, offload_dst: str) -> Policy:
    """Keep in the host's memory what `dots_with_no_batch_dims_saveable` keeps."""
    answer = Offloadable(offload_src, offload_dst)
    return lambda *args, **params: answer if dots_with_no_batch_dims_saveable(*args, **params) else False


def save_and_offload_only_these_names(
    *,
    names_which_can_be_saved: Sequence[str],
    names_which_can_be_offloaded: Sequence[str],
    offload_src: str,
    offload_dst: str,
) -> Policy:
    """Keep the values of some names, and of others in the host's memory."""
    saved, offloaded = frozenset(names_which_can_be_saved), frozenset(names_which_can_be_offloaded)
    if both := saved & offloaded:
        raise ValueError(f"The names should be exclusive and should not intersect: {sorted(both)} are in both lists")
    answer = Offloadable(offload_src, offload_dst)

    def policy(primitive: Primitive, *_: Any, **params: Any) -> Any:
        if primitive is not NAME:
            return False
        return answer if params["name"] in offloaded else params["name"] in saved

    return policy


class CheckpointPolicies:
    """The policies by name: `gradkit.checkpoint_policies`."""

    everything_saveable = staticmethod(everything_saveable)
    nothing_saveable = staticmethod(nothing_saveable)
    dots_saveable = checkpoint_dots = staticmethod(dots_saveable)
    dots_with_no_batch_dims_saveable = staticmethod(dots_with_no_batch_dims_saveable)
    checkpoint_dots_with_no_batch_dims = dots_with_no_batch_dims_saveable
    save_only_these_names = staticmethod(save_only_these_names)
    save_any_names_but_these = staticmethod(save_any_names_but_these)
    save_anything_except_these_names = staticmethod(save_anything_except_these_names)
    save_from_both_policies = staticmethod(save_from_both_policies)
    offload_dot_with_no_batch_dims = staticmethod(offload_dot_with_no_batch_dims)
    save_and_offload_only_these_names = staticmethod(save_and_offload_only_these_names)


checkpoint_policies = CheckpointPolicies()
