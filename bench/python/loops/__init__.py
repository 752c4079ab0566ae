"""The loops that the kernel benchmarks run, in C (loops.c, compiled on the spot) and for numba."""
