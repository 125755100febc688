import pytest

from profiles import ProfileError, Provenance


def test_a_provenance_needs_a_known_kind() -> None:
    """A kind outside the five is refused, and the message lists what is allowed."""
    with pytest.raises(ProfileError, match=r"kind: found 'guessed', allowed are measured, fitted, published"):
        Provenance("guessed", "somewhere")  # type: ignore[arg-type]


def test_a_provenance_needs_a_source() -> None:
    """A blank source is no source."""
    with pytest.raises(ProfileError, match="source: found no text"):
        Provenance("measured", "  ")
