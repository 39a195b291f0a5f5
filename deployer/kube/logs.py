"""Log lines of many containers as one stream: read once, or followed through restarts and replaced pods."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from deployer.core.ports import KubePort
from deployer.status import Object
from deployer.status.objects import container_statuses, dig, name_of, namespace_of, uid_of

ALL_LINES = 1_000_000_000

Stream = Callable[..., Iterator[str]]
"""`KubePort.follow`."""

_LOOK_SECONDS = 1.0
# A stream that ended while its container still has the status of running: soon after, that is mostly an old status.
_REOPEN_SECONDS = 5.0
_WAITING_LINES = 10_000


@dataclass(frozen=True, slots=True)
class Source:
    """One run of one container: a restarted container is another source."""

    service: str
    namespace: str
    pod: str
    pod_uid: str
    container: str
    run: str
    is_running: bool
    is_alone: bool

    @property
    def key(self) -> tuple[str, str, str]:
        """What distinguishes runs."""
        return self.pod_uid, self.container, self.run

    @property
    def label(self) -> str:
        """The name that a person knows it by: the pod, and the container where the pod has several."""
        return self.pod if self.is_alone else f"{self.pod}/{self.container}"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line and where it came from."""

    source: Source
    text: str


def sources_of(service: str, pod: Object, *, previous: bool = False) -> tuple[Source, ...]:
    """The pod's containers that have a log, init containers first; with `previous`, those that ran before."""
    containers = container_statuses(pod)
    found = []
    for one in containers:
        before = dig(one, "lastState", "terminated") is not None
        running = dig(one, "state", "running") is not None
        if before if previous else running or before or dig(one, "state", "terminated") is not None:
            found.append(
                Source(
                    service,
                    namespace_of(pod),
                    name_of(pod),
                    uid_of(pod),
                    str(one.get("name") or ""),
                    str(one.get("containerID") or ""),
                    running,
                    len(containers) == 1,
                )
            )
    return tuple(found)


def read(kube: KubePort, sources: Sequence[Source], *, tail: int, previous: bool = False) -> Iterator[LogLine]:
    """The last lines of every source, one source after the other."""
    for one in sources:
        for text in kube.follow(one.namespace, one.pod, one.container, tail=tail, previous=previous, follow=False):
            yield LogLine(one, text)


def follow(stream: Stream, look: Callable[[], Sequence[Source]], *, tail: int) -> Iterator[LogLine]:
    """Lines of all sources as they come, without end; `look` is asked each second what sources there are.

    Of a source that is there from the start the last `tail` lines come first, of one that appears later all.
    """
    inbox: queue.Queue[LogLine | _Ended] = queue.Queue(_WAITING_LINES)
    known: set[tuple[str, str, str]] = set()
    ended: dict[tuple[str, str, str], float] = {}
    first = tail
    while True:
        for source in look():
            if source.key not in known:
                _open(stream, source, first, inbox)
                known.add(source.key)
            elif source.is_running and time.monotonic() - ended.get(source.key, time.monotonic()) > _REOPEN_SECONDS:
                del ended[source.key]
                _open(stream, source, 0, inbox)
        first = ALL_LINES
        until = time.monotonic() + _LOOK_SECONDS
        while (left := until - time.monotonic()) > 0:
            try:
                message = inbox.get(timeout=left)
            except queue.Empty:
                break
            if isinstance(message, LogLine):
                yield message
            else:
                ended[message.key] = time.monotonic()


@dataclass(frozen=True, slots=True)
class _Ended:
    key: tuple[str, str, str]


def _open(stream: Stream, source: Source, tail: int, inbox: queue.Queue[LogLine | _Ended]) -> None:
    threading.Thread(target=_copy, args=(stream, source, tail, inbox), daemon=True).start()


def _copy(stream: Stream, source: Source, tail: int, inbox: queue.Queue[LogLine | _Ended]) -> None:
    """One stream's lines go into the inbox; whatever ends it, the next look opens it again if it is still there."""
    try:
        where = source.namespace, source.pod, source.container
        for text in stream(*where, tail=tail, previous=False, follow=True):
            inbox.put(LogLine(source, text))
    except Exception as error:  # a connection that broke says nothing that the next look does not
        del error
    finally:
        inbox.put(_Ended(source.key))
