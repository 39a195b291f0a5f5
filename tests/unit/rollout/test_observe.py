from __future__ import annotations

from typing import Any

from deployer.core.ports import Object, ObjectRef
from deployer.rollout.observe import Surroundings, read_surroundings, surrounding_kinds
from deployer.rollout.stage import take_snapshot
from tests.fakes import FakeClock, FakeKube
from tests.fakes.workloads import object_ref, ref, show

NODE: Object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}}
KINDS = ("Node", "Service")


class Asked(FakeKube):
    def __init__(self) -> None:
        super().__init__(FakeClock())
        self.asked: list[str] = []

    def list(self, kind: str, namespace: str = "", **more: Any) -> list[Object]:
        self.asked.append(kind)
        return super().list(kind, namespace, **more)


def service(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": {}}


def test_only_what_the_releases_have_is_looked_at() -> None:
    assert surrounding_kinds([object_ref("api")]) == ("Node",)
    objects = [ObjectRef(kind, "default", "x") for kind in ("Service", "Ingress", "Secret", "HorizontalPodAutoscaler")]
    assert set(surrounding_kinds(objects)) == {"Node", "Service", "Ingress", "IngressClass", "HorizontalPodAutoscaler"}


def test_the_first_look_sees_everything_and_each_later_one_half() -> None:
    kube = Asked()
    show(kube, "api")
    kube.put(NODE)
    kube.put(service("api"))
    snapshot = take_snapshot([ref("api")], kube)
    kube.asked.clear()
    around = read_surroundings(Surroundings(), KINDS, snapshot, [ref("api")], kube)
    assert kube.asked == ["Node", "Service"]
    kube.put(service("web"))
    for _ in range(2):
        around = read_surroundings(around, KINDS, snapshot, [ref("api")], kube)
    assert sorted(kube.asked[2:]) == ["Node", "Service"]
    seen = around.beside(snapshot)
    assert [one["metadata"]["name"] for one in seen.services] == ["api", "web"]
    assert [one["metadata"]["name"] for one in seen.nodes] == ["node"]
    assert seen.pods == snapshot.pods


def test_claims_are_looked_at_while_a_pod_waits_for_them() -> None:
    kube = Asked()
    for ready, asked in ((False, ["PersistentVolumeClaim"]), (True, [])):
        show(kube, "api", ready=ready)
        pod = kube.get("Pod", "default", "api-pod")
        assert pod is not None
        pod["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
        kube.put(pod)
        snapshot = take_snapshot([ref("api")], kube)
        kube.asked.clear()
        read_surroundings(Surroundings(), (), snapshot, [ref("api")], kube)
        assert kube.asked == asked
