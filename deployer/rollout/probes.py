"""Readiness that is asked for as soon as the spec of the probe allows it.

The kubelet asks a readiness probe once in each period, counted from when it first saw the container run, and also
whenever it looks at the pod anew (prober_manager.go, UpdatePodStatus). Whether it happens to do that once more after
`initialDelaySeconds` decides by chance whether a rollout takes a second, or a whole period, more. A change of an
annotation makes it look.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from deployer.core.errors import DeployError
from deployer.core.ports import LABEL_PREFIX, KubePort
from deployer.diagnosis.needs import Container
from deployer.diagnosis.restarts import lasting_containers
from deployer.status import Snapshot, WorkloadRef
from deployer.status.objects import dig, epoch, name_of, number, uid_of

ANNOTATION = f"{LABEL_PREFIX}/looked-at"
_MOST = 20
"""Pods that are made to be looked at in one round, so that a large rollout is not slowed down by it."""

Run = tuple[str, str, str]
"""A container's run: uid of the pod, name, and when it was started."""


@dataclass(slots=True)
class Early:
    """What was seen of the containers that run and are not ready: when first, how often asked, and when next."""

    due: dict[Run, float] = field(default_factory=dict)
    asked: dict[Run, int] = field(default_factory=dict)

    def ask(self, refs: Collection[WorkloadRef], snapshot: Snapshot, kube: KubePort, now: float) -> None:
        """The kubelet looks at each pod whose readiness may be asked by now, and has not been asked lately.

        A pod that is still not ready is looked at again after 1, 2, 4, … seconds, at most a period of its probe:
        a probe that failed begins its period anew, so that asked once too early it would come later than by itself.
        """
        waiting = {_run(one): one for one in _unready(refs, snapshot)}
        self.due = {run: self.due.get(run, _first(one, now)) for run, one in waiting.items()}
        pods = {}
        for run, one in waiting.items():
            if now >= self.due[run]:
                pods[str(dig(one.pod, "metadata", "uid"))] = one
                times = self.asked[run] = self.asked.get(run, 0) + 1
                period = number(dig(one.spec, "readinessProbe"), "periodSeconds", default=10)
                self.due[run] = now + min(2.0 ** (times - 1), period)
        for one in list(pods.values())[:_MOST]:
            with suppress(DeployError):  # who may not change pods waits for the period
                note = {"metadata": {"annotations": {ANNOTATION: f"{now:.0f}"}}}
                kube.patch("Pod", one.ref.namespace, name_of(one.pod), note)

    def next(self, now: float) -> float:
        """Seconds until one of them is to be asked; without end where none is."""
        return max(min(self.due.values(), default=float("inf")) - now, 0.0)


def _unready(refs: Collection[WorkloadRef], snapshot: Snapshot) -> Iterator[Container]:
    for one in lasting_containers(refs, snapshot):
        is_up = dig(one.status, "state", "running") is not None and dig(one.status, "started")
        if is_up and not dig(one.status, "ready") and dig(one.spec, "readinessProbe"):
            yield one


def _first(one: Container, now: float) -> float:
    """When the kubelet asks its probe if it looks then; it was started up to a second later than it says.

    With a delay of at most a second, now: the kubelet looks at a pod at most once a second.
    """
    delay = number(dig(one.spec, "readinessProbe"), "initialDelaySeconds")
    begun = epoch(dig(one.status, "state", "running", "startedAt")) or now
    return now if delay <= 1 else min(begun + 1, now) + delay


def _run(one: Container) -> Run:
    return uid_of(one.pod), one.name, str(dig(one.status, "state", "running", "startedAt"))
