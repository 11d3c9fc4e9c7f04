"""What was promised for each fault, at the lease of a trial, and whether a mark keeps it.

A real lease is 120 s: there "lease + 30 s" is the 150 s within which a run goes on after the loss of its worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.chaos.trial import LEASE_S, SAVE_EVERY

Mark = dict[str, Any]
START_S = 30.0
"""Until somebody looks, and the program is up and has loaded its checkpoint."""
CANCEL_S, DRAIN_S, BROKER_S, WEB_S = 45.0, 180.0, 60.0, 30.0


@dataclass(frozen=True)
class Promise:
    words: str
    is_kept: Callable[[Mark], bool]


def find_promise(fault: str) -> Promise | None:
    return next((promise for begin, promise in PROMISES.items() if fault.startswith(begin)), None)


def _goes_on(mark: Mark, seconds: float) -> bool:
    """Within so many seconds, if there was a step left to do, and with at most ``save_steps`` done again."""
    return (mark["stepping_s"] or 0) <= seconds and mark["redone"] <= SAVE_EVERY


def _is_told(mark: Mark) -> bool:
    return bool(mark["seen"]["reported"])


LOST = Promise(
    f"next step within lease + {START_S:.0f} s, at most save_steps done again",
    lambda mark: _goes_on(mark, LEASE_S + START_S),
)
TRAINS_ON = Promise("trains on", lambda mark: mark["taken_up_s"] is None)
PROMISES = {
    "worker killed": LOST,
    "supervisor killed": LOST,
    "supervisor stopped": LOST,
    "worker and trainer stopped": LOST,
    "database gone past the lease": LOST,
    "trainer killed": Promise(
        f"next step within {START_S:.0f} s, at most save_steps done again", lambda mark: _goes_on(mark, START_S)
    ),
    "trainer stopped": TRAINS_ON,
    "clock of one worker": TRAINS_ON,
    "a hundred doubled messages": TRAINS_ON,
    "broker killed": TRAINS_ON,
    "database gone for a moment": TRAINS_ON,
    "web server killed": Promise(
        f"trains on; back within {WEB_S:.0f} s",
        lambda mark: mark["taken_up_s"] is None and mark["seen"]["back_s"] <= WEB_S,
    ),
    "launched while the broker was gone": Promise(
        f"first step within {BROKER_S:.0f} s of its return", lambda mark: (mark["stepping_s"] or 0) <= BROKER_S
    ),
    "newest checkpoint truncated": Promise("goes on from the one before, and says so", _is_told),
    "all checkpoints truncated": Promise("begins anew, and says so", _is_told),
    "disk filled": Promise("paused, the checkpoint before whole", lambda mark: bool(mark["seen"]["kept"])),
    "cancelled": Promise(f"device free within {CANCEL_S:.0f} s", lambda mark: mark["seen"]["freed_s"] <= CANCEL_S),
    "worker drained": Promise(
        f"gone within {DRAIN_S:.0f} s, no step done again",
        lambda mark: mark["seen"]["left_s"] <= DRAIN_S and not mark["redone"],
    ),
}
"""By how a fault's name begins. One that is missing has no time to keep, only the run's end (audit.py)."""
