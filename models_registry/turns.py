"""Whose turn it is among work that waits for one queue.

Priority comes first, then fair share, then age. Waiting raises: after each AGE_STEP work counts as one priority higher,
without an end. So whatever is sent in more than four steps later never goes first, however urgent it is, and nothing
waits for ever.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

LOW, NORMAL, HIGH, URGENT = range(4)
AGE_STEP = timedelta(hours=4)


class Turn(NamedTuple):
    """The smallest goes first."""

    rank: int
    share: float
    """Device seconds that the project of the work has had lately; 0 for what belongs to none and takes little."""
    since: datetime
    number: int


def make_turn(priority: int, since: datetime, now: datetime, *, share: float = 0.0, number: int = 0) -> Turn:
    """``since``: when the work was sent in; a clock that is wrong changes the order and nothing else."""
    raised = max(timedelta(0), now - since) // AGE_STEP
    return Turn(-(priority + raised), share, since, number)
