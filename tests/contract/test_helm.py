from __future__ import annotations

import json
from pathlib import Path

import pytest

from deployer.core.errors import DeployError, ExitCode
from deployer.core.ports import INPUTS_LABEL, VERDICT_LABEL, Object, ObjectRef, Revision, UpgradeRequest
from deployer.helm import storage
from deployer.helm.gone_kinds import forget
from tests.contract.conftest import BOTH, Clients
from tests.fakes import FakeKube

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


def wanted(clients: Clients, chart: Path, value: str = "1", **labels: str) -> UpgradeRequest:
    given = {INPUTS_LABEL: f"inputs-{value}", **{f"example.com/{name}": text for name, text in labels.items()}}
    return UpgradeRequest("app", clients.namespace, chart, {"value": value}, given, f"run {value}", 60)


def history(clients: Clients) -> tuple[Revision, ...]:
    return storage.revisions(clients.kube.list("Secret", clients.namespace, labels=storage.SELECTOR), "app")


def stored(clients: Clients, revision: int) -> Object:
    secret = clients.kube.get("Secret", clients.namespace, storage.secret_name("app", revision))
    assert secret is not None
    return secret


def served(clients: Clients) -> str | None:
    found = clients.kube.get("ConfigMap", clients.namespace, "app")
    return found["data"]["value"] if found is not None else None


def test_a_template_is_rendered_without_a_release(clients: Clients, chart: Path) -> None:
    (rendered,) = clients.helm.template(wanted(clients, chart))
    assert (rendered["kind"], rendered["metadata"]["name"]) == ("ConfigMap", "app")
    assert rendered["data"] == {"value": "1"}
    assert (history(clients), served(clients)) == ((), None)


def test_a_first_upgrade_installs(clients: Clients, chart: Path) -> None:
    done = clients.helm.upgrade(wanted(clients, chart))
    assert (done.revision.revision, done.revision.status, done.revision.inputs) == (1, "deployed", "inputs-1")
    assert done.objects == (ObjectRef("ConfigMap", clients.namespace, "app"),)
    assert served(clients) == "1"


def test_the_revision_is_stored_as_we_read_it(clients: Clients, chart: Path) -> None:
    clients.helm.upgrade(wanted(clients, chart))
    (found,) = history(clients)
    assert (found.revision, found.status, found.inputs, found.namespace) == (
        1,
        "deployed",
        "inputs-1",
        clients.namespace,
    )
    assert found.updated.isdigit()
    document = storage.decode(stored(clients, 1))
    assert document["info"]["description"] == "run 1"
    assert document["version"] == 1
    assert "kind" in document["manifest"]


def test_an_upgrade_supersedes_the_revision_before(clients: Clients, chart: Path) -> None:
    clients.helm.upgrade(wanted(clients, chart))
    done = clients.helm.upgrade(wanted(clients, chart, "2"))
    assert done.revision.revision == 2
    assert [(one.revision, one.status, one.inputs) for one in history(clients)] == [
        (1, "superseded", "inputs-1"),
        (2, "deployed", "inputs-2"),
    ]
    assert served(clients) == "2"


def test_labels_are_handed_on_unless_they_are_given_anew(clients: Clients, chart: Path) -> None:
    clients.helm.upgrade(wanted(clients, chart, stays="old", changes="old"))
    clients.helm.upgrade(wanted(clients, chart, "2", changes="new"))
    labels = stored(clients, 2)["metadata"]["labels"]
    assert (labels["example.com/stays"], labels["example.com/changes"]) == ("old", "new")


def test_a_pending_release_is_refused_until_it_is_healed(clients: Clients, chart: Path) -> None:
    clients.helm.upgrade(wanted(clients, chart))
    clients.kube.replace(storage.with_status(stored(clients, 1), "pending-upgrade", "Preparing upgrade"))
    with pytest.raises(DeployError) as caught:
        clients.helm.upgrade(wanted(clients, chart, "2"))
    assert caught.value.problems[0].code == "RELEASE_PENDING"
    assert caught.value.exit_code is ExitCode.REFUSED
    clients.kube.replace(storage.with_status(stored(clients, 1), "failed", "healed"))
    assert clients.helm.upgrade(wanted(clients, chart, "2")).revision.revision == 2
    assert storage.decode(stored(clients, 1))["info"]["description"] == "healed"


def test_after_a_failed_verdict_helm_keeps_the_reason_but_not_the_status(clients: Clients, chart: Path) -> None:
    clients.helm.upgrade(wanted(clients, chart))
    clients.kube.replace(storage.with_status(stored(clients, 1), "failed", "CRASH_LOOP"))
    clients.kube.patch("Secret", clients.namespace, storage.secret_name("app", 1),
                     {"metadata": {"labels": {VERDICT_LABEL: "failed"}}})  # fmt: skip
    clients.helm.upgrade(wanted(clients, chart, "2"))
    # Helm takes the last revision for the one that was deployed: only our label still says that it failed.
    first = history(clients)[0]
    assert (first.status, first.verdict) == ("superseded", "failed")
    assert storage.decode(stored(clients, 1))["info"]["description"] == "CRASH_LOOP"


def test_a_rollback_leaves_a_failed_revision_as_it_is(clients: Clients, chart: Path) -> None:
    clients.helm.upgrade(wanted(clients, chart))
    clients.helm.upgrade(wanted(clients, chart, "2"))
    clients.kube.replace(storage.with_status(stored(clients, 2), "failed", "CRASH_LOOP"))
    clients.helm.rollback("app", clients.namespace, 1, 60)
    assert [(one.revision, one.status) for one in history(clients)] == [
        (1, "superseded"), (2, "failed"), (3, "deployed"),
    ]  # fmt: skip
    assert storage.decode(stored(clients, 2))["info"]["description"] == "CRASH_LOOP"


def test_helm_keeps_every_revision(clients: Clients, chart: Path) -> None:
    """Which of them may go is decided by what they were (`releases.trim`), not by their number."""
    clients.helm.upgrade(wanted(clients, chart))
    first = stored(clients, 1)
    for number in range(2, 12):
        labels = {**first["metadata"]["labels"], "version": str(number), "status": "superseded"}
        name = storage.secret_name("app", number)
        document = {**storage.decode(first), "version": number}
        clients.kube.create({
            "apiVersion": "v1", "kind": "Secret", "type": first["type"],
            "metadata": {"name": name, "namespace": clients.namespace, "labels": labels},
            "data": {"release": storage.encode(document)},
        })  # fmt: skip
    assert clients.helm.upgrade(wanted(clients, chart, "2")).revision.revision == 12
    assert len(history(clients)) == 12


def test_a_rollback_is_a_new_revision_with_values_and_labels_of_the_old_one(clients: Clients, chart: Path) -> None:
    clients.helm.upgrade(wanted(clients, chart))
    mark = {"metadata": {"labels": {VERDICT_LABEL: "verified"}}}
    clients.kube.patch("Secret", clients.namespace, storage.secret_name("app", 1), mark)
    labels = {INPUTS_LABEL: "inputs-2", VERDICT_LABEL: "unfinished"}
    clients.helm.upgrade(UpgradeRequest("app", clients.namespace, chart, {"value": "2"}, labels, "run 2", 60))
    clients.helm.rollback("app", clients.namespace, 1, 60)
    manifests = [storage.decode(stored(clients, number))["manifest"] for number in (1, 3)]
    assert manifests[0] == manifests[1]
    assert served(clients) == "1"
    assert [(one.revision, one.status, one.inputs, one.verdict) for one in history(clients)] == [
        (1, "superseded", "inputs-1", "verified"),
        (2, "superseded", "inputs-2", "unfinished"),
        # Handed on as it stood: whoever rolls back has to take it off until the rollout is judged.
        (3, "deployed", "inputs-1", "verified"),
    ]


def test_a_rollback_to_a_revision_that_is_not_there_is_an_explained_failure(clients: Clients, chart: Path) -> None:
    clients.helm.upgrade(wanted(clients, chart))
    with pytest.raises(DeployError):
        clients.helm.rollback("app", clients.namespace, 9, 60)
    assert [one.revision for one in history(clients)] == [1]


def test_an_uninstalled_release_leaves_nothing(clients: Clients, chart: Path) -> None:
    clients.helm.upgrade(wanted(clients, chart))
    assert clients.helm.uninstall("app", clients.namespace) is True
    assert (history(clients), served(clients)) == ((), None)
    assert clients.helm.uninstall("app", clients.namespace) is False


GONE = {"apiVersion": "gone.example.com/v1", "kind": "Widget", "metadata": {"name": "one"}}


def with_gone_kind(clients: Clients, revision: int) -> None:
    """The stored revision has an object more, of a kind that the server does not have."""
    body = f"---\n{json.dumps(GONE)}\n"
    changed = storage.with_parts(stored(clients, revision), lambda part: part + body if part.strip() else part)
    assert changed is not None
    clients.kube.replace(changed)
    if isinstance(clients.kube, FakeKube):
        clients.kube.lost_kinds = frozenset({(GONE["apiVersion"], GONE["kind"])})


def test_an_object_of_a_kind_that_is_gone_keeps_helm_until_it_is_forgotten(clients: Clients, chart: Path) -> None:
    clients.helm.upgrade(wanted(clients, chart))
    with_gone_kind(clients, 1)
    with pytest.raises(DeployError):
        clients.helm.upgrade(wanted(clients, chart, "2"))
    assert [one.kind for one in forget("app", clients.namespace, clients.kube)] == ["Widget"]
    number = clients.helm.upgrade(wanted(clients, chart, "2")).revision.revision
    assert served(clients) == "2"
    with_gone_kind(clients, number)
    with pytest.raises(DeployError):
        clients.helm.uninstall("app", clients.namespace)
    forget("app", clients.namespace, clients.kube)
    assert clients.helm.uninstall("app", clients.namespace) is True
    assert (history(clients), served(clients)) == ((), None)
