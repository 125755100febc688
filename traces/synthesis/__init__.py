"""Traces made to the measure of published statistics."""
