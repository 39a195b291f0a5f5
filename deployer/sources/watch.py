"""Watches folders of the sources: whoever is woken looks himself, for events are no more than a reason to look."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

QUIET_MS, LONGEST_MS = 50, 2000
"""A change is reported once nothing changed for so long; at the latest after so long, for what never stands still."""
_POLL_SECONDS = 1.0


class Watcher:
    """Calls `wake` from a thread of its own with the paths that changed, none where they are not known.

    `polls`: whether it calls each second instead, for the system can watch no more folders.

    Each folder is watched by itself: those that a build ignores (`node_modules`) cost nothing.
    """

    def __init__(self, wake: Callable[[Collection[str]], None]) -> None:
        self._wake = wake
        self._folders: frozenset[Path] = frozenset()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._stale = False  # a watched folder went away, and one of its name may have come
        self.polls = False

    def watch(self, folders: Iterable[Path]) -> None:
        """These folders are watched from now on; what changed while they were exchanged is reported as a change."""
        wanted = frozenset(one for one in folders if one.is_dir())
        if (wanted == self._folders and not self._stale) or self.polls:
            return
        self.close()
        self._folders, self._stop, self._stale = wanted, threading.Event(), False
        self._thread = threading.Thread(target=self._run, args=(wanted, self._stop), name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Nothing is watched any more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def _run(self, folders: frozenset[Path], stop: threading.Event) -> None:
        import watchfiles

        try:
            events = watchfiles.watch(
                *sorted(folders), watch_filter=None, recursive=False, step=QUIET_MS, debounce=LONGEST_MS,
                rust_timeout=500, yield_on_timeout=True, stop_event=stop, raise_interrupt=False,
                ignore_permission_denied=True,
            )  # fmt: skip
            begun = False
            for changes in events:
                self._stale |= any(
                    Path(path) in folders for kind, path in changes if kind != watchfiles.Change.modified
                )
                if changes or not begun:  # the first time: what changed before the folders were watched
                    self._wake({path for _, path in changes} if begun else ())
                begun = True
        except (OSError, RuntimeError):  # no more watches or instances of inotify, or a folder that went away
            self.polls = not stop.is_set() and all(one.is_dir() for one in folders)
            self._wake(())
            while self.polls and not stop.wait(_POLL_SECONDS):
                self._wake(())
