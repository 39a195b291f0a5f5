from __future__ import annotations

from pathlib import Path

import pytest

from deployer.core.errors import DeployError, ExitCode
from deployer.core.ports import INPUTS_LABEL, VERDICT_LABEL, Object, ObjectRef, Revision, UpgradeRequest
from deployer.helm import storage
from tests.contract.conftest import BOTH, Doors

pytestmark = BOTH

TEMPLATE = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data: {{ toYaml .Values | nindent 2 }}
"""


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A chart with one ConfigMap of the values, as the fake renders it too."""
    (tmp_path / "probe" / "templates").mkdir(parents=True)
    (tmp_path / "probe" / "Chart.yaml").write_text("apiVersion: v2\nname: probe\nversion: 0.1.0\n")
    (tmp_path / "probe" / "templates" / "config.yaml").write_text(TEMPLATE)
    return tmp_path / "probe"


def wanted(doors: Doors, chart: Path, value: str = "1", **labels: str) -> UpgradeRequest:
    given = {INPUTS_LABEL: f"inputs-{value}", **{f"example.com/{name}": text for name, text in labels.items()}}
    return UpgradeRequest("app", doors.namespace, chart, {"value": value}, given, f"run {value}", 60)


def history(doors: Doors) -> tuple[Revision, ...]:
    return storage.revisions(doors.kube.list("Secret", doors.namespace, labels=storage.SELECTOR), "app")


def stored(doors: Doors, revision: int) -> Object:
    secret = doors.kube.get("Secret", doors.namespace, storage.secret_name("app", revision))
    assert secret is not None
    return secret


def served(doors: Doors) -> str | None:
    found = doors.kube.get("ConfigMap", doors.namespace, "app")
    return found["data"]["value"] if found is not None else None


def test_a_template_is_rendered_without_a_release(doors: Doors, chart: Path) -> None:
    (rendered,) = doors.helm.template(wanted(doors, chart))
    assert (rendered["kind"], rendered["metadata"]["name"]) == ("ConfigMap", "app")
    assert rendered["data"] == {"value": "1"}
    assert (history(doors), served(doors)) == ((), None)


def test_a_first_upgrade_installs(doors: Doors, chart: Path) -> None:
    done = doors.helm.upgrade(wanted(doors, chart))
    assert (done.revision.revision, done.revision.status, done.revision.inputs) == (1, "deployed", "inputs-1")
    assert done.objects == (ObjectRef("ConfigMap", doors.namespace, "app"),)
    assert served(doors) == "1"


def test_the_revision_is_stored_as_we_read_it(doors: Doors, chart: Path) -> None:
    doors.helm.upgrade(wanted(doors, chart))
    (found,) = history(doors)
    assert (found.revision, found.status, found.inputs, found.namespace) == (1, "deployed", "inputs-1", doors.namespace)
    assert found.updated.isdigit()
    document = storage.decode(stored(doors, 1))
    assert document["info"]["description"] == "run 1"
    assert document["version"] == 1
    assert "kind" in document["manifest"]


def test_an_upgrade_supersedes_the_revision_before(doors: Doors, chart: Path) -> None:
    doors.helm.upgrade(wanted(doors, chart))
    done = doors.helm.upgrade(wanted(doors, chart, "2"))
    assert done.revision.revision == 2
    assert [(one.revision, one.status, one.inputs) for one in history(doors)] == [
        (1, "superseded", "inputs-1"),
        (2, "deployed", "inputs-2"),
    ]
    assert served(doors) == "2"


def test_labels_are_handed_on_unless_they_are_given_anew(doors: Doors, chart: Path) -> None:
    doors.helm.upgrade(wanted(doors, chart, stays="old", changes="old"))
    doors.helm.upgrade(wanted(doors, chart, "2", changes="new"))
    labels = stored(doors, 2)["metadata"]["labels"]
    assert (labels["example.com/stays"], labels["example.com/changes"]) == ("old", "new")


def test_a_pending_release_is_refused_until_it_is_healed(doors: Doors, chart: Path) -> None:
    doors.helm.upgrade(wanted(doors, chart))
    doors.kube.replace(storage.with_status(stored(doors, 1), "pending-upgrade", "Preparing upgrade"))
    with pytest.raises(DeployError) as caught:
        doors.helm.upgrade(wanted(doors, chart, "2"))
    assert caught.value.problems[0].code == "RELEASE_PENDING"
    assert caught.value.exit_code is ExitCode.REFUSED
    doors.kube.replace(storage.with_status(stored(doors, 1), "failed", "healed"))
    assert doors.helm.upgrade(wanted(doors, chart, "2")).revision.revision == 2
    assert storage.decode(stored(doors, 1))["info"]["description"] == "healed"


def test_after_a_failed_verdict_helm_keeps_the_reason_but_not_the_status(doors: Doors, chart: Path) -> None:
    doors.helm.upgrade(wanted(doors, chart))
    doors.kube.replace(storage.with_status(stored(doors, 1), "failed", "CRASH_LOOP"))
    doors.kube.patch("Secret", doors.namespace, storage.secret_name("app", 1),
                     {"metadata": {"labels": {VERDICT_LABEL: "failed"}}})  # fmt: skip
    doors.helm.upgrade(wanted(doors, chart, "2"))
    # Helm takes the last revision for the one that was deployed: only our label still says that it failed.
    first = history(doors)[0]
    assert (first.status, first.verdict) == ("superseded", "failed")
    assert storage.decode(stored(doors, 1))["info"]["description"] == "CRASH_LOOP"


def test_a_rollback_leaves_a_failed_revision_as_it_is(doors: Doors, chart: Path) -> None:
    doors.helm.upgrade(wanted(doors, chart))
    doors.helm.upgrade(wanted(doors, chart, "2"))
    doors.kube.replace(storage.with_status(stored(doors, 2), "failed", "CRASH_LOOP"))
    doors.helm.rollback("app", doors.namespace, 1, 60)
    assert [(one.revision, one.status) for one in history(doors)] == [
        (1, "superseded"), (2, "failed"), (3, "deployed"),
    ]  # fmt: skip
    assert storage.decode(stored(doors, 2))["info"]["description"] == "CRASH_LOOP"


def test_helm_keeps_every_revision(doors: Doors, chart: Path) -> None:
    """Which of them may go is decided by what they were (`releases.trim`), not by their number."""
    doors.helm.upgrade(wanted(doors, chart))
    first = stored(doors, 1)
    for number in range(2, 12):
        labels = {**first["metadata"]["labels"], "version": str(number), "status": "superseded"}
        name = storage.secret_name("app", number)
        document = {**storage.decode(first), "version": number}
        doors.kube.create({
            "apiVersion": "v1", "kind": "Secret", "type": first["type"],
            "metadata": {"name": name, "namespace": doors.namespace, "labels": labels},
            "data": {"release": storage.encode(document)},
        })  # fmt: skip
    assert doors.helm.upgrade(wanted(doors, chart, "2")).revision.revision == 12
    assert len(history(doors)) == 12


def test_a_rollback_is_a_new_revision_with_values_and_labels_of_the_old_one(doors: Doors, chart: Path) -> None:
    doors.helm.upgrade(wanted(doors, chart))
    mark = {"metadata": {"labels": {VERDICT_LABEL: "verified"}}}
    doors.kube.patch("Secret", doors.namespace, storage.secret_name("app", 1), mark)
    labels = {INPUTS_LABEL: "inputs-2", VERDICT_LABEL: "unfinished"}
    doors.helm.upgrade(UpgradeRequest("app", doors.namespace, chart, {"value": "2"}, labels, "run 2", 60))
    doors.helm.rollback("app", doors.namespace, 1, 60)
    manifests = [storage.decode(stored(doors, number))["manifest"] for number in (1, 3)]
    assert manifests[0] == manifests[1]
    assert served(doors) == "1"
    assert [(one.revision, one.status, one.inputs, one.verdict) for one in history(doors)] == [
        (1, "superseded", "inputs-1", "verified"),
        (2, "superseded", "inputs-2", "unfinished"),
        # Handed on as it stood: whoever rolls back has to take it off until the rollout is judged.
        (3, "deployed", "inputs-1", "verified"),
    ]


def test_a_rollback_to_a_revision_that_is_not_there_is_an_explained_failure(doors: Doors, chart: Path) -> None:
    doors.helm.upgrade(wanted(doors, chart))
    with pytest.raises(DeployError):
        doors.helm.rollback("app", doors.namespace, 9, 60)
    assert [one.revision for one in history(doors)] == [1]


def test_an_uninstalled_release_leaves_nothing(doors: Doors, chart: Path) -> None:
    doors.helm.upgrade(wanted(doors, chart))
    assert doors.helm.uninstall("app", doors.namespace) is True
    assert (history(doors), served(doors)) == ((), None)
    assert doors.helm.uninstall("app", doors.namespace) is False
