"""What Kubernetes will not change is named with its field and the way out; a Job that is done is replaced."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deployer.core.errors import DeployError, ExitCode
from deployer.core.ports import DryRun, Kind, Object
from deployer.preflight.changes import NOTHING, Choice, Judged, judge
from deployer.preflight.rules.model import Subject
from deployer.state.record import new_record
from tests.fakes import FakeHelm, FakeKube
from tests.fakes.helm import release_secret
from tests.unit.preflight.rules.subjects import subject

OURS = {"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": "default"}


def body(api: str, kind: str, name: str, **spec: Any) -> Object:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}


def stateful_set(size: str, **spec: Any) -> Object:
    claim = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}}}
    return body("apps/v1", "StatefulSet", "db", volumeClaimTemplates=[claim], selector={"a": "b"}, **spec)


SET_SAYS = "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'template' are forbidden"


def judged(old: Object, new: Object, says: DryRun, choice: Choice = NOTHING, **status: Any) -> Judged:
    """The release `shop` has `old`, its chart now makes `new`, and the server says that to the patch."""
    kube = FakeKube()
    kube.put(release_secret("shop", "default", 1, "deployed", objects=[old]))
    labels = {"app.kubernetes.io/managed-by": "Helm"}
    metadata = {"name": old["metadata"]["name"], "namespace": "default", "labels": labels, "annotations": OURS}
    kube.put({**old, "metadata": metadata, "status": status})
    kube.fixed[old["kind"], "default", old["metadata"]["name"]] = says
    return judge(of(new), new_record(), kube, FakeHelm(kube), choice)


def of(*objects: Object) -> Subject:
    """A subject whose only release makes these objects."""
    made = subject()
    return replace(made, releases=(replace(made.releases[0], objects=objects),))


def fixed(field: str, message: str = "field is immutable") -> DryRun:
    return DryRun(422, f"is invalid: {field}: {message}", ((field, message),))


def test_a_field_is_named_with_both_values_and_the_command() -> None:
    found = judged(stateful_set("1Gi"), stateful_set("2Gi"), DryRun(422, SET_SAYS, (("spec", SET_SAYS),)))
    (problem,) = found.refused
    path = "spec.volumeClaimTemplates[0].spec.resources.requests.storage"
    assert (problem.code, problem.title) == (
        "FIELD_IMMUTABLE",
        f"statefulset/db: Kubernetes does not let `{path}` change",
    )
    assert "1Gi and would become 2Gi" in problem.detail
    assert any("kubectl -n default delete statefulset db --cascade=orphan" in hint for hint in problem.hints)
    with pytest.raises(DeployError) as caught:
        found.refuse()
    assert caught.value.exit_code is ExitCode.REFUSED


def test_pods_that_another_selector_leaves_are_not_kept() -> None:
    new = {**stateful_set("1Gi"), "spec": {**stateful_set("1Gi")["spec"], "selector": {"a": "c"}}}
    (problem,) = judged(stateful_set("1Gi"), new, DryRun(422, SET_SAYS, (("spec", SET_SAYS),))).refused
    assert "`spec.selector.a`" in problem.title
    assert not any("orphan" in hint for hint in problem.hints)


def test_what_would_take_its_volumes_along_is_never_replaced() -> None:
    policy = {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}
    says, choice = DryRun(422, SET_SAYS, (("spec", SET_SAYS),)), Choice(frozenset({"statefulset/db"}))
    assert judged(stateful_set("1Gi", **policy), stateful_set("2Gi", **policy), says, choice).refused
    claim = body("v1", "PersistentVolumeClaim", "data", resources={"requests": {"storage": "2Gi"}})
    less = body("v1", "PersistentVolumeClaim", "data", resources={"requests": {"storage": "1Gi"}})
    choice = Choice(frozenset({"persistentvolumeclaim/data"}))
    (problem,) = judged(claim, less, fixed("spec.resources.requests.storage"), choice).refused
    assert "2Gi and would become 1Gi" in problem.detail


def job(image: str) -> Object:
    return body("batch/v1", "Job", "seed", template={"spec": {"containers": [{"name": "m", "image": image}]}})


DONE = {"conditions": [{"type": "Complete", "status": "True"}]}


def test_a_job_that_is_done_is_replaced_and_one_that_runs_is_not() -> None:
    done = judged(job("a:1"), job("a:2"), fixed("spec.template"), **DONE)
    assert [one.code for one in done.advice] == ["OBJECT_REPLACED"]
    assert [one.ref.name for one in done.prepared["shop"].replaced] == ["seed"]
    done.refuse()
    runs = judged(job("a:1"), job("a:2"), fixed("spec.template"))
    assert [one.code for one in runs.refused] == ["FIELD_IMMUTABLE"]
    assert not done.prepared["shop"].accepted
    assert "`spec.template.spec.containers[0].image`" in runs.refused[0].title


def test_only_what_is_taken_as_a_whole_is_accepted() -> None:
    assert judged(job("a:1"), job("a:2"), DryRun(200)).prepared["shop"].accepted
    unserved = body("example.com/v1", "Widget", "w")
    assert not judge(of(job("a:1"), unserved), new_record(), FakeKube(), FakeHelm(FakeKube())).prepared["shop"].accepted


def test_anything_else_is_replaced_where_somebody_says_so() -> None:
    says, choice = DryRun(422, SET_SAYS, (("spec", SET_SAYS),)), Choice(frozenset({"statefulset/db"}))
    (one,) = judged(stateful_set("1Gi"), stateful_set("2Gi"), says, choice).prepared["shop"].replaced
    assert (one.ref.kind, one.orphan) == ("StatefulSet", True)


def test_a_secrets_values_are_not_shown() -> None:
    old = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "b2xk"}, "immutable": True}
    found = judged(old, {**old, "data": {"a": "bmV3"}}, fixed("data"))
    text = str([one.to_wire() for one in found.refused])
    assert "data.a" in text
    assert "b2xk" not in text and "bmV3" not in text


def test_an_object_that_kubernetes_would_never_take_is_the_users_input() -> None:
    class Strict(FakeKube):
        def dry_run(self, kind: Any, body: Object, patch: str = "", *, force: bool = False) -> DryRun:
            return DryRun(422, "", (("spec.ports", "Required value"),))

    found = judge(of(body("v1", "Service", "s")), new_record(), Strict(), FakeHelm(FakeKube()))
    with pytest.raises(DeployError) as caught:
        found.refuse()
    assert caught.value.exit_code is ExitCode.INPUT
    assert caught.value.problems[0].code == "OBJECT_INVALID"
    assert "service/s" in caught.value.problems[0].title and "`spec.ports`" in caught.value.problems[0].title


def there(**metadata: Any) -> FakeKube:
    kube = FakeKube()
    kube.put({**body("v1", "Service", "s"), "metadata": {"name": "s", "namespace": "default", **metadata}})
    return kube


def test_an_object_of_somebody_is_named_and_may_be_adopted() -> None:
    kube = there(managedFields=[{"manager": "kubectl-create"}])
    (problem,) = judge(of(body("v1", "Service", "s")), new_record(), kube, FakeHelm(kube)).refused
    assert problem.code == "OBJECT_FOREIGN"
    assert "service/s in namespace `default`" in problem.title and "kubectl-create" in problem.title
    assert "todo-deploy up --adopt" in problem.hints
    adopted = judge(of(body("v1", "Service", "s")), new_record(), kube, FakeHelm(kube), Choice(adopt=True))
    assert not adopted.refused
    assert [one.ref.name for one in adopted.prepared["shop"].adopted] == ["s"]


def test_an_object_of_a_release_that_is_there_is_not_adopted() -> None:
    notes = {"meta.helm.sh/release-name": "other", "meta.helm.sh/release-namespace": "default"}
    kube = there(annotations=notes)
    assert not judge(of(body("v1", "Service", "s")), new_record(), kube, FakeHelm(kube), Choice(adopt=True)).refused
    kube.put(release_secret("other", "default", 1, "deployed"))
    (problem,) = judge(of(body("v1", "Service", "s")), new_record(), kube, FakeHelm(kube), Choice(adopt=True)).refused
    assert "release `other`" in problem.title


def test_our_own_namespace_is_handed_to_the_release_that_has_it() -> None:
    kube = FakeKube()
    labels = {"app.kubernetes.io/managed-by": "todo-deploy"}
    kube.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": labels}})
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
    found = judge(of(space), new_record(), kube, FakeHelm(kube))
    assert not found.refused
    assert [one.ref.kind for one in found.prepared["shop"].adopted] == ["Namespace"]


def test_a_config_map_that_changes_without_new_pods_is_advice() -> None:
    def web(image: str = "a:1", **annotations: str) -> Object:
        source = {"configMapRef": {"name": "settings"}}
        pod = {"containers": [{"name": "m", "image": image, "envFrom": [source]}]}
        metadata = {"name": "web", "annotations": annotations}
        return {**body("apps/v1", "Deployment", "web", template={"spec": pod}), "metadata": metadata}

    def settings(value: str, empty: str | None = "") -> Object:
        data = {"LEVEL": value, "HOST": empty}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data}

    def codes(now: Object, value: str = "info") -> list[str]:
        kube = FakeKube()
        kube.put(release_secret("shop", "default", 1, "deployed", objects=[web(), settings("debug", None)]))
        for one in (web(), settings("debug")):
            kube.put({**one, "metadata": {**one["metadata"], "namespace": "default"}})
        return [one.code for one in judge(of(now, settings(value)), new_record(), kube, FakeHelm(kube)).advice]

    assert codes(web()) == ["CONFIG_UNNOTICED"]
    assert codes(web("a:2")) == []
    assert codes(web(), "debug") == []
    assert codes(web(**{"reloader.stakater.com/auto": "true"})) == []


SCALED = 'conflict with "kube-controller-manager" with subresource "scale" using apps/v1'
REPLICAS = DryRun(409, "", ((".spec.replicas", SCALED),))


def contested(choice: Choice = NOTHING, *, owned: bool = True) -> Judged:
    """Helm 4 made the release, whose Deployment an autoscaler has scaled; or that Deployment is nobody's."""

    class Server(FakeKube):
        def dry_run(self, kind: Kind, body: Object, patch: str = "", *, force: bool = False) -> DryRun:
            return (DryRun(200) if force else REPLICAS) if patch else DryRun(409)

    kube = Server()
    helm = FakeHelm(kube)
    helm.server_side = True
    old = body("apps/v1", "Deployment", "web", replicas=1)
    made = [old] if owned else []
    kube.put(release_secret("shop", "default", 1, "deployed", objects=made, apply_method="ssa"))
    kube.put({**old, "metadata": {"name": "web", "namespace": "default"}, "spec": {"replicas": 5}})
    return judge(of(body("apps/v1", "Deployment", "web", replicas=2)), new_record(), kube, helm, choice)


def test_a_field_that_an_autoscaler_has_set_is_named_with_the_ways_out() -> None:
    (problem,) = contested().refused
    assert (problem.code, problem.where) == ("FIELD_CONFLICT", "deployment/web")
    for words in ("`spec.replicas`", "kube-controller-manager scale"):
        assert words in problem.title
    assert "is 5 and would become 2" in problem.detail
    assert any("--force-conflicts" in one for one in problem.hints)
    assert any("releases.shop.serverSide" in one for one in problem.hints)


def test_a_conflict_that_may_be_forced_is_advice_and_helm_is_asked_to() -> None:
    found = contested(Choice(force_conflicts=True))
    assert ([one.code for one in found.advice], found.refused) == (["FIELD_TAKEN_OVER"], ())
    assert found.prepared["shop"].force_conflicts
    assert contested(Choice(adopt=True), owned=False).prepared["shop"].force_conflicts


def test_an_object_whose_kind_is_gone_is_said_before_the_upgrade() -> None:
    widget, config = body("example.com/v1", "Widget", "one"), body("v1", "ConfigMap", "settings")
    kube = FakeKube()
    kube.put(release_secret("shop", "default", 1, "deployed", objects=[widget, config]))
    found = judge(of(config), new_record(), kube, FakeHelm(kube))
    found.refuse()
    assert [(one.code, one.where) for one in found.advice] == [("KIND_GONE", "widget/one")]
