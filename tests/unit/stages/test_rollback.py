from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from deployer.core.errors import DeployError
from deployer.core.events import Warned
from deployer.core.ports import APPLY_PATCH, DryRun, Kind, Object, ObjectRef
from deployer.helm import storage
from deployer.helm.storage import Applied
from deployer.plan import ReleasePlan
from deployer.stages.releases import ensure_release, mark
from deployer.stages.rollback import apply_revision, free_blocked, lacking_releases, serve_copy
from deployer.state.history import Entry, KeptSecretRef
from deployer.state.record import Record, ReleaseRecord
from tests.fakes import FakeHelm, FakeKube
from tests.fakes.play import items, played

REF = KeptSecretRef("default", "app", "app-old")


def secret(name: str, value: str, *, immutable: bool = False) -> dict[str, object]:
    data = {"KEY": base64.b64encode(value.encode()).decode()}
    body: dict[str, object] = {"kind": "Secret", "type": "Opaque", "data": data,
            "metadata": {"name": name, "namespace": "default", "labels": {"app": "x"}}}  # fmt: skip
    return {**body, "immutable": True} if immutable else body


def value(kube: FakeKube) -> str:
    found = kube.get("Secret", "default", "app")
    assert found is not None
    return base64.b64decode(found["data"]["KEY"]).decode()


def deployed(kube: FakeKube, helm: FakeHelm) -> Record:
    """A release whose first revision was verified and whose second was not."""
    record: ReleaseRecord | None = None
    for number in (1, 2):
        plan = ReleasePlan("app", "default", Path("chart"), {"v": number}, f"i{number}", (), (), (), 60.0)
        applied = played(ensure_release(plan, record, kube, helm, kube.clock, "run"))[1].value
        record = ReleaseRecord("default", applied.revision, applied.inputs, applied.objects)
        if number == 1:
            mark(applied, "verified", "", kube)
    assert record is not None
    return Record("salt", releases={"app": record})


def entry(**more: object) -> Entry:
    known = {"number": 1, "run": "r", "at": 0.0, "who": "w", "why": "y", "releases": {"app": 1}, "secrets": (REF,)}
    return Entry(**{**known, **more})  # type: ignore[arg-type]


def test_a_documented_secret_gets_its_old_content_back() -> None:
    kube = FakeKube()
    kube.put(secret("app", "new"))
    kube.put(secret("app-old", "old", immutable=True))
    assert serve_copy(REF, kube) is True
    assert value(kube) == "old"
    found = kube.get("Secret", "default", "app")
    assert found is not None
    assert not found.get("immutable")
    assert serve_copy(REF, kube) is False


def test_a_documented_secret_that_was_deleted_comes_back() -> None:
    kube = FakeKube()
    kube.put(secret("app-old", "old", immutable=True))
    serve_copy(REF, kube)
    assert value(kube) == "old"


def test_without_its_copy_nothing_is_changed() -> None:
    kube = FakeKube()
    kube.put(secret("app", "new"))
    with pytest.raises(DeployError):
        serve_copy(REF, kube)
    assert value(kube) == "new"


def test_a_release_is_rolled_back_as_a_revision_that_is_not_yet_verified() -> None:
    kube = FakeKube()
    helm = FakeHelm(kube)
    kept = deployed(kube, helm)
    kube.put(secret("app", "new"))
    kube.put(secret("app-old", "old", immutable=True))
    _, outcome = played(apply_revision(entry(), kept, kube, helm, 60.0, kube.clock))
    (applied,) = outcome.value
    assert (applied.revision, applied.inputs, applied.changed, applied.verified) == (3, "i1", True, False)
    latest = storage.revisions(kube.list("Secret", "default"), "app")[-1]
    assert (latest.revision, latest.verdict) == (3, "unfinished")
    found = kube.get("ConfigMap", "default", "app")
    assert found is not None
    assert (found["data"], value(kube)) == ({"v": "1"}, "old")


@pytest.mark.parametrize("server_side", [True, False])
def test_a_rollback_overrides_what_others_have_set_since_and_says_so(server_side: bool) -> None:
    class Contested(FakeKube):
        def dry_run(self, kind: Kind, body: Object, patch: str = "", *, force: bool = False) -> DryRun:
            causes = ((".data.v", 'conflict with "kubectl-edit" using v1'),)
            return DryRun(409, "", causes) if patch == APPLY_PATCH and not force else DryRun(200)

    kube = Contested()
    helm = FakeHelm(kube)
    helm.server_side = server_side
    kept = deployed(kube, helm)
    kube.put(secret("app-old", "old", immutable=True))
    events, _ = played(apply_revision(entry(), kept, kube, helm, 60.0, kube.clock))
    warned = [event.problem for event in events if isinstance(event, Warned)]
    assert helm.forced is server_side
    assert [one.code for one in warned] == ["FIELD_TAKEN_OVER"] * server_side
    assert not warned or ("`data.v`" in warned[0].title and "kubectl-edit" in warned[0].title)


@pytest.mark.parametrize(
    ("more", "title"),
    [
        ({"releases": {"app": 7}}, "release `app` has no revision 7 any more"),
        ({"releases": {"other": 1}}, "release `other` has no revision 1 any more"),
        ({"inputs": {"app": "i9"}}, "release `app` was uninstalled since: its revision 1 is another one by now"),
    ],
)
def test_a_revision_of_helms_that_is_gone_or_another_one_is_named(more: dict[str, object], title: str) -> None:
    kube = FakeKube()
    kept = deployed(kube, FakeHelm(kube))
    (problem,) = lacking_releases(entry(commit="0123456789", **more), kept, kube)
    assert (problem.code, problem.title) == ("ROLLBACK_RELEASE", title)
    assert "git checkout 0123456" in problem.hints[0]


WIDGET = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one", "namespace": "default"}}


def with_widget(kube: FakeKube, revision: int) -> None:
    """The revision has an object more, and the cluster no longer serves its kind."""
    found = storage.stored_revision("app", "default", revision, kube)
    assert found is not None
    kube.put(storage.with_parts(found, lambda part: f"{part}---\n{json.dumps(WIDGET)}\n" if part else part) or {})
    kube.lost_kinds = frozenset({("example.com/v1", "Widget")})


def test_a_revision_with_a_kind_that_the_cluster_serves_no_more_cannot_be_had_again() -> None:
    kube = FakeKube()
    kept = deployed(kube, FakeHelm(kube))
    with_widget(kube, 1)
    (problem,) = lacking_releases(entry(), kept, kube)
    assert (problem.code, problem.where) == ("ROLLBACK_KIND", "widget/one")


def test_a_rollback_from_a_revision_with_such_a_kind_does_without_it() -> None:
    kube = FakeKube()
    helm = FakeHelm(kube)
    kept = deployed(kube, helm)
    with_widget(kube, 2)
    kube.put(secret("app-old", "old", immutable=True))
    events, outcome = played(apply_revision(entry(), kept, kube, helm, 60.0, kube.clock))
    assert outcome.value[0].revision == 3
    assert "KIND_GONE" in [one.problem.code for one in events if isinstance(one, Warned)]


def test_a_revision_that_is_all_there_lacks_nothing() -> None:
    kube = FakeKube()
    kept = deployed(kube, FakeHelm(kube))
    assert lacking_releases(entry(inputs={"app": "i1"}), kept, kube) == []


def test_a_revision_that_a_killed_helm_left_pending_is_healed_first() -> None:
    """Also one of a rollback: Helm hands on the target's labels, so the owner's is put there before."""
    kube = FakeKube()
    helm = FakeHelm(kube)
    kept = deployed(kube, helm)
    kube.put(secret("app-old", "old", immutable=True))
    played(apply_revision(entry(), kept, kube, helm, 60.0, kube.clock))
    for number, status in ((2, "deployed"), (3, "pending-rollback")):  # as helm leaves them when it is killed
        stored = kube.get("Secret", "default", storage.secret_name("app", number))
        assert stored is not None
        kube.put(storage.with_status(stored, status, ""))
    events, _ = played(apply_revision(entry(), kept, kube, helm, 60.0, kube.clock))
    assert kube.clock.elapsed == 0
    assert any("left pending-rollback; healed" in text for _, _, text in items(events))
    statuses = {one.revision: one.status for one in storage.revisions(kube.list("Secret", "default"), "app")}
    assert (statuses[3], statuses[4]) == ("failed", "deployed")


def stateful_set(kube: FakeKube, spec: dict[str, object] | None = None, release: str = "app") -> Applied:
    """A StatefulSet of ours whose controller has seen its present template, and its release."""
    notes = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": "default"}
    kube.put(
        {
            "kind": "StatefulSet",
            "spec": spec or {},
            "status": {"observedGeneration": 2, "updateRevision": "db-1"},
            "metadata": {"name": "db", "namespace": "default", "uid": "set", "generation": 2, "annotations": notes},
        }
    )
    ref = ObjectRef("StatefulSet", "default", "db")
    return Applied("app", "default", 3, True, "rollback", "", (ref,), False)  # fmt: skip


def pod(kube: FakeKube, name: str, revision: str, *, ready: bool, owner: str = "set", restarts: int = 0) -> None:
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}],
              "containerStatuses": [{"name": "db", "restartCount": restarts}]}  # fmt: skip
    kube.put({"kind": "Pod", "status": status,
              "metadata": {"name": name, "namespace": "default", "labels": {"controller-revision-hash": revision},
                           "ownerReferences": [{"uid": owner}]}})  # fmt: skip


def test_a_broken_pod_of_the_failed_revision_does_not_block_a_stateful_set() -> None:
    kube = FakeKube()
    applied = stateful_set(kube)
    pod(kube, "db-0", "db-1", ready=False)
    pod(kube, "db-1", "db-2", ready=True)
    pod(kube, "db-2", "db-2", ready=False)
    pod(kube, "db-3", "db-2", ready=True, restarts=1)
    pod(kube, "db-4", "db-2", ready=False, owner="another")
    events, _ = played(free_blocked((applied,), kube, kube.clock))
    assert kube.names("Pod") == ["db-0", "db-1", "db-4"]
    assert [one.problem.code for one in events if isinstance(one, Warned)] == ["POD_FREED"] * 2


@pytest.mark.parametrize(
    ("spec", "release"),
    [
        ({"podManagementPolicy": "Parallel"}, "app"),
        ({"updateStrategy": {"type": "OnDelete"}}, "app"),
        ({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}}, "app"),
        ({}, "somebody-elses"),
    ],
)
def test_a_pod_that_blocks_nothing_or_is_not_ours_stays(spec: dict[str, object], release: str) -> None:
    kube = FakeKube()
    applied = stateful_set(kube, spec, release)
    pod(kube, "db-2", "db-2", ready=False)
    played(free_blocked((applied,), kube, kube.clock))
    assert kube.names("Pod") == ["db-2"]


def test_the_controller_is_waited_for_before_a_pod_counts_as_one_of_an_earlier_template() -> None:
    kube = FakeKube()
    applied = stateful_set(kube)
    found = kube.get("StatefulSet", "default", "db")
    assert found is not None
    kube.put({**found, "status": {"observedGeneration": 1, "updateRevision": "db-2"}})
    pod(kube, "db-2", "db-2", ready=False)
    kube.clock.at(2, lambda: kube.put(found))
    played(free_blocked((applied,), kube, kube.clock))
    assert kube.names("Pod") == []


def test_a_release_that_is_as_it_was_is_left_alone() -> None:
    kube = FakeKube()
    helm = FakeHelm(kube)
    kept = deployed(kube, helm)
    again = entry(releases={"app": 2}, inputs={"app": "i2"}, secrets=())
    _, done = played(apply_revision(again, kept, kube, helm, 60.0, kube.clock))
    (one,) = done.value
    assert (done.changed, one.changed, one.revision) == (False, False, 2)
    kube.drop("ConfigMap", "default", "app")
    _, done = played(apply_revision(again, kept, kube, helm, 60.0, kube.clock))
    assert (done.changed, done.value[0].revision) == (True, 3)
