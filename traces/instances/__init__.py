"""Workloads of instances that start and stop, with no requests: what they are, and where they come from."""
