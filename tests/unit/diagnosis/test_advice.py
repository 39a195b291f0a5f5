"""What a pod that does not get ready waits for, and what helps."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from deployer.diagnosis import Finding, Known, diagnose
from deployer.status import Snapshot, WorkloadRef
from deployer.status.objects import epoch
from tests import DATA
from tests.unit.status.test_status_cases import load

BACKEND = WorkloadRef("todo", "Deployment", "backend")


class Case:
    """A case of tests/data/status that may be changed."""

    def __init__(self, name: str) -> None:
        self.data: dict[str, Any] = copy.deepcopy(load(DATA / "status" / f"{name}.yaml"))
        self.pod: dict[str, Any] = self.data["objects"]["pods"][0]
        self.container: dict[str, Any] = self.pod["spec"]["containers"][0]

    def events(self, reason: str) -> Iterator[dict[str, Any]]:
        return (event for event in self.data["objects"]["events"] if event["reason"] == reason)

    def found(self, known: Known | None = None, later: float = 0.0) -> Finding:
        snapshot = Snapshot(**{kind: tuple(objects) for kind, objects in self.data["objects"].items()})
        since, now = epoch(self.data["since"]), epoch(self.data["now"])
        assert since is not None and now is not None
        (first, *_) = diagnose(snapshot, [BACKEND], {}, now + later, since, known=known)
        return first


HTTP = {"httpGet": {"path": "/ready", "port": 8000}}
REFUSED = "dial tcp 10.244.0.7:8000: connect: connection refused"


@pytest.mark.parametrize(
    ("probe", "answer", "says"),
    [
        (HTTP, f'Get "http://10.244.0.7:8000/ready": {REFUSED}', "0.0.0.0"),
        ({"tcpSocket": {"port": 8000}}, REFUSED, "0.0.0.0"),
        (HTTP, "HTTP probe failed with statuscode: 404", "path"),
        (HTTP, 'Get "http://10.244.0.7:8000/": context deadline exceeded (Client.Timeout)', "timeoutSeconds"),
        ({"grpc": {"port": 9000}}, 'timeout: failed to connect service "10.244.0.7:9000" within 1s', "port 9000"),
        ({"grpc": {"port": 9000, "service": "todo"}}, f"error: {REFUSED}", "`todo`"),
        ({"exec": {"command": ["test", "-f", "/run/a b"]}}, "", "-- test -f '/run/a b'"),
    ],
)  # fmt: skip
def test_advice_fits_what_a_probe_asks_and_was_answered(probe: Mapping[str, Any], answer: str, says: str) -> None:
    case = Case("readiness_never")
    case.container["readinessProbe"] = probe
    for event in case.events("Unhealthy"):
        event["message"] = f"Readiness probe failed: {answer}"
    found = case.found()
    assert found.code == "READINESS_PROBE"
    assert says in found.hints[0]
    assert ("0.0.0.0" in " ".join(found.hints)) is (says == "0.0.0.0")


@pytest.mark.parametrize("set_to", [None, "False"])
def test_a_readiness_gate_is_named(set_to: str | None) -> None:
    case = Case("readiness_never")
    case.pod["spec"]["readinessGates"] = [{"conditionType": "example.com/balanced"}]
    case.pod["status"]["containerStatuses"][0]["ready"] = True
    case.pod["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "True"},
        {"type": "ContainersReady", "status": "True", "lastTransitionTime": "2026-03-02T09:00:20Z"},
        {"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady", "message": "does not exist"},
        *([{"type": "example.com/balanced", "status": set_to}] if set_to else []),
    ]
    found = case.found()
    assert (found.code, found.ignored) == ("READINESS_GATE", "")
    assert "`example.com/balanced`" in found.title
    assert ("nobody has set" in found.title) is (set_to is None)


def test_a_scheduling_gate_is_named_once_nobody_removes_it() -> None:
    case = Case("readiness_never")
    case.pod["spec"]["schedulingGates"] = [{"name": "example.com/quota"}]
    case.pod["status"] = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}],
    }
    found = case.found()
    assert (found.code, found.ignored) == ("SCHEDULING_GATE", "")
    assert "`example.com/quota`" in found.title


BUILT = "acme/web:1.0.0-3f2a9c81d0e4"


@pytest.mark.parametrize(
    ("asked", "in_cluster", "code"),
    [
        ("acme/acme/web:1.0.0-3f2a9c81d0e4", BUILT, "IMAGE_MAPPING"),
        ("registry.example.com/shop/site:1.0.0-3f2a9c81d0e4", BUILT, "IMAGE_MAPPING"),  # no other has that tag
        ("acme/acme/web:2.0.0", "acme/web:2.0.0", "IMAGE_MAPPING"),
        ("acme/acme/web:2.0.0", BUILT, "IMAGE_NETWORK"),
        ("acme/other:2.0.0", "acme/web:2.0.0", "IMAGE_NETWORK"),
        (BUILT, "acme/other:1", "IMAGE_NETWORK"),
    ],
)
def test_an_image_that_was_built_under_another_name_is_told_from_a_network_fault(
    asked: str, in_cluster: str, code: str
) -> None:
    case = Case("image_network")
    case.container["image"] = asked
    known = Known(node_images=(in_cluster,), images_seen=True, repositories={"web": "acme/web"})
    found = case.found(known)
    assert found.code == code
    if code == "IMAGE_MAPPING":
        assert "`web`" in found.title and in_cluster in found.title and asked in found.title


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("http: server gave HTTP response to HTTPS client", "IMAGE_HTTP"),
        ("tls: first record does not look like a TLS handshake", "IMAGE_HTTP"),
        ("tls: failed to verify certificate: x509: certificate is valid for a, not b", "IMAGE_CERTIFICATE"),
        ("net/http: TLS handshake timeout", "IMAGE_NETWORK"),
    ],
)
def test_a_registry_is_known_by_what_the_runtime_says_of_it(said: str, code: str) -> None:
    case = Case("image_network")
    waiting = case.pod["status"]["containerStatuses"][0]["state"]["waiting"]
    waiting["message"] = f'Get "https://registry.example/v2/": {said}'
    waiting["reason"] = "ErrImagePull"
    assert case.found(Known()).code == code


@pytest.mark.parametrize("crashed_before", [False, True])
def test_the_previous_log_is_advised_only_where_there_is_one(crashed_before: bool) -> None:
    case = Case("crash_three_restarts")
    status = case.pod["status"]["containerStatuses"][0]
    if not crashed_before:
        status.update(restartCount=0, state=status["lastState"], lastState={})
    hints = " ".join(case.found().hints)
    assert "kubectl logs" in hints and not hints.endswith(" ")
    assert ("--previous" in hints) is crashed_before


@pytest.mark.parametrize(("later", "ignored"), [(0.0, True), (120.0, False)])
def test_a_cache_that_the_kubelet_has_not_read_yet_is_no_alarm_at_first(later: float, ignored: bool) -> None:
    case = Case("secret_cache")
    found = case.found(later=later)
    assert (found.code, bool(found.ignored)) == ("CONFIG_CACHE", ignored)


@pytest.mark.parametrize(("later", "ignored"), [(0.0, True), (120.0, False)])
@pytest.mark.parametrize(
    "said",
    [
        "failed to sync configmap cache: timed out waiting for the condition",
        'object "todo"/"kube-root-ca.crt" not registered',
        'failed to fetch token: serviceaccounts "default" is forbidden: token bound to a pod on a different node',
    ],
)
def test_so_is_a_mount_that_waits_for_it(said: str, later: float, ignored: bool) -> None:
    case = Case("mount_secret_missing")
    for event in case.events("FailedMount"):
        event["message"] = f'MountVolume.SetUp failed for volume "settings" : {said}'
    found = case.found(later=later)
    assert (found.code, bool(found.ignored)) == ("VOLUME_MOUNT", ignored)


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("didn't match Pod's node affinity/selector", "node affinity"),
        ("didn't match pod anti-affinity rules", "pod anti-affinity"),
        ("didn't match pod affinity rules", "pod affinity"),
        ("didn't match pod topology spread constraints, 1 node(s) had untolerated taint(s)", "topology spread"),
    ],
)
def test_what_no_node_meets_is_named_and_a_lost_node_is_the_cause(reason: str, says: str) -> None:
    case = Case("selector")
    case.pod["spec"].pop("nodeSelector", None)
    (scheduled,) = [one for one in case.pod["status"]["conditions"] if one["type"] == "PodScheduled"]
    scheduled["message"] = f"0/2 nodes are available: 1 node(s) {reason}. preemption: 0/2 nodes are available."
    found = case.found(later=20)
    assert (found.code, f"its {says}" in found.title, found.ignored) == ("UNSCHEDULABLE_SELECTOR", True, "")
    lost = {"type": "Ready", "status": "Unknown", "lastTransitionTime": "2026-03-02T09:00:01Z"}
    case.data["objects"]["nodes"] = [{"metadata": {"name": "m02"}, "status": {"conditions": [lost]}}]
    assert case.found(later=20).code == "NODE_NOT_READY"
