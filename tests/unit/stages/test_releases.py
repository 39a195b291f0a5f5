from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.core.errors import DeployError, input_error, machine_error
from deployer.core.ports import (
    INPUTS_LABEL,
    MADE_LABEL,
    MANAGED_BY,
    OWNER,
    VERDICT_LABEL,
    Object,
    ObjectRef,
    Revision,
    ref_of,
)
from deployer.core.process import identity
from deployer.helm import storage
from deployer.helm.dry_run import RELEASE_NAME, RELEASE_NAMESPACE, owned_by
from deployer.helm.recovery import owner_label
from deployer.helm.storage import Applied
from deployer.plan import ReleasePlan
from deployer.stages import releases
from deployer.stages.releases import (
    Decision,
    Existing,
    Preparation,
    decide,
    ensure_release,
    lost_objects,
    mark,
    observe,
    ordered,
    prepare,
)
from deployer.state.record import ReleaseRecord, decode, encode, new_record, with_release
from tests.fakes import FakeHelm, FakeKube
from tests.fakes.helm import release_secret
from tests.fakes.play import code, failed, items, played

CONFIG = ObjectRef("ConfigMap", "default", "app")


def wanted(inputs: str = "i1", *, name: str = "app", needs: tuple[str, ...] = ()) -> ReleasePlan:
    return ReleasePlan(name, "default", Path("chart"), {"inputs": inputs}, inputs, (), (), needs, 300.0)


def revision(status: str = "deployed", inputs: str = "i1", number: int = 3) -> Revision:
    return Revision("app", "default", number, status, inputs)


def known(number: int = 3, inputs: str = "i1") -> ReleaseRecord:
    return ReleaseRecord("default", number, inputs, (CONFIG,))


@pytest.mark.parametrize(
    ("latest", "record", "lost", "action"),
    [
        (revision(), known(), (), "keep"),
        (None, None, (), "upgrade"),
        (None, known(), (CONFIG,), "upgrade"),
        (revision(inputs="i0"), known(), (), "upgrade"),
        (revision(inputs=""), known(), (), "upgrade"),
        (revision("failed"), known(), (), "upgrade"),
        (revision("superseded"), known(), (), "upgrade"),
        (revision(), None, (), "upgrade"),
        (revision(), known(2), (), "upgrade"),
        (revision(), known(), (CONFIG,), "upgrade"),
        (revision("pending-install"), None, (), "heal"),
        (revision("pending-upgrade"), known(), (), "heal"),
        (revision("pending-rollback"), known(), (), "heal"),
        (revision("uninstalling"), known(), (), "heal"),
    ],
)
def test_decisions(
    latest: Revision | None, record: ReleaseRecord | None, lost: tuple[ObjectRef, ...], action: str
) -> None:
    assert decide(wanted(), latest, record, lost).action == action


def test_the_reason_names_what_is_gone() -> None:
    lost = (CONFIG, ObjectRef("Service", "default", "web"))
    assert decide(wanted(), revision(), known(), lost) == Decision("upgrade", "configmap/app is gone and 1 more")


def ensured(kube: FakeKube, helm: FakeHelm, plan: ReleasePlan, record: ReleaseRecord | None) -> Applied:
    return played(ensure_release(plan, record, kube, helm, kube.clock, "run-1"))[1].value


def remembered(applied: Applied) -> ReleaseRecord:
    return ReleaseRecord(applied.namespace, applied.revision, applied.inputs, applied.objects)


def test_a_first_install_marks_its_inputs_and_its_owner() -> None:
    kube = FakeKube()
    helm = FakeHelm(kube)
    applied = ensured(kube, helm, wanted(), None)
    assert (applied.revision, applied.changed, applied.reason, applied.verified) == (1, True, "first install", False)
    assert applied.objects == (CONFIG,)
    (request,) = helm.requests
    assert request.labels[INPUTS_LABEL] == "i1"
    assert request.labels[storage.OWNER_LABEL].endswith(f".{os.getpid()}.1")
    assert all(re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", one) for one in request.labels.values())
    assert request.description == f"todo-deploy: {identity('run-1')}"


def test_the_reason_names_the_charts_version_then_and_now(tmp_path: Path) -> None:
    chart = tmp_path / "app-0"
    chart.mkdir()
    kube = FakeKube()
    kube.put(release_secret("app", "default", 1, "deployed", labels={INPUTS_LABEL: "i0"}))
    for version, reason in (("0.2.0", "chart app: 0.1.0 → 0.2.0"), ("0.1.0", "chart files")):
        (chart / "Chart.yaml").write_text(f"apiVersion: v2\nname: app\nversion: {version}\n")
        _, decision = observe(replace(wanted(), chart=chart, values={}), known(1), kube)
        assert decision.reason.startswith(reason)


def test_an_unchanged_release_is_kept_without_helm() -> None:
    kube = FakeKube()
    helm = FakeHelm(kube)
    first = ensured(kube, helm, wanted(), None)
    kube.writes.clear()
    again = ensured(kube, helm, wanted(), remembered(first))
    assert (again.revision, again.changed, again.objects) == (1, False, first.objects)
    assert (len(helm.requests), kube.writes) == (1, [])


def test_changed_inputs_make_a_revision() -> None:
    kube = FakeKube()
    helm = FakeHelm(kube)
    first = ensured(kube, helm, wanted(), None)
    second = ensured(kube, helm, wanted("i2"), remembered(first))
    assert (second.revision, second.changed) == (2, True)
    found = kube.get("ConfigMap", "default", "app")
    assert found is not None
    assert found["data"] == {"inputs": "i2"}


def test_what_helm_can_build_for_certain_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr(releases, "forget", lambda release, *_: looked.append(release))
    kube = FakeKube()
    helm = FakeHelm(kube)
    ensured(kube, helm, replace(wanted(), buildable=True), None)
    assert looked == []
    ensured(kube, helm, wanted("i2"), None)
    assert looked == ["app"]


def test_a_lost_object_is_brought_back() -> None:
    kube = FakeKube()
    helm = FakeHelm(kube)
    first = ensured(kube, helm, wanted(), None)
    kube.drop("ConfigMap", "default", "app")
    second = ensured(kube, helm, wanted(), remembered(first))
    assert (second.revision, second.reason) == (2, "configmap/app is gone")
    assert kube.names("ConfigMap") == ["app"]


def test_a_failed_upgrade_is_raised_and_the_next_run_goes_on() -> None:
    kube = FakeKube()
    helm = FakeHelm(kube)
    helm.failures.append(input_error("CHART_RENDER", "does not render"))
    _, error = failed(ensure_release(wanted(), None, kube, helm, kube.clock, "run-1"))
    assert code(error) == "CHART_RENDER"
    applied = ensured(kube, helm, wanted(), None)
    assert (applied.revision, applied.reason) == (2, "revision 1 is failed")


def test_the_releases_of_other_names_are_not_taken_for_ours() -> None:
    kube = FakeKube()
    helm = FakeHelm(kube)
    ensured(kube, helm, wanted(name="app-two"), None)
    assert ensured(kube, helm, wanted(), None).revision == 1


def test_lost_objects_are_distinguished_from_those_that_are_there() -> None:
    kube = FakeKube()
    there = ObjectRef("Service", "default", "there")
    going = ObjectRef("Service", "default", "going")
    gone = ObjectRef("Service", "default", "gone")
    unknown = ObjectRef("Widget", "default", "whatever")
    kube.put({"kind": "Service", "metadata": {"name": "there", "namespace": "default"}})
    leaving = {"name": "going", "namespace": "default", "deletionTimestamp": kube.clock.stamp()}
    kube.put({"kind": "Service", "metadata": leaving})
    record = ReleaseRecord("default", 1, "i1", (there, going, gone, unknown))
    assert lost_objects(record, kube) == (going, gone)


def test_a_custom_resource_is_lost_only_in_its_own_group() -> None:
    kube = FakeKube()
    kube.put({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "default"}})
    knative = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"namespace": "default"}}
    kube.put({**knative, "metadata": {"name": "b", "namespace": "default"}})
    ours, gone = (ref_of({**knative, "metadata": {"name": name, "namespace": "default"}}) for name in ("b", "a"))
    assert lost_objects(ReleaseRecord("default", 1, "i1", (ours, gone)), kube) == (gone,)


def test_a_job_that_removes_itself_is_not_lost_and_the_record_knows_that() -> None:
    text = "{apiVersion: batch/v1, kind: Job, metadata: {name: seed}, spec: {ttlSecondsAfterFinished: 0}}"
    objects = tuple(storage.objects_of(text, "default"))
    kept = with_release(new_record(), "app", ReleaseRecord("default", 1, "i1", objects))
    again = decode({**encode("app", "default", kept), "metadata": {"name": "r", "resourceVersion": "1"}})
    assert again.releases["app"].objects[0].passing
    assert lost_objects(again.releases["app"], FakeKube()) == ()


def pending(kube: FakeKube, owner: str = "", *, age: float = 0.0) -> Revision:
    """What a helm that was killed leaves behind: its description is Helm's own, whatever was asked for."""
    secret = release_secret("app", "default", 3, "pending-upgrade", description="Preparing upgrade",
                            labels={storage.OWNER_LABEL: owner} if owner else {},
                            updated=kube.clock.now() - age)  # fmt: skip
    kube.put(secret)
    (found,) = storage.revisions([secret], "app")
    return found


def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def status_of(kube: FakeKube, number: int = 3) -> tuple[str, str]:
    secret = kube.get("Secret", "default", storage.secret_name("app", number))
    assert secret is not None
    info = storage.decode(secret)["info"]
    assert secret["metadata"]["labels"]["status"] == info["status"]
    return info["status"], info["description"]


def test_a_new_revision_does_not_inherit_the_verdict_of_the_last() -> None:
    kube = FakeKube()
    helm = FakeHelm(kube)
    first = ensured(kube, helm, wanted(), None)
    mark(first, "verified", "", kube)
    second = ensured(kube, helm, wanted("i2"), remembered(first))
    assert not second.verified
    assert not ensured(kube, helm, wanted("i2"), remembered(second)).verified


def test_a_healed_release_is_upgraded_in_the_same_run() -> None:
    kube = FakeKube()
    helm = FakeHelm(kube)
    pending(kube, owner_label(3).replace(f".{os.getpid()}.", f".{dead_pid()}."))
    events, outcome = played(ensure_release(wanted(), known(2), kube, helm, kube.clock, "run-1"))
    assert outcome.value.revision == 4
    assert any("healed" in text for _, _, text in items(events))


def test_a_failed_verdict_is_in_helms_own_history() -> None:
    kube = FakeKube()
    applied = ensured(kube, FakeHelm(kube), wanted(), None)
    mark(applied, "failed", "CRASH_LOOP: it crashes", kube)
    assert status_of(kube, 1) == ("failed", "CRASH_LOOP: it crashes")
    (found,) = storage.revisions(kube.list("Secret", "default"), "app")
    assert (found.status, found.verdict) == ("failed", "failed")


def test_a_verified_revision_keeps_its_document() -> None:
    kube = FakeKube()
    helm = FakeHelm(kube)
    applied = ensured(kube, helm, wanted(), None)
    before = status_of(kube, 1)
    mark(applied, "verified", "", kube)
    assert status_of(kube, 1) == before
    assert ensured(kube, helm, wanted(), remembered(applied)).verified
    secret = kube.get("Secret", "default", storage.secret_name("app", 1))
    assert secret is not None
    assert secret["metadata"]["labels"][VERDICT_LABEL] == "verified"


def test_after_a_failed_verdict_the_same_inputs_are_deployed_again() -> None:
    kube = FakeKube()
    helm = FakeHelm(kube)
    applied = ensured(kube, helm, wanted(), None)
    mark(applied, "failed", "why", kube)
    assert ensured(kube, helm, wanted(), remembered(applied)).revision == 2


def test_a_mark_on_a_revision_that_is_gone_is_no_failure() -> None:
    kube = FakeKube()
    mark(Applied("app", "default", 9, True, "", "i1", (), False), "failed", "why", kube)
    assert kube.names("Secret") == []


def test_waves_follow_needs_in_the_order_of_the_spec() -> None:
    plans = [wanted(name="web", needs=("api",)), wanted(name="db"), wanted(name="api", needs=("db",)), wanted(name="x")]
    assert [[one.name for one in wave] for wave in ordered(plans)] == [["db", "x"], ["api"], ["web"]]


def test_a_release_with_an_object_whose_kind_is_gone_is_upgraded() -> None:
    kube = FakeKube()
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one", "namespace": "default"}}
    kube.put(release_secret("app", "default", 1, "deployed", objects=[widget]))
    kube.lost_kinds = frozenset({("example.com/v1", "Widget")})
    helm = FakeHelm(kube)
    outcome = played(ensure_release(wanted(), known(1), kube, helm, kube.clock, "run-1"))[1]
    assert (outcome.value.revision, outcome.changed) == (2, True)


def test_releases_that_need_each_other_are_refused_by_name() -> None:
    plans = [wanted(name="a", needs=("b",)), wanted(name="b", needs=("a",)), wanted(name="c")]
    with pytest.raises(DeployError, match=re.escape("a, b")) as caught:
        ordered(plans)
    assert caught.value.problems[0].code == "RELEASE_CYCLE"


def test_a_need_of_something_that_is_not_deployed_does_not_block() -> None:
    assert len(ordered([wanted(needs=("elsewhere",))])) == 1


def test_a_helm_that_loses_the_api_server_is_run_again() -> None:
    kube = FakeKube()
    helm = FakeHelm(kube)
    helm.failures.append(machine_error("API_UNREACHABLE", "the API server does not answer"))
    events, outcome = played(ensure_release(wanted(), None, kube, helm, kube.clock, "run-1"))
    assert outcome.value.revision == 2
    assert any("once more" in text for _, _, text in items(events))


def test_an_api_server_that_helm_never_reaches_is_named() -> None:
    kube = FakeKube()
    helm = FakeHelm(kube)
    helm.failures += [machine_error("API_UNREACHABLE", "the API server does not answer")] * 3
    _, error = failed(ensure_release(wanted(), None, kube, helm, kube.clock, "run-1"))
    assert code(error) == "API_UNREACHABLE"
    assert len(helm.requests) == 3


def held(name: str, release: str = "app") -> Object:
    labels, notes = {MANAGED_BY: "Helm"}, {RELEASE_NAME: release, RELEASE_NAMESPACE: "default"}
    metadata = {"name": name, "namespace": "default", "labels": labels, "annotations": notes}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def test_only_what_is_the_releases_is_replaced() -> None:
    kube = FakeKube()
    kube.put(held("mine"))
    kube.put(held("theirs", "other"))
    replaced = tuple(Existing(ObjectRef("ConfigMap", "default", name)) for name in ("mine", "theirs", "gone"))
    played(prepare("app", "default", Preparation(replaced), kube, kube.clock))
    assert kube.names("ConfigMap") == ["theirs"]


def test_what_does_not_go_is_named_with_what_holds_it() -> None:
    class Stuck(FakeKube):
        def drop(self, kind: str, namespace: str, name: str) -> bool:
            return True

    kube = Stuck()
    one = held("mine")
    kube.put({**one, "metadata": {**one["metadata"], "finalizers": ["example.com/wait"]}})
    wanted = Preparation((Existing(ObjectRef("ConfigMap", "default", "mine")),))
    _, error = failed(prepare("app", "default", wanted, kube, kube.clock))
    assert code(error) == "OBJECT_STAYS"
    assert "example.com/wait" in error.problems[0].detail


def test_what_is_adopted_is_marked_as_helm_wants_it_and_our_namespace_stays_known() -> None:
    kube = FakeKube()
    kube.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {MANAGED_BY: OWNER}}})
    played(
        prepare("app", "default", Preparation((), (Existing(ObjectRef("Namespace", "", "shop")),)), kube, kube.clock)
    )
    found = kube.get("Namespace", "", "shop")
    assert found is not None
    assert owned_by(found, "app", "default")
    assert found["metadata"]["labels"][MADE_LABEL] == OWNER
