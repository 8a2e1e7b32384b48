"""Plans as lists of PyTorch's calls with ``out=``, and what makes a CUDA graph of one.

`printer` says what is written down, `library` how, `program` runs it, and `capture` replays it on an NVIDIA GPU.
"""
