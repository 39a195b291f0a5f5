"""What is not ours, on a real server: objects of any kind in a namespace, a person's release, a person's Secret."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer import composition
from deployer.cluster.ownership import Touched, foreign_objects, refuse_foreign
from deployer.core.errors import DeployError
from deployer.core.events import Warned
from deployer.core.ports import MANAGED_BY, OWNER, Object
from deployer.core.steps import drive
from deployer.stages.removal import remove_namespaces
from deployer.toolchain import locate_toolchain
from tests.cluster import PROFILE
from tests.contract.conftest import BOTH, Clients
from tests.contract.test_helm import chart, wanted
from tests.fakes import FakeKube
from tests.fakes.play import played

pytestmark = BOTH
__all__ = ["chart"]

OBJECTS: dict[str, Object] = {
    "ConfigMap": {"apiVersion": "v1", "data": {"a": "1"}},
    "Role": {"apiVersion": "rbac.authorization.k8s.io/v1", "rules": []},
    "NetworkPolicy": {"apiVersion": "networking.k8s.io/v1", "spec": {"podSelector": {}}},
    "HorizontalPodAutoscaler": {
        "apiVersion": "autoscaling/v2",
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"}, "maxReplicas": 2},
    },
    "Widget": {},
}


def group(clients: Clients) -> str:
    """One for each test: the server takes a while to forget a kind."""
    return f"{clients.namespace}.example"


def widget_definition(clients: Clients) -> Object:
    shape = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group(clients)}"},
        "spec": {
            "group": group(clients),
            "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": shape}],
        },
    }


@pytest.fixture
def widgets(clients: Clients) -> Iterator[None]:
    """The server knows a kind that this package does not."""
    definition = widget_definition(clients)
    clients.kube.apply(definition)
    if not isinstance(clients.kube, FakeKube):
        assert clients.kube.awaited("CustomResourceDefinition", "", definition["metadata"]["name"], established, 30)
    yield
    clients.kube.delete("CustomResourceDefinition", "", definition["metadata"]["name"])


def established(definition: Object) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


def kubectl(*words: str, text: str = "") -> None:
    here = composition.this_machine()
    toolchain = locate_toolchain("auto", here.cache_dir)
    assert toolchain is not None
    argv = [str(toolchain.kubectl), "--kubeconfig", str(here.kubeconfig), "--context", PROFILE, *words]
    subprocess.run(argv, input=text, text=True, check=True, capture_output=True, timeout=60, env=dict(here.env))


def put(clients: Clients, kind: str) -> None:
    """A person makes an object `somebodys` of the kind."""
    metadata = {"name": "somebodys", "namespace": clients.namespace}
    body = {"apiVersion": f"{group(clients)}/v1", "kind": kind, "metadata": metadata, **OBJECTS[kind]}
    if isinstance(clients.kube, FakeKube):
        clients.kube.put(body)
        return None
    deadline = time.monotonic() + 20
    while True:
        try:
            return kubectl("apply", "--filename", "-", text=json.dumps(body))
        except subprocess.CalledProcessError:  # kubectl and the server learn of a new kind after a moment
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def mark(clients: Clients) -> None:
    """The namespace is one that we made."""
    clients.kube.patch("Namespace", "", clients.namespace, {"metadata": {"labels": {MANAGED_BY: OWNER}}})


def test_what_kubernetes_puts_into_a_namespace_is_nobodys(clients: Clients) -> None:
    if not isinstance(clients.kube, FakeKube):
        assert clients.kube.awaited("ServiceAccount", clients.namespace, "default", bool, 30)
        assert clients.kube.awaited("ConfigMap", clients.namespace, "kube-root-ca.crt", bool, 30)
        assert len(clients.kube.contents(clients.namespace)) >= 2
    assert foreign_objects(clients.kube.contents(clients.namespace)) == ()


@pytest.mark.parametrize("thing", OBJECTS)
def test_an_object_of_any_kind_keeps_its_namespace(clients: Clients, widgets: None, thing: str) -> None:
    mark(clients)
    put(clients, thing)
    foreign = foreign_objects(clients.kube.contents(clients.namespace))
    # A kind that Kubernetes itself does not have is named with its group.
    assert (thing, clients.namespace, "somebodys") in {
        (one.kind.partition(".")[0], one.namespace, one.name) for one in foreign
    }
    events, removed = played(remove_namespaces([clients.namespace], clients.kube, composition.SystemClock()))
    (kept,) = [one.problem for one in events if isinstance(one, Warned)]
    assert (removed, kept.code) == (0, "NAMESPACE_KEPT")
    assert thing in kept.title and f" {clients.namespace}/somebodys" in kept.title
    found = clients.kube.get("Namespace", "", clients.namespace)
    assert found is not None and not found["metadata"].get("deletionTimestamp")


def test_an_empty_namespace_of_ours_goes(clients: Clients) -> None:
    mark(clients)
    assert drive(remove_namespaces([clients.namespace], clients.kube, composition.SystemClock()), lambda _: None) == 1


def test_a_persons_release_and_secret_are_refused_and_ours_are_not(clients: Clients, chart: Path) -> None:
    asked = wanted(clients, chart)
    touched = Touched("shop", frozenset({(clients.namespace, "app")}), frozenset({(clients.namespace, "keys")}))
    refuse_foreign(touched, clients.kube)
    clients.helm.upgrade(asked)
    refuse_foreign(touched, clients.kube)
    clients.helm.uninstall("app", clients.namespace)
    by_hand = {"example.com/made": "by-hand"}
    clients.helm.upgrade(type(asked)(asked.release, asked.namespace, chart, {"value": "2"}, by_hand, "by hand", 60))
    secret = {"name": "keys", "namespace": clients.namespace}
    data = {"KEY": base64.b64encode(b"theirs").decode()}
    clients.kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": secret, "type": "Opaque", "data": data})
    with pytest.raises(DeployError) as caught:
        refuse_foreign(touched, clients.kube)
    assert [one.code for one in caught.value.problems] == ["RELEASE_FOREIGN", "SECRET_FOREIGN"]
    refuse_foreign(touched, clients.kube, adopt=True)
