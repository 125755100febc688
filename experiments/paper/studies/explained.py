"""A row that says why it differs, if it does."""

from __future__ import annotations

from typing import Final

from experiments.paper.claims import Claim, Finding, Row

UNDECIDED: Final = "The mean has the direction of the paper, but seeds differ too much to tell."


def explained(claim: Claim, finding: Finding, *, size: str, direction: str | None = None) -> Row:
    """Return the row with the sentence that belongs to its verdict.

    Parameters
    ----------
    size
        Why the effect has another size here.
    direction
        Why there is none, or the opposite one; `size` if not given.
    """
    verdict = Row(claim, finding).verdict
    if verdict == "agrees":
        return Row(claim, finding)
    if verdict == "same direction" or direction is None:
        return Row(claim, finding, size)
    if claim.neutral is not None and (finding.mean - claim.neutral) * claim.side > 0.0:
        return Row(claim, finding, UNDECIDED)
    return Row(claim, finding, direction)
