"""Taking down: what we made goes, what is somebody else's stays, and data goes only when that was asked for."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from deployer.commands.down import Removed
from deployer.core.errors import DeployError, ExitCode, Problem, machine_error
from deployer.core.events import Item, Warned
from deployer.core.ports import MADE_LABEL, MANAGED_BY, OWNER, HelmPort, ObjectRef
from deployer.core.yaml import parse_manifest
from deployer.helm import storage
from deployer.stages.removal import (
    keep_namespaces,
    remove_claims,
    remove_left_volumes,
    remove_namespaces,
    remove_releases,
    remove_secrets,
    seconds_to_end,
    volume_claims,
    volumes_of,
)
from deployer.state.record import Record, ReleaseRecord, save
from tests.fakes import FakeClock, FakeCluster, FakeKube
from tests.fakes.helm import release_secret
from tests.fakes.play import code, failed, items, played
from tests.fakes.shop import SPEC, Shop

OURS = {"app.kubernetes.io/managed-by": "todo-deploy"}
SET = ObjectRef("StatefulSet", "default", "db")
HOSTPATH = "/tmp/hostpath-provisioner/default/data-db-0"


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube(FakeClock())


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def put(kube: FakeKube, kind: str, name: str, namespace: str = "default", *, labels: Any = None, **more: Any) -> None:
    kube.put({"kind": kind, "metadata": {"name": name, "namespace": namespace, "labels": labels or {}}, **more})


def claim(name: str) -> ObjectRef:
    return ObjectRef("PersistentVolumeClaim", "default", name)


def stateful_set(kube: FakeKube, *claims: str) -> None:
    """A StatefulSet `db` with a template `data`, and claims."""
    put(kube, "StatefulSet", "db", spec={"volumeClaimTemplates": [{"metadata": {"name": "data"}}]})
    for name in claims:
        put(kube, "PersistentVolumeClaim", name)


def volume(kube: FakeKube, name: str = "pv", *, phase: str = "Released", policy: str = "Delete", path: str = HOSTPATH,
           by: str = "k8s.io/minikube-hostpath") -> None:  # fmt: skip
    metadata = {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": by}}
    spec = {"hostPath": {"path": path}, "persistentVolumeReclaimPolicy": policy}
    kube.put({"kind": "PersistentVolume", "metadata": metadata, "spec": spec, "status": {"phase": phase}})


def test_a_stateful_sets_claims_are_those_of_its_templates_and_ordinals(kube: FakeKube) -> None:
    stateful_set(kube, "data-db-0", "data-db-11", "data-db-old", "data-db2-0", "data-dbx-0", "logs-db-0", "mine")
    assert volume_claims([SET], kube) == (claim("data-db-0"), claim("data-db-11"))


def test_a_releases_own_claims_count_once(kube: FakeKube) -> None:
    stateful_set(kube, "data-db-0")
    refs = [claim("data-db-0"), SET, ObjectRef("Deployment", "default", "web")]
    assert volume_claims(refs, kube) == (claim("data-db-0"),)


def test_a_stateful_set_that_is_gone_names_no_claims(kube: FakeKube) -> None:
    put(kube, "PersistentVolumeClaim", "data-db-0")
    assert volume_claims([SET], kube) == ()


def test_secrets_of_the_application_go_and_all_others_stay(kube: FakeKube) -> None:
    ours = {**OURS, "todo-deploy.dev/application": "shop"}
    put(kube, "Secret", "app", labels=ours)
    put(kube, "Secret", "elsewhere", "kube-system", labels=ours)
    put(kube, "Secret", "other", labels={**ours, "todo-deploy.dev/application": "other"})
    put(kube, "Secret", "chart", labels={**ours, "app.kubernetes.io/managed-by": "Helm"})
    put(kube, "Secret", "person")
    save(kube, "default", "shop", Record("salt"))
    _, removed = played(remove_secrets("shop", ("default", "default"), kube))
    assert removed == 1
    assert kube.names("Secret") == ["chart", "other", "person", "todo-deploy.shop"]
    assert kube.names("Secret", "kube-system") == ["elsewhere"]


def test_claims_are_waited_for_until_they_are_gone(kube: FakeKube) -> None:
    put(kube, "PersistentVolumeClaim", "data")
    drop, kube.drop = kube.drop, lambda *_: True  # type: ignore[method-assign]  # a pod still uses it
    kube.clock.at(9, lambda: drop("PersistentVolumeClaim", "default", "data"))
    _, removed = played(remove_claims([claim("data"), claim("never")], kube, kube.clock))
    assert removed >= 1
    assert 9 <= kube.clock.elapsed < 10


def test_a_claim_that_stays_in_use_is_named(kube: FakeKube) -> None:
    put(kube, "PersistentVolumeClaim", "data")
    kube.drop = lambda *_: True  # type: ignore[method-assign]
    _, error = failed(remove_claims([claim("data")], kube, kube.clock))
    assert (code(error), error.exit_code) == ("VOLUME_IN_USE", ExitCode.MACHINE)
    assert "`data`" in error.problems[0].title


def test_a_volume_that_minikube_left_behind_goes_with_its_folder(kube: FakeKube) -> None:
    cluster = FakeCluster()
    volume(kube)
    put(kube, "PersistentVolumeClaim", "data", spec={"volumeName": "pv"})
    assert volumes_of([claim("data"), claim("gone")], kube) == ("pv",)
    played(remove_left_volumes(["pv"], kube, cluster, kube.clock))
    assert (cluster.removed, kube.names("PersistentVolume", "")) == ([HOSTPATH], [])


def test_a_volume_that_its_provisioner_removes_is_not_touched(kube: FakeKube) -> None:
    cluster = FakeCluster()
    volume(kube)
    kube.clock.at(1, lambda: kube.drop("PersistentVolume", "", "pv"))
    played(remove_left_volumes(["pv"], kube, cluster, kube.clock))
    assert (cluster.removed, kube.writes) == ([], [])


@pytest.mark.parametrize("why", [{"phase": "Bound"}, {"policy": "Retain"}, {"by": "ebs.csi.aws.com"}])
def test_a_volume_of_others_or_in_use_or_to_be_retained_stays(kube: FakeKube, why: dict[str, str]) -> None:
    cluster = FakeCluster()
    volume(kube, **why)
    events, _ = played(remove_left_volumes(["pv"], kube, cluster, kube.clock))
    assert (cluster.removed, kube.names("PersistentVolume", "")) == ([], ["pv"])
    assert items(events) == [("pv", "unchanged", "its volume is left to its provisioner")]


@pytest.mark.parametrize("path", ["/var/lib/data", "/tmp/hostpath-provisioner/../../etc", "", "/tmp/hostpath-other/x"])
def test_no_folder_outside_of_the_provisioners_is_removed(kube: FakeKube, path: str) -> None:
    cluster = FakeCluster()
    volume(kube, path=path)
    played(remove_left_volumes(["pv"], kube, cluster, kube.clock))
    assert cluster.removed == []


def test_only_empty_namespaces_of_ours_go(kube: FakeKube) -> None:
    for name in ("empty", "pods", "texts"):
        put(kube, "Namespace", name, "", labels=OURS)
    put(kube, "Namespace", "person", "")
    put(kube, "Pod", "somebodys", "pods")
    put(kube, "ConfigMap", "somebodys", "texts")
    put(kube, "ConfigMap", "kube-root-ca.crt", "empty")  # every namespace has it
    _, removed = played(remove_namespaces(["empty", "pods", "texts", "person", "default", "missing"], kube, kube.clock))
    assert removed == 1
    assert kube.names("Namespace", "") == ["default", "kube-system", "person", "pods", "texts"]


def test_what_is_being_deleted_keeps_no_namespace(kube: FakeKube) -> None:
    put(kube, "Namespace", "shop", "", labels=OURS)
    metadata = {"name": "web", "namespace": "shop", "deletionTimestamp": kube.clock.stamp()}
    kube.put({"kind": "Pod", "metadata": metadata})
    assert played(remove_namespaces(["shop"], kube, kube.clock))[1] == 1


def hook(name: str, kind: str = "Job", **notes: str) -> Any:
    annotations = {"helm.sh/hook": "post-install", **notes}
    return {"kind": kind, "metadata": {"name": name, "namespace": "default", "annotations": annotations}}


def made_by_hooks(shop: Shop, *found: Any) -> None:
    """The release's first revision has hooks that made these."""
    secret = shop.kube.get("Secret", "default", storage.secret_name("web", 1))
    assert secret is not None
    document = storage.decode(secret) | {"hooks": [{"manifest": json.dumps(one)} for one in found]}
    shop.kube.put(secret | {"data": {"release": storage.encode(document)}})
    for one in found:
        shop.kube.put(one)


@pytest.mark.parametrize(("inside", "left"), [("ConfigMap", ["made"]), ("PersistentVolumeClaim", ["made"]), ("", [])])
def test_a_namespace_that_a_hook_made_goes_when_nothing_is_in_it(shop: Shop, inside: str, left: list[str]) -> None:
    played(shop.up("1"))
    made = hook("made", "Namespace")
    made["metadata"]["namespace"] = ""
    made_by_hooks(shop, made)
    if inside:
        put(shop.kube, inside, "data", "made")
    played(shop.down())
    assert [name for name in shop.kube.names("Namespace", "") if name == "made"] == left


def test_a_namespace_of_a_hook_goes_with_the_last_of_its_claims(shop: Shop) -> None:
    played(shop.up("1"))
    made = hook("made", "Namespace")
    made["metadata"]["namespace"] = ""
    made_by_hooks(shop, made)
    put(shop.kube, "PersistentVolumeClaim", "data", "made")
    claims = (ObjectRef("PersistentVolumeClaim", "made", "data"),)
    save(shop.kube, "default", "shop", replace(shop.record, claims=claims))
    played(shop.down())
    assert "made" in shop.kube.names("Namespace", "")
    played(shop.down(volumes=True))
    assert "made" not in shop.kube.names("Namespace", "")


def test_what_hooks_made_goes_with_the_release(shop: Shop) -> None:
    played(shop.up("1"))
    found = [
        hook("migrate"),
        hook("kept", **{"helm.sh/resource-policy": "keep"}),
        hook("data", "PersistentVolumeClaim"),
    ]
    name = storage.secret_name("web", 1)
    secret = shop.kube.get("Secret", "default", name)
    assert secret is not None
    document = storage.decode(secret) | {"hooks": [{"manifest": json.dumps(one)} for one in found]}
    document["hooks"].append({"manifest": json.dumps(hook("gone"))})
    document["hooks"].append({"manifest": json.dumps(hook("somebodys"))})
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(document).encode()))).decode()
    shop.kube.put(secret | {"data": {"release": packed}})
    for one in found:
        shop.kube.put(one)
    put(shop.kube, "Job", "somebodys")
    events, _ = played(shop.down())
    assert shop.kube.names("Job") == ["kept", "somebodys"]
    assert shop.kube.names("PersistentVolumeClaim") == ["data"]
    assert ("hooks", "done", "1 removed") in items(events)


def test_a_release_whose_kind_is_gone_goes_without_it(shop: Shop) -> None:
    played(shop.up("1"))
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one", "namespace": "default"}}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "namespace": "default"}}
    there = shop.kube.get("Secret", "default", storage.secret_name("web", 1))
    assert there is not None
    made = release_secret("web", "default", 1, "deployed", objects=[widget, config])
    shop.kube.put({**there, "data": made["data"]})
    shop.kube.lost_kinds = frozenset({("example.com/v1", "Widget")})
    events, removed = played(shop.down())
    assert removed.releases and shop.kube.names("ConfigMap") == []
    assert [one.problem.where for one in events if isinstance(one, Warned)] == ["widget/one"]


@pytest.mark.parametrize(
    ("said", "exit_code"), [("HOOK_FAILED", ExitCode.NOTHING_SERVES), ("OBJECT_INVALID", ExitCode.INPUT)]
)
def test_a_release_that_its_hook_keeps_is_named_with_the_way_round_it(
    said: str, exit_code: ExitCode, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(shop.up("1"))

    def keep(release: str, namespace: str, timeout: float) -> bool:
        secret = shop.kube.get("Secret", namespace, storage.secret_name(release, 1))
        assert secret is not None
        shop.kube.put(storage.with_status(secret, "uninstalling", ""))
        raise DeployError(Problem(said, "a hook of release `web` did not succeed"), exit_code)

    monkeypatch.setattr(shop.helm, "uninstall", keep)
    _, error = failed(shop.down())
    assert (code(error), error.exit_code) == (said, ExitCode.MACHINE)
    assert any("helm uninstall web --namespace default --no-hooks" in hint for hint in error.problems[0].hints)


def test_releases_go_side_by_side_and_those_that_need_others_first() -> None:
    class Helm:
        """Uninstalls what is there, two at once where both are asked for."""

        def __init__(self) -> None:
            self.gone: list[str] = []
            self.both = threading.Barrier(2)

        def uninstall(self, release: str, namespace: str, timeout: float) -> bool:
            self.asked = timeout
            if release in ("web", "api"):
                self.both.wait(timeout=20)
            self.gone.append(f"{namespace}/{release}")
            return release != "never"

    helm = Helm()
    releases = [(name, ReleaseRecord("shop", 1, "", ())) for name in ("db", "api", "web", "never")]
    needs = {"api": ["db"], "web": ["db", "elsewhere"], "never": []}
    _, outcome = played(remove_releases(releases, needs, cast("HelmPort", helm), FakeKube(), 400.0))
    assert (outcome.value, outcome.changed, helm.asked) == (3, True, 400.0)
    assert helm.gone[-1] == "shop/db" and len(helm.gone) == 4


def test_many_pods_and_those_that_end_slowly_are_given_their_time(kube: FakeKube) -> None:
    usual = seconds_to_end(["default", "todo"], kube)
    put(kube, "Pod", "slow", spec={"terminationGracePeriodSeconds": 600})
    assert seconds_to_end(["default", "todo", "default"], kube) > usual + 600
    for number in range(1000):
        put(kube, "Pod", f"web-{number}", "todo")
    assert seconds_to_end(["default", "todo"], kube) > usual + 600 + 200
    kube.allowed_in = {"default"}
    assert seconds_to_end(["default", "todo"], kube) == seconds_to_end(["default"], kube)


def test_what_an_uninstall_waits_for_is_shown(kube: FakeKube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployer.stages.removal._SHOWN_SECONDS", 0.01)
    shown = threading.Event()

    class Helm:
        def uninstall(self, release: str, namespace: str, timeout: float) -> bool:
            assert shown.wait(timeout=20)
            return True

    leaving = {"deletionTimestamp": kube.clock.stamp()}
    for kind, name, more in (
        ("Pod", "web-1", {"deletionGracePeriodSeconds": 30}), ("Ingress", "web", {"finalizers": ["example.com/hold"]}),
        ("Ingress", "other", {"finalizers": ["example.com/other"]}),
    ):  # fmt: skip
        kube.put({"kind": kind, "metadata": {"name": name, "namespace": "default", **leaving, **more}})
    known = ReleaseRecord("default", 1, "", (ObjectRef("Ingress", "default", "web"),))
    seen: list[str] = []
    for event in remove_releases([("web", known)], {}, cast("HelmPort", Helm()), kube):
        seen += [event.text] if isinstance(event, Item) else []
        if len(seen) > 1:
            shown.set()
    assert "pod/web-1" in seen[1] and "30 s" in seen[1]
    assert "ingress/web" in seen[1] and "example.com/hold" in seen[1] and "example.com/other" not in seen[1]


def test_a_release_that_helm_waits_for_in_vain_names_the_node_that_its_pods_are_on(kube: FakeKube) -> None:
    class Helm:
        def uninstall(self, name: str, namespace: str, timeout: float) -> bool:
            raise machine_error("HELM_FAILED", "context deadline exceeded")

    def removing() -> DeployError:
        known = ReleaseRecord("todo", 1, "", ())
        return failed(remove_releases([("web", known)], {}, cast(HelmPort, Helm()), kube))[1]

    assert code(removing()) == "HELM_FAILED"
    pod = {"kind": "Pod", "metadata": {"name": "web-1", "namespace": "todo", "deletionGracePeriodSeconds": 30},
           "spec": {"nodeName": "m02"}}  # fmt: skip
    pod["metadata"] |= {"deletionTimestamp": "2026-03-02T09:00:00Z"}  # type: ignore[operator]
    kube.put(pod)
    left = removing()
    assert (code(left), left.exit_code, "up to 30 s" in left.problems[0].title) == (
        "RELEASE_LEAVING", ExitCode.MACHINE, True,
    )  # fmt: skip
    kube.put({"kind": "Node", "metadata": {"name": "m02"},
              "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})  # fmt: skip
    (problem,) = removing().problems
    assert "pod/web-1 to end (node m02 is not Ready)" in problem.title
    assert "todo-deploy up" in problem.hints[0]


def test_a_release_that_a_finalizer_keeps_is_named_with_the_way_round_it(kube: FakeKube) -> None:
    class Helm:
        def uninstall(self, name: str, namespace: str, timeout: float) -> bool:
            raise machine_error("HELM_FAILED", "context deadline exceeded")

    gone = {"deletionTimestamp": kube.clock.stamp(), "finalizers": ["example.com/nobody"]}
    kube.put({"kind": "ConfigMap", "metadata": {"name": "held", "namespace": "todo", **gone}})
    known = ReleaseRecord("todo", 1, "", (ObjectRef("ConfigMap", "todo", "held"),))
    (problem,) = failed(remove_releases([("web", known)], {}, cast(HelmPort, Helm()), kube))[1].problems
    assert "configmap/held (finalizer example.com/nobody)" in problem.title
    assert [hint.split(" -n ")[0] for hint in problem.hints] == ["kubectl patch configmap/held", "todo-deploy down"]


def test_a_claim_that_is_waited_for_is_shown_with_its_user(kube: FakeKube) -> None:
    put(kube, "PersistentVolumeClaim", "data")
    put(kube, "Pod", "other", spec={"volumes": [{"persistentVolumeClaim": {"claimName": "data"}}]})
    kube.drop = lambda *_: True  # type: ignore[method-assign]
    events, error = failed(remove_claims([claim("data")], kube, kube.clock))
    waits = [text for _, state, text in items(events) if state == "running"][1:]
    assert len(waits) >= 11 and all("data" in text and "pod/other" in text for text in waits)
    assert "pod/other" in error.problems[0].detail


def test_down_removes_releases_and_secrets_and_a_second_one_changes_nothing(shop: Shop) -> None:
    played(shop.up("1"))
    put(shop.kube, "Secret", "person")
    _, removed = played(shop.down())
    assert removed == Removed(releases=1, secrets=2)
    assert shop.kube.names("Secret") == ["person", "todo-deploy.shop"]
    assert shop.kube.get("Deployment", "default", "web") is None
    shop.kube.writes.clear()
    _, again = played(shop.down())
    written = [kind for _, kind, *_ in shop.kube.writes if kind != "Lease"]
    assert (again, again.changed, written) == (Removed(), False, [])


def test_volumes_stay_and_are_found_by_a_later_down(shop: Shop) -> None:
    played(shop.up("1"))
    stateful_set(shop.kube, "data-db-0", "mine")
    known = shop.record.releases["web"]
    kept = replace(shop.record, releases={"web": replace(known, objects=(*known.objects, SET))})
    save(shop.kube, "default", "shop", kept)
    played(shop.down())
    assert shop.kube.names("PersistentVolumeClaim") == ["data-db-0", "mine"]
    shop.kube.drop("StatefulSet", "default", "db")
    _, removed = played(shop.down(volumes=True))
    assert removed == Removed(volumes=1)
    assert shop.kube.names("PersistentVolumeClaim") == ["mine"]
    assert shop.kube.get("Secret", "default", "todo-deploy.shop") is None
    assert played(shop.down(volumes=True))[1] == Removed()


def test_a_later_down_finds_the_namespaces_of_releases_too(shop: Shop) -> None:
    path = shop.root / "todo-deploy.yaml"
    path.write_text(SPEC.replace("    chart: chart\n", "    chart: chart\n    namespace: back\n"))
    put(shop.kube, "Namespace", "back", "", labels=OURS)
    played(shop.down(volumes=True))
    assert shop.kube.get("Namespace", "", "back") is None


def test_after_a_down_nothing_of_before_is_gone_back_to(shop: Shop) -> None:
    """Helm counts from one again: a number of before would now be another revision."""
    played(shop.up("1"))
    played(shop.down())
    shop.helm.broken = {"2"}
    _, error = failed(shop.up("2"))
    assert [one.code for one in error.problems] == ["CRASH_LOOP"]
    assert error.exit_code == ExitCode.NOTHING_SERVES
    assert len(shop.helm.requests) == 2
    assert shop.helm.served("web") == "2"


def test_a_namespace_of_a_release_is_left_with_the_record_and_the_volumes_in_it() -> None:
    kube = FakeKube()
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop"}}
    kube.put(release_secret("web", "default", 1, "deployed", objects=[space, other]))
    keep_namespaces([("web", ReleaseRecord("default", 1, "", ()))], {"shop"}, kube)
    kept = kube.get("Secret", "default", storage.secret_name("web", 1))
    assert kept is not None
    found = {one["kind"]: one["metadata"].get("annotations") for one in parse_manifest(storage.manifest_of(kept))}
    assert found == {"Namespace": {"helm.sh/resource-policy": "keep"}, "ConfigMap": None}


def test_a_namespace_that_we_made_goes_at_last_although_helm_has_marked_it() -> None:
    kube = FakeKube()
    labels = {MANAGED_BY: "Helm", MADE_LABEL: OWNER}
    kube.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}})
    assert played(remove_namespaces(["shop"], kube, kube.clock))[1] == 1
