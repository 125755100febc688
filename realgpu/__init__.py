"""A real world: GPUs shared under MPS, and kernel launches that pass a gate."""
