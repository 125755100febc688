"""A real world: worker processes on shared GPUs, under MPS and behind a launch gate, in real time.

`realgpu.world.run` is the way in. Nothing is imported here: every worker process starts with this package.
"""
