"""The node's memory while something goes on, as its own control group counts it, page cache that can go left out."""

from __future__ import annotations

import threading
from types import TracebackType

from tests.e2e.project import Project

_EVERY = 2.0
# Control groups of version 1, and of version 2.
_ASK = """
cd /sys/fs/cgroup
if [ -e memory.current ]; then cat memory.current && grep '^inactive_file ' memory.stat
else cd memory && cat memory.usage_in_bytes && grep '^total_inactive_file ' memory.stat
fi"""


class PeakMemory:
    """While inside, the node's memory is looked at every two seconds; `mib` is the most that was seen."""

    def __init__(self, project: Project) -> None:
        self.mib = 0
        self._project = project
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(10)

    def _look(self) -> None:
        while not self._over.wait(_EVERY):
            self.mib = max(self.mib, node_memory(self._project))


def node_memory(project: Project) -> int:
    """MiB that everything in the node uses at this moment."""
    used, _, cache = project.in_node("sh", "-c", _ASK).split()
    return (int(used) - int(cache)) // 2**20
