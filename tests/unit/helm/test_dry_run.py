"""What Helm will send is sent dry, and what the API server answers is told apart."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.core.ports import APPLY_PATCH, DryRun, Kind, Object, ref_of
from deployer.helm.dry_run import Release, Verdict, ask, current_release, three_way
from tests.fakes import FakeHelm, FakeKube
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

    def dry_run(self, kind: Kind, body: Object, patch: str = "", *, force: bool = False) -> DryRun:
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
        def dry_run(self, kind: Kind, body: Object, patch: str = "", *, force: bool = False) -> DryRun:
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


@pytest.mark.parametrize(("back", "image"), [(False, "a:1"), (True, "a:2")])
def test_an_upgrade_compares_with_what_is_deployed_and_a_rollback_with_the_last(back: bool, image: str) -> None:
    kube = FakeKube()
    kube.put(first := release_secret("web", "default", 1, "deployed", objects=[job("a:1")]))
    kube.put(release_secret("web", "default", 2, "failed", objects=[job("a:2")]))
    release = current_release("web", "default", kube, FakeHelm(kube), target=first if back else None)
    (found,) = release.before.values()
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == image


@pytest.mark.parametrize(
    ("helm4", "asked", "revisions", "applied"),
    [
        (False, None, ["ssa"], False),
        (False, True, [], False),
        (True, None, [], True),
        (True, False, [], False),
        (True, None, [""], False),
        (True, None, ["csa"], False),
        (True, None, ["ssa"], True),
        (True, None, ["", "ssa"], True),
        (True, None, ["ssa", ""], False),
        (True, True, [""], True),
        (True, False, ["ssa"], False),
    ],
)
def test_helm_4_goes_on_as_the_last_revision_was_applied(
    helm4: bool, asked: bool | None, revisions: list[str], applied: bool
) -> None:
    kube = FakeKube()
    helm = FakeHelm(kube)
    helm.server_side = helm4
    for number, method in enumerate(revisions, 1):
        status = "deployed" if number == 1 else "failed"
        kube.put(release_secret("web", "default", number, status, objects=[job()], apply_method=method))
    assert current_release("web", "default", kube, helm, asked=asked).server_side is applied


def test_helm_4_goes_back_as_the_target_was_applied_and_installs_anew_after_an_uninstall() -> None:
    kube = FakeKube()
    helm = FakeHelm(kube)
    helm.server_side = True
    kube.put(first := release_secret("web", "default", 1, "superseded", apply_method="ssa"))
    kube.put(second := release_secret("web", "default", 2, "deployed"))
    assert current_release("web", "default", kube, helm, target=first).server_side
    assert not current_release("web", "default", kube, helm, target=second).server_side
    kube.put(release_secret("web", "default", 2, "uninstalled"))
    assert current_release("web", "default", kube, helm).server_side


class Applying(FakeKube):
    """Answers to an apply as a test says, forced or not; a POST finds nothing wrong, and the object there."""

    def __init__(self, *answers: DryRun, new: DryRun | None = None) -> None:
        super().__init__()
        self.answers, self.new = answers, new or DryRun(409)
        self.asked: list[tuple[str, bool]] = []

    def dry_run(self, kind: Kind, body: Object, patch: str = "", *, force: bool = False) -> DryRun:
        self.asked.append((patch, force))
        return self.answers[min(force, len(self.answers) - 1)] if patch else self.new


def conflict(*managers: str) -> DryRun:
    return DryRun(409, "Apply failed", tuple((".spec.replicas", f'conflict with "{one}"') for one in managers))


def applied(kube: Applying, *, before: bool = True) -> Verdict:
    known = {("batch/v1", ref_of(job(), "default")): job()} if before else {}
    (verdict,) = ask(Release("web", "default", known, server_side=True), [job("a:2")], kube)
    return verdict


def test_a_field_of_somebody_else_is_a_conflict_where_force_is_all_it_takes() -> None:
    verdict = applied(kube := Applying(conflict("kubectl-edit"), DryRun(200)))
    assert (verdict.standing, verdict.answer.causes) == (
        "conflict", ((".spec.replicas", 'conflict with "kubectl-edit"'),)
    )  # fmt: skip
    assert kube.asked == [(APPLY_PATCH, False), (APPLY_PATCH, True)]
    assert applied(Applying(conflict("kubectl-edit"), FIXED)).standing == "fixed"


def test_what_helm_itself_has_set_by_patches_is_no_conflict() -> None:
    assert applied(Applying(conflict("helm"), DryRun(200))).standing == "accepted"
    verdict = applied(Applying(conflict("helm", "kubectl"), DryRun(200)))
    assert verdict.answer.causes == ((".spec.replicas", 'conflict with "kubectl"'),)


def test_what_has_no_name_of_its_own_cannot_be_applied() -> None:
    bodies = [
        {**job(), "metadata": {"generateName": "seed-", "annotations": {"helm.sh/hook": hook}}}
        for hook in ("pre-install", "test")
    ]
    kube = Applying(DryRun(201))
    (verdict,) = ask(Release("web", "default", {}, server_side=True), bodies, kube)
    assert (verdict.standing, verdict.label, kube.asked) == ("invalid", "job/seed-…", [])
    assert ask(Release("web", "default", {}), bodies, kube) == ()


def test_what_only_an_apply_refuses_is_invalid_and_named_by_its_fields() -> None:
    text = "failed to create typed patch object (default/seed; batch/v1, Kind=Job): "
    one = DryRun(500, text + '.spec.a[name="c"].env: duplicate entries for key [name="A"]')
    verdict = applied(Applying(one, new=DryRun(201)), before=False)
    assert (verdict.standing, verdict.answer.causes) == (
        "invalid", (('spec.a[name="c"].env', 'duplicate entries for key [name="A"]'),)
    )  # fmt: skip
    two = DryRun(500, text + "errors:\n  .spec.foo: field not declared in schema\n  .spec.n: expected string, got 12")
    assert applied(Applying(two)).answer.causes == (
        ("spec.foo", "field not declared in schema"), ("spec.n", "expected string")
    )  # fmt: skip


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
def test_an_object_that_was_copied_from_a_cluster_is_invalid(field: str) -> None:
    said = DryRun(409, "uid mismatch")
    for new in (DryRun(201), DryRun(409)):  # the object is not there, and it is
        before = {("batch/v1", ref_of(job(), "default")): job()} if new.status == 409 else {}
        release = Release("web", "default", before, server_side=True)
        (verdict,) = ask(release, [job(**{field: "1"})], Applying(said, new=new))
        assert (verdict.standing, verdict.answer.causes[0][0]) == ("invalid", f"metadata.{field}")
    assert applied(Applying(said)).standing == "unknown"
