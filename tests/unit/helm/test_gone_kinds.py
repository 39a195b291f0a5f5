"""Objects of a stored revision whose kind the cluster serves no more."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.core.errors import DeployError, ExitCode
from deployer.core.ports import Object, ObjectRef
from deployer.core.yaml import parse_manifest
from deployer.helm import storage
from deployer.helm.gone_kinds import Gone, described, forget, gone_kinds
from tests.fakes import FakeKube
from tests.fakes.helm import release_secret


def body(api: str, kind: str, name: str = "one") -> Object:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}}


WIDGET = body("example.com/v1", "Widget")
BUDGET = body("policy/v1beta1", "PodDisruptionBudget")
INGRESS = body("extensions/v1beta1", "Ingress")
CONFIG = body("v1", "ConfigMap")


def store(kube: FakeKube, revision: int, status: str, *objects: Object) -> None:
    kube.put(release_secret("web", "default", revision, status, objects=objects))


def stored(kube: FakeKube, revision: int) -> list[tuple[str, str]]:
    secret = storage.stored_revision("web", "default", revision, kube)
    assert secret is not None
    return [(one["apiVersion"], one["kind"]) for one in parse_manifest(storage.manifest_of(secret))]


@pytest.mark.parametrize(
    ("one", "found"),
    [
        (WIDGET, [("Widget", "example.com/v1", "")]),
        (BUDGET, [("PodDisruptionBudget", "policy/v1beta1", "policy/v1")]),
        (INGRESS, [("Ingress", "extensions/v1beta1", "networking.k8s.io/v1")]),
        (body("other.example.com/v1", "Ingress"), [("Ingress", "other.example.com/v1", "")]),
        (body("apps/v1", "Deployment"), []),
        (body("v1", "Unheard"), []),
        ({"kind": "Widget", "metadata": {"name": "one"}}, []),
    ],
)
def test_what_is_gone_and_what_has_another_version_by_now(one: Object, found: list[tuple[str, str, str]]) -> None:
    gone = gone_kinds([CONFIG, one], "default", FakeKube())
    assert [(each.kind, each.api, each.now) for each in gone] == found


@pytest.mark.parametrize(("kind", "gone"), [("Widget", False), ("Gadget", True)])
def test_what_a_definition_has_is_not_gone_though_it_is_not_served(kind: str, gone: bool) -> None:
    kube = FakeKube()
    definition = body("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets.example.com")
    kube.put({**definition, "spec": {"group": "example.com", "names": {"kind": kind}}})
    assert bool(gone_kinds([WIDGET], "default", kube)) is gone


@pytest.mark.parametrize("spec", [{"service": {"name": "server"}}, {}])
def test_what_another_server_serves_is_not_gone(spec: dict[str, Any]) -> None:
    kube = FakeKube()
    kube.put({**body("apiregistration.k8s.io/v1", "APIService", "v1.example.com"), "spec": spec})
    assert bool(gone_kinds([WIDGET], "default", kube)) is not bool(spec)


def test_nothing_is_gone_where_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube()
    kube.allowed_in = frozenset({"default"})
    assert gone_kinds([WIDGET], "default", kube) == ()
    kube.allowed_in = None
    monkeypatch.setattr(kube, "kinds", dict)
    assert gone_kinds([BUDGET], "default", kube) == ()


def test_the_last_and_the_deployed_revision_are_such_as_helm_can_build() -> None:
    kube = FakeKube()
    store(kube, 1, "superseded", CONFIG, WIDGET)
    store(kube, 2, "deployed", CONFIG, WIDGET, BUDGET)
    store(kube, 3, "failed", WIDGET)
    gone = forget("web", "default", kube)
    assert {one.ref for one in gone} == {
        ObjectRef("Widget.example.com", "default", "one"),
        ObjectRef("PodDisruptionBudget", "default", "one"),
    }
    assert stored(kube, 1) == [("v1", "ConfigMap"), ("example.com/v1", "Widget")]
    assert stored(kube, 2) == [("v1", "ConfigMap"), ("policy/v1", "PodDisruptionBudget")]
    assert stored(kube, 3) == []
    assert forget("web", "default", kube) == ()


def test_a_revision_without_such_objects_stays_as_helm_wrote_it() -> None:
    kube = FakeKube()
    store(kube, 1, "deployed", CONFIG)
    before = kube.state()
    assert forget("web", "default", kube) == () and forget("other", "default", kube) == ()
    assert kube.state() == before


def test_a_revision_that_cannot_be_read_is_left_to_helm() -> None:
    kube = FakeKube()
    secret = release_secret("web", "default", 1, "deployed")
    kube.put({**secret, "data": {"release": "bm90aGluZw=="}})
    assert forget("web", "default", kube) == ()


def test_what_becomes_of_each_is_said_with_object_and_version() -> None:
    ref = ObjectRef("Widget.example.com", "default", "one")
    gone, moved = described("web", [Gone(ref, "Widget", "example.com/v1"), Gone(ref, "Widget", "a/v1", "a/v2")])
    assert (gone.code, gone.where) == ("KIND_GONE", "widget/one")
    assert "`Widget` in `example.com/v1`" in gone.title and "a/v1" in moved.title and "a/v2" in moved.hints[0]


def test_an_api_server_that_is_away_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube()
    store(kube, 1, "deployed", WIDGET)

    def away(kind: str, namespace: str, name: str) -> Object | None:
        raise DeployError((), ExitCode.MACHINE)

    monkeypatch.setattr(kube, "get", away)
    with pytest.raises(DeployError):
        forget("web", "default", kube)
