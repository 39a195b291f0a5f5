from __future__ import annotations

import base64
from pathlib import Path

import pytest

from deployer.core.errors import DeployError
from deployer.helm import storage
from deployer.plan import ReleasePlan
from deployer.stages.releases import ensure_release, mark
from deployer.stages.rollback import apply_revision, lacking_releases, serve_copy
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
