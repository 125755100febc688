"""The public traces of the field: where each comes from, under which licence, and how to get it."""
