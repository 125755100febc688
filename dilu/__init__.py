"""The doors: the `dilu` command, one module a verb."""
