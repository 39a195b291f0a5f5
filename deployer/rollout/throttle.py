"""How often the API server is asked while a rollout is watched: as often as it helps, of many pods less often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from deployer import diagnosis
from deployer.core.ports import KubePort
from deployer.diagnosis import LogRequest
from deployer.status import Snapshot, WorkloadRef
from deployer.status.objects import container_statuses, dig, name_of, uid_of

_FEW_PODS = 100
_OF_FEW, _OF_MANY = (10.0, 60.0), (4.5, 10.0)
"""Requests a second, and those that may be made at once: of many pods five a second in any minute."""

_LOGS_AT_ONCE = 4

Key = tuple[str, str, bool]


@dataclass(frozen=True, slots=True)
class Pace:
    """Requests that are left to be made at once, at most so many; more come with time, and debts are waited for."""

    left: float = _OF_FEW[1]
    most: float = _OF_FEW[1]
    per_second: float = _OF_FEW[0]

    def among(self, pods: int) -> Pace:
        """The pace where there are so many pods, the answers about which are long."""
        per_second, most = _OF_FEW if pods <= _FEW_PODS else _OF_MANY
        return Pace(min(self.left, most), most, per_second)

    def after(self, asked: int, seconds: float) -> Pace:
        """The pace when so many requests more were made in so many seconds."""
        return replace(self, left=min(self.most, self.left + seconds * self.per_second) - asked)

    def pause(self, least: float, *, soon: bool) -> float:
        """Seconds until the next look; `soon`: something was seen that the next look is to confirm."""
        return least if soon else max(least, -self.left / self.per_second)


class _Counted:
    """A port that counts what it is asked."""

    def __init__(self, kube: KubePort) -> None:
        self._kube = kube
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        self.asked += 1
        return getattr(self._kube, name)


def counted(kube: KubePort) -> tuple[KubePort, _Counted]:
    """The port, and the count of the requests that are made through it."""
    counter = _Counted(kube)
    return cast(KubePort, counter), counter


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a container's log, of that run of the container, as it was in that round."""

    run: str
    text: str
    round: int


@dataclass(frozen=True, slots=True)
class Tails:
    """The log tails of a rollout as far as they were read; of a container that has ended, once."""

    read: Mapping[Key, Tail] = field(default_factory=dict)
    round: int = 0

    @property
    def texts(self) -> dict[Key, str]:
        """The tails by pod, container and whether they are of the previous run."""
        return {key: one.text for key, one in self.read.items()}


def read_tails(before: Tails, snapshot: Snapshot, refs: Sequence[WorkloadRef], kube: KubePort, pace: Pace) -> Tails:
    """The tails that diagnosis of the snapshot needs: a few anew in each round, those read longest ago first."""
    wanted = {one.key: one for one in diagnosis.logs_wanted(snapshot, refs)}
    runs = _runs(snapshot)
    kept = {key: one for key, one in before.read.items() if key in wanted and one.run == runs.get(key)}
    due = [key for key in wanted if key not in kept or not _is_complete(kept[key])]
    due.sort(key=lambda key: kept[key].round if key in kept else 0)
    fresh = {
        key: Tail(runs.get(key, ""), log_end(wanted[key], kube), before.round + 1)
        for key in due[: _LOGS_AT_ONCE if pace.left > 0 else 1]
    }
    return Tails({**kept, **fresh}, before.round + 1)


def log_end(wanted: LogRequest, kube: KubePort) -> str:
    """The last lines of the log."""
    return "\n".join(kube.logs(wanted.namespace, wanted.pod, wanted.container, previous=wanted.previous))


def _runs(snapshot: Snapshot) -> dict[Key, str]:
    """Which run of its container each log is of, and whether that has ended."""
    runs: dict[Key, str] = {}
    for pod in snapshot.pods:
        for status in container_statuses(pod):
            name, mark = str(status.get("name")), f"{uid_of(pod)}/{status.get('restartCount') or 0}"
            over = "over" if dig(status, "state", "terminated") else ""
            runs[name_of(pod), name, False] = f"{mark}/{over}"
            runs[name_of(pod), name, True] = f"{mark}/over"
    return runs


def _is_complete(tail: Tail) -> bool:
    # A log of a container that has just ended may still be empty.
    return tail.run.endswith("/over") and bool(tail.text)
