"""What no kept revision and no running pod refers to any more, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.core.ports import ImageFacts, ObjectRef
from deployer.images.prune import Waste, find_waste, remove_waste, used_images
from deployer.plan import Plan, SecretPlan
from deployer.stages.secrets import ensure_secrets
from deployer.state.history import Entry, KeptSecretRef
from deployer.state.record import Record, save
from tests.fakes import FakeImages, FakeKube
from tests.fakes.play import played

LABEL = "todo-deploy.dev/application"


def entry(version: str) -> Entry:
    kept = (KeptSecretRef("default", "app", f"app-{version}"),)
    return Entry(1, "r", 0.0, "me", "why", images={"api": f"shop/api:{version}"}, secrets=kept)


def daemon(**images: str) -> FakeImages:
    """The versions of an image, each with the application it was built for."""
    made = FakeImages()
    for version, application in images.items():
        ref = f"{application or 'shop'}/api:{version}"
        labels = {LABEL: application} if application else {}
        made.known[ref] = ImageFacts(ref, f"sha256:{version}", 1000, "", "amd64", labels)
    return made


def secret(version: str, stable: str | None = "app") -> SecretPlan:
    return SecretPlan("app", "default", f"app-{version}", stable, "Opaque", {}, "sum", {}, {"TOKEN": f"t-{version}"})


def copies(kube: FakeKube, *versions: str, application: str = "shop", stable: str | None = "app") -> None:
    """The Secrets of these versions, as `up` makes them."""
    for version in versions:
        plan = Plan(application, "default", (), (secret(version, stable),), (), ())
        played(ensure_secrets(plan, kube, adopt=False))


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def waste(kube: FakeKube, images: FakeImages, *versions: str, used: tuple[str, ...] = ()) -> Waste:
    kept = Record("salt", history=tuple(entry(version) for version in versions))
    return find_waste("shop", ("default",), kept, used, kube, images)


def test_images_of_kept_revisions_and_of_running_pods_stay() -> None:
    images = daemon(v1="shop", v2="shop", v3="shop", v4="shop")
    found = waste(FakeKube(), images, "v3", "v4", used=("shop/api:v1",))
    assert [one.ref for one in found.images] == ["shop/api:v2"]
    assert found.size == 1000


def test_an_image_that_another_application_could_roll_back_to_stays() -> None:
    kube = FakeKube()
    kube.put({"kind": "Namespace", "metadata": {"name": "theirs"}})
    save(kube, "theirs", "other", Record("salt", history=(entry("v1"),)))
    found = waste(kube, daemon(v1="shop", v2="shop", v3="shop"), "v3")
    assert [one.ref for one in found.images] == ["shop/api:v2"]


def test_images_without_our_label_or_of_another_application_stay() -> None:
    assert waste(FakeKube(), daemon(v1="", v2="other")).images == ()


def test_secrets_of_kept_revisions_stay() -> None:
    kube = FakeKube()
    copies(kube, "v1", "v2", "v3")
    assert waste(kube, daemon(), "v2", "v3").secrets == (ObjectRef("Secret", "default", "app-v1"),)


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": [{"image": "i", "env": [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "app-v1"}}}]}]},
        {"containers": [{"image": "i", "envFrom": [{"secretRef": {"name": "app-v1"}}]}]},
        {"initContainers": [{"image": "i", "envFrom": [{"secretRef": {"name": "app-v1"}}]}], "containers": []},
        {"containers": [], "volumes": [{"name": "v", "secret": {"secretName": "app-v1"}}]},
        {"containers": [], "volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "app-v1"}}]}}]},
        {"containers": [], "imagePullSecrets": [{"name": "app-v1"}]},
    ],
)
def test_a_secret_that_a_pod_refers_to_stays(spec: dict[str, Any]) -> None:
    """After many failed attempts the pods that serve may be of a revision that is no longer kept."""
    kube = FakeKube()
    copies(kube, "v1", "v2", stable=None)
    kube.put(pod("old", **spec))
    assert waste(kube, daemon(), "v2").secrets == ()


def test_a_pod_of_another_namespace_keeps_no_secret() -> None:
    kube = FakeKube()
    copies(kube, "v1")
    kube.put({**pod("old", imagePullSecrets=[{"name": "app-v1"}]), "metadata": {"name": "old", "namespace": "other"}})
    assert [one.name for one in waste(kube, daemon(), "v2").secrets] == ["app-v1"]


def test_secrets_that_we_did_not_make_for_the_application_stay() -> None:
    kube = FakeKube()
    copies(kube, "other", application="other", stable=None)
    save(kube, "default", "shop", Record("salt"))
    kube.put({"kind": "Secret", "type": "Opaque", "metadata": {"name": "person", "namespace": "default"}})
    labels = {LABEL: "shop", "app.kubernetes.io/managed-by": "Helm", "todo-deploy.dev/secret": "x"}
    metadata = {"name": "chart", "namespace": "default", "labels": labels}
    kube.put({"kind": "Secret", "type": "Opaque", "metadata": metadata})
    assert waste(kube, daemon()).secrets == ()


def test_what_is_waste_is_removed_and_the_rest_stays() -> None:
    kube, images = FakeKube(), daemon(v1="shop", v2="shop", v3="other")
    second = daemon(v1="shop", v2="shop")  # another node, into which what was built is loaded
    copies(kube, "v1", "v2")
    remove_waste(waste(kube, images, "v2"), kube, images, second)
    assert sorted(images.known) == ["other/api:v3", "shop/api:v2"]
    assert sorted(second.known) == ["shop/api:v2"]
    assert kube.names("Secret") == ["app", "app-v2"]
    assert waste(kube, images, "v2") == Waste((), ())


def test_images_of_every_container_of_pods_are_in_use() -> None:
    kube = FakeKube()
    kube.put(pod("a", containers=[{"image": "a:1"}, {"image": "b:1"}], initContainers=[{"image": "c:1"}]))
    kube.put(pod("b", containers=[{"image": "a:1"}]))
    assert used_images(("default", "default"), kube) == ("a:1", "b:1", "c:1")
    assert used_images(("kube-system",), kube) == ()


def test_a_container_without_an_image_uses_none() -> None:
    kube = FakeKube()
    kube.put(pod("a", containers=[{"name": "a"}, {"image": "b:1"}]))
    assert used_images(("default",), kube) == ("b:1",)


def test_an_image_that_a_pod_names_in_another_way_stays() -> None:
    images = daemon(v1="shop", v2="shop", v3="shop")
    images.known["sha256:v2"] = images.known["shop/api:v2"]
    found = waste(FakeKube(), images, used=("docker.io/shop/api:v1", "sha256:v2"))
    assert [one.ref for one in found.images] == ["shop/api:v3"]
