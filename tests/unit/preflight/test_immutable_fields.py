"""What Kubernetes would refuse to change is named with its field before anything is touched."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.core.errors import DeployError, ExitCode
from deployer.core.ports import Object, ObjectRef
from deployer.preflight.immutable_fields import changes, refuse
from tests.fakes import FakeKube


def stateful_set(size: str = "1Gi", service: str = "db", **spec: Any) -> Object:
    claim = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}}}
    return body("StatefulSet", "db", serviceName=service, volumeClaimTemplates=[claim], replicas=1, **spec)


def body(kind: str, name: str, **spec: Any) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def defaulted(one: Object) -> Object:
    """As the server gives it back: with fields that nobody asked for."""
    spec = {**one["spec"], "revisionHistoryLimit": 10}
    if one["kind"] == "StatefulSet":
        claims = spec["volumeClaimTemplates"]
        spec["volumeClaimTemplates"] = [
            {**claim, "kind": "PersistentVolumeClaim", "spec": {**claim["spec"], "volumeMode": "Filesystem"}}
            for claim in claims
        ]
    return {**one, "spec": spec}


def test_what_the_server_filled_in_is_no_change() -> None:
    assert changes(stateful_set(), defaulted(stateful_set())) == ()
    assert changes(stateful_set("1024Mi"), defaulted(stateful_set("1Gi"))) == ()


def test_the_innermost_field_is_named_with_both_values() -> None:
    (found,) = changes(stateful_set("2Gi"), defaulted(stateful_set()))
    assert found.path == "spec.volumeClaimTemplates[0].spec.resources.requests.storage"
    (service,) = changes(stateful_set(service="other"), defaulted(stateful_set()))
    assert (service.path, service.now, service.wanted) == ("spec.serviceName", "db", "other")


def test_what_may_change_may_change() -> None:
    assert changes(stateful_set(), {**stateful_set(), "spec": {**stateful_set()["spec"], "replicas": 9}}) == ()
    labels = {"matchLabels": {"app": "web"}}
    now = body("Deployment", "web", selector=labels, template={"spec": {"containers": [{"image": "a:1"}]}})
    wanted = body("Deployment", "web", selector=labels, template={"spec": {"containers": [{"image": "a:2"}]}})
    assert changes(wanted, now) == ()


def test_a_jobs_template_is_fixed() -> None:
    now = body("Job", "load", template={"spec": {"containers": [{"name": "m", "image": "a:1", "tty": False}]}})
    wanted = body("Job", "load", template={"spec": {"containers": [{"name": "m", "image": "a:2"}]}})
    (found,) = changes(wanted, now)
    assert found.path == "spec.template.spec.containers[0].image"


def test_a_config_map_is_fixed_only_where_it_says_so() -> None:
    now = {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
    wanted = {**now, "data": {"a": "2"}}
    assert changes(wanted, now) == ()
    assert [one.path for one in changes(wanted, {**now, "immutable": True})] == ["data.a"]


@pytest.fixture
def kube() -> FakeKube:
    made = FakeKube()
    one = defaulted(stateful_set())
    made.put({**one, "metadata": {"name": "db", "namespace": "default"}})
    return made


OURS = frozenset({ObjectRef("StatefulSet", "default", "db")})


def test_it_is_refused_with_the_field_and_the_way_to_make_it_anew(kube: FakeKube) -> None:
    with pytest.raises(DeployError) as caught:
        refuse([("default", stateful_set("2Gi"))], OURS, kube)
    (problem,) = caught.value.problems
    assert (problem.code, caught.value.exit_code) == ("FIELD_IMMUTABLE", ExitCode.REFUSED)
    assert problem.title.startswith("statefulset/db: Kubernetes does not let `spec.volumeClaimTemplates[0]")
    assert problem.detail == "it is 1Gi and would become 2Gi"
    assert problem.hints[0].startswith("kubectl -n default delete statefulset db --cascade=orphan")


def test_an_immutable_secrets_values_are_not_shown() -> None:
    kube = FakeKube()
    secret = {"kind": "Secret", "metadata": {"name": "s", "namespace": "default"}, "data": {"a": "b2xk"}}
    kube.put({**secret, "immutable": True})
    with pytest.raises(DeployError) as caught:
        refuse([("default", {**secret, "data": {"a": "bmV3"}})], {ObjectRef("Secret", "default", "s")}, kube)
    text = str([one.to_wire() for one in caught.value.problems])
    assert "data.a" in text
    assert not {"b2xk", "bmV3"} & set(text.replace("'", " ").split())


def test_what_is_not_ours_or_not_there_or_a_hook_is_helms_own_matter(kube: FakeKube) -> None:
    refuse([("default", stateful_set("2Gi"))], frozenset(), kube)
    refuse([("elsewhere", stateful_set("2Gi"))], {ObjectRef("StatefulSet", "elsewhere", "db")}, kube)
    hook = stateful_set("2Gi")
    hook["metadata"]["annotations"] = {"helm.sh/hook": "pre-upgrade"}
    refuse([("default", hook)], OURS, kube)


def test_what_the_server_is_to_name_cannot_be_there_already(kube: FakeKube) -> None:
    job = {"kind": "Job", "metadata": {"generateName": "seed-"}, "spec": {"completions": 1}}
    refuse([("default", job)], OURS, kube)
