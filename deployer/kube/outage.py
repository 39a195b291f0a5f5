"""Times in which the cluster does not answer: retried while they may pass, and reported as soon as they will not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from deployer.core.errors import DeployError, ExitCode, Problem, machine_error
from deployer.core.events import Item, ItemState
from deployer.core.ports import ClusterFacts
from deployer.core.steps import Clock, Steps
from deployer.status import ClusterPhase

T = TypeVar("T")

LIMIT_SECONDS = 90.0
"""An API server that was restarted is there again after some ten seconds, on a busy machine after half a minute."""

STILL_SECONDS = 30.0
"""A node that stood still for less, as on a machine that was woken up, goes on as if nothing had been; a Docker that
does not answer for less is being restarted."""

_MOMENT_SECONDS = 1.0
_LOOK_SECONDS = 1.0
_TICK_SECONDS = 1.0
_ITEM = "API server"
# A server that is just starting, or whose etcd is, answers with these before it answers at all.
_PASSING = ("API_UNREACHABLE", "API_SERVICEUNAVAILABLE", "API_INTERNALERROR", "API_TIMEOUT", "API_503", "API_500")

_WHY = {
    ClusterPhase.STOPPED: "the cluster was stopped: the node of `{}` does not run any more",
    ClusterPhase.BROKEN: "the cluster was stopped: the node of `{}` is gone",
    ClusterPhase.MISSING: "the cluster was deleted: there is no `{}` any more",
    ClusterPhase.PAUSED: "the cluster was paused: the node of `{}` stands still",
    None: "Docker does not answer any more, nor does the cluster `{}` in it",
}

_ENDED = (ClusterPhase.STOPPED, ClusterPhase.BROKEN, ClusterPhase.MISSING)


class ClusterStopped(DeployError):
    """The cluster was stopped under the run: nothing that is waited for comes."""


WhyStopped = Callable[[], ClusterStopped | None]
"""Why the cluster does not answer and will not soon; None while it runs, or while that may pass."""


def unknown() -> ClusterStopped | None:
    """None: nothing is known of where the cluster runs."""
    return None


def watch_node(look: Callable[[], ClusterFacts], name: str, clock: Clock) -> WhyStopped:
    """Asks what the node is found to be; one that is not there for a moment only is none that was stopped."""
    still: float | None = None
    ended = False

    def ask() -> ClusterStopped | None:
        nonlocal still, ended
        phase = _phase(look)
        if phase is None or phase is ClusterPhase.PAUSED:
            still = clock.monotonic() if still is None else still
            return _stopped(name, phase) if clock.monotonic() - still >= STILL_SECONDS else None
        still = None
        if phase in _ENDED and not ended:
            clock.sleep(_MOMENT_SECONDS)
            phase = _phase(look)
        ended = phase in _ENDED
        return _stopped(name, phase) if ended else None

    return ask


@contextmanager
def ended_with_cluster(why_stopped: WhyStopped, end: Callable[[], None]) -> Iterator[None]:
    """While inside, `end` is called from another thread once the cluster will not answer; that is raised then."""
    over = threading.Event()
    found: list[ClusterStopped] = []

    def watch() -> None:
        while not found and not over.wait(_LOOK_SECONDS):
            why = why_stopped()
            if why is not None and not over.is_set():
                found.append(why)
                end()

    if why_stopped is not unknown:
        threading.Thread(target=watch, name="node", daemon=True).start()
    try:
        yield
    except Exception:
        if found:
            raise found[0] from None
        raise
    finally:
        over.set()
    if found:
        raise found[0]


def is_outage(error: DeployError) -> bool:
    """Whether the failure is one of the API server as a whole, which says nothing of what it was asked."""
    return error.problems[0].code in _PASSING


def retried(look: Callable[[], T], stage: str, clock: Clock, limit: float = LIMIT_SECONDS) -> Steps[T]:
    """What the look sees, however often the API server has to be asked for it; machine error after `limit` seconds."""
    begun = clock.monotonic()
    reported = False
    while True:
        try:
            seen = look()
        except DeployError as error:
            if not is_outage(error):
                raise
            took = clock.monotonic() - begun
            if took > limit:
                raise machine_error(
                    "API_UNREACHABLE",
                    f"the API server has not responded for {took:.0f} s",
                    detail="\n".join(filter(None, (error.problems[0].title, error.problems[0].detail))),
                    hints=("todo-deploy up", "todo-deploy doctor"),
                ) from None
            if not reported:
                reported = True
                yield Item(stage, _ITEM, ItemState.RUNNING, "it does not answer; waiting for it")
            clock.sleep(_TICK_SECONDS)
            continue
        if reported:
            yield Item(stage, _ITEM, ItemState.DONE, f"it answers again after {clock.monotonic() - begun:.0f} s")
        return seen


def _phase(look: Callable[[], ClusterFacts]) -> ClusterPhase | None:
    """What the node is; None where Docker itself cannot be asked."""
    try:
        return look().phase
    except DeployError:
        return None


def _stopped(name: str, phase: ClusterPhase | None) -> ClusterStopped:
    code = "DOCKER_AWAY" if phase is None else f"CLUSTER_{phase.name}"
    problem = Problem(
        code, _WHY[phase].format(name),
        detail="nothing is lost: the next `up` starts it and goes on from here",
        hints=("todo-deploy up", "todo-deploy doctor"),
    )  # fmt: skip
    return ClusterStopped(problem, ExitCode.MACHINE)
