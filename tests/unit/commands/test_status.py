"""What `status` shows: how things stand now, and where they are reached."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deployer.cli.status import forward_data, node_lines, part_lines, status_data
from deployer.commands.connection import Opened, open_running
from deployer.commands.status import Status, read_status
from deployer.config.load import load_spec
from deployer.core.errors import DeployError, ExitCode
from deployer.core.ports import ClusterFacts, NodeFacts, ObjectRef
from deployer.forwarding import Known, PortMapping
from deployer.status import ClusterPhase, Phase
from tests.fakes import FakeCluster
from tests.fakes.cluster import RUNNING
from tests.fakes.play import played
from tests.fakes.scene import BACK_OFF
from tests.fakes.shop import SPEC, Shop
from tests.fakes.workloads import ref, show

WEB = ref("web")
NODE = RUNNING.node_ip


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def opened(shop: Shop) -> Opened:
    return open_running(load_spec(shop.root / "todo-deploy.yaml"), shop.here)


def seen(shop: Shop) -> Status:
    return read_status(opened(shop), shop.kube.clock)


def service(shop: Shop, name: str, node_port: int | None, **selector: str) -> None:
    ports = [{"port": 80, **({"nodePort": node_port} if node_port else {})}]
    spec = {"type": "NodePort" if node_port else "ClusterIP", "ports": ports, "selector": selector}
    shop.kube.put({"kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec})


def test_an_application_that_was_never_deployed_is_no_status(shop: Shop) -> None:
    with pytest.raises(DeployError) as caught:
        seen(shop)
    (problem,) = caught.value.problems
    assert (problem.code, caught.value.exit_code) == ("NOT_DEPLOYED", ExitCode.MACHINE)
    assert problem.hints == ("todo-deploy up",)


def test_after_a_down_it_is_not_deployed(shop: Shop) -> None:
    played(shop.up("1"))
    played(shop.down())
    with pytest.raises(DeployError):
        seen(shop)


@pytest.mark.parametrize("phase", [ClusterPhase.MISSING, ClusterPhase.STOPPED, ClusterPhase.PAUSED])
def test_a_cluster_that_does_not_run_is_named(shop: Shop, phase: ClusterPhase) -> None:
    shop.cluster = FakeCluster(ClusterFacts(phase))
    with pytest.raises(DeployError) as caught:
        opened(shop)
    assert caught.value.problems[0].code == f"CLUSTER_{phase.name}"


def test_workloads_and_the_newest_revision_of_each_release(shop: Shop) -> None:
    played(shop.up("1"))
    played(shop.up("2"))
    found = seen(shop)
    assert [(one.release, one.revision, one.verdict) for one in found.releases] == [("web", 2, "verified")]
    assert [(one.ref, one.phase, one.ready) for one in found.workloads] == [(WEB, Phase.AVAILABLE, 1)]
    assert (found.causes, found.addresses, found.urls) == ({}, {}, ())


def test_pods_lost_after_a_verdict_are_degraded_and_before_it_in_progress(shop: Shop) -> None:
    played(shop.up("1"))
    show(shop.kube, "web", ready=False, restarts=3, waiting=BACK_OFF, crashed=1)
    found = seen(shop)
    assert [one.phase for one in found.workloads] == [Phase.PROGRESSING], "its rollout is not complete"
    deployment = shop.kube.get("Deployment", "default", "web")
    assert deployment is not None
    deployment["status"]["conditions"][0]["reason"] = "NewReplicaSetAvailable"
    shop.kube.put(deployment)
    found = seen(shop)
    assert [one.phase for one in found.workloads] == [Phase.DEGRADED]
    assert "web" in found.causes[WEB]


def flapping(shop: Shop) -> None:
    """The container runs at the moment, and ends again and again."""
    show(shop.kube, "web", restarts=3, crashed=1)
    about = {"kind": "Pod", "name": "web-pod", "uid": "pod-web", "fieldPath": "spec.containers{web}"}
    event = {"reason": "BackOff", "involvedObject": about, "lastTimestamp": shop.kube.clock.stamp()}
    shop.kube.put({"kind": "Event", "metadata": {"name": "e", "namespace": "default"}, **event})


def test_what_fails_after_its_verdict_is_named_and_verified_no_longer(shop: Shop) -> None:
    played(shop.up("1"))
    flapping(shop)
    found = seen(shop)
    assert "exit code 1" in found.causes[WEB]
    assert [(one.status, one.verdict) for one in found.releases] == [("failed", "failed")]
    assert shop.verdicts == ["failed"]
    assert seen(shop).releases == found.releases


def test_a_status_during_a_run_leaves_the_verdict_to_it(shop: Shop) -> None:
    played(shop.up("1"))
    flapping(shop)
    lease = {"name": "todo-deploy.shop", "namespace": "default"}
    shop.kube.put({"kind": "Lease", "metadata": lease, "spec": {"holderIdentity": "elsewhere/1/2/3"}})
    assert "exit code 1" in seen(shop).causes[WEB]
    assert shop.verdicts == ["verified"]


def test_a_workload_is_reached_where_a_service_of_its_pods_is(shop: Shop) -> None:
    played(shop.up("1"))
    service(shop, "inner", None, app="web")
    service(shop, "other", 30001, app="other")
    service(shop, "selects-nothing", 30002)
    assert seen(shop).addresses == {}
    service(shop, "web", 30003, app="web")
    assert seen(shop).addresses == {WEB: f"http://{NODE}:30003"}


def test_urls_are_those_that_a_person_would_open(shop: Shop) -> None:
    played(shop.up("1"))
    text = """\
urls:
  page: {service: web, path: /shop}
  health: {service: web, path: /health, show: false}
  lost: {service: gone}
  inner: {service: inner}
  named: {ingressHost: shop.local, path: /in}
"""
    (shop.root / "todo-deploy.yaml").write_text(SPEC + text)
    service(shop, "web", 30003, app="web")
    service(shop, "inner", None, app="web")
    assert seen(shop).urls == (("page", f"http://{NODE}:30003/shop"), ("named", "http://shop.local/in"))


def test_looking_changes_nothing(shop: Shop) -> None:
    played(shop.up("1"))
    shop.kube.writes.clear()
    seen(shop)
    assert shop.kube.writes == []


def with_objects(shop: Shop, *objects: ObjectRef) -> Opened:
    """The application, whose release also has these objects."""
    found = opened(shop)
    kept = found.record.releases["web"]
    releases = {"web": replace(kept, objects=(*kept.objects, *objects))}
    return replace(found, record=replace(found.record, releases=releases))


def claim(shop: Shop, name: str, phase: str) -> None:
    metadata = {"name": name, "namespace": "default"}
    shop.kube.put({"kind": "PersistentVolumeClaim", "metadata": metadata, "status": {"phase": phase}})


def test_services_are_shown_by_their_endpoints_and_claims_by_their_volumes(shop: Shop) -> None:
    played(shop.up("1"))
    for name in ("web", "lonely", "of-others"):
        service(shop, name, None, app=name)
    shop.kube.put({
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
    })  # fmt: skip
    shop.kube.put({
        "kind": "StatefulSet", "metadata": {"name": "database", "namespace": "default"},
        "spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]},
    })  # fmt: skip
    claim(shop, "data-database-0", "Bound")
    claim(shop, "uploads", "Pending")
    claim(shop, "of-others", "Bound")
    claim(shop, "data-other-database-0", "Bound")
    objects = (
        ObjectRef("Service", "default", "web"), ObjectRef("Service", "default", "lonely"),
        ObjectRef("StatefulSet", "default", "database"), ObjectRef("PersistentVolumeClaim", "default", "uploads"),
    )  # fmt: skip
    found = read_status(with_objects(shop, *objects), shop.kube.clock)
    assert [(one.kind, one.name, one.phase, one.well) for one in found.parts] == [
        ("Service", "lonely", "Unavailable", False),
        ("Service", "web", "Available", True),
        ("PersistentVolumeClaim", "data-database-0", "Bound", True),
        ("PersistentVolumeClaim", "uploads", "Pending", False),
    ]
    assert part_lines(found.parts) == [
        "services: 1 of 2 Available; lonely: Unavailable (no endpoint takes traffic)",
        "claims: 1 of 2 Bound; uploads: Pending (not bound to a volume)",
    ]
    data = status_data(found)
    assert data["services"][0] == {"name": "lonely", "namespace": "default", "phase": "Unavailable"}
    assert [one["phase"] for one in data["claims"]] == ["Bound", "Pending"]


def test_what_this_machine_serves_itself_is_shown_at_its_address(shop: Shop) -> None:
    text = SPEC + "urls: {web: {service: web}, site: {ingressHost: shop.local}}\nforward: never\n"
    played(shop.up("1"))
    (shop.root / "todo-deploy.yaml").write_text(text)
    service(shop, "web", 30001, app="web")
    mappings = (PortMapping("default", "web", "", 31000), PortMapping("", "", "", 31001))
    found = read_status(replace(opened(shop), forward=Known(mappings, 4711)), shop.kube.clock)
    assert dict(found.urls) == {"web": "http://127.0.0.1:31000/", "site": "http://shop.local:31001/"}
    assert found.addresses == {WEB: "http://127.0.0.1:31000"}
    data = forward_data(found.opened.forward)
    assert data is not None
    assert (data["running"], [one["localPort"] for one in data["doors"]]) == (True, [31000, 31001])


def test_a_url_with_a_switch_is_shown_where_the_env_file_turns_it_on(shop: Shop) -> None:
    played(shop.up("1"))
    switched = "\nswitches: {web: {whenSet: TOKEN}}\nurls: {web: {service: web, nodePort: 30080, when: web}}\n"
    (shop.root / "todo-deploy.yaml").write_text(SPEC + switched)
    service(shop, "web", 30080, app="web")
    assert seen(shop).urls == (("web", f"http://{NODE}:30080/"),)
    (shop.root / ".env").write_text("")
    assert seen(shop).urls == ()


def test_of_several_nodes_those_that_do_not_run_and_the_places_of_pods_are_shown(shop: Shop) -> None:
    played(shop.up("1"))
    assert node_lines(seen(shop)) == []  # of one node there is nothing to say
    shop.cluster = FakeCluster(replace(RUNNING, nodes=(NodeFacts("c", True), NodeFacts("c-m02", False))))
    for number, pod in enumerate(shop.kube.list("Pod", "default")):
        shop.kube.put({**pod, "spec": {**pod["spec"], "nodeName": "c" if number == 0 else "c-m02"}})
    found = seen(shop)
    first, *placed = node_lines(found)
    assert "1 of 2" in first and "c-m02" in first
    assert placed and placed[0].startswith(f"{WEB}: 1 on c")
    data = status_data(found)
    assert data["cluster"]["nodes"] == [{"name": "c", "running": True}, {"name": "c-m02", "running": False}]
    assert data["workloads"][0]["nodes"]["c"] == 1
