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

THREEFRY = r"""
typedef unsigned int word;

struct Words {
    word high, low;
};

__device__ __forceinline__ word rotated(word x, int bits) {
    return x << bits | x >> (32 - bits);
}

// Threefry-2x32 in 20 rounds, as gradkit.primitives.random_bits defines it.
__device__ __forceinline__ Words threefry2x32(const word* key, Words counter) {
    const int rotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
    const word schedule[3] = {key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDAu};
    word high = counter.high + schedule[0];
    word low = counter.low + schedule[1];
#pragma unroll
    for (int group = 0; group < 5; ++group) {
#pragma unroll
        for (int round = 0; round < 4; ++round) {
            high += low;
            low = rotated(low, rotations[group % 2][round]) ^ high;
        }
        high += schedule[(group + 1) % 3];
        low += schedule[(group + 2) % 3] + word(group + 1);
    }
    return {high, low};
}
"""

RANDOM_BITS = (
    THREEFRY
    + r"""
// The first `size` numbers of each key, one key after the other: `total` in all.
template <typename T>
__global__ void random_bits(const word* keys, T* bits, long long size, long long total) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
        long long row = size == total ? 0 : i / size;  // a division costs as much as half the rounds
        unsigned long long n = i - row * size;
        Words words = threefry2x32(keys + 2 * row, {word(n >> 32), word(n)});
        if constexpr (sizeof(T) == 8) {
            bits[i] = T(words.high) << 32 | words.low;
        } else {
            bits[i] = T(words.high ^ words.low);
        }
    }
}
"""
)

FOLD_IN = (
    THREEFRY
    + r"""
// A new key of each key and counter; with a step of 0 all of them are of one key.
__global__ void fold_in(const word* keys, long long step, const word* counters, word* folded, long long size) {
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += stride) {
        Words words = threefry2x32(keys + step * i, {0, counters[i]});
        folded[2 * i] = words.high;
        folded[2 * i + 1] = words.low;
    }
}
"""
)

CUDA_SOURCES: dict[str, CudaSource] = {
    "fold_in": CudaSource(FOLD_IN, ("fold_in",)),
    "random_bits": CudaSource(
        RANDOM_BITS, tuple(f"random_bits<unsigned {kind}>" for kind in ("char", "short", "int", "long long"))
    ),
    "sgd_update": CudaSource(SGD_UPDATE, ("sgd_update<float>", "sgd_update<double>")),
    "sigmoid": CudaSource(SIGMOID, ("sigmoid<float>", "sigmoid<double>")),
}
"""Each source by the name of what it computes."""
