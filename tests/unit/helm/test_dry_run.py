"""What Helm will send is sent dry, and what the API server answers is told apart."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.core.ports import DryRun, Kind, Object, ref_of
from deployer.helm.dry_run import Release, ask, current_release, three_way
from tests.fakes import FakeKube
from tests.fakes.helm import release_secret

FIXED = DryRun(
    422, "Job.batch is invalid: spec.template: field is immutable", (("spec.template", "field is immutable"),)
)


def job(image: str = "a:1", **metadata: Any) -> Object:
    spec = {"template": {"spec": {"containers": [{"name": "m", "image": image}]}}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "seed", **metadata}, "spec": spec}


def pod(*containers: Any, **spec: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [*containers], **spec}}


def test_what_only_the_old_manifest_has_is_removed() -> None:
    old = pod(
        {"name": "a", "image": "i", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}, nodeName="n"
    )
    new = pod({"name": "a", "image": "i", "env": [{"name": "Y", "value": "2"}]})
    patch = three_way(old, new)
    assert patch["spec"]["nodeName"] is None
    assert patch["spec"]["containers"][0]["env"] == [{"name": "Y", "value": "2"}, {"name": "X", "$patch": "delete"}]


def test_a_container_that_is_gone_is_deleted_by_its_name_and_an_unkeyed_list_replaced() -> None:
    old = pod({"name": "a"}, {"name": "b"}, tolerations=[{"key": "x"}])
    patch = three_way(old, pod({"name": "a", "args": ["1"]}, tolerations=[{"key": "y"}]))
    assert patch["spec"]["containers"] == [{"name": "a", "args": ["1"]}, {"name": "b", "$patch": "delete"}]
    assert patch["spec"]["tolerations"] == [{"key": "y"}]


def test_ports_are_known_by_another_key_in_services_than_in_containers() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    old = {**service, "spec": {"ports": [{"port": 80}, {"port": 90}]}}
    assert three_way(old, {**service, "spec": {"ports": [{"port": 80}]}})["spec"]["ports"] == [
        {"port": 80},
        {"port": 90, "$patch": "delete"},
    ]
    one = three_way(
        pod({"name": "a", "ports": [{"containerPort": 1}]}), pod({"name": "a", "ports": [{"containerPort": 2}]})
    )
    assert one["spec"]["containers"][0]["ports"] == [{"containerPort": 2}, {"containerPort": 1, "$patch": "delete"}]


def test_a_list_whose_items_have_no_key_is_replaced() -> None:
    odd = pod({"name": {"a": 1}}, "text")
    assert three_way(pod({"name": "a"}), odd)["spec"]["containers"] == odd["spec"]["containers"]
    assert three_way(odd, pod({"name": "a"}))["spec"]["containers"] == [{"name": "a"}]


def test_another_strategy_takes_the_place_of_the_one_that_the_server_filled_in() -> None:
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"strategy": {"type": "Recreate"}},
    }
    assert three_way(body, body)["spec"]["strategy"] == {"type": "Recreate", "$retainKeys": ["type"]}


class Server(FakeKube):
    """Answers to dry runs as a test says: to new objects, and to patches."""

    def __init__(self, new: DryRun, patch: DryRun) -> None:
        super().__init__()
        self.answers = {True: patch, False: new}
        self.asked: list[tuple[str, Object]] = []

    def dry_run(self, kind: Kind, body: Object, patch: str = "") -> DryRun:
        self.asked.append((patch, body))
        return self.answers[bool(patch)]


def standing(new: DryRun, patch: DryRun, *, before: bool = True, live: Object | None = None) -> str:
    kube = Server(new, patch)
    if live is not None:
        kube.put(live)
    known = {("batch/v1", ref_of(job(), "default")): job()} if before else {}
    (verdict,) = ask(Release("web", "default", known), [job("a:2")], kube)
    return verdict.standing


def test_what_would_be_taken_as_new_and_not_as_a_change_is_fixed() -> None:
    assert standing(DryRun(409), FIXED) == "fixed"
    assert standing(DryRun(409), DryRun(200)) == "accepted"
    assert standing(DryRun(422, "", (("spec.template", "must be set"),)), FIXED) == "invalid"


def test_a_claim_that_cannot_grow_is_fixed_and_a_missing_right_says_nothing() -> None:
    assert standing(DryRun(409), DryRun(403, 'persistentvolumeclaims "x" is forbidden: only dynamically …')) == "fixed"
    right = 'jobs.batch "seed" is forbidden: User "jane" cannot patch resource "jobs" in API group "batch"'
    assert standing(DryRun(403, right), DryRun(403, right)) == "unknown"
    assert standing(DryRun(409), DryRun(400, "admission webhook x does not support dry run")) == "unknown"
    assert standing(DryRun(409), DryRun(403, "admission webhook x denied the request: no")) == "denied"
    assert standing(DryRun(409), DryRun(500, "failed calling webhook")) == "unknown"


def test_what_is_new_is_invalid_foreign_or_ours_already() -> None:
    other = job(namespace="default")
    own = job(
        namespace="default",
        labels={"app.kubernetes.io/managed-by": "Helm"},
        annotations={"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "default"},
    )
    assert standing(DryRun(422, "no"), DryRun(404), before=False) == "invalid"
    assert standing(DryRun(403, 'pods "p" is forbidden: exceeded quota'), DryRun(404), before=False) == "denied"
    assert standing(DryRun(409), DryRun(200), before=False, live=other) == "exists"
    assert standing(DryRun(409), FIXED, before=False, live=own) == "fixed"
    taken = DryRun(422, "", (("spec.ports[0].nodePort", "Invalid value: 30000: provided port is already allocated"),))
    assert standing(taken, DryRun(404), before=False) == "denied"


def test_a_hook_is_made_anew_each_time() -> None:
    kube = Server(DryRun(409), FIXED)
    hook = job("a:2", annotations={"helm.sh/hook": "pre-upgrade"})
    (verdict,) = ask(Release("web", "default", {("batch/v1", ref_of(job(), "default")): job()}), [hook], kube)
    assert verdict.standing == "accepted"
    assert [patch for patch, _ in kube.asked] == [""]


def test_what_has_no_place_yet_is_judged_in_another_namespace() -> None:
    class Homeless(Server):
        def dry_run(self, kind: Kind, body: Object, patch: str = "") -> DryRun:
            there = body["metadata"]["namespace"] == "default"
            return super().dry_run(kind, body, patch) if there else DryRun(404, 'namespaces "new" not found')

    kube = Homeless(DryRun(422, "no"), DryRun(404))
    assert [one.standing for one in ask(Release("web", "new", {}), [job()], kube)] == ["invalid"]
    kube.answers[False] = DryRun(403, "exceeded quota of default")
    assert [one.standing for one in ask(Release("web", "new", {}), [job()], kube)] == ["accepted"]


def test_a_custom_resource_gets_the_difference_alone() -> None:
    class Custom(Server):
        def kinds(self) -> dict[tuple[str, str], Kind]:
            return {("example.com/v1", "Thing"): Kind("apis/example.com/v1", "things")}

    def thing(**spec: Any) -> Object:
        return {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": spec}

    kube = Custom(DryRun(201), DryRun(200))
    before = {("example.com/v1", ref_of(thing(), "default")): thing(a=1, b=[1], c=1)}
    ask(Release("web", "default", before), [thing(a=1, b=[2])], kube)
    ((media, body),) = kube.asked
    assert media == "application/merge-patch+json"
    assert body["spec"] == {"b": [2], "c": None}


@pytest.mark.parametrize(("last", "image"), [(False, "a:1"), (True, "a:2")])
def test_an_upgrade_compares_with_what_is_deployed_and_a_rollback_with_the_last(last: bool, image: str) -> None:
    kube = FakeKube()
    kube.put(release_secret("web", "default", 1, "deployed", objects=[job("a:1")]))
    kube.put(release_secret("web", "default", 2, "failed", objects=[job("a:2")]))
    (found,) = current_release("web", "default", kube, last=last).before.values()
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == image
