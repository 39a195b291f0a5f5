"""When the kubelet is made to look at a pod: as soon as its readiness probe may be asked, and not again and again."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.core.errors import machine_error
from deployer.rollout.probes import ANNOTATION, Early
from deployer.rollout.stage import take_snapshot
from tests.fakes.kube import FakeKube
from tests.fakes.workloads import ref, show

REFS = (ref("web"),)


def asked(probe: dict[str, Any] | None, moments: list[float], **status: Any) -> list[float]:
    """The moments, in seconds since it was first seen to run, at which the pod `web` was looked at."""
    kube = FakeKube()
    show(kube, "web", ready=False)
    pod = dict(kube.get("Pod", "default", "web-pod") or {})
    (container,) = pod["spec"]["containers"]
    container["readinessProbe"] = probe
    pod["status"]["containerStatuses"][0] |= {"started": True, **status}
    kube.put(pod)
    begun, early, found, last = kube.clock.now(), Early(), [], None
    for moment in moments:
        early.ask(REFS, take_snapshot(REFS, kube, events=False), kube, begun + moment)
        note = ((kube.get("Pod", "default", "web-pod") or {})["metadata"].get("annotations") or {}).get(ANNOTATION)
        if note != last:
            found.append(moment)
            last = note
    return found


def probe(delay: int = 0, period: int = 10) -> dict[str, Any]:
    return {"httpGet": {"path": "/", "port": 80}, "initialDelaySeconds": delay, "periodSeconds": period}


@pytest.mark.parametrize(("delay", "first"), [(0, 0), (1, 0), (2, 2), (5, 5), (30, 30)])
def test_a_pod_is_looked_at_when_the_delay_of_its_probe_is_over(delay: int, first: int) -> None:
    assert asked(probe(delay), list(range(first + 1)))[0] == first


def test_it_is_looked_at_again_less_and_less_often() -> None:
    """At most a period apart: a probe that failed begins its period anew, and must not come later than by itself."""
    assert asked(probe(period=10), list(range(50))) == [0, 1, 3, 7, 15, 25, 35, 45]


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        (None, {}),  # nothing to be asked
        (probe(), {"ready": True}),
        (probe(), {"started": False}),  # its startup probe comes first
        (probe(), {"state": {"waiting": {"reason": "CrashLoopBackOff"}}}),
    ],
)
def test_a_pod_that_has_nothing_to_be_asked_is_left_alone(
    wanted: dict[str, Any] | None, status: dict[str, Any]
) -> None:
    assert asked(wanted, [0, 1, 2], **status) == []


def test_who_may_not_change_pods_waits_for_the_period(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise machine_error("API_FORBIDDEN", "no")

    monkeypatch.setattr(FakeKube, "patch", forbidden)
    assert asked(probe(), [0, 1]) == []
