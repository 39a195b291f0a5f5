"""How often somebody may try to log in or to register."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from math import ceil

from fastapi import HTTPException

ADDRESS_WINDOW_SECONDS = 60.0
ACCOUNT_WINDOW_SECONDS = 300.0
CAPACITY = 10_000  # keys: a few megabytes at most, whatever is tried


class Attempts:
    """Counts attempts by key: `limit` of them in each window of `seconds`, which begins with a key's first attempt.

    At most `capacity` keys are kept; the one that was used longest ago is forgotten first.
    """

    def __init__(
        self, limit: int, seconds: float, capacity: int = CAPACITY, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit, self._seconds, self._capacity, self._clock = limit, seconds, capacity, clock
        self._windows: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()  # key: (end, attempts)
        self._lock = threading.Lock()

    def add(self, key: Hashable) -> float:
        """The attempt is counted, and 0 says that it may go on; otherwise the seconds until the next one may."""
        with self._lock:
            now = self._clock()
            end, count = self._windows.pop(key, (0.0, 0))
            if end <= now:
                end, count = now + self._seconds, 0
            allowed = count < self._limit
            self._windows[key] = (end, count + allowed)
            if len(self._windows) > self._capacity:
                self._windows.popitem(last=False)
            return 0.0 if allowed else end - now

    def forget(self, key: Hashable) -> None:
        """The key's next attempt is its first."""
        with self._lock:
            self._windows.pop(key, None)

    def __len__(self) -> int:
        return len(self._windows)


class LoginLimits:
    """The limits of one process: each replica counts for itself."""

    def __init__(self, per_address: int, per_account: int) -> None:
        self.addresses = Attempts(per_address, ADDRESS_WINDOW_SECONDS)
        self.accounts = Attempts(per_account, ACCOUNT_WINDOW_SECONDS)

    def check(self, address: str, email: str) -> None:
        """The attempt is counted for both; HTTPException 429 with Retry-After (seconds) when it is one too many."""
        wait = self.addresses.add(address[:64]) or self.accounts.add(email)
        if wait:
            raise HTTPException(429, "too many attempts: try again later", {"Retry-After": str(ceil(wait))})

    def succeeded(self, email: str) -> None:
        """Earlier attempts on the account no longer count: its owner is here."""
        self.accounts.forget(email)
