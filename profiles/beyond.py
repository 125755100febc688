"""What was asked of a fit beyond the range it was fitted on: no extrapolation goes unsaid."""

from __future__ import annotations

SHARE_SLACK = 1e-9
"""How far rounding errors of a sum may carry a share above 1."""


class Beyond:
    """The outermost batches and shares that a fit was asked for outside its range.

    Parameters
    ----------
    batches, shares
        Smallest and largest batch and share it was fitted on; `None` where it has no such range.
    """

    __slots__ = ("_batches", "_shares", "batch_above", "batch_below", "share_above", "share_below")

    def __init__(self, batches: tuple[int, int] | None, shares: tuple[float, float] | None) -> None:
        self._batches = batches
        self._shares = shares
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.batch_below: int | None = None
        self.batch_above: int | None = None
        self.share_below: float | None = None
        self.share_above: float | None = None

    def note(self, batch: int, share: float) -> None:
        """Remember a question, if no other lay further out."""
        if self._batches is not None:
            if batch < self._batches[0]:
                self.batch_below = min(batch, self.batch_below or batch)
            elif batch > self._batches[1]:
                self.batch_above = max(batch, self.batch_above or batch)
        if self._shares is not None:
            if share < self._shares[0] - SHARE_SLACK:
                self.share_below = min(share, self.share_below or share)
            elif share > self._shares[1] + SHARE_SLACK:
                self.share_above = max(share, self.share_above or share)

    def words(self) -> str | None:
        """Say what was asked for, such as `asked for shares down to 0.02, fitted from 0.1`."""
        sides: list[tuple[str, float | None, str, float]] = []
        if self._batches is not None:
            sides.append(("batches down to", self.batch_below, "from", self._batches[0]))
            sides.append(("batches up to", self.batch_above, "up to", self._batches[1]))
        if self._shares is not None:
            sides.append(("shares down to", self.share_below, "from", self._shares[0]))
            sides.append(("shares up to", self.share_above, "up to", self._shares[1]))
        said = [
            f"{asked} {_brief(outermost)}, fitted {fitted} {_brief(end)}"
            for asked, outermost, fitted, end in sides
            if outermost is not None
        ]
        return f"asked for {' and for '.join(said)}" if said else None


def _brief(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3g}"
