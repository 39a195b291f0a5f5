"""One run at a time for a deployment: on this machine by a file lock, which the kernel takes back from the dead, and in
the cluster by a Lease, whose holder is judged by the own clock since its last renewal that was seen.

Programs that write to the cluster inherit it (`held`): where a run is killed and its helm goes on, the next run waits
until that has ended too, and there are never two writers.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TypeVar

from deployer.core import process
from deployer.core.errors import DeployError, ExitCode, Problem, refused
from deployer.core.events import Item, ItemState, Warned
from deployer.core.files import open_lock, take_lock
from deployer.core.ports import LABEL_PREFIX, MANAGED_BY, OWNER, KubePort, Object
from deployer.core.process import has_ended
from deployer.core.steps import Clock, Outcome, Steps, stage
from deployer.kube.outage import ClusterStopped
from deployer.kube.rights import is_forbidden, read

T = TypeVar("T")

STAGE = "lock"
"""The stage of a run that waits for another one; where none is at work there is no such stage."""
_LIMIT_SECONDS = 900.0
_WATCH = "dev"
_held: ContextVar[tuple[int, ...]] = ContextVar("held", default=())


def held() -> tuple[int, ...]:
    """The descriptors of the locks that this process holds, for programs that must not outlive them unnoticed."""
    return _held.get()


def acquire(path: Path, clock: Clock, limit: float = _LIMIT_SECONDS) -> Steps[IO[str]]:
    """The lock is held until the returned file is closed; waits for another holder, saying who it is.

    Refused when the other holder is still there after `limit` seconds.
    """
    stream = open_lock(path)
    try:
        if not take_lock(stream):
            yield from stage(STAGE, _await(stream, clock, limit), clock)
    except BaseException:
        stream.close()
        raise
    _sign(stream)
    return stream


def _await(stream: IO[str], clock: Clock, limit: float) -> Steps[Outcome[None]]:
    shown = ""
    deadline = clock.monotonic() + limit
    while not take_lock(stream):
        stream.seek(0)
        holder = stream.read().strip() or "another run"
        if clock.monotonic() > deadline:
            raise refused("LOCKED", f"another run holds this deployment: {holder}", hints=("wait until it has ended",))
        if not shown:
            shown = _words(holder)
            yield Warned(Problem("LOCK_WAIT", f"waiting for {shown}"))
            yield Item(STAGE, "waiting", ItemState.RUNNING, f"for {shown}")
        clock.sleep(0.2)
    return Outcome(None, False, f"waited for {shown}" if shown else "free")


@contextmanager
def watching(folder: Path, application: str) -> Iterator[None]:
    """While inside, this is the one `dev` of the application on this machine; refused where another is at work."""
    with open_lock(folder / _WATCH) as stream:
        if not take_lock(stream):
            stream.seek(0)
            title = f"another `todo-deploy dev` is running for `{application}`: {stream.read().strip()}"
            raise refused("DEV_RUNNING", title, hints=("leave it first: q, or Ctrl-C",))
        _sign(stream)
        yield


def watched_by(folder: Path) -> str:
    """The process that keeps the application at its sources, as `pid 12`; empty where none does."""
    path = folder / _WATCH
    if not path.exists():
        return ""
    with open_lock(path) as stream:
        if take_lock(stream):
            return ""
        stream.seek(0)
        return stream.read().strip()


def _sign(stream: IO[str]) -> None:
    with suppress(OSError):
        stream.truncate(0)
        stream.write(f"pid {os.getpid()}")
        stream.flush()


def _words(holder: str) -> str:
    number = holder.removeprefix("pid ")
    if number.isdigit() and has_ended(int(number)):
        return f"what a run that was killed ({holder}) has started and left at work"
    return f"another run of this deployment: {holder}"


def locked(folder: Path, clock: Clock, steps: Steps[T]) -> Steps[T]:
    """The steps, while no other run on this machine works on the deployment that keeps its things in the folder."""
    stream = yield from acquire(folder / "lock", clock)
    before = _held.get()
    _held.set((*before, stream.fileno()))
    try:
        return (yield from steps)
    finally:
        _held.set(before)
        stream.close()


NAMESPACE = "default"
"""Where the Leases are: in the namespace that every cluster has, so that holding one makes nothing else. In a cluster
that is somebody else's they are in the application's own, once that is there."""

DURATION_SECONDS = 30
_RENEW_SECONDS = 8.0
_AGAIN_SECONDS = 1.0
_OVERDUE_SECONDS = 60.0


class LockLost(DeployError):
    """Another run may be at work by now: nothing may be written any more."""


def lease_name(application: str) -> str:
    """The name of the application's Lease."""
    return f"{OWNER}.{application}"


class ClusterLock:
    """The deployment lock: taken in the course of a run, held until the run ends."""

    def __init__(self, application: str, run: str, clock: Clock, namespace: str = NAMESPACE) -> None:
        self._application, self._clock, self._namespace = application, clock, namespace
        self._identity = process.identity(run)
        self._heartbeat: _Heartbeat | None = None

    def take(self, kube: KubePort) -> Steps[None]:
        """This run alone holds the application; another holder is waited for, a dead one replaced.

        A user who may not write Leases goes on without one, with a warning.
        """
        lease = _Lease(kube, _space(self._namespace, kube), self._application)
        try:
            yield from _take(lease, self._identity, self._clock)
        except DeployError as error:
            if not is_forbidden(error):
                raise
            title = f"not allowed to write Leases in namespace `{lease.namespace}`"
            detail = "nothing keeps two runs from working on the application at once"
            yield Warned(Problem("LOCK_SKIPPED", title, detail, hints=("start one run at a time",)))
            return
        self._heartbeat = _Heartbeat(lease, self._identity)
        self._heartbeat.start()

    def release(self) -> None:
        """The lock is not held any more, if it was."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
            self._heartbeat.release()
            self._heartbeat = None

    def during(self, steps: Steps[T]) -> Steps[T]:
        """The steps, in the course of which the lock is taken; it is released at their end.

        Where the Lease ran out on the way (the API server could not be reached for its duration), the steps stand
        still until it is renewed; they are interrupted with a refusal where somebody else has it by then, or nobody
        answers, and with its own error where the cluster was stopped.
        """
        try:
            while True:
                try:
                    failure = yield from self._failure()
                    event = next(steps) if failure is None else steps.throw(failure)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]
                yield event
        finally:
            steps.close()
            self.release()

    def _failure(self) -> Steps[DeployError | None]:
        """Why the steps must end; None while the lock is held, or not taken yet."""
        if self._heartbeat is None:
            return None
        yield from _renewal(self._heartbeat, self._application, self._clock)
        if self._heartbeat.away is not None:
            return self._heartbeat.away
        return _lost(self._application) if self._heartbeat.lost.is_set() else None


class _Heartbeat(threading.Thread):
    """Renews the Lease until it is stopped; `overdue` while it has run out, `lost` once it is somebody else's.

    `away` says why, where it cannot be renewed because the cluster was stopped.
    """

    def __init__(self, lease: _Lease, identity: str) -> None:
        super().__init__(name="lease", daemon=True)
        self._lease, self._identity = lease, identity
        self._ended = threading.Event()
        self.overdue = threading.Event()
        self.lost = threading.Event()
        self.away: ClusterStopped | None = None

    def run(self) -> None:
        renewed = time.monotonic()
        while not self._ended.wait(_RENEW_SECONDS if not self.overdue.is_set() else _AGAIN_SECONDS):
            try:
                found = self._lease.read()
                if found is None or _holder(found) != self._identity:
                    self.lost.set()
                    return
                # Only if nobody wrote it since it was read: of two that come back at once, one loses it.
                self._lease.kube.replace(_renewed(found, self._identity, time.time()))
                renewed = time.monotonic()
                self.overdue.clear()
            except ClusterStopped as why:
                self.away = why
                return
            except DeployError:
                if time.monotonic() - renewed > DURATION_SECONDS:
                    self.overdue.set()

    def stop(self) -> None:
        self._ended.set()
        if self.ident is not None:  # an interrupt may come before its start
            self.join(timeout=5)

    def release(self) -> None:
        """The Lease is gone, if it is still ours; a cluster that does not answer lets it run out."""
        with suppress(DeployError):
            found = self._lease.read()
            if found is not None and _holder(found) == self._identity:
                self._lease.kube.delete("Lease", self._lease.namespace, lease_name(self._lease.application))


def _renewal(beat: _Heartbeat, application: str, clock: Clock) -> Steps[None]:
    """The Lease is ours, or lost: nothing is written while nobody knows."""
    if not beat.overdue.is_set():
        return
    yield Warned(
        Problem(
            "LEASE_OVERDUE", f"the API server does not answer: waiting to renew the deployment lock of `{application}`"
        )
    )
    deadline = clock.monotonic() + _OVERDUE_SECONDS
    while beat.overdue.is_set() and not beat.lost.is_set() and beat.away is None:
        if clock.monotonic() > deadline:
            beat.lost.set()
            return
        clock.sleep(0.2)


@dataclass(frozen=True, slots=True)
class _Lease:
    """Where an application's Lease is."""

    kube: KubePort
    namespace: str
    application: str

    def read(self) -> Object | None:
        """The Lease as it is now."""
        return self.kube.get("Lease", self.namespace, lease_name(self.application))


def _space(namespace: str, kube: KubePort) -> str:
    """The namespace for the Lease: the usual one until that of the application is there."""
    try:
        there = namespace == NAMESPACE or kube.get("Namespace", "", namespace) is not None
    except DeployError as error:
        if not is_forbidden(error):
            raise
        there = True
    return namespace if there else NAMESPACE


def _take(lease: _Lease, identity: str, clock: Clock) -> Steps[None]:
    found = lease.read()
    if found is None or _is_free(found, identity):
        with suppress(_Conflict):
            _write(lease, found, identity, clock.now())
            return
    yield from stage(STAGE, _await_lease(lease, identity, clock), clock)


def _await_lease(lease: _Lease, identity: str, clock: Clock) -> Steps[Outcome[None]]:
    shown, application = "", lease.application
    deadline = clock.monotonic() + _LIMIT_SECONDS
    seen: Object | None = None
    since = clock.monotonic()
    while True:
        found = lease.read()
        spec = (found or {}).get("spec") or {}
        if spec != seen:
            seen, since = spec, clock.monotonic()
        # Its holder's clock may be any other: what counts is how long it was not renewed before our eyes.
        silent = clock.monotonic() - since
        expired = silent > float(spec.get("leaseDurationSeconds") or DURATION_SECONDS)
        if found is None or expired or _is_free(found, identity):
            with suppress(_Conflict):
                _write(lease, found, identity, clock.now())
                return Outcome(None, False, f"waited for {shown}" if shown else "free")
            continue
        holder = _holder(found)
        if holder != shown:
            shown = holder
            yield Warned(Problem("LOCK_WAIT", f"waiting for another run of `{application}`: {holder}"))
            yield Item(STAGE, "waiting", ItemState.RUNNING, f"for another run of `{application}`: {holder}")
        if clock.monotonic() > deadline:
            raise refused(
                "LOCKED", f"another run deploys `{application}`: {holder}", hints=("wait until it has ended",)
            )
        clock.sleep(0.5)


class _Conflict(Exception):
    """Somebody else was faster."""


def _write(lease: _Lease, found: Object | None, identity: str, now: float) -> None:
    metadata = {
        "name": lease_name(lease.application),
        "namespace": lease.namespace,
        "labels": {MANAGED_BY: OWNER, f"{LABEL_PREFIX}/lease": lease.application},
    }
    fresh: Object = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {}}
    try:
        if found is None:
            lease.kube.create(_renewed(fresh, identity, now, taken=True))
        else:
            lease.kube.replace(_renewed(found, identity, now, taken=True))
    except DeployError as error:
        if error.exit_code == ExitCode.REFUSED and error.problems[0].code in ("API_CONFLICT", "API_ALREADYEXISTS"):
            raise _Conflict from None
        raise


def _renewed(lease: Object, identity: str, now: float, *, taken: bool = False) -> Object:
    at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {**(lease.get("spec") or {}), "holderIdentity": identity, "leaseDurationSeconds": DURATION_SECONDS}
    spec |= {"renewTime": at} | ({"acquireTime": at} if taken else {})
    return {**lease, "spec": spec}


def _holder(lease: Object) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def _is_free(lease: Object, identity: str) -> bool:
    """Whether nobody holds it, or a run of this machine that has ended."""
    holder = _holder(lease)
    return not holder or holder == identity or bool(process.is_gone(holder))


def is_held(kube: KubePort, application: str, namespace: str = NAMESPACE) -> bool:
    """Whether a run deploys the application, as far as its Lease in that namespace says."""
    found = read(kube, "Lease", namespace, lease_name(application))
    return found is not None and not _is_free(found, "")


def _lost(application: str) -> LockLost:
    title = f"lost the deployment lock of `{application}` while the API server could not be reached"
    return LockLost(Problem("LEASE_LOST", title, hints=("todo-deploy up",)), ExitCode.REFUSED)
