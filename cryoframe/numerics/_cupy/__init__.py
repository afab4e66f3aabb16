"""Device kernels, one file a hot loop, named as its public module; imported only when handed a CuPy array."""
