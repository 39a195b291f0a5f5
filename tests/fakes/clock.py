"""A clock that moves only when it is slept on, and does on its way what a test has scheduled."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()


class FakeClock:
    """`at(3, action)` runs the action when three seconds have been slept in all."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self._timeline: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0

    def monotonic(self) -> float:
        return self.elapsed

    def now(self) -> float:
        return START + self.elapsed

    def sleep(self, seconds: float) -> None:
        assert seconds > 0, "a wait that does not wait is a busy loop"
        until = self.elapsed + seconds
        while self._timeline and self._timeline[0][0] <= until:
            moment, _, action = heapq.heappop(self._timeline)
            self.elapsed = max(self.elapsed, moment)
            action()
        self.elapsed = until

    def at(self, seconds: float, action: Callable[[], object]) -> None:
        """The action is done at that second; at once for second 0."""
        if seconds <= self.elapsed:
            action()
            return
        self._count += 1
        heapq.heappush(self._timeline, (seconds, self._count, action))

    def stamp(self, seconds: float = 0.0) -> str:
        """The moment `seconds` after the start, as Kubernetes writes it."""
        return datetime.fromtimestamp(START + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
