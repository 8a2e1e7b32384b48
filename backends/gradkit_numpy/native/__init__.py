"""Native code for the NumPy backend: LLVM text, compiled in the process by llvmlite (extra ``jit``).

A plan becomes text in `printer`: a function for each nest (`nests`, of `statements`), each product (`products`) and
each plan (`plans`), put together in a `module`, with an `entry` that takes Python's objects. `math` writes scalar
functions that LLVM vectorizes (of `words`, with the numbers in `coefficients`), `machine` turns text into an address,
`symbols` says where routines of other libraries are, `object_code` keeps what was compiled on disk, `interpreter` has
what meets Python's, and `program` runs it all. llvmlite and SciPy are imported when something is compiled, not before.
"""
