"""Whether what is Available stays so, and how long it is held: until every liveness probe has had its first verdict.

Startup and readiness probes have had theirs by then: nothing is Available without them. Of a liveness probe the API
shows failures alone, in events; that it succeeded is known when none came although it was asked
(https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-probes), or because we ask the same.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deployer import diagnosis
from deployer.core.ports import KubePort
from deployer.diagnosis.causes import CAUSES, is_its_own
from deployer.diagnosis.crashes import crash_finding
from deployer.diagnosis.finding import Finding, Scene
from deployer.diagnosis.needs import Container
from deployer.diagnosis.restarts import ended_lately, failing_since, goes_on, last_log, lasting_containers
from deployer.rollout.observe import log_end
from deployer.rollout.stage import RECENT_SECONDS
from deployer.status import Snapshot, WorkloadRef
from deployer.status.objects import condition, dig, epoch, name_of, number, rows

_SLACK_SECONDS = 4.0
"""On a node under load a probe begins and ends late, and its event is a moment on its way."""
_HANDLERS = ("httpGet", "tcpSocket", "grpc", "exec")


@dataclass(frozen=True, slots=True)
class Awaited:
    """A container that is not known to be healthy yet, until when (seconds since the epoch), and what is waited for."""

    container: Container
    until: float
    why: str


Asked = dict[tuple[str, str], bool]
"""Of pod and container: whether it is known to answer as its liveness probe wants it."""


def awaited(scene: Scene, kube: KubePort, asked: Asked) -> tuple[Awaited, ...]:
    """The containers of pods that were made since the run began whose liveness probe is yet to be judged, and those
    that have restarted and did not run for as long as the last time.

    Each that is not in `asked` is asked, once.
    """
    found = [
        Awaited(one, until, f"`{one.name}` has run for longer than when it ended last")
        for one in ended_lately(scene)
        if (until := _longer_than_last(one)) > scene.now
    ]
    for one in _probed(scene):
        key = name_of(one.pod), one.name
        failed = failing_since(scene, one)
        if key not in asked:
            asked[key] = failed is None and (_asks_the_same(one) or _answers(one, kube))
        if failed is not None or not asked[key]:
            until = _until(scene, one, failed)
            why = f"the liveness probe of `{one.name}` has been asked"
            found += [Awaited(one, until, why)] if until > scene.now else []
    return tuple(found)


def lately(
    snapshot: Snapshot, refs: Sequence[WorkloadRef], kube: KubePort, now: float
) -> tuple[tuple[Finding, bool], ...]:
    """What workloads did wrong of themselves in the last ten minutes, and whether it goes on or is final.

    A look at one moment may find all of them running. The last Job of a CronJob is no part of what was verified.
    """
    judged = [ref for ref in refs if ref.kind != "CronJob"]
    ended = diagnosis.scene_of(snapshot, judged, {}, now, now - RECENT_SECONDS)
    wanted = {*diagnosis.logs_wanted(snapshot, judged), *map(last_log, ended_lately(ended))}
    scene = diagnosis.scene_of(snapshot, judged, {one.key: log_end(one, kube) for one in wanted}, now, ended.since)
    crashes = (crash_finding(scene, one) for one in ended_lately(scene))
    found = (*diagnosis.diagnose(snapshot, judged, scene.logs, now=now, since=scene.since), *crashes)
    own = (one for one in found if one is not None and is_its_own(one.code) and not one.ignored)
    return tuple((one, CAUSES[one.code].balanced.now or goes_on(scene, one)) for one in own)


def relapse(snapshot: Snapshot, refs: Sequence[WorkloadRef], kube: KubePort, now: float) -> Finding | None:
    """The cause of its own by which what was verified fails again and again, or for good; None where none does."""
    return next((found for found, goes_on in lately(snapshot, refs, kube, now) if goes_on), None)


def _probed(scene: Scene) -> Iterator[Container]:
    for one in lasting_containers(scene.refs, scene.snapshot):
        made = epoch(dig(one.pod, "metadata", "creationTimestamp")) or 0.0
        running = dig(one.status, "state", "running", "startedAt")
        if made + 1 > scene.since and running and dig(one.spec, "livenessProbe"):
            yield one


def _longer_than_last(one: Container) -> float:
    last, now = dig(one.status, "lastState", "terminated"), epoch(dig(one.status, "state", "running", "startedAt"))
    began, ended = epoch(dig(last, "startedAt")), epoch(dig(last, "finishedAt"))
    return now + ended - began + _SLACK_SECONDS if now and began and ended else 0.0


def _until(scene: Scene, one: Container, failed: float | None) -> float:
    """When the probe was surely asked: the first time, or again after a failure."""
    probe, pod = dig(one.spec, "livenessProbe"), one.pod
    period, timeout = number(probe, "periodSeconds", default=10), number(probe, "timeoutSeconds", default=1)
    if failed is not None:
        return failed + period + timeout + _SLACK_SECONDS
    begin = (epoch(dig(one.status, "state", "running", "startedAt")) or 0.0) + number(probe, "initialDelaySeconds")
    if dig(one.spec, "startupProbe"):  # it is not asked before that one has succeeded
        begin = max(begin, epoch(condition(pod, "Ready").get("lastTransitionTime")) or begin)
    # The kubelet asks once in each period from when it has got the pod (prober/worker.go), but with a delay by chance
    # where it has itself just started.
    first = epoch(dig(pod, "status", "startTime"))
    node = next((one for one in scene.snapshot.nodes if name_of(one) == dig(pod, "spec", "nodeName")), None)
    up = epoch(condition(node, "Ready").get("lastTransitionTime"))
    if first is None or up is None or first - up < period:
        return begin + period + timeout + _SLACK_SECONDS
    return first + math.ceil((begin + 1 - first) / period) * period + timeout + _SLACK_SECONDS


def _asks_the_same(one: Container) -> bool:
    """Whether a probe that has succeeded asks what the liveness probe asks, and waits no longer for it."""
    liveness = dig(one.spec, "livenessProbe")
    return any(
        probe is not None
        and all(dig(probe, handler) == dig(liveness, handler) for handler in _HANDLERS)
        and number(probe, "timeoutSeconds", default=1) <= number(liveness, "timeoutSeconds", default=1)
        for probe in (dig(one.spec, "readinessProbe"), dig(one.spec, "startupProbe"))
    )


def _answers(one: Container, kube: KubePort) -> bool:
    """Whether the container answers us as its liveness probe wants it.

    The port must be one that another probe has reached: a connection through the API server reaches loopback too.
    """
    probe = dig(one.spec, "livenessProbe")
    asked = dig(probe, "httpGet")
    port = _port(one, dig(asked, "port"))
    others = [dig(one.spec, name) for name in ("readinessProbe", "startupProbe")]
    reached = {_port(one, dig(other, kind, "port")) for other in others for kind in ("httpGet", "tcpSocket")}
    if (
        port is None
        or port not in reached
        or dig(asked, "host")
        or str(dig(asked, "scheme") or "HTTP").upper() != "HTTP"
    ):
        return False
    headers = {"Host": f"{dig(one.pod, 'status', 'podIP')}:{port}", "User-Agent": "kube-probe/1"}
    headers |= {str(row.get("name")): str(row.get("value") or "") for row in rows(asked, "httpHeaders")}
    begun = time.monotonic()
    try:
        answer = kube.ask_pod(one.ref.namespace, name_of(one.pod), port, "GET", str(dig(asked, "path") or "/"), headers)
    except OSError:
        return False
    in_time = time.monotonic() - begun <= number(probe, "timeoutSeconds", default=1)
    return in_time and 200 <= answer.status < 400


def _port(one: Container, said: object) -> int | None:
    """The number of a port that may be given by its name."""
    if isinstance(said, int):
        return said
    named = (row.get("containerPort") for row in rows(one.spec, "ports") if row.get("name") == said)
    number_ = next(named, None)
    return number_ if isinstance(number_, int) else None
