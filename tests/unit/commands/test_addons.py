from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer import composition
from deployer.cluster.addons import images
from deployer.cluster.addons.table import ADDONS, KUBE_ROUTER
from deployer.commands import addons
from deployer.composition import Machine
from deployer.config.spec import Cluster
from deployer.core.events import Event, Item, Log, Warned
from deployer.core.ports import DockerEndpoint, Object
from deployer.toolchain import Toolchain
from tests.fakes import FakeCluster, FakeKube
from tests.fakes.cluster import RUNNING
from tests.fakes.images import FakeImages
from tests.fakes.play import code, failed, played
from tests.fakes.scene import TOOLS

SOURCE = replace(TOOLS, way="source", offline_images=True)
NODE = DockerEndpoint("tcp://192.0.2.10:2376")
FACTS = replace(RUNNING, docker=NODE, node_network="192.0.2.0/24")
WITH_ALL = Cluster(addons=("metallb", "metrics-server", "ingress", "network-policies"))
WITH_THREE = Cluster(addons=("metallb", "metrics-server", "ingress"))


class Scene:
    """A cluster whose controllers make ready at once what is applied, and daemons that have every image."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch) -> None:
        self.kube = FakeKube()
        self.cluster = FakeCluster(FACTS)
        self.node = FakeImages()
        self.host = FakeImages(others={NODE: self.node})
        self.here = Machine({"PATH": "/usr/bin:/bin"}, path / "cache", path / "state", self.kube.clock)
        patch.setattr(composition, "open_cluster", lambda *_: self.cluster)
        patch.setattr(composition, "open_images", lambda endpoint: self.node if endpoint == NODE else self.host)
        apply = self.kube.apply

        def living(body: Object) -> Object:
            conditions = [{"type": kind, "status": "True"} for kind in ("Established", "Available")]
            numbers = ("availableReplicas", "updatedReplicas", "desiredNumberScheduled", "numberAvailable",
                       "updatedNumberScheduled")  # fmt: skip
            return apply({**body, "status": {**dict.fromkeys(numbers, 1), "conditions": conditions}})

        patch.setattr(self.kube, "apply", living)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path, monkeypatch)


def ready_images(scene: Scene) -> list[str]:
    """The host's daemon has every image of the addons; returns their names."""
    refs = [images.recipe(image, scene.here.cache_dir, scene.here.env).ref
            for addon in ADDONS.values() for image in addon.images]  # fmt: skip
    scene.host.known |= FakeImages(refs).known
    return refs


def ensured(scene: Scene, cluster: Cluster = WITH_ALL, toolchain: Toolchain = SOURCE) -> tuple[list[Event], Any]:
    return played(addons.ensure(addons.Target(cluster, toolchain, FACTS, scene.kube, scene.here)))


def test_without_a_registry_the_images_are_copied_and_our_manifests_applied(scene: Scene) -> None:
    refs = ready_images(scene)
    events, outcome = ensured(scene)
    assert outcome.changed
    assert sorted(ref for _, copied in scene.host.copied for ref in copied) == sorted(refs)
    pool = scene.kube.get("IPAddressPool", "metallb-system", "node-network")
    assert pool is not None
    assert pool["spec"]["addresses"] == ["192.0.2.200-192.0.2.250"]
    certificate = scene.kube.get("Secret", "kube-system", "metrics-server-tls")
    registration = scene.kube.get("APIService", "", "v1beta1.metrics.k8s.io")
    assert certificate and registration
    assert registration["spec"]["caBundle"] == certificate["data"]["tls.crt"]
    assert {event.stage for event in events if isinstance(event, Item | Log)} == {"addons"}
    scene.kube.writes.clear()
    assert ensured(scene)[1].text == "4 unchanged"
    assert scene.kube.writes == []
    assert scene.cluster.addons == []


def test_with_one_minikube_enables_its_own_and_gets_the_addresses(scene: Scene) -> None:
    for kind, namespace, name in (ref for addon in ADDONS.values() for ref in
                                  ((one.kind, one.namespace, one.name) for one in addon.minikube_objects)):  # fmt: skip
        if namespace:
            scene.kube.put({"kind": "Namespace", "metadata": {"name": namespace}})
        scene.kube.apply({"kind": kind, "metadata": {"name": name, "namespace": namespace}})
    _, outcome = ensured(scene, WITH_THREE, TOOLS)
    assert outcome.changed
    assert sorted(scene.cluster.addons) == ["ingress", "metallb", "metrics-server"]
    metallb = scene.kube.get("ConfigMap", "metallb-system", "config")
    assert metallb is not None
    assert 'addresses: ["192.0.2.200-192.0.2.250"]' in metallb["data"]["config"]
    assert not ensured(scene, WITH_THREE, TOOLS)[1].changed
    assert len(scene.cluster.addons) == 3


def test_what_minikube_does_not_have_is_ours_there_too_with_upstreams_image(scene: Scene) -> None:
    asked = Cluster(addons=("network-policies",))
    assert ensured(scene, asked, TOOLS)[1].changed
    assert scene.cluster.addons == [] and scene.host.copied == []
    made = scene.kube.get("DaemonSet", "kube-system", "kube-router")
    assert made is not None
    (container,) = made["spec"]["template"]["spec"]["containers"]
    pulled = f"docker.io/cloudnativelabs/kube-router:{KUBE_ROUTER}", "IfNotPresent"
    assert (container["image"], container["imagePullPolicy"]) == pulled
    assert not ensured(scene, asked, TOOLS)[1].changed
    scene.kube.drop("DaemonSet", "kube-system", "kube-router")
    assert (
        addons.look(addons.Target(asked, TOOLS, FACTS, scene.kube, scene.here))[0].text
        == "DaemonSet kube-router: not there"
    )


def test_any_addon_of_minikubes_may_be_named_where_it_can_be_pulled(scene: Scene) -> None:
    ensured(scene, Cluster(addons=("dashboard",)), TOOLS)
    assert scene.cluster.addons == ["dashboard"]
    _, error = failed(addons.ensure(addons.Target(Cluster(addons=("ingres",)), SOURCE, FACTS, scene.kube, scene.here)))
    assert (code(error), error.problems[0].hints) == ("ADDON_UNKNOWN", ("did you mean `ingress`?",))


def test_the_addons_of_somebody_elses_cluster_are_left_alone(scene: Scene) -> None:
    foreign = Cluster(provider="context", context="theirs", addons=("ingress",))
    events, outcome = ensured(scene, foreign)
    assert [event.problem.code for event in events if isinstance(event, Warned)] == ["ADDONS_FOREIGN"]
    assert (outcome.changed, scene.kube.writes, scene.cluster.addons) == (False, [], [])
    assert addons.look(addons.Target(foreign, SOURCE, FACTS, scene.kube, scene.here)) == ()


def test_how_they_stand_is_shown_without_a_change(scene: Scene) -> None:
    ready_images(scene)
    before = addons.look(addons.Target(WITH_ALL, SOURCE, FACTS, scene.kube, scene.here))
    assert [(one.name, one.text) for one in before] == [(name, "not in the cluster yet") for name in WITH_ALL.addons]
    ensured(scene)
    scene.kube.drop("DaemonSet", "metallb-system", "speaker")
    scene.kube.writes.clear()
    after = addons.look(addons.Target(WITH_ALL, SOURCE, FACTS, scene.kube, scene.here))
    assert [(one.ready, one.text) for one in after] == [
        (False, "DaemonSet speaker: not there"), (True, "v0.9.0"), (True, "v3.6.12"), (True, KUBE_ROUTER)
    ]  # fmt: skip
    assert scene.kube.writes == []
