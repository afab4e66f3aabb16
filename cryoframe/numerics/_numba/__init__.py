"""Compiled host kernels, one file a hot loop, named as its public module; numba is imported here and nowhere else."""
