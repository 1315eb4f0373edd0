"""Restart intensity: how often a mission may begin crashed steps anew before that is a catastrophe.

Source: Erlang/OTP design principles, Supervisor Behaviour, Maximum Restart Intensity.
"""

from collections import deque
from typing import Final

from engine.clock import Clock
from engine.mission import Supervision


class Supervisor:
    """Counts the restarts of one execution."""

    def __init__(self, supervision: Supervision, clock: Clock) -> None:
        self.supervision: Final = supervision
        self._clock = clock
        self._restarts: deque[float] = deque()  # monotonic seconds of those within the window

    def permits(self) -> bool:
        """Count one more restart; return whether it is still within the intensity. Once False, the mission stops."""
        now = self._clock.monotonic()
        while self._restarts and self._restarts[0] <= now - self.supervision.within_seconds:
            self._restarts.popleft()
        if len(self._restarts) >= self.supervision.max_restarts:
            return False
        self._restarts.append(now)
        return True
