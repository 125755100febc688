"""The one error of the profiles: a value or a file that describes no possible cost."""

from __future__ import annotations


class ProfileError(ValueError):
    """A profile, or a question to one, that makes no sense; the message is one line and names the field."""
