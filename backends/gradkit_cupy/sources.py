"""The CUDA kernels of this backend, as text, in one table.

Kept apart from CuPy, which this module does not import, so that the text can be compiled where there is no GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CUDA_SOURCES", "LEAVES", "OPTIONS", "CudaSource"]

OPTIONS = ("-std=c++17",)
"""What every source is compiled with."""


@dataclass(frozen=True)
class CudaSource:
    """One CUDA source.

    Attributes
    ----------
    code : str
        The text. It includes no header: NVRTC alone compiles it.
    kernels : tuple of str
        The kernels to make from it, as C++ expressions such as ``"update<float>"``.
    """

    code: str
    kernels: tuple[str, ...]


SIGMOID = r"""
// 1 / (1 + exp(-x)). Where exp overflows, 1 / (1 + inf) is the 0 that it should be.
template <typename T>
__global__ void sigmoid(const T* x, T* y, long long size) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += stride) {
        y[i] = T(1) / (T(1) + exp(-x[i]));
    }
}
"""

LEAVES = 32
"""How many leaves one launch of `sgd_update` takes: their pointers travel in its 4 KiB of arguments."""

SGD_UPDATE = r"""
template <typename T>
struct Leaf {
    const T* parameter;
    const T* gradient;
    const T* velocity;  // null without momentum, like the next but one
    T* new_parameter;
    T* new_velocity;
    long long size;
};

template <typename T>
struct Leaves {
    Leaf<T> leaf[LEAVES];
};

// One step of stochastic gradient descent over many arrays at once; row y of the grid is leaf y.
// The rate and the scale are numbers in the GPU's memory where their pointers are not null.
template <typename T>
__global__ void sgd_update(
    Leaves<T> leaves, T learning_rate, const T* computed_rate, const T* scale, T momentum, T weight_decay, bool nesterov
) {
    const Leaf<T>& leaf = leaves.leaf[blockIdx.y];
    T rate = computed_rate ? *computed_rate : learning_rate;
    T factor = scale ? *scale : T(1);
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < leaf.size; i += stride) {
        T parameter = leaf.parameter[i];
        T step = leaf.gradient[i] * factor;
        if (weight_decay != T(0)) step += weight_decay * parameter;
        if (leaf.velocity) {
            T velocity = momentum * leaf.velocity[i] + step;
            leaf.new_velocity[i] = velocity;
            step = nesterov ? step + momentum * velocity : velocity;
        }
        leaf.new_parameter[i] = parameter - rate * step;
    }
}
""".replace("LEAVES", str(LEAVES))

CUDA_SOURCES: dict[str, CudaSource] = {
    "sgd_update": CudaSource(SGD_UPDATE, ("sgd_update<float>", "sgd_update<double>")),
    "sigmoid": CudaSource(SIGMOID, ("sigmoid<float>", "sigmoid<double>")),
}
"""Each source by the name of what it computes."""
