"""Kernels for the vector units of the CPU, compiled by Numba: the rows in blocks that stay in its caches."""
